"""One reader serves all followers of a process: from memory, in order, and whatever wake-ups are lost."""

import asyncio
import itertools
import random
from collections.abc import AsyncGenerator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import delete, update

from app.api.dependencies import Services
from app.calls.feed import account_feed, following
from app.calls.feed.account_feed import MOST_REMEMBERED, AccountFeed
from app.calls.feed.changes import FeedEntry, read_feed
from app.calls.feed.feeds import Feeds
from app.calls.feed.positions import BEGINNING, Position, load_end
from app.clock import SystemClock
from app.db.engine import Database
from app.db.tables import timeline
from app.errors import HistoryChanged
from app.ids import AccountId
from app.work.wakeups import Wakeups
from tests.conftest import open_feeds, until
from tests.factories_calls import ACCOUNT, seed_call, touch
from tests.fakes.clock import START
from tests.fakes.statements import counted


@pytest.fixture
def feeds(services: Services) -> Feeds:
    return open_feeds(replace(services, clock=SystemClock()))


class Follower:
    """A stream that collects what it is sent."""

    def __init__(self, feeds: Feeds, after: Position = BEGINNING) -> None:
        self.seqs: list[int] = []
        self._stream: AsyncGenerator[Any] = following.follow(feeds, ACCOUNT, after)
        self.task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        async for batch in self._stream:
            self.seqs += [entry.seq for entry in batch]

    async def stop(self) -> None:
        self.task.cancel()
        await asyncio.wait([self.task])


async def add_changes(database: Database, count: int) -> None:
    call = await seed_call(database)
    for number in range(count - 1):
        await touch(database, call, "call.updated", START + timedelta(seconds=number))


async def load_position(database: Database) -> Position:
    async with database.read() as db:
        return await load_end(db, ACCOUNT)


async def test_many_followers_cost_as_many_statements_as_one(
    feeds: Feeds, database: Database, account: AccountId
) -> None:
    await add_changes(database, 3)
    end = await load_position(database)
    followers = [Follower(feeds, end)]
    async with asyncio.timeout(60):
        await until(feeds.is_fresh)
        with counted(database) as statements:
            followers += [Follower(feeds, end) for _ in range(200)]
            await until(lambda: feeds.followers(ACCOUNT) == len(followers))
            await seed_call(database)
            await until(lambda: all(one.seqs == [4] for one in followers))
    assert len([statement for statement in statements if "timeline.seq >=" in statement]) == 1
    for one in followers:
        await one.stop()


async def test_changes_are_found_without_wake_ups(
    feeds: Feeds, database: Database, account: AccountId
) -> None:
    database.waker = Wakeups().wake  # nobody listens there
    follower = Follower(feeds)
    async with asyncio.timeout(60):
        await until(lambda: feeds.followers(ACCOUNT) == 1)
        await seed_call(database)
        await until(lambda: follower.seqs == [1])
    await follower.stop()


async def test_a_stopped_reader_starts_again_with_the_next_follower(
    feeds: Feeds, database: Database, account: AccountId
) -> None:
    first = Follower(feeds)
    async with asyncio.timeout(60):
        await until(lambda: feeds.followers(ACCOUNT) == 1)
        await feeds.aclose()
        await first.stop()
        second = Follower(feeds)
        await seed_call(database)
        await until(lambda: second.seqs == [1])
    await second.stop()


async def test_a_history_with_as_many_changes_is_noticed(
    feeds: Feeds, database: Database, account: AccountId
) -> None:
    await add_changes(database, 3)
    follower = Follower(feeds)
    async with asyncio.timeout(60):
        await until(lambda: follower.seqs == [1, 2, 3])
        async with database.write() as db:
            await db.execute(update(timeline).where(timeline.c.seq == 3).values(mark="0123456789ab"))
        with pytest.raises(HistoryChanged):
            await follower.task


async def test_followers_that_begin_anywhere_get_every_change_once_and_in_order(
    feeds: Feeds, database: Database, account: AccountId
) -> None:
    """Some begin before the remembered changes, some within, and changes are committed meanwhile."""
    await add_changes(database, 150)
    draw = random.Random(7)
    async with database.read() as db:
        known = [
            BEGINNING,
            *(entry.position for entry in (await read_feed(db, ACCOUNT, BEGINNING, 500)).changes),
        ]
    followers: list[tuple[int, Follower]] = []
    async with asyncio.timeout(120):
        for _ in range(30):
            after = draw.choice(known)
            followers.append((after.seq, Follower(feeds, after)))
            if draw.random() < 0.5:
                await add_changes(database, draw.randrange(1, 6))
            await asyncio.sleep(draw.choice((0, 0, 0.01)))
        last = (await load_position(database)).seq
        await until(lambda: all((one.seqs and one.seqs[-1] == last) or seq == last for seq, one in followers))
    assert all(one.seqs == list(range(seq + 1, last + 1)) for seq, one in followers)
    for _, one in followers:
        await one.stop()


async def test_memory_and_database_tell_the_same(database: Database, account: AccountId) -> None:
    """Wherever a follower stands, memory answers like the database, or leaves it to the database."""
    call = await seed_call(database)
    feed = AccountFeed(database, ACCOUNT)
    await feed.open()
    entries: list[FeedEntry] = []
    for number in range(MOST_REMEMBERED + 40):
        await touch(database, call, "call.updated", START + timedelta(seconds=number))
    # A hole, as the deletion of a call leaves it.
    async with database.write() as db:
        await db.execute(delete(timeline).where(timeline.c.seq.in_((60, 61, 141))))
    await feed.read_on(at_least=0)
    async with database.read() as db:
        entries = (await read_feed(db, ACCOUNT, BEGINNING, 500)).changes
    last = entries[-1].seq
    answered = 0
    for seq in range(last + 2):
        mark = next((entry.position.mark for entry in entries if entry.seq == seq), None)
        told = feed.recall(Position(seq, mark), 7)
        if told is not None:
            answered += 1
            assert [one.seq for one in told] == [one.seq for one in entries if one.seq > seq][:7]
            assert mark is None or feed.recall(Position(seq, "f" * 12), 7) is None
    assert answered == MOST_REMEMBERED + 3
    assert feed.recall(Position(last + 1), 7) is None


async def test_the_end_passes_changes_that_were_deleted(database: Database, account: AccountId) -> None:
    await add_changes(database, 3)
    feed = AccountFeed(database, ACCOUNT)
    await feed.open()
    call = await seed_call(database)
    await touch(database, call, "call.updated", START)
    async with database.write() as db:
        await db.execute(delete(timeline).where(timeline.c.seq > 3))
    await feed.read_on(at_least=5)
    assert feed.end == Position(5)
    assert feed.recall(Position(3), 7) == []


async def test_a_long_poll_that_returns_asks_memory_alone(
    waiting_client: httpx.AsyncClient, waiting_app: FastAPI, database: Database
) -> None:
    feeds: Feeds = waiting_app.state.feeds
    await seed_call(database)
    path = "/v1/changes"
    async with asyncio.timeout(60):
        cursor = (await waiting_client.get(path, params={"wait": 0.01})).json()["nextCursor"]
        cursor = (await waiting_client.get(path, params={"wait": 0.01, "cursor": cursor})).json()[
            "nextCursor"
        ]
        await until(feeds.is_fresh)
        with counted(database) as statements:
            answer = await waiting_client.get(path, params={"wait": 0.01, "cursor": cursor})
    assert answer.json() == {"data": [], "nextCursor": cursor, "hasMore": False}
    assert [one for one in statements if "timeline.seq >=" in one] == []


async def test_crowds_are_woken_in_slices_and_in_order(database: Database, account: AccountId) -> None:
    """Other requests find their turn between two slices."""
    feed = AccountFeed(database, ACCOUNT)
    await feed.open()
    woken: list[int] = []
    turns: list[int] = []

    async def follow(number: int) -> None:
        await feed.next_change.wait()
        woken.append(number)

    count = 3 * account_feed._WOKEN_AT_ONCE + 5
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        for number in range(count):
            group.create_task(follow(number))
        await asyncio.sleep(0)
        await seed_call(database)
        await feed.read_on(at_least=0)
        feed.wake()  # meanwhile: those who are being woken keep their place
        while len(woken) < count:
            turns.append(len(woken))
            await asyncio.sleep(0)
    assert woken == list(range(count))
    largest = max(after - before for before, after in itertools.pairwise([*turns, count]))
    assert largest <= account_feed._WOKEN_AT_ONCE


async def test_a_change_arrives_while_the_ends_are_being_compared(
    feeds: Feeds, database: Database, account: AccountId, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slow comparison of many feeds does not hold up the one that has changed."""
    await seed_call(database)
    follower = Follower(feeds, await load_position(database))
    comparing, going_on = asyncio.Event(), asyncio.Event()
    compare = Feeds._compare_ends

    async def slow(self: Feeds) -> None:
        comparing.set()
        await going_on.wait()
        await compare(self)

    async with asyncio.timeout(60):
        await until(feeds.is_fresh)
        await until(lambda: feeds.followers(ACCOUNT) == 1)
        monkeypatch.setattr(Feeds, "_compare_ends", slow)
        await comparing.wait()
        await seed_call(database)
        await until(lambda: follower.seqs == [2])
        assert not going_on.is_set()
        going_on.set()
    await follower.stop()


async def test_followers_that_are_behind_share_reads(
    feeds: Feeds, database: Database, account: AccountId
) -> None:
    await add_changes(database, 3)
    end = await load_position(database)
    await add_changes(database, MOST_REMEMBERED + 10)
    with counted(database) as statements:
        followers = [Follower(feeds, end) for _ in range(100)]
        async with asyncio.timeout(60):
            await until(lambda: all(len(one.seqs) == MOST_REMEMBERED + 10 for one in followers))
    assert all(one.seqs == followers[0].seqs for one in followers)
    assert len([statement for statement in statements if "timeline.seq >=" in statement]) < len(followers) / 2
    for one in followers:
        await one.stop()


async def test_a_position_of_another_history_does_not_disturb_those_who_share_the_read(
    feeds: Feeds, database: Database, account: AccountId
) -> None:
    await add_changes(database, 3)
    lost = [Follower(feeds, Position(2, "0123456789ab")), Follower(feeds, Position(9))]
    follower = Follower(feeds)
    async with asyncio.timeout(60):
        await until(lambda: follower.seqs == [1, 2, 3])
        for one in lost:
            with pytest.raises(HistoryChanged):
                await one.task
    await follower.stop()
