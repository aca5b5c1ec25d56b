"""Runs things at their moment: one task, a heap of due times, and the clock that can be moved forward."""

import asyncio
import heapq
import itertools
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import datetime, timedelta

from app.clock import Clock

log = logging.getLogger("aftercall.simulator")

Job = Callable[[], Awaitable[None]]
LONGEST_NAP_SECONDS = 60.0


class MovableClock:
    """A clock that can be set forward; everything in the simulator takes its time from here."""

    def __init__(self, base: Clock) -> None:
        self._base = base
        self._ahead = timedelta()

    def now(self) -> datetime:
        return self._base.now() + self._ahead

    async def sleep(self, seconds: float) -> None:
        await self._base.sleep(seconds)

    def advance(self, seconds: float) -> None:
        """Go forward; going back would contradict what was already told."""
        self._ahead += timedelta(seconds=max(0.0, seconds))


class Scheduler:
    """Starts jobs at their moment, each as a task of its own, and ends them all on `stop`."""

    def __init__(self, clock: MovableClock) -> None:
        self._clock = clock
        self._due: list[tuple[datetime, int, Job]] = []
        self._order = itertools.count()
        self._changed = asyncio.Event()
        self._jobs: set[asyncio.Task[None]] = set()
        self._loop: asyncio.Task[None] | None = None

    def at(self, moment: datetime, job: Job) -> None:
        """Run the job at this moment, at once if it has passed; equal moments keep their order."""
        heapq.heappush(self._due, (moment, next(self._order), job))
        self._changed.set()

    def wake(self) -> None:
        """Look at the clock again, which may have been moved."""
        self._changed.set()

    def clear(self) -> None:
        """Forget what was planned and break off what runs."""
        self._due.clear()
        for task in self._jobs:
            task.cancel()

    def start(self) -> None:
        self._loop = asyncio.create_task(self._run(), name="simulator-scheduler")

    async def stop(self) -> None:
        tasks = [*self._jobs, *([self._loop] if self._loop is not None else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            self._changed.clear()
            now = self._clock.now()
            while self._due and self._due[0][0] <= now:
                self._spawn(heapq.heappop(self._due)[2])
            nap = LONGEST_NAP_SECONDS
            if self._due:
                nap = min(nap, (self._due[0][0] - now).total_seconds())
            # not `wait_for`: before Python 3.12 it can lose a cancellation that comes with the event
            with suppress(TimeoutError):
                async with asyncio.timeout(nap):
                    await self._changed.wait()

    def _spawn(self, job: Job) -> None:
        task = asyncio.create_task(_guarded(job))
        self._jobs.add(task)
        task.add_done_callback(self._jobs.discard)


async def _guarded(job: Job) -> None:
    try:
        await job()
    except Exception:
        log.exception("a scheduled job of the simulator failed")
