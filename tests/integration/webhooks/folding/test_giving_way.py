"""Folding yields to requests: the size of its batches, on both databases."""

import asyncio

from sqlalchemy import func, insert, select

from app.db.engine import Database
from app.db.tables import deliveries
from app.ids import AccountId
from app.webhooks.folding.fold import BATCH, BUSY_BATCH, RUSH_BATCH, RUSH_PAUSE_SECONDS, Folder
from app.webhooks.folding.stages import EndRules
from app.webhooks.intake.inbox import Inbox
from tests.fakes.clock import FakeClock
from tests.fakes.context import work_context

RULES = EndRules(quiet=3, handover=30, stale=14_400, window=120)


async def fill(database: Database, clock: FakeClock, account: AccountId, count: int) -> None:
    """Put deliveries into the inbox whose events are not used."""
    rows = [
        {
            "account_id": account,
            "uuid": f"{number:04d}",
            "received_at": clock.now(),
            "raw": b'{"event": "/restapi/v1.0/something/new", "body": {"any": "thing"}}',
        }
        for number in range(count)
    ]
    async with database.write() as db:
        await db.execute(insert(deliveries), rows)


async def waiting(database: Database) -> int:
    async with database.read() as db:
        query = select(func.count()).select_from(deliveries).where(deliveries.c.folded_at.is_(None))
        return await db.scalar(query) or 0


async def test_full_batches_are_folded_while_no_request_waits(
    database: Database, clock: FakeClock, account: AccountId
) -> None:
    folder = Folder(work_context(database, clock), RULES, Inbox(database, clock))
    await fill(database, clock, account, BATCH + 5)
    assert await folder.step() == 0.0
    assert await waiting(database) == 5
    assert await folder.step() is None
    assert await waiting(database) == 0
    assert clock.slept == []


async def test_a_waiting_request_waits_for_a_small_batch_at_most(
    database: Database, clock: FakeClock, account: AccountId
) -> None:
    class Busy(Inbox):
        is_busy = True

    folder = Folder(work_context(database, clock), RULES, Busy(database, clock))
    await fill(database, clock, account, BATCH)
    assert await folder.step() == 0.0
    assert await waiting(database) == BATCH - BUSY_BATCH


async def test_folding_slows_down_in_a_rush_and_catches_up_afterwards(
    database: Database, clock: FakeClock, account: AccountId
) -> None:
    inbox = Inbox(database, clock)
    folder = Folder(work_context(database, clock), RULES, inbox)
    await fill(database, clock, account, 3 * BATCH)

    folding = asyncio.create_task(folder.step())
    await asyncio.sleep(0)
    inbox.accepted += BATCH + 1
    await folding
    assert await waiting(database) == 2 * BATCH, "the rush was not known before"
    assert clock.slept == []

    await folder.step()
    assert await waiting(database) == 2 * BATCH - RUSH_BATCH
    assert clock.slept == [RUSH_PAUSE_SECONDS]

    await folder.step()
    assert await waiting(database) == BATCH - RUSH_BATCH
    assert clock.slept == [RUSH_PAUSE_SECONDS], "the rush was over"
