"""Noticing that no delivery could be accepted, on both databases."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from app.db.engine import Database
from app.db.tables import subscriptions, sweeps
from app.webhooks.pulse import Pulse
from tests.fakes.clock import START, FakeClock
from tests.fakes.ringcentral import FakeConnections, FakeRingCentral


@pytest.fixture
def refused() -> dict[str, datetime]:
    return {}


@pytest.fixture
def make_pulse(database: Database, clock: FakeClock, make_settings: Any, refused: dict[str, datetime]) -> Any:
    settings = make_settings(rc_client_id="id", rc_client_secret="secret", rc_jwt="jwt")

    def make() -> Pulse:
        connections = FakeConnections(FakeRingCentral(), settings, database, clock)
        return Pulse(
            database, clock, connections, lambda: refused, interval_seconds=10.0, sweep_after_seconds=60.0
        )

    return make


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
    async with database.write() as db:
        await db.execute(
            subscriptions.insert().values(
                account_id="~",
                subscription_id="ours",
                address="a",
                filters=[],
                status="Active",
                checked_at=START,
            )
        )
    refused |= {"ours": START - timedelta(seconds=5), "made up": START}
    await make_pulse().step()
    refused["ours"] = START
    await make_pulse().step()
    async with database.read() as db:
        assert await db.scalar(select(subscriptions.c.refused_since)) == START - timedelta(seconds=5)
