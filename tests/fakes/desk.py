"""Calls that wait, a RingCentral that shows what the test says, and the pollers on a clock that the test
moves."""

from datetime import timedelta
from typing import Any

from sqlalchemy import select, update

from app.accounts.access import Access, Level
from app.accounts.overview import load_overview
from app.calls import store
from app.calls.model import Call, Outcome, Stage
from app.clock import Clock
from app.db.engine import Database, upsert_into
from app.db.tables import calls, credentials, poll_targets, timeline
from app.enrichment.call_log.reader import CallLogReader
from app.enrichment.polling.limits import PlannerLimits
from app.enrichment.polling.poller import Poller
from app.enrichment.records.plan import CallLogPlan
from app.ids import UNBOUND_ACCOUNT, AccountId, ExtensionId
from app.rate_limits.bucket import Limits
from app.rate_limits.shared_buckets import SharedRates
from app.settings import Settings
from app.vault import Vault
from tests.factories_calls import ACCOUNT, raw_record, seed_call
from tests.fakes.clock import FakeClock
from tests.fakes.context import accounts_context
from tests.fakes.ringcentral import FakeConnections, FakeRingCentral

VAULT = Vault("0123456789abcdef0123456789abcdef")
PLAN = CallLogPlan(first_after=60.0, gap=30.0, horizon=3600.0, settled_after=60.0)


def shared_rates(
    database: Database, clock: Clock, limit: int = 10, holder: AccountId = UNBOUND_ACCOUNT
) -> SharedRates:
    limits = dict.fromkeys(("heavy", "medium", "light", "auth"), Limits(limit=limit))
    return SharedRates(database, clock, limits, holder=holder)


class Desk:
    """One account, its calls and the two loops that find their records."""

    def __init__(self, database: Database, clock: FakeClock, settings: Settings) -> None:
        self.database = database
        self.clock = clock
        self.settings = settings
        self.ringcentral = FakeRingCentral(clock)
        self.connections = FakeConnections(self.ringcentral, settings, database, clock)
        self.poller = self.make_poller("one")
        self.reader = CallLogReader(accounts_context(database, clock, self.connections), PLAN)

    def make_poller(self, replica: str) -> Poller:
        return Poller(
            accounts_context(
                self.database, self.clock, self.connections, replica=replica, lease_seconds=60.0
            ),
            PlannerLimits(),
            PLAN,
        )

    async def end_call(self, number: int = 1, **fields: Any) -> Call:
        """A call that has just ended and waits."""
        now = self.clock.now()
        values: dict[str, Any] = {
            "telephony_session_id": f"s-{number}",
            "session_id": str(1000 + number),
            "stage": Stage.ENDED,
            "outcome": Outcome.ANSWERED,
            "started_at": now - timedelta(seconds=90),
            "ended_at": now,
            "end_known_at": now,
            "window_closes_at": now + timedelta(seconds=120),
            "read_at": now + timedelta(seconds=120),
            "bootstrapped_at": None,
            "bootstrapped_by": None,
            "result": None,
        }
        return await seed_call(self.database, ACCOUNT, now=now, event="call.ended", **values | fields)

    def show(self, number: int = 1, *, record_id: str | None = None, **fields: Any) -> dict[str, Any]:
        """A record of that call as RingCentral has it."""
        row = {
            "telephonySessionId": f"s-{number}",
            "sessionId": str(1000 + number),
            "startTime": (self.clock.now() - timedelta(seconds=90)).isoformat(),
        }
        return raw_record(record_id or f"rec-{number}", **row | fields)

    async def poll_for(self, seconds: float) -> None:
        """Let the poller do its turns for so long."""
        until = self.clock.now() + timedelta(seconds=seconds)
        while self.clock.now() < until:
            pause = await self.poller.step()
            left = (until - self.clock.now()).total_seconds()
            self.clock.advance(min(left, 1.0 if pause is None else max(0.01, min(pause, 1.0))))

    async def call(self, number: int = 1) -> Call:
        async with self.database.read() as db:
            found = await store.find_call(db, AccountId(ACCOUNT), f"s-{number}")
        assert found is not None
        return found

    async def sessions(self) -> set[str]:
        """Of all calls that there are."""
        async with self.database.read() as db:
            return set(await db.scalars(select(calls.c.telephony_session_id)))

    async def learnt(self) -> dict[str, Any]:
        """What is known of the delays, as it is kept."""
        async with self.database.read() as db:
            found: dict[str, Any] | None = await db.scalar(select(poll_targets.c.visibility))
        assert found is not None
        return found

    async def events(self, call: Call) -> list[str]:
        async with self.database.read() as db:
            query = select(timeline.c.type).where(timeline.c.call_id == call.call_id).order_by(timeline.c.seq)
            return list(await db.scalars(query))

    async def problem(self) -> dict[str, Any] | None:
        """The first thing that a person has to do about the account."""
        async with self.database.read() as db:
            found = await load_overview(db, self.settings, VAULT, self.clock.now(), AccountId(ACCOUNT))
        told = (problem for account in found for member in account.members for problem in member.problems)
        return next(told, None)

    async def make_due(self) -> None:
        async with self.database.write() as db:
            await db.execute(
                update(calls).where(calls.c.read_at.is_not(None)).values(read_at=self.clock.now())
            )


async def limit_to(desk: Desk, extension_id: str) -> None:
    """Let the credentials be one user's."""
    row = {"account_id": "~", "name": "own", "kind": "own", "updated_at": desk.clock.now()}
    access = Access(Level.EXTENSION, ExtensionId(extension_id)).to_json()
    async with desk.database.write() as db:
        statement = upsert_into(db, credentials).values(**row, access=access)
        await db.execute(
            statement.on_conflict_do_update(index_elements=["account_id", "name"], set_={"access": access})
        )
    desk.connections.forget()
