"""The heartbeat notices when no delivery could be accepted, on both databases."""

import asyncio
import itertools
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.accounts.context import AccountsContext
from app.db.engine import Database
from app.db.tables import subscriptions, sweeps, work
from app.enrichment.gaps import Reason, end_gaps, note_gap
from app.errors import RateLimited, StorageUnavailable
from app.ids import UNBOUND_ACCOUNT
from app.ringcentral.ports import Outcome, Priority
from app.webhooks.intake.refusals import Refusals
from app.webhooks.subscriptions.choice import Wanted
from app.webhooks.subscriptions.heartbeat import Heartbeat, IntakeHealth
from app.webhooks.subscriptions.keeper import SubscriptionKeeper
from app.work.stopping import StopSignal
from tests.fakes.clock import START, FakeClock
from tests.fakes.context import accounts_context, work_context
from tests.fakes.desk import shared_rates
from tests.fakes.ringcentral import FakeConnections, FakeRingCentral


@pytest.fixture
def refused() -> dict[str, datetime]:
    return {}


class Replica(Heartbeat):
    """A heartbeat whose proofs fail as the test says."""

    def __init__(self, context: AccountsContext, take_refused: Callable[[], dict[str, datetime]]) -> None:
        self.away: str | None = None
        self.refusals = Refusals(context.clock.now)
        health = IntakeHealth(prove=self._prove, refusals=self.refusals, take_refused=take_refused)
        super().__init__(context, health, interval_seconds=10.0, sweep_after_seconds=60.0)

    async def _prove(self) -> None:
        if self.away is not None:
            raise StorageUnavailable(self.away)


@pytest.fixture
def make_replica(
    database: Database, clock: FakeClock, make_settings: Any, refused: dict[str, datetime]
) -> Any:
    settings = make_settings(rc_client_id="id", rc_client_secret="secret", rc_jwt="jwt")

    def take_refused() -> dict[str, datetime]:
        taken = dict(refused)
        refused.clear()
        return taken

    names = itertools.count()

    def make() -> Replica:
        connections = FakeConnections(FakeRingCentral(clock), settings, database, clock)
        name = f"replica-{next(names)}"
        return Replica(accounts_context(database, clock, connections, replica=name), take_refused)

    return make


async def subscribe(database: Database, subscription_id: str = "ours") -> None:
    async with database.write() as db:
        await db.execute(
            subscriptions.insert().values(
                account_id="~",
                subscription_id=subscription_id,
                address="a",
                filters=[],
                status="Active",
                checked_at=START,
            )
        )


async def gaps_of(database: Database) -> list[tuple[str, datetime, datetime]]:
    async with database.read() as db:
        rows = await db.execute(select(sweeps.c.reason, sweeps.c.from_at, sweeps.c.to_at))
        return [(row.reason, row.from_at, row.to_at) for row in rows]


async def test_the_very_first_beat_is_no_gap(database: Database, clock: FakeClock, make_replica: Any) -> None:
    assert await make_replica().step() == 10.0
    assert await gaps_of(database) == []


async def test_a_service_that_was_away_finds_its_gap(
    database: Database, clock: FakeClock, make_replica: Any
) -> None:
    before = make_replica()
    await before.step()
    clock.advance(10)
    await before.step()
    clock.advance(600)
    await make_replica().step()
    assert await gaps_of(database) == [("service-down", START + timedelta(seconds=10), clock.now())]
    clock.advance(10)
    await make_replica().step()
    assert len(await gaps_of(database)) == 1


async def test_a_restart_beside_another_replica_is_no_gap(
    database: Database, clock: FakeClock, make_replica: Any
) -> None:
    staying, leaving = make_replica(), make_replica()
    await staying.step()
    clock.advance(1)
    await leaving.step()
    await leaving.stop()
    for _ in range(60):
        clock.advance(10)
        await staying.step()
    await make_replica().step()
    assert await gaps_of(database) == []


async def test_a_restart_without_another_replica_is_a_gap_of_any_length(
    database: Database, clock: FakeClock, make_replica: Any
) -> None:
    before = make_replica()
    await before.step()
    clock.advance(4)
    await before.stop()
    clock.advance(3)
    await make_replica().step()
    stopped_at, started_at = START + timedelta(seconds=4), START + timedelta(seconds=7)
    assert await gaps_of(database) == [("service-down", stopped_at, started_at)]


async def test_a_replica_that_dies_beside_another_leaves_a_gap_from_its_last_beat(
    database: Database, clock: FakeClock, make_replica: Any
) -> None:
    staying, dying = make_replica(), make_replica()
    await dying.step()
    for _ in range(6):
        await staying.step()
        clock.advance(10)
    ((reason, begin, end),) = await gaps_of(database)
    assert (reason, begin) == ("service-down", START)
    assert end <= clock.now()


async def test_a_crash_and_a_quick_restart_are_a_gap_from_the_last_beat(
    database: Database, clock: FakeClock, make_replica: Any
) -> None:
    await make_replica().step()
    clock.advance(9)
    after = make_replica()
    for _ in range(6):
        await after.step()
        clock.advance(10)
    ((_, begin, end),) = await gaps_of(database)
    assert begin == START
    assert end >= START + timedelta(seconds=9)


async def test_a_replica_with_a_wrong_clock_is_not_repeatedly_taken_for_dead(
    database: Database, clock: FakeClock, make_replica: Any
) -> None:
    staying, behind = make_replica(), make_replica()
    await staying.step()
    slow = FakeClock(START - timedelta(minutes=5))
    behind._clock = slow
    for _ in range(20):
        await behind.step()
        await staying.step()
        clock.advance(10)
        slow.advance(10)
    assert len(await gaps_of(database)) == 1


async def test_refused_deliveries_are_a_gap_from_the_last_beat_that_was_proven(
    database: Database, clock: FakeClock, make_replica: Any
) -> None:
    heartbeat = make_replica()
    await heartbeat.step()
    clock.advance(4)
    heartbeat.refusals.note(clock.now(), "the database took too long to commit")
    clock.advance(6)
    await heartbeat.step()
    clock.advance(10)
    await heartbeat.step()
    assert await gaps_of(database) == [("deliveries-not-stored", START, START + timedelta(seconds=10))]
    async with database.read() as db:
        detail = await db.scalar(select(sweeps.c.detail))
    assert detail == "a delivery was refused: the database took too long to commit"


async def test_a_healthy_replica_does_not_hide_that_another_one_refuses(
    database: Database, clock: FakeClock, make_replica: Any
) -> None:
    healthy, sick = make_replica(), make_replica()
    await sick.step()
    sick.away = "locked"
    for _ in range(3):
        clock.advance(10)
        await healthy.step()
        sick.refusals.note(clock.now(), "locked")
        with pytest.raises(StorageUnavailable):
            await sick.step()
    sick.away = None
    clock.advance(5)
    await sick.step()
    gaps = await gaps_of(database)
    assert min(begin for _, begin, _ in gaps) == START
    assert max(end for _, _, end in gaps) == clock.now()


async def test_an_outage_of_deliveries_alone_is_recorded_while_it_lasts(
    database: Database, clock: FakeClock, make_replica: Any
) -> None:
    heartbeat = make_replica()
    await heartbeat.step()
    heartbeat.away = "a lock"
    for _ in range(3):
        clock.advance(10)
        with pytest.raises(StorageUnavailable):
            await heartbeat.step()
        assert await gaps_of(database) == [("deliveries-not-stored", START, clock.now())]
    heartbeat.away = None
    clock.advance(10)
    await heartbeat.step()
    assert await gaps_of(database) == [("deliveries-not-stored", START, clock.now())]


async def test_a_growing_gap_is_swept_meanwhile(
    database: Database, clock: FakeClock, make_replica: Any
) -> None:
    heartbeat = make_replica()
    await heartbeat.step()
    for _ in range(30):
        clock.advance(10)
        heartbeat.refusals.note(clock.now(), "again")
        await heartbeat.step()
    async with database.read() as db:
        due_at = await db.scalar(select(sweeps.c.due_at))
    assert due_at is not None
    assert due_at <= clock.now()


async def test_unrecorded_refusals_are_covered_by_the_gap_of_the_next_start(
    database: Database, clock: FakeClock, make_replica: Any
) -> None:
    dying = make_replica()
    await dying.step()
    dying.away = "locked"
    for _ in range(20):
        clock.advance(10)
        dying.refusals.note(clock.now(), "locked")
    after = make_replica()
    await after.step()
    assert await gaps_of(database) == [("service-down", START, clock.now())]


async def test_refusals_that_could_not_be_recorded_are_recorded_later(
    database: Database, clock: FakeClock, make_replica: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    heartbeat = make_replica()
    await heartbeat.step()
    clock.advance(5)
    heartbeat.refusals.note(clock.now(), "first")

    async def away(*_: Any) -> None:
        raise StorageUnavailable("away")

    with monkeypatch.context() as patch:
        patch.setattr("app.webhooks.subscriptions.heartbeat._save", away)
        with pytest.raises(StorageUnavailable):
            await heartbeat.step()
    heartbeat.refusals.note(clock.now(), "second")
    await heartbeat.stop()
    assert await gaps_of(database) == [("deliveries-not-stored", START, clock.now())]


async def test_nothing_is_proven_once_the_process_accepts_no_connections(
    database: Database, clock: FakeClock, make_replica: Any
) -> None:
    heartbeat = make_replica()
    await heartbeat.step()
    heartbeat._stopping = StopSignal()
    heartbeat._stopping.begin(clock.now())
    clock.advance(10)
    await heartbeat.step()
    await heartbeat.stop()
    clock.advance(1)
    await make_replica().step()
    assert await gaps_of(database) == [("service-down", START, clock.now())]


async def test_a_beat_of_a_former_version_counts(
    database: Database, clock: FakeClock, make_replica: Any
) -> None:
    async with database.write() as db:
        await db.execute(work.insert().values(account_id="~", kind="pulse", lease_until=START))
    clock.advance(600)
    await make_replica().step()
    assert await gaps_of(database) == [("service-down", START, clock.now())]


async def test_our_subscription_that_delivers_with_another_secret_is_marked(
    database: Database, clock: FakeClock, make_replica: Any, refused: dict[str, datetime]
) -> None:
    await subscribe(database)
    refused |= {"ours": START - timedelta(seconds=5), "made up": START}
    await make_replica().step()
    refused["ours"] = START
    await make_replica().step()
    async with database.read() as db:
        assert await db.scalar(select(subscriptions.c.refused_since)) == START - timedelta(seconds=5)


async def test_a_refusal_that_could_not_be_recorded_is_not_forgotten(
    database: Database, make_replica: Any, refused: dict[str, datetime], monkeypatch: pytest.MonkeyPatch
) -> None:
    await subscribe(database)
    refused["ours"] = START
    heartbeat = make_replica()

    async def away(*_: Any) -> None:
        raise StorageUnavailable("away")

    with monkeypatch.context() as patch:
        patch.setattr("app.webhooks.subscriptions.heartbeat._save", away)
        with pytest.raises(StorageUnavailable):
            await heartbeat.step()
    await heartbeat.step()
    async with database.read() as db:
        assert await db.scalar(select(subscriptions.c.refused_since)) == START


async def test_a_heartbeat_and_a_keeper_do_not_deadlock(
    database: Database,
    clock: FakeClock,
    make_replica: Any,
    refused: dict[str, datetime],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Both write subscriptions and gaps, in the same order: otherwise PostgreSQL aborts one as a deadlock."""
    heartbeat, ringcentral = make_replica(), FakeRingCentral(clock)
    wanted = Wanted(address="https://a.example.com", filters=("/f",), token="t", expires_in_seconds=600)
    keeper = SubscriptionKeeper(
        work_context(database, clock, replica="one", lease_seconds=60.0),
        ringcentral.client,
        wanted,
        check_seconds=180.0,
    )
    await keeper.step()
    await heartbeat.step()
    async with database.write() as db:
        await note_gap(
            db, UNBOUND_ACCOUNT, Reason.EXPIRED, START + timedelta(seconds=5), None, START,
            sweep_after=timedelta(seconds=60),
        )  # fmt: skip
    clock.advance(600)
    refused[ringcentral.subscriptions[0]["id"]] = START
    beats: list[asyncio.Task[Any]] = []

    async def end_later(db: AsyncConnection, *rest: Any) -> None:
        beats.append(asyncio.create_task(heartbeat.step()))
        while not database.is_sqlite and not await db.scalar(_ANYBODY_WAITS):  # noqa: ASYNC110 - the server has no event for it
            await asyncio.sleep(0.01)
        await end_gaps(db, *rest)

    with monkeypatch.context() as patch:
        patch.setattr("app.webhooks.subscriptions.keeper.gaps.end_gaps", end_later)
        await keeper.step()
    assert keeper.refusal is None
    assert await asyncio.gather(*beats) == [10.0]
    assert [(begin, end) for _, begin, end in await gaps_of(database)] == [(START, clock.now())]


_ANYBODY_WAITS = text("SELECT 1 FROM pg_locks WHERE NOT granted")


async def rewind(database: Database, state: Any) -> None:
    """Put the stored beats back, as a restore or a takeover by a lagging standby does."""
    async with database.write() as db:
        await db.execute(work.update().where(work.c.kind == "pulse").values(state=state))


async def stored_beats(database: Database) -> Any:
    async with database.read() as db:
        return await db.scalar(select(work.c.state).where(work.c.kind == "pulse"))


async def test_a_database_that_lost_beats_beneath_a_running_process_is_a_gap(
    database: Database, clock: FakeClock, make_replica: Any
) -> None:
    replica = make_replica()
    await replica.step()
    backup = await stored_beats(database)
    for _ in range(30):
        clock.advance(10)
        await replica.step()
    rates = shared_rates(database, clock)
    await rates.settle(
        await rates.acquire("heavy", Priority.POLL, None), Outcome(was_sent=True, at=clock.now())
    )
    await rewind(database, backup)
    clock.advance(10)
    await replica.step()
    assert await gaps_of(database) == [("deliveries-not-stored", START, clock.now())]
    with pytest.raises(RateLimited):  # requests of the last minute may be forgotten
        await rates.acquire("heavy", Priority.POLL, clock.now() + timedelta(seconds=59))
    clock.advance(10)
    await replica.step()
    assert len(await gaps_of(database)) == 1


async def test_a_backup_from_before_the_process_began_is_a_gap_since_its_last_beat(
    database: Database, clock: FakeClock, make_replica: Any
) -> None:
    former = make_replica()
    await former.step()
    backup = await stored_beats(database)
    await former.stop()
    clock.advance(10)
    replica = make_replica()
    await replica.step()
    clock.advance(300)
    await replica.step()
    async with database.write() as db:
        await db.execute(sweeps.delete())
    await rewind(database, backup)
    clock.advance(10)
    await replica.step()
    assert {begin for _, begin, _ in await gaps_of(database)} == {START}


async def test_a_replica_that_others_counted_as_silent_is_no_lost_history(
    database: Database, clock: FakeClock, make_replica: Any
) -> None:
    hung, well = make_replica(), make_replica()
    await hung.step()
    await well.step()
    for _ in range(6):
        clock.advance(10)
        await well.step()
    before = await gaps_of(database)
    await hung.step()
    assert {reason for reason, _, _ in [*before, *await gaps_of(database)]} == {"service-down"}
