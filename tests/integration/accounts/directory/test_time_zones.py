"""The time zones of people, learnt slowly from a simulated RingCentral, on both databases."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from app.accounts.directory.time_zones import AT_ONCE, TimeZoneReader
from tests.fakes.context import accounts_context
from tests.fakes.reader_stage import Stage
from tests.integration.accounts.directory.test_worker import ANA, QUEUE, Registry

ZONE = "America/Los_Angeles"


class Zones(Registry):
    """The same, with the worker that learns time zones."""

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage)
        self.zones = TimeZoneReader(accounts_context(stage.database, self.clock, stage.process.connections))

    async def known(self) -> list[str]:
        return sorted(key for key, row in (await self.rows()).items() if row.time_zone == ZONE)

    async def turn(self) -> list[str]:
        """Let a minute pass and make a turn; return what was asked for."""
        self.clock.advance(60)
        await self.zones.step()
        return self.asked()


@pytest.fixture
async def zones(any_stage: Stage) -> AsyncIterator[Zones]:
    found = Zones(any_stage)
    await found.reader.step()
    found.asked()
    yield found
    await found.zones.close()
    await found.reader.close()


async def test_a_few_people_are_asked_for_at_a_time(zones: Zones) -> None:
    version = (await zones.state()).version
    assert len(await zones.turn()) == AT_ONCE
    assert len(await zones.known()) == AT_ONCE
    assert (await zones.state()).version != version
    await zones.zones.step()
    assert zones.asked() == []
    assert (await zones.company()).people[ANA].time_zone == ZONE


async def test_each_person_is_asked_for_once_a_week_and_queues_never(zones: Zones) -> None:
    people = len([one for one in zones.stage.simulator.company.extensions if one.kind == "User"])
    for _ in range(people):
        await zones.turn()
    assert len(await zones.known()) == people
    assert QUEUE not in await zones.known()
    version = (await zones.state()).version
    assert await zones.turn() == []
    zones.clock.advance(timedelta(days=7).total_seconds())
    assert len(await zones.turn()) == AT_ONCE
    assert (await zones.state()).version == version


async def test_a_refusal_is_met_once_a_day(zones: Zones) -> None:
    zones.stage.faults(missing_scopes=("ReadAccounts",))
    assert [one[:3] for one in await zones.turn()] == ["403"]
    assert await zones.turn() == []
    zones.stage.faults()
    zones.clock.advance(timedelta(days=1).total_seconds())
    assert len(await zones.turn()) == AT_ONCE


async def test_a_rate_limit_ends_the_turn(zones: Zones) -> None:
    zones.stage.faults(global_limit=True)
    assert [one[:3] for one in await zones.turn()] == ["429"]
    assert await zones.known() == []


async def test_a_time_zone_outlasts_reads_of_the_directory(zones: Zones) -> None:
    await zones.turn()
    known = await zones.known()
    zones.stage.faults(directory_etags=False)
    await zones.read_again()
    assert await zones.known() == known != []
