import asyncio

from app.errors import StorageUnavailable
from app.work.leases import renewed
from app.work.loops import Loop, LoopGroup
from app.work.wakeups import Wakeups, wait
from tests.fakes.clock import FakeClock


async def test_a_loop_runs_again_at_once_while_there_is_more() -> None:
    runs = 0
    enough = asyncio.Event()

    async def step() -> float | None:
        nonlocal runs
        runs += 1
        if runs == 3:
            enough.set()
        return 0.0 if runs < 3 else None

    crew = LoopGroup(Wakeups(), FakeClock())
    crew.start([Loop("test", step, (), 60.0)])
    await enough.wait()
    await crew.stop()
    assert runs == 3


async def test_a_loop_that_failed_continues_when_woken() -> None:
    wakeups, tries, done = Wakeups(), 0, asyncio.Event()

    async def step() -> float | None:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise StorageUnavailable("away")
        if tries == 2:
            raise ValueError("unexpected")
        done.set()
        return None

    crew = LoopGroup(wakeups, FakeClock())
    crew.start([Loop("test", step, ("topic",), 60.0)])
    while not done.is_set():
        wakeups.wake(["topic"])
        await asyncio.sleep(0)
    await crew.stop()
    assert tries == 3


async def test_a_wake_up_reaches_its_own_listeners_once() -> None:
    wakeups = Wakeups()
    with wakeups.listen("a") as one, wakeups.listen("b") as other:
        wakeups.wake(["a"])
        assert await wait(one, 0)
        assert not await wait(one, 0)
        assert not await wait(other, 0)
    wakeups.wake(["a"])
    assert not one.is_set()


async def test_a_lease_is_renewed_until_its_work_is_done() -> None:
    renewals, enough = 0, asyncio.Event()

    async def renew() -> None:
        nonlocal renewals
        renewals += 1
        if renewals == 2:
            raise StorageUnavailable("away for a moment")
        if renewals == 3:
            enough.set()

    async with renewed(renew, 0.0):
        await enough.wait()
    done_at = renewals
    await asyncio.sleep(0)
    assert renewals == done_at >= 3
