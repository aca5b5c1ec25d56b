"""Answers of RingCentral with a fault or two, served to the real poller, reader, feed and watcher on both
databases.

Whatever comes: a healthy neighbour gets its record, both databases end in the same state, and the number of
requests is bounded. `make fuzz` makes it run for longer.
"""

import asyncio
import json
import os
import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, select

from app.accounts.connections import Connections
from app.calls import accounts
from app.calls.model import Outcome, Stage
from app.db.engine import Database
from app.db.tables import call_records, calls, metadata, recordings, work
from app.enrichment.call_log.extract_sync import CallLogFeed
from app.enrichment.call_log.reader import CallLogReader
from app.enrichment.polling.limits import PlannerLimits
from app.enrichment.polling.poller import Poller
from app.enrichment.recordings.recording_plan import RecordingPlan
from app.enrichment.recordings.watcher import RecordingWatcher
from app.enrichment.records.plan import CallLogPlan
from app.enrichment.records.set_aside import KIND
from app.values.storable import BadJson, decode_json
from app.vault import Vault
from tests.factories_calls import ACCOUNT, raw_record, seed_call
from tests.fakes.clock import START, FakeClock
from tests.fakes.context import accounts_context, work_context
from tests.mutations import bodies, dump, mutated

PLAN = CallLogPlan(first_after=60.0, gap=30.0, horizon=1800.0, settled_after=60.0, recording_after=60.0)
EXAMPLES = max(5, int(float(os.environ.get("AFTERCALL_FUZZ_SECONDS", "0"))))
PATH = f"https://platform.ringcentral.com/restapi/v1.0/account/{ACCOUNT}"
MOST_REQUESTS = 100
"""Of six minutes, at ten a minute and group."""

KNOWN = {
    calls: "telephony_session_id session_id stage absent_reason direction outcome result action caller "
    "callee external_number started_at ended_at duration_seconds has_recording parties related "
    "primary_record_id source",
    call_records: "call_id record_id source detailed last_modified_at raw",
    recordings: "call_id recording_id state type content_uri content_type duration_seconds problem",
}
"""The columns that do not depend on when something was written."""


def record(number: int) -> dict[str, Any]:
    """A Detailed record of the call `s-<number>`, which has just ended."""
    leg = {
        "startTime": (START - timedelta(seconds=90)).isoformat(), "duration": 90, "type": "Voice",
        "legType": "Accept",
        "direction": "Inbound", "action": "Phone Call", "result": "Accepted", "master": True,
        "extension": {"id": 711000101, "uri": f"{PATH}/extension/711000101"},
        "from": {"phoneNumber": f"+1555010{number:04}"},
        "to": {"extensionNumber": "101", "device": {"id": "803"}},
    }  # fmt: skip
    return raw_record(
        f"rec-{number}",
        uri=f"{PATH}/call-log/rec-{number}?view=Detailed",
        sessionId=str(1000 + number),
        telephonySessionId=f"s-{number}",
        startTime=leg["startTime"],
        duration=90,
        lastModifiedTime=START.isoformat(),
        extension={"id": 711000101},
        recording={
            "id": f"rg-{number}",
            "type": "Automatic",
            "contentUri": f"{PATH}/recording/rg-{number}/content",
        },
        billing={"costIncluded": 0.0, "costPurchased": 0.0},
        legs=[leg],
        **{"from": leg["from"]},
    )


def page(*records: Any) -> dict[str, Any]:
    return {
        "uri": f"{PATH}/call-log",
        "records": list(records),
        "paging": {"page": 1, "perPage": 1000, "pageStart": 0, "pageEnd": 2},
        "navigation": {"firstPage": {"uri": PATH}},
    }


def sync(*records: Any) -> dict[str, Any]:
    return {
        "uri": f"{PATH}/call-log-extract-sync",
        "records": list(records),
        "syncInfo": {
            "syncType": "FSync",
            "syncToken": "token",
            "syncTime": START.isoformat(),
            "newerRecordsExist": False,
        },
    }


odd = mutated(st.just(record(2)))
whole = st.sampled_from([page(record(1), record(2), record(3)), sync(record(1), record(2), record(3))])
recording = {
    "id": "rg-2",
    "type": "Automatic",
    "duration": 90,
    "contentType": "audio/mpeg",
    "contentUri": f"{PATH}/x",
}


class World:
    """RingCentral as an HTTP transport: what a test puts in comes out, byte by byte."""

    def __init__(self) -> None:
        self.active = self.log = self.recording = b"{}"
        self.changes: bytes | None = None
        self.asked = 0

    def answer(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        if path.endswith("/oauth/token"):
            return httpx.Response(200, json={"access_token": "t", "expires_in": 3600, "owner_id": "711"})
        self.asked += 1
        if path.endswith("/active-calls"):
            return self._json(self.active)
        if path.endswith("/call-log-extract-sync"):
            return httpx.Response(404, json={}) if self.changes is None else self._json(self.changes)
        if "/recording/" in path:
            return self._json(self.recording)
        return self._json(self.log)

    def _json(self, body: bytes) -> httpx.Response:
        return httpx.Response(200, content=body, headers={"Content-Type": "application/json"})


async def play(url: str, world: World, make_settings: Any) -> dict[str, Any]:
    """Let three calls end and look up their records for six minutes; return the state of the database."""
    database, clock, world.asked = Database(url), FakeClock(), 0
    async with httpx.AsyncClient(transport=httpx.MockTransport(world.answer)) as http:
        try:
            await _empty(database)
            await _open_calls(database, clock)
            await _work(database, clock, http, make_settings)
            return await _state(database)
        finally:
            await database.close()


async def _empty(database: Database) -> None:
    async with database.write() as db:
        for table in reversed(metadata.sorted_tables):
            await db.execute(delete(table))


async def _open_calls(database: Database, clock: FakeClock) -> None:
    now = clock.now()
    async with database.write() as db:
        await accounts.open_unbound(db, now)
        await accounts.bind(db, ACCOUNT, now)
    for number in (1, 2, 3):
        await seed_call(
            database, ACCOUNT, now=now, event="call.ended", call_id=f"call_{number:026}",
            telephony_session_id=f"s-{number}",
            session_id=str(1000 + number), stage=Stage.ENDED, outcome=Outcome.ANSWERED, result=None,
            started_at=now - timedelta(seconds=90), ended_at=now, end_known_at=now, bootstrapped_at=None,
            bootstrapped_by=None, window_closes_at=now + timedelta(seconds=120),
            read_at=now + timedelta(seconds=120),
        )  # fmt: skip


async def _work(database: Database, clock: FakeClock, http: httpx.AsyncClient, make_settings: Any) -> None:
    made = make_settings(rc_client_id="id", rc_client_secret="secret", rc_jwt="jwt")
    vault = Vault("0123456789abcdef0123456789abcdef")
    connections = Connections(made, database, clock, vault, http, replica="one")
    poller = Poller(
        accounts_context(database, clock, connections, replica="one", lease_seconds=60.0),
        PlannerLimits(),
        PLAN,
    )
    feed = CallLogFeed(work_context(database, clock, replica="one", lease_seconds=60.0), PLAN)
    reader = CallLogReader(accounts_context(database, clock, connections), PLAN, feed=feed)
    watcher = RecordingWatcher(accounts_context(database, clock, connections), RecordingPlan())
    end = clock.now() + timedelta(seconds=360)
    clock.advance(12)
    while clock.now() < end:
        pauses = [await poller.step(), await reader.step(), await watcher.step()]
        if all(pause is None for pause in pauses):
            return  # nothing is left to be asked
        wanted = min((pause for pause in pauses if pause is not None), default=15.0)
        clock.advance(min(15.0, max(3.0, wanted)))


async def _state(database: Database) -> dict[str, Any]:
    """Return what is known of each call at the end, as text. Calls are named by session, not by our id."""
    async with database.read() as db:
        found = (await db.execute(select(calls))).all()
        names = {row.call_id: f"the call of {row.telephony_session_id}" for row in found}
        shown = {
            table.name: sorted(_shown(row, columns, names) for row in await db.execute(select(table)))
            for table, columns in KNOWN.items()
        }
        aside = await db.scalar(select(work.c.state).where(work.c.kind == KIND))
    return {**shown, "aside": aside, "stages": {row.telephony_session_id: row.stage for row in found}}


def _shown(row: Any, columns: str, names: dict[str, str]) -> str:
    values = {name: row._mapping[name] for name in columns.split()}
    text = json.dumps(values, sort_keys=True, default=str)
    for call_id, name in names.items():
        text = text.replace(call_id, name)
    return text


@pytest.fixture
def urls(sqlite_url: str, postgres_url: str) -> Iterator[tuple[str, str]]:
    path = Path(sqlite_url.removeprefix("sqlite+aiosqlite:///"))
    yield sqlite_url, postgres_url
    shutil.rmtree(path.parent, ignore_errors=True)


fuzz = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[
        HealthCheck.too_slow,
        HealthCheck.function_scoped_fixture,
        HealthCheck.data_too_large,
    ],
)


def run_both(urls: tuple[str, str], world: World, make_settings: Any) -> dict[str, Any]:
    states = [asyncio.run(play(url, world, make_settings)) for url in urls]
    for name, rows in states[0].items():
        assert rows == states[1][name], name
    assert world.asked <= MOST_REQUESTS
    return states[0]


@fuzz
@given(bad=odd, also_feed=st.booleans())
def test_one_odd_record_costs_its_neighbours_nothing(
    urls: tuple[str, str], make_settings: Any, bad: Any, also_feed: bool
) -> None:
    world = World()
    world.active = dump(page(record(1), bad, record(3)))
    try:
        decode_json(world.active)
    except BadJson:
        assume(False)  # brackets that do not match: then the whole answer is none
    world.log = world.active
    world.changes = dump(sync(record(1), bad, record(3))) if also_feed else None
    world.recording = dump(recording)
    state = run_both(urls, world, make_settings)
    healthy = {state["stages"]["s-1"], state["stages"]["s-3"]}
    assert healthy <= {"bootstrapped", "reconciled", "final"}, (state["aside"], dump(bad)[:2000])
    assert state["aside"] is None, "the readers repair what they read"


@fuzz
@given(
    active=bodies(whole),
    log=bodies(whole),
    changes=st.none() | bodies(whole),
    audio=bodies(st.just(recording)),
)
def test_answers_of_any_kind_leave_both_databases_alike(
    urls: tuple[str, str], make_settings: Any, active: bytes, log: bytes, changes: bytes | None, audio: bytes
) -> None:
    world = World()
    world.active, world.log, world.changes, world.recording = active, log, changes, audio
    run_both(urls, world, make_settings)
