"""One slow or broken account among many."""

import asyncio
from collections.abc import Awaitable, Callable

from structlog.testing import capture_logs

from app.errors import LeaseLost, StorageUnavailable
from app.work.lanes import Lanes

Serve = Callable[[], Awaitable[float | None]]


def lanes(woken: list[str], *, patience: float | None = None, at_once: int = 16) -> Lanes[str]:
    return Lanes(
        "polls",
        wake=lambda: woken.append("woken"),
        longest_seconds=30.0,
        patience_seconds=patience,
        at_once=at_once,
    )


def says(pause: float | None) -> Serve:
    async def serve() -> float | None:
        return pause

    return serve


def fails(error: Exception) -> Serve:
    async def serve() -> float | None:
        raise error

    return serve


async def test_the_shortest_pause_is_returned() -> None:
    assert await lanes([]).run({"a": says(3.0), "b": says(None), "c": says(0.5)}) == 0.5
    assert await lanes([]).run({"b": says(None)}) is None
    assert await lanes([]).run({}) is None


async def test_a_slow_key_delays_no_other_and_wakes_the_loop_when_it_is_done() -> None:
    woken: list[str] = []
    crew, door = lanes(woken, patience=0.01), asyncio.Event()
    starts = 0

    async def slow() -> float | None:
        nonlocal starts
        starts += 1
        await door.wait()
        return 7.0

    assert await crew.run({"slow": slow, "quick": says(1.0)}) == 1.0
    assert await crew.run({"slow": slow, "quick": says(2.0)}) == 2.0
    assert starts == 1, "no key is served twice at a time"
    assert woken == []
    door.set()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert woken == ["woken"]
    assert await crew.run({}) == 7.0


async def test_an_unexpected_failure_pauses_its_own_key_longer_each_time() -> None:
    crew = lanes([])
    first = await crew.run({"bad": fails(ValueError("no")), "good": says(9.0)})
    second = await crew.run({"bad": fails(ValueError("no"))})
    assert first is not None
    assert second is not None
    assert 0 < first < second < 9.0
    await crew.run({"bad": says(None)})
    assert await crew.run({"bad": fails(ValueError("no"))}) == first


async def test_a_key_whose_rows_are_locked_waits_alone() -> None:
    crew, served = lanes([]), []

    async def other() -> float | None:
        served.append("other")
        return 5.0

    pauses = [
        await crew.run({"locked": fails(StorageUnavailable("its row is locked")), "other": other})
        for _ in range(10)
    ]
    assert served == ["other"] * 10
    paused = [pause for pause in pauses if pause is not None]
    assert paused == sorted(paused)
    assert 0 < paused[0] < paused[-1] == 5.0, "the others set the pace"
    assert await crew.run({"locked": fails(StorageUnavailable("its row is locked"))}) == 10.0


async def test_a_turn_that_another_replica_took_over_is_no_failure() -> None:
    crew = lanes([])
    with capture_logs() as logged:
        pauses = [await crew.run({"taken": fails(LeaseLost("the row was taken over"))}) for _ in range(3)]
    assert len(set(pauses)) == 1, "it does not become longer"
    assert [one["log_level"] for one in logged] == ["debug"] * 3


async def test_a_task_that_takes_too_long_is_cancelled() -> None:
    crew: Lanes[str] = Lanes("polls", wake=lambda: None, longest_seconds=0.01)

    async def hangs() -> float | None:
        await asyncio.Event().wait()
        return None

    pause = await crew.run({"hangs": hangs})
    assert pause is not None
    assert pause > 0


async def test_no_more_are_served_at_once_than_allowed() -> None:
    inside = most = 0

    async def serve() -> float | None:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        await asyncio.sleep(0)
        inside -= 1
        return None

    await lanes([], at_once=3).run(dict.fromkeys("abcdefgh", serve))
    assert most == 3


async def test_closing_cancels_all_tasks() -> None:
    woken: list[str] = []
    crew, stopped = lanes(woken, patience=0.01), asyncio.Event()

    async def hangs() -> float | None:
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()
        return None

    await crew.run({"hangs": hangs})
    await crew.close()
    assert stopped.is_set()
    assert woken == []
