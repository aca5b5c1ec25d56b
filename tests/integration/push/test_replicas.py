"""Crashes at any instant and several replicas: nothing is skipped, and a call's changes stay in order."""

import asyncio
from collections import defaultdict
from contextlib import suppress

import pytest
from sqlalchemy import text

from app.db.engine import Database
from app.push.endpoints import store
from app.push.sending.outcomes import Release, Result
from app.push.spreading.spread import spread
from app.work.wakeups import PUSH
from tests.factories_calls import seed_call, touch
from tests.fakes.receiver import Handler, Received, Receiver, accept
from tests.integration.push.conftest import World

CALLS = 4
CHANGES = 3
ANYBODY_WAITS = text("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)")


class Killed(BaseException):
    """The process ends here: nothing after it happens."""


async def make_history(world: World) -> list[str]:
    """Write changes of several calls, interleaved; return the ids of their messages in order."""
    made = [await seed_call(world.database) for _ in range(CALLS)]
    for _ in range(CHANGES - 1):
        for call in made:
            await touch(world.database, call, "call.updated", world.clock.now())
    return [call.call_id for call in made]


def first_arrivals(receiver: Receiver) -> dict[str, list[int]]:
    """The versions of each call in the order in which each arrived first."""
    found: dict[str, list[int]] = defaultdict(list)
    for one in receiver.received:
        if one.change["version"] not in found[one.change["callId"]]:
            found[one.change["callId"]].append(one.change["version"])
    return found


@pytest.mark.parametrize("survived", [0, 1, 5, 11])
async def test_a_replica_that_dies_while_sending_skips_nothing(
    world: World, survived: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.add_endpoint(atOnce=1)
    ids = await make_history(world)
    dying, heir = world.replica("dying"), world.replica("heir")
    outcomes, dead = dying.sender._outcomes, asyncio.Event()
    written, write = 0, outcomes.record

    async def record(outcome: Result | Release) -> None:
        # The response came, and its outcome is never committed; nor is the lease given back.
        nonlocal written
        if written == survived:
            dead.set()
            await asyncio.Event().wait()
        written += 1
        await write(outcome)

    monkeypatch.setattr(outcomes, "record", record)
    while await dying.spreader.step() is not None:
        pass
    task = asyncio.create_task(dying.sender.step())
    async with asyncio.timeout(60):
        await dead.wait()
    # Its lease holds off the heir until it expires.
    await heir.settle()
    assert len(world.receiver.received) == survived + 1
    world.clock.advance(21)
    await heir.settle()
    assert first_arrivals(world.receiver) == {one: list(range(1, CHANGES + 1)) for one in ids}
    assert len(world.receiver.received) == CALLS * CHANGES + 1
    assert await world.waiting() == []
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def test_what_was_not_committed_by_a_spreader_is_spread_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = await world.add_endpoint()
    ids = await make_history(world)
    replica = world.replica()

    async def die(*_: object) -> None:
        raise Killed

    monkeypatch.setattr("app.push.spreading.spread.update_rows", die)
    before = (await world.endpoint(key)).position
    with pytest.raises(Killed):
        async with world.database.write() as db:
            await spread(db, key.account_id, world.clock.now())
    assert (await world.endpoint(key)).position == before
    assert await world.waiting() == []
    monkeypatch.undo()
    await replica.settle()
    assert first_arrivals(world.receiver) == {one: list(range(1, CHANGES + 1)) for one in ids}


async def test_two_replicas_send_each_change_once_and_in_order(world: World, database_url: str) -> None:
    for _ in range(3):
        await world.add_endpoint(atOnce=3)
    second = Database(database_url)
    try:
        replicas = [world.replica("one"), world.replica("two", second)]
        ids = await make_history(world)
        await asyncio.gather(*(one.settle() for one in replicas))
        # One may have waited for what the other held.
        for one in replicas:
            await one.settle()
        assert first_arrivals(world.receiver) == {one: list(range(1, CHANGES + 1)) for one in ids}
        assert len(world.receiver.received) == 3 * CALLS * CHANGES
        assert await world.waiting() == []
    finally:
        for one in world.replicas:
            await one.close()
        await second.close()


async def test_an_endpoint_that_another_replica_spreads_to_is_looked_for_again(
    world_on_postgres: World, postgres_url: str
) -> None:
    """Its wake-up comes while it is locked, and nothing else wakes the senders when the lock is gone."""
    world, second = world_on_postgres, Database(postgres_url)
    key = await world.add_endpoint()
    await seed_call(world.database)
    replica = world.replica()
    locked, go_on = asyncio.Event(), asyncio.Event()

    async def spread_in_vain() -> None:
        async with second.write() as db:
            assert not await spread(db, key.account_id, world.clock.now())
            locked.set()
            await go_on.wait()

    async with world.database.write() as db:
        await spread(db, key.account_id, world.clock.now())
        other = asyncio.create_task(spread_in_vain())
        async with world.database.read() as reading:
            while not await reading.scalar(ANYBODY_WAITS):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    try:
        # The other found the endpoint behind, waited, and now holds it although there is nothing left to do.
        async with asyncio.timeout(30):
            await locked.wait()
        pauses = [await replica.sender.step() or 0.0 for _ in range(10)]
        assert 0.0 < pauses[0] < 0.1
        assert pauses == sorted(pauses)
        assert pauses[-1] <= 1.0
        assert world.receiver.received == []
        go_on.set()
        await other
        await replica.sender.step()
        assert len(world.receiver.received) == 1
        await replica.settle()
        assert await world.waiting() == []
    finally:
        go_on.set()
        await other
        await second.close()


async def test_an_endpoint_that_another_replica_sends_to_is_not_looked_for_again(
    world: World,
) -> None:
    released = asyncio.Event()

    async def hang(_: Received) -> int:
        await released.wait()
        return 204

    world.receiver.handler = hang
    await world.add_endpoint()
    await seed_call(world.database)
    sending, idle = world.replica("one"), world.replica("two")
    await sending.spreader.step()
    step = asyncio.create_task(sending.sender.step())
    async with asyncio.timeout(30):
        while not world.receiver.received:  # noqa: ASYNC110 - it knows of no event
            await asyncio.sleep(0.01)
    assert await idle.sender.step() is None
    released.set()
    await step


async def test_the_end_of_a_turn_wakes_the_senders_if_messages_are_left(world: World) -> None:
    """What became due while the endpoint was taken was not seen by anybody who was woken for it."""
    woken: list[str] = []
    world.database.waker = woken.extend
    await world.add_endpoint()
    replica = world.replica()

    async def sent(handler: Handler) -> tuple[list[str], float | None]:
        world.receiver.handler = handler
        await seed_call(world.database)
        await replica.spreader.step()
        woken.clear()
        pause = await replica.sender.step()
        return [topic for topic in woken if topic == PUSH], pause

    async def spread_another(_: Received) -> int:
        await seed_call(world.database)
        await replica.spreader.step()
        woken.clear()
        return 204

    assert await sent(accept) == ([], None)
    assert await sent(spread_another) == ([PUSH], 0.0)
    world.receiver.handler = accept
    assert await replica.sender.step() is None
    assert await world.waiting() == []
    assert len(world.receiver.received) == 3


async def test_a_change_that_commits_late_is_not_skipped(world: World) -> None:
    """The numbers of the timeline follow the commits, so what a replica has passed was committed."""
    await world.add_endpoint()
    replica = world.replica()
    call = await seed_call(world.database)

    async def write_slowly() -> None:
        for _ in range(CHANGES):
            await touch(world.database, call, "call.updated", world.clock.now())

    await asyncio.gather(write_slowly(), replica.settle(), replica.settle())
    await replica.settle()
    assert first_arrivals(world.receiver) == {call.call_id: list(range(1, CHANGES + 2))}
    assert len(world.receiver.received) == CHANGES + 1


async def test_a_slow_endpoint_holds_up_no_other(world: World) -> None:
    released = asyncio.Event()

    async def hang(_: Received) -> int:
        await released.wait()
        return 200

    async with Receiver(hang) as slow:
        await world.add_endpoint(slow.url)
        await world.add_endpoint()
        await seed_call(world.database)
        replica = world.replica()
        while await replica.spreader.step() is not None:
            pass
        step = asyncio.create_task(replica.sender.step())
        async with asyncio.timeout(30):
            while not (slow.received and world.receiver.received):  # noqa: ASYNC110 - it knows of no event
                await asyncio.sleep(0.01)
        assert not step.done()
        released.set()
        await step
    assert await world.waiting() == []


async def test_an_endpoint_that_is_far_behind_holds_up_no_other(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.push.spreading.spread.BATCH", 3)
    await make_history(world)
    async with Receiver() as other:
        behind = await world.add_endpoint(other.url)
        async with world.database.write() as db:
            await store.change_endpoint(db, behind, position_seq=0)
        await world.add_endpoint()
        latest = await seed_call(world.database)
        replica = world.replica()
        await replica.spreader.step()
        await replica.sender.step()
        assert [one.change["callId"] for one in world.receiver.received] == [latest.call_id]
        assert len(other.received) == 3
        await replica.settle()
        assert len(set(other.ids)) == CALLS * CHANGES + 1


async def test_changes_wait_in_the_timeline_while_too_many_messages_wait(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.push.spreading.spread.MOST_PENDING", 4)
    monkeypatch.setattr("app.push.spreading.spread.BATCH", 2)
    await world.add_endpoint()
    ids = await make_history(world)
    replica = world.replica()
    while await replica.spreader.step() is not None:
        pass
    assert len(await world.waiting()) == 4
    for _ in range(CALLS * CHANGES):
        await replica.settle()
    assert first_arrivals(world.receiver) == {one: list(range(1, CHANGES + 1)) for one in ids}
