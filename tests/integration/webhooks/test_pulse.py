"""Noticing that no delivery could be accepted, on both databases."""

import asyncio
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.engine import Database
from app.db.tables import subscriptions, sweeps
from app.enrichment.gaps import Reason, end_gaps, note_gap
from app.errors import StorageUnavailable
from app.ids import UNBOUND_ACCOUNT
from app.webhooks.pulse import Pulse
from app.webhooks.subscription import SubscriptionKeeper, Wanted
from tests.fakes.clock import START, FakeClock
from tests.fakes.ringcentral import FakeConnections, FakeRingCentral


@pytest.fixture
def refused() -> dict[str, datetime]:
    return {}


@pytest.fixture
def make_pulse(database: Database, clock: FakeClock, make_settings: Any, refused: dict[str, datetime]) -> Any:
    settings = make_settings(rc_client_id="id", rc_client_secret="secret", rc_jwt="jwt")

    def take_refused() -> dict[str, datetime]:
        taken = dict(refused)
        refused.clear()
        return taken

    def make() -> Pulse:
        connections = FakeConnections(FakeRingCentral(clock), settings, database, clock)
        return Pulse(
            database, clock, connections, take_refused, interval_seconds=10.0, sweep_after_seconds=60.0
        )

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


async def test_the_first_beat_of_all_is_no_gap(database: Database, clock: FakeClock, make_pulse: Any) -> None:
    assert await make_pulse().step() == 10.0
    assert await gaps_of(database) == []


async def test_a_service_that_was_away_finds_its_gap(
    database: Database, clock: FakeClock, make_pulse: Any
) -> None:
    before = make_pulse()
    await before.step()
    clock.advance(10)
    await before.step()
    clock.advance(600)
    await make_pulse().step()
    assert await gaps_of(database) == [("service-down", START + timedelta(seconds=10), clock.now())]
    clock.advance(10)
    await make_pulse().step()
    assert len(await gaps_of(database)) == 1


async def test_a_restart_beside_another_replica_is_no_gap(
    database: Database, clock: FakeClock, make_pulse: Any
) -> None:
    staying = make_pulse()
    await make_pulse().step()
    for _ in range(60):
        clock.advance(10)
        await staying.step()
    await make_pulse().step()
    assert await gaps_of(database) == []


async def test_a_subscription_of_ours_that_delivers_with_another_secret_is_noted(
    database: Database, clock: FakeClock, make_pulse: Any, refused: dict[str, datetime]
) -> None:
    await subscribe(database)
    refused |= {"ours": START - timedelta(seconds=5), "made up": START}
    await make_pulse().step()
    refused["ours"] = START
    await make_pulse().step()
    async with database.read() as db:
        assert await db.scalar(select(subscriptions.c.refused_since)) == START - timedelta(seconds=5)


async def test_a_refusal_is_not_forgotten_where_it_could_not_be_written(
    database: Database, make_pulse: Any, refused: dict[str, datetime], monkeypatch: pytest.MonkeyPatch
) -> None:
    await subscribe(database)
    refused["ours"] = START
    pulse = make_pulse()

    async def away(*_: Any) -> None:
        raise StorageUnavailable("away")

    with monkeypatch.context() as patch:
        patch.setattr("app.webhooks.pulse._beat", away)
        with pytest.raises(StorageUnavailable):
            await pulse.step()
    await pulse.step()
    async with database.read() as db:
        assert await db.scalar(select(subscriptions.c.refused_since)) == START


async def test_a_beat_and_the_subscriptions_keeper_do_not_wait_for_each_other(
    database: Database,
    clock: FakeClock,
    make_pulse: Any,
    refused: dict[str, datetime],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Both write subscriptions and gaps: in one order, or PostgreSQL ends one of them as a deadlock."""
    pulse, ringcentral = make_pulse(), FakeRingCentral(clock)
    wanted = Wanted(address="https://a.example.com", filters=("/f",), token="t", expires_in_seconds=600)
    keeper = SubscriptionKeeper(
        database, clock, ringcentral.client, wanted, replica="one", check_seconds=180.0, lease_seconds=60.0
    )
    await keeper.step()
    await pulse.step()
    async with database.write() as db:
        await note_gap(
            db, UNBOUND_ACCOUNT, Reason.EXPIRED, START + timedelta(seconds=5), None, START,
            sweep_after=timedelta(seconds=60),
        )  # fmt: skip
    clock.advance(600)
    refused[ringcentral.subscriptions[0]["id"]] = START
    beats: list[asyncio.Task[Any]] = []

    async def end_later(db: AsyncConnection, *rest: Any) -> None:
        beats.append(asyncio.create_task(pulse.step()))
        while not database.is_sqlite and not await db.scalar(_ANYBODY_WAITS):  # noqa: ASYNC110 - the server tells nobody
            await asyncio.sleep(0.01)
        await end_gaps(db, *rest)

    with monkeypatch.context() as patch:
        patch.setattr("app.webhooks.subscription.gaps.end_gaps", end_later)
        await keeper.step()
    assert keeper.refusal is None
    assert await asyncio.gather(*beats) == [10.0]
    assert [(begin, end) for _, begin, end in await gaps_of(database)] == [(START, clock.now())]


_ANYBODY_WAITS = text("SELECT 1 FROM pg_locks WHERE NOT granted")
