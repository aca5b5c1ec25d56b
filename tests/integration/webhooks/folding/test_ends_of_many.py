"""The ends of calls in many accounts, judged together: none waits for another."""

import asyncio
import json
from datetime import datetime

import pytest
from sqlalchemy import func, select, update

from app.calls import accounts
from app.calls.model import Stage
from app.db.engine import Database
from app.db.tables import accounts as account_rows
from app.db.tables import calls, timeline
from app.ids import AccountId
from app.webhooks.folding import end_watch
from app.webhooks.folding.due_calls import find_due_calls
from tests.factories import ACCOUNT, inbound_answered, received_at
from tests.factories_calls import seed_call
from tests.fakes.statements import counted
from tests.integration.webhooks.conftest import Intake


def ids(count: int) -> list[AccountId]:
    return [AccountId(str(908_070_100 + number)) for number in range(count)]


async def open_calls(intake: Intake, account_ids: list[AccountId], each: int = 1) -> None:
    """Live calls about which nothing is known for so long that their ends are due."""
    now = intake.clock.now()
    for account_id in account_ids:
        for _ in range(each):
            await seed_call(
                intake.database,
                account_id,
                stage=Stage.LIVE,
                ended_at=None,
                end_check_at=now,
                bootstrapped_at=None,
                bootstrapped_by=None,
            )


async def due_in(database: Database, account_ids: list[AccountId], now: datetime) -> set[str]:
    async with database.read() as db:
        mine = calls.c.account_id.in_(account_ids) & (calls.c.end_check_at <= now)
        return set(await db.scalars(select(calls.c.account_id).where(mine)))


async def end_calls(intake: Intake, account_ids: list[AccountId]) -> None:
    """A call in each account, over by now."""
    deliveries = json.dumps(inbound_answered())
    intake.clock.set(received_at(inbound_answered()[-1]))
    for account_id in account_ids:
        await intake.store(json.loads(deliveries.replace(ACCOUNT, account_id)))
    await intake.fold()
    intake.clock.set(intake.clock.now().replace(minute=30))


async def test_many_accounts_take_as_many_statements_as_a_few(intake: Intake) -> None:
    taken = []
    for account_ids in (ids(2), ids(14)[2:]):
        await end_calls(intake, account_ids)
        with counted(intake.database) as statements:
            await intake.ends.step()
        taken.append(len(statements))
    assert {call.stage for call in await intake.calls()} == {Stage.ENDED}
    assert taken[1] <= taken[0]


async def test_each_account_gets_the_next_numbers_of_its_own_timeline(intake: Intake) -> None:
    await end_calls(intake, ids(3))
    await intake.ends.step()
    assert {(call.account_id, call.stage) for call in await intake.calls()} == {
        (account_id, Stage.ENDED) for account_id in ids(3)
    }
    async with intake.database.read() as db:
        query = select(timeline.c.account_id, timeline.c.type).order_by(timeline.c.seq)
        last_events = {row.account_id: row.type for row in await db.execute(query)}
        numbered = select(timeline.c.account_id, func.max(timeline.c.seq), func.count())
        rows = (await db.execute(numbered.group_by(timeline.c.account_id))).all()
        counters = await db.execute(select(account_rows.c.account_id, account_rows.c.timeline_seq))
        counted_to = {row.account_id: row.timeline_seq for row in counters}
    assert all(last == count == counted_to[account_id] for account_id, last, count in rows)
    assert last_events == dict.fromkeys(ids(3), "call.ended")


async def test_an_account_with_thousands_of_due_calls_leaves_turns_to_the_others(intake: Intake) -> None:
    busy, *others = ids(4)
    await open_calls(intake, [busy], each=12)
    intake.clock.advance(1)
    await open_calls(intake, others)
    async with intake.database.read() as db:
        due = await find_due_calls(db, intake.clock.now(), 6)
        without = await find_due_calls(db, intake.clock.now(), 6, [busy])
    assert {account_id: len(call_ids) for account_id, call_ids in due.items()} == {
        busy: 3,
        **dict.fromkeys(others, 1),
    }
    assert without.keys() == set(others)


async def test_more_calls_than_one_transaction_takes_follow_at_once(
    intake: Intake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(end_watch, "BATCH", 2)
    monkeypatch.setattr(end_watch, "TOGETHER", 2)
    await open_calls(intake, ids(3))
    assert await intake.ends.step() == 0.0
    assert len(await due_in(intake.database, ids(3), intake.clock.now())) == 1
    await intake.ends.step()
    assert not await due_in(intake.database, ids(3), intake.clock.now())


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
@pytest.mark.parametrize("held", ["account", "call"])
async def test_what_another_transaction_has_holds_up_no_other_account(intake: Intake, held: str) -> None:
    stuck, *others = ids(3)
    await open_calls(intake, [stuck, *others])
    async with intake.database.write() as db:
        if held == "account":
            await accounts.lock(db, stuck, intake.clock.now())
        else:
            await db.execute(update(calls).where(calls.c.account_id == stuck).values(looks=1))
        async with asyncio.timeout(30):
            pause = await intake.ends.step()
        assert await due_in(intake.database, [stuck, *others], intake.clock.now()) == {stuck}
        assert pause is not None
        assert 0 < pause < 1, "it is tried again soon, and the loop does not spin"
    intake.clock.advance(1)
    await intake.ends.step()
    assert not await due_in(intake.database, [stuck], intake.clock.now())
