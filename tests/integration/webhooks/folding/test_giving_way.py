"""Folding yields to requests: the size of its batches, on both databases."""

from sqlalchemy import func, insert, select

from app.calls import accounts
from app.db.engine import Database
from app.db.tables import deliveries
from app.ids import AccountId
from app.webhooks.folding.batches import ROWS_AT_A_STRETCH
from app.webhooks.folding.fold import ON_SQLITE, ON_SQLITE_WHILE_BUSY, USUAL, Folder
from app.webhooks.folding.stages import EndRules
from app.webhooks.intake.inbox import Inbox
from tests.factories import delivery, party
from tests.fakes.clock import FakeClock
from tests.fakes.context import work_context
from tests.integration.webhooks.conftest import Intake

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
    size = ON_SQLITE if database.is_sqlite else USUAL
    folder = Folder(work_context(database, clock), RULES, Inbox(database, clock))
    await fill(database, clock, account, size.calls + 5)
    assert await folder.step() == 0.0
    assert await waiting(database) == 5
    assert await folder.step() is None
    assert await waiting(database) == 0


async def test_a_waiting_request_waits_for_a_small_batch_at_most(
    database: Database, clock: FakeClock, account: AccountId
) -> None:
    class Busy(Inbox):
        is_busy = True

    size = ON_SQLITE_WHILE_BUSY if database.is_sqlite else USUAL
    folder = Folder(work_context(database, clock), RULES, Busy(database, clock))
    await fill(database, clock, account, size.calls + 10)
    assert await folder.step() == 0.0
    assert await waiting(database) == 10


async def test_other_tasks_run_while_a_batch_is_folded(
    database: Database, clock: FakeClock, account: AccountId
) -> None:
    folder = Folder(work_context(database, clock), RULES)
    await fill(database, clock, account, 3 * ROWS_AT_A_STRETCH)
    await folder.step()
    assert clock.slept.count(0) >= 2


async def test_all_that_waits_of_a_call_is_folded_at_once(intake: Intake) -> None:
    payloads = [
        delivery(
            party(1, status, telephony_session_id=f"s-{call}"),
            uuid=f"{place}-{call}",
            sequence=place,
            telephonySessionId=f"s-{call}",
            sessionId=str(7000 + call),
        )
        for place, status in enumerate(("Setup", "Proceeding", "Answered"), 1)
        for call in range(20)
    ]
    await intake.store(payloads)
    while await intake.folder.step() == 0.0:
        pass
    assert {call.version for call in await intake.calls()} == {1}, "each call was written once"
    assert len(await intake.calls()) == 20


async def test_an_account_that_another_transaction_has_delays_no_other(
    postgres_database: Database, clock: FakeClock
) -> None:
    database = postgres_database
    held, free = AccountId("1"), AccountId("2")
    async with database.write() as db:
        await accounts.add(db, held, clock.now())
        await accounts.add(db, free, clock.now())
    await fill(database, clock, held, 3)
    await fill(database, clock, free, 3)
    folder = Folder(work_context(database, clock), RULES)
    async with database.write() as db:
        await accounts.lock(db, held, clock.now())
        pause = await folder.step()
        assert pause is not None
        assert 0 < pause < 1
        assert await waiting(database) == 3
    await folder.step()
    assert await waiting(database) == 0
