"""The ledger: versions and the timeline, gap-free in commit order with any concurrent transactions."""

import asyncio
import random
from datetime import timedelta

import pytest
from sqlalchemy import select

from app.calls import store
from app.calls.feed import changes
from app.calls.feed.positions import BEGINNING, Position
from app.calls.ledger import open_ledger
from app.calls.model import Call, Stage
from app.db.engine import Database
from app.db.tables import accounts, call_aliases, call_parties, calls, timeline
from app.ids import AccountId
from app.work import wakeups
from app.work.wakeups import Wakeups
from tests.factories_calls import ACCOUNT, ANA, CUSTOMER, call_values, seed_call, touch
from tests.fakes.clock import START

OTHER_ACCOUNT = AccountId("555000111")


async def read_all(database: Database, after: Position = BEGINNING) -> list[int]:
    async with database.read() as db:
        feed = await changes.read_feed(db, ACCOUNT, after, 10_000)
    return [change.seq for change in feed.changes]


async def test_each_change_is_one_version_and_one_event(database: Database) -> None:
    call = await seed_call(database, event="call.live")
    await touch(database, call, "call.updated", START + timedelta(seconds=1), why="test")
    async with database.read() as db:
        stored = (await store.load_by_ids(db, ACCOUNT, [call.call_id]))[call.call_id]
        events = (await db.execute(select(timeline).order_by(timeline.c.seq))).all()
        last = await db.scalar(select(accounts.c.timeline_seq))
    assert stored == call
    assert (stored.version, stored.changed_seq, last) == (2, 2, 2)
    assert [(row.seq, row.version, row.type) for row in events] == [
        (1, 1, "call.live"),
        (2, 2, "call.updated"),
    ]
    assert events[1].data == {"stage": "bootstrapped", "why": "test"}


async def test_names_and_parties_are_written_once(database: Database) -> None:
    call = await seed_call(database)
    later = call.started_at + timedelta(seconds=9)
    async with database.write() as db, open_ledger(db, ACCOUNT, START) as ledger:
        ledger.name(call, [call.session_id, "0", None, "another"])
        call.started_at = later
        ledger.involve(call, [ANA, None], [CUSTOMER, "", "x" * 129])
    async with database.read() as db:
        names = set(await db.scalars(select(call_aliases.c.alias)))
        parties = (await db.execute(select(call_parties))).all()
    assert names == {call.session_id, "another"}
    assert {(row.kind, row.value, row.started_at) for row in parties} == {
        ("extension", ANA, later),
        ("number", CUSTOMER, later),
    }


async def _open_and_undo(database: Database) -> None:
    async with database.write() as db, open_ledger(db, ACCOUNT, START) as ledger:
        ledger.open(Call(**call_values()), "call.live")
        await ledger.flush()
        raise RuntimeError("undo")


async def test_rolled_back_writes_are_invisible(database: Database) -> None:
    await seed_call(database)
    with pytest.raises(RuntimeError):
        await _open_and_undo(database)
    await seed_call(database)
    assert await read_all(database) == [1, 2]


async def test_a_commit_wakes_the_waiters_of_the_account(database: Database) -> None:
    call = await seed_call(database)
    topics = Wakeups()
    told: list[str] = []
    database.waker = topics.wake
    with (
        topics.listen(wakeups.TIMELINE) as everybody,
        topics.listen(wakeups.of_timeline(ACCOUNT)) as one,
        topics.listen(wakeups.of_timeline("another")) as another,
        topics.tell(wakeups.TIMELINE, told.append),
    ):
        await touch(database, call, "call.updated", START)
        assert (everybody.is_set(), one.is_set(), another.is_set(), told) == (True, True, False, [ACCOUNT])


async def test_an_invisible_change_keeps_the_version(database: Database) -> None:
    call = await seed_call(database)
    async with database.write() as db, open_ledger(db, ACCOUNT, START) as ledger:
        call.looks = 7
        ledger.keep(call)
    async with database.read() as db:
        row = (await db.execute(select(calls.c.looks, calls.c.version))).one()
    assert tuple(row) == (7, 1)
    assert await read_all(database) == [1]


async def test_accounts_have_timelines_of_their_own(database: Database) -> None:
    await seed_call(database)
    await seed_call(database, OTHER_ACCOUNT)
    await seed_call(database)
    assert await read_all(database) == [1, 2]


async def test_a_second_writer_waits_for_the_first_and_no_reader_sees_a_gap(
    postgres_database: Database,
) -> None:
    """The classic problem of sequences: the transaction that began first commits last."""
    database = postgres_database
    await seed_call(database)
    order: list[str] = []
    holds, go_on = asyncio.Event(), asyncio.Event()

    async def first() -> None:
        async with database.write() as db:
            async with open_ledger(db, ACCOUNT, START) as ledger:
                ledger.open(Call(**call_values()), "call.live")
            holds.set()
            await go_on.wait()
            order.append("first")

    async def second() -> None:
        await holds.wait()
        async with database.write() as db, open_ledger(db, ACCOUNT, START) as ledger:
            order.append("second")
            ledger.open(Call(**call_values()), "call.live")

    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        tasks.create_task(first())
        waiting = tasks.create_task(second())
        await holds.wait()
        await asyncio.sleep(0.2)
        assert not waiting.done()
        assert await read_all(database) == [1]
        await seed_call(database, OTHER_ACCOUNT)  # another account does not wait
        go_on.set()
    assert order == ["first", "second"]
    assert await read_all(database) == [1, 2, 3]


async def test_followers_of_many_writers_see_every_number_once_and_in_order(database: Database) -> None:
    writers, each = 6, 8
    chance = random.Random(11)
    await seed_call(database)
    done = asyncio.Event()

    async def write() -> None:
        for _ in range(each):
            async with database.write() as db:
                async with open_ledger(db, ACCOUNT, START) as ledger:
                    ledger.open(Call(**call_values()), "call.live")
                await asyncio.sleep(chance.random() / 200)  # late commits, in another order than they began

    async def follow() -> list[int]:
        seen: list[int] = []
        while not (done.is_set() and len(seen) == writers * each + 1):
            seen += await read_all(database, Position(seen[-1] if seen else 0))
            await asyncio.sleep(0)
        return seen

    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        followers = [tasks.create_task(follow()) for _ in range(2)]
        async with asyncio.TaskGroup() as writing:
            for _ in range(writers):
                writing.create_task(write())
        done.set()
    for follower in followers:
        assert follower.result() == list(range(1, writers * each + 2))


async def test_concurrent_writers_open_a_new_account_once(database: Database) -> None:
    async def open_call() -> None:
        async with database.write() as db, open_ledger(db, ACCOUNT, START) as ledger:
            ledger.open(Call(**call_values(stage=Stage.LIVE)), "call.live")

    async with asyncio.timeout(20):
        await asyncio.gather(*(open_call() for _ in range(5)))
    assert await read_all(database) == [1, 2, 3, 4, 5]
