"""Mutated deliveries give the same result on SQLite and PostgreSQL, and affect no other call.

`make fuzz` runs it for longer. Mutations are those of `tests.mutations`.
"""

import asyncio
import hashlib
import json
from difflib import unified_diff
from typing import Any

import pytest
from hypothesis import strategies as st
from sqlalchemy import Table, delete, event, select

from app.api import problems
from app.calls import accounts
from app.db.engine import Database
from app.db.tables import (
    call_aliases,
    call_links,
    call_parties,
    calls,
    deliveries,
    insights,
    metadata,
    timeline,
)
from app.settings import Settings
from app.webhooks.folding import fold
from app.webhooks.folding.end_watch import EndWatch
from app.webhooks.folding.fold import Folder
from app.webhooks.intake import inbox
from app.webhooks.intake.inbox import Inbox
from app.webhooks.intake.router import PATH, IntakeApp, NotificationEndpoint, mount
from tests.conftest import open_client
from tests.factories import (
    ACCOUNT,
    SCRIPTS,
    SESSION,
    SUBSCRIPTION,
    TELEPHONY_SESSION,
    inbound_answered,
    presence_only,
)
from tests.factories_insights import insights_event
from tests.fakes.clock import FakeClock
from tests.fakes.context import accounts_context, work_context
from tests.fakes.ringcentral import FakeConnections, FakeRingCentral
from tests.fuzzing import fuzz
from tests.integration.webhooks.conftest import RULES
from tests.mutations import Json, bodies

TOKEN = "a-verification-token"
LARGEST = 262_144
OTHER_ACCOUNT = "908070002"
STEPS = 60

REMINDER = {
    "uuid": "6f1a2b3c-reminder",
    "event": f"/restapi/v1.0/subscription/{SUBSCRIPTION}?threshold=60&interval=15",
    "timestamp": "2026-03-10T18:07:41.085Z",
    "subscriptionId": SUBSCRIPTION,
    "ownerId": "711000101",
    "body": {
        "id": SUBSCRIPTION,
        "status": "Active",
        "expirationTime": "2026-03-10T19:07:41Z",
        "expiresIn": 60,
    },
}
SEEDS: list[Json] = [
    *(payload for script in SCRIPTS.values() for payload in script()),
    *([insights_event(), REMINDER] * 12),
]


def neighbours() -> list[Json]:
    """Two healthy calls that are not mutated: one of the same account, and one of another account."""
    text = json.dumps([*inbound_answered(), *presence_only()])
    text = text.replace(TELEPHONY_SESSION.removeprefix("s-"), "healthy").replace(SESSION, "771")
    text = text.replace('"presence-', '"healthy-')
    return [*json.loads(text), *json.loads(text.replace(ACCOUNT, OTHER_ACCOUNT))]


class World:
    """The service on one database, from the intake to the ends of calls."""

    def __init__(self, url: str, settings: Settings) -> None:
        self.database = Database(url)
        if self.database.is_sqlite:
            event.listen(self.database.engine.sync_engine, "connect", _without_sync)
        self.settings = settings

    async def play(self, sent: list[bytes]) -> tuple[list[int], str]:
        """Deliver everything into an empty database; return the responses and the final state."""
        clock = FakeClock()
        await self._empty(clock)
        inbox = Inbox(self.database, clock)
        inbox.start()
        app = IntakeApp()
        mount(app, NotificationEndpoint(inbox, TOKEN, LARGEST, clock))
        problems.install(app)
        async with open_client(app) as client:
            signed = {"Verification-Token": TOKEN}
            posts = (client.post(PATH, content=body, headers=signed) for body in sent)
            answers = [answer.status_code for answer in await asyncio.gather(*posts)]
        await inbox.stop()
        await self._settle(clock)
        return answers, await self._state()

    async def _empty(self, clock: FakeClock) -> None:
        async with self.database.write() as db:
            for table in reversed(metadata.sorted_tables):
                await db.execute(delete(table))
            await accounts.open_unbound(db, clock.now())
            await accounts.bind(db, ACCOUNT, clock.now())  # type: ignore[arg-type]
            await accounts.add(db, OTHER_ACCOUNT, clock.now())  # type: ignore[arg-type]

    async def _settle(self, clock: FakeClock) -> None:
        folder = Folder(work_context(self.database, clock), RULES)
        connections = FakeConnections(FakeRingCentral(clock), self.settings, self.database, clock)
        ends = EndWatch(
            accounts_context(self.database, clock, connections, replica="one", lease_seconds=15.0), RULES
        )
        for _ in range(STEPS):
            if await folder.step() is None:
                break
        else:
            raise AssertionError("folding does not end")
        for _ in range(3):
            clock.advance(40)
            await ends.step()

    async def _state(self) -> str:
        """Return everything that was stored, as text, with our ids replaced by the names of calls."""
        state: dict[str, Any] = {}
        async with self.database.read() as db:
            for table in (calls, call_aliases, call_parties, call_links, insights, timeline, deliveries):
                rows = [
                    dict(row._mapping) for row in await db.execute(select(table).order_by(*_order(table)))
                ]
                state[table.name] = rows
        for row in state["deliveries"]:
            row["raw"] = hashlib.sha256(row["raw"]).hexdigest()
        for row in (*state["calls"], *state["timeline"]):
            # Which of several calls that are due at the same moment comes first is left open.
            row.pop("changed_seq", None)
            row.pop("seq", None)
            row.pop("mark", None)  # random, for cursors
        text = json.dumps(state, default=str, sort_keys=True, indent=0)
        for row in state["calls"]:
            name = json.dumps(f"call of {row['account_id']} {row['telephony_session_id']}")[
                1:-1
            ]  # it may have quotes
            text = text.replace(row["call_id"], name)
        parts = {
            name: sorted(json.dumps(row, sort_keys=True) for row in rows)
            for name, rows in json.loads(text).items()
        }
        return json.dumps(parts, indent=0)


def _without_sync(connection: Any, _record: Any) -> None:
    connection.execute("PRAGMA synchronous=OFF")


def _order(table: Table) -> list[Any]:
    return list(table.primary_key.columns)


def assert_harmless(sent: list[bytes], answers: list[int], state: str) -> None:
    tables = {name: [json.loads(row) for row in rows] for name, rows in json.loads(state).items()}
    for body, status in zip(sent, answers, strict=True):
        assert status == (413 if len(body) > LARGEST else 200), body[:500]
    for row in tables["deliveries"]:
        assert row["folded_at"], row
        assert not (row["fold_note"] or "").startswith("error"), row
    healthy = [row for row in tables["calls"] if row["telephony_session_id"] == "s-healthy"]
    assert {(row["account_id"], row["stage"], row["outcome"]) for row in healthy} == {
        (ACCOUNT, "ended", "answered"),
        (OTHER_ACCOUNT, "ended", "answered"),
    }


@pytest.mark.filterwarnings("ignore:Generating overly large repr")
def test_mutated_deliveries_give_the_same_result_on_both_databases_and_affect_no_other_call(
    sqlite_url: str, postgres_url: str, make_settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # One account after the other: `~` and the account that it resolves to share calls, and the number of
    # changes of a call depends on their order.
    monkeypatch.setattr(fold, "_AT_ONCE", 1)
    monkeypatch.setattr(inbox, "COMMIT_SECONDS", 60.0)  # a slow machine is not a fault of the input
    settings = make_settings(rc_client_id="id", rc_client_secret="secret", rc_jwt="jwt")
    healthy = [json.dumps(payload).encode() for payload in neighbours()]
    with asyncio.Runner() as runner:
        worlds = [World(url, settings) for url in (sqlite_url, postgres_url)]

        def check(batch: list[bytes]) -> None:
            middle = len(batch) // 2
            sent = [*batch[:middle], *healthy, *batch[middle:]]
            ends = [runner.run(world.play(sent)) for world in worlds]
            for answers, state in ends:
                assert_harmless(sent, answers, state)
            one, other = (end[1].splitlines() for end in ends)
            differ = list(unified_diff(one, other, n=0, lineterm=""))
            assert not differ, "\n".join(line[:2000] for line in differ[:20])

        try:
            fuzz(bodies(st.integers(0, len(SEEDS) - 1).map(lambda place: SEEDS[place])), check)
        finally:
            for world in worlds:
                runner.run(world.database.close())
