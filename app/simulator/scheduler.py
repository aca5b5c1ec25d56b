"""Runs jobs when they are due, by a clock that can be moved forward."""

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
LONGEST_WAIT_SECONDS = 60.0


class SimulatedClock:
    """The clock of the whole simulator. Its timestamps are real; `speed` shortens durations."""

    def __init__(self, base: Clock, speed: float) -> None:
        self._base = base
        self._ahead = timedelta()
        self.speed = speed

    def now(self) -> datetime:
        return self._base.now() + self._ahead

    async def sleep(self, seconds: float) -> None:
        """Wait for real seconds."""
        await self._base.sleep(seconds)

    def advance(self, seconds: float) -> None:
        """Move the clock forward by real seconds, never back: responses have shown the time."""
        self._ahead += timedelta(seconds=max(0.0, seconds))

    def scaled(self, seconds: float) -> float:
        """Convert simulated seconds to real seconds."""
        return seconds / self.speed

    def after(self, seconds: float) -> datetime:
        """Return the time after this many simulated seconds."""
        return self.now() + timedelta(seconds=self.scaled(seconds))


class Scheduler:
    """Starts each job as a task when it is due, and cancels all of them on `stop`."""

    def __init__(self, clock: SimulatedClock) -> None:
        self._clock = clock
        self._due: list[tuple[datetime, int, Job]] = []
        self._order = itertools.count()
        self._changed = asyncio.Event()
        self._jobs: set[asyncio.Task[None]] = set()
        self._loop: asyncio.Task[None] | None = None

    def at(self, moment: datetime, job: Job) -> None:
        """Run the job at this time, immediately if it has passed; jobs of one time run in the order given."""
        heapq.heappush(self._due, (moment, next(self._order), job))
        self._changed.set()

    def wake(self) -> None:
        """Check the clock again after it was moved."""
        self._changed.set()

    def clear(self) -> None:
        """Remove the planned jobs and cancel the running ones."""
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
            # Cleared before the heap is read: a job added meanwhile sets it again, and the wait ends at once.
            self._changed.clear()
            now = self._clock.now()
            while self._due and self._due[0][0] <= now:
                self._spawn(heapq.heappop(self._due)[2])
            wait = LONGEST_WAIT_SECONDS
            if self._due:
                wait = min(wait, (self._due[0][0] - now).total_seconds())
            # Not `wait_for`: before Python 3.12 it can lose a cancellation that comes with the event.
            with suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._changed.wait()

    def _spawn(self, job: Job) -> None:
        # The event loop keeps weak references only, so the set holds the task until it is done.
        task = asyncio.create_task(_guarded(job))
        self._jobs.add(task)
        task.add_done_callback(self._jobs.discard)


async def _guarded(job: Job) -> None:
    try:
        await job()
    except Exception:
        log.exception("a scheduled job of the simulator failed")
