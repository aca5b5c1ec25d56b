"""Loops of background work: each runs a step when woken, when due, and at regular intervals.

A step returns in how many seconds to run again (None: when woken). A step that fails is logged, counted and
tried again after a growing pause; it never ends the loop. Steps keep their state in the database, so a loop
can be stopped at any moment.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field

import structlog
from sqlalchemy import ColumnElement
from structlog.contextvars import bound_contextvars

from app import metrics
from app.clock import Clock
from app.errors import StorageUnavailable
from app.log_repeats import Outage
from app.work.backoff import Backoff
from app.work.wakeups import Wakeups, wait

Step = Callable[[], Awaitable[float | None]]

_BACKOFF = Backoff(first=0.5, longest=10.0)
_START_SECONDS = 2.0
_STOP_SECONDS = 5.0
_RECOVERED_SECONDS = 60.0

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Loop:
    """One kind of background work.

    The step runs every `at_least_every` seconds even without a wake-up. After a wake-up it waits `gather`
    seconds, so that work that comes close together is done at once. `close` ends tasks that the step has left
    running. The first step waits for `after`, up to two seconds. `is_due` is the condition by which the
    `Lookout` finds that the step has something to do.
    """

    name: str
    step: Step
    topics: Sequence[str]
    at_least_every: float
    close: Callable[[], Awaitable[None]] | None = None
    gather: float = 0.0
    after: asyncio.Event | None = None
    is_due: ColumnElement[bool] | None = None
    failures: int = field(default=0, init=False)
    _outage: Outage = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._outage = Outage("background step fails", loop=self.name, settled_seconds=_RECOVERED_SECONDS)

    async def run(self, wakeups: Wakeups, clock: Clock) -> None:
        """Run until cancelled."""
        self._outage.clock = clock
        try:
            if self.after is not None:
                await wait(self.after, _START_SECONDS)
            with bound_contextvars(loop=self.name):
                await self._run(wakeups, clock)
        finally:
            if self.close is not None:
                await self.close()

    async def _run(self, wakeups: Wakeups, clock: Clock) -> None:
        with wakeups.listen(*self.topics, topic_of(self.name)) as woken:
            while True:
                started = clock.monotonic()
                pause = await self._step()
                metrics.LOOP_SECONDS.labels(loop=self.name).observe(clock.monotonic() - started)
                if pause > 0:
                    if await wait(woken, pause) and self.gather > 0:
                        await clock.sleep(self.gather)
                        woken.clear()
                else:
                    await clock.sleep(0)

    async def _step(self) -> float:
        try:
            pause = await self.step()
        except StorageUnavailable as error:
            stop_if_cancelled()
            # The database's own outage is logged where it is noticed, once for all loops.
            return self._fail("the database is unavailable", error)
        except Exception as error:  # noqa: BLE001 - logged once, counted each time
            stop_if_cancelled()
            self._outage.failed(str(error) or type(error).__name__, exc_info=error)
            return self._fail("unexpected", error)
        self.failures = 0
        self._outage.worked()
        return self.at_least_every if pause is None else min(pause, self.at_least_every)

    def _fail(self, why: str, error: Exception) -> float:
        self.failures += 1
        metrics.LOOP_FAILURES.labels(loop=self.name).inc()
        pause = _BACKOFF.pause(self.failures)
        log.debug(
            "background step will be tried again", loop=self.name, why=why, error=str(error), seconds=pause
        )
        return pause


def topic_of(name: str) -> str:
    """Return the topic by which the `Lookout` wakes a loop of its process."""
    return f"due:{name}"


def stop_if_cancelled() -> None:
    """Obey a cancellation that came back as an error: a failing rollback can hide it.

    For handlers of errors that go on with something else.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


class LoopGroup:
    """The loops of one process, started together and stopped together."""

    def __init__(self, wakeups: Wakeups, clock: Clock) -> None:
        self._wakeups = wakeups
        self._clock = clock
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, loops: Iterable[Loop]) -> None:
        """Start each loop in its own task."""
        for loop in loops:
            self._tasks.append(asyncio.create_task(loop.run(self._wakeups, self._clock), name=loop.name))

    def watch(self, coroutine: Awaitable[None], name: str) -> None:
        """Run another task together with the loops."""

        async def run() -> None:
            await coroutine

        self._tasks.append(asyncio.create_task(run(), name=name))

    async def stop(self) -> None:
        """Cancel all tasks and wait until they have ended, up to five seconds."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            _, hanging = await asyncio.wait(self._tasks, timeout=_STOP_SECONDS)
            if hanging:
                log.warning(
                    "background work did not stop in time", loops=[task.get_name() for task in hanging]
                )
        self._tasks.clear()
