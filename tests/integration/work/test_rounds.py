"""Rounds over accounts that have something due, on both databases."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

import pytest

from app.db.engine import Database
from app.ids import AccountId
from app.work.rounds import Agenda, Rounds
from tests.conftest import until
from tests.fakes.clock import START, FakeClock
from tests.fakes.context import work_context

ANA, BEN = AccountId("ana"), AccountId("ben")


class Desk:
    """Due items of accounts, counted down as they are done."""

    def __init__(self, database: Database, clock: FakeClock) -> None:
        self.due: dict[AccountId, int] = {}
        self.done: list[AccountId] = []
        self.next_at: datetime | None = None
        self.slow = {BEN: asyncio.Event()}
        self.rounds = Rounds(
            "test",
            work_context(database, clock, patience_seconds=2.0),
            Agenda(find_accounts=self.find, find_next=self.find_next, serve=self.serve),
            most_at_once=2,
            longest_seconds=30.0,
        )

    async def find(self, *_: Any) -> list[AccountId]:
        return sorted(self.due)

    async def find_next(self, *_: Any) -> datetime | None:
        return self.next_at

    async def serve(self, account_id: AccountId) -> bool:
        if not self.due.get(account_id):
            self.due.pop(account_id, None)
            return False
        if account_id in self.slow:
            await self.slow[account_id].wait()
        self.due[account_id] -= 1
        self.done.append(account_id)
        return True


@pytest.fixture
async def desk(database: Database, clock: FakeClock) -> AsyncIterator[Desk]:
    opened = Desk(database, clock)
    yield opened
    await opened.rounds.close()


async def test_a_round_does_a_few_items_of_each_account_and_the_next_follows_at_once(desk: Desk) -> None:
    desk.due = {ANA: 3}
    assert await desk.rounds.step() == 0.0
    assert desk.done == [ANA, ANA]
    assert await desk.rounds.step() is None
    assert desk.done == [ANA, ANA, ANA]


async def test_a_slow_account_delays_no_other(desk: Desk) -> None:
    desk.due = {ANA: 1, BEN: 1}
    await desk.rounds.step()
    assert desk.done == [ANA]
    desk.due[ANA] = 1
    await desk.rounds.step()
    assert desk.done == [ANA, ANA]
    desk.slow[BEN].set()
    async with asyncio.timeout(60):
        await until(lambda: BEN in desk.done)
    await desk.rounds.step()
    assert desk.done == [ANA, ANA, BEN], "it was not started a second time"


async def test_an_account_that_is_held_back_is_skipped_until_its_time(desk: Desk, clock: FakeClock) -> None:
    desk.due = {ANA: 1}
    desk.rounds.hold_back(ANA, START + timedelta(seconds=40))
    assert await desk.rounds.step() == 40.0
    clock.advance(40)
    await desk.rounds.step()
    assert desk.done == [ANA]


@pytest.mark.parametrize(("seconds", "expected"), [(90, 90.0), (None, None)])
async def test_a_step_returns_when_the_next_item_is_due(
    desk: Desk, seconds: float | None, expected: float | None
) -> None:
    desk.next_at = None if seconds is None else START + timedelta(seconds=seconds)
    assert await desk.rounds.step() == expected
