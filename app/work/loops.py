"""A loop of background work: it runs a step when woken, when due, and from time to time anyway.

A step says in how many seconds it wants to run again (None: when woken). A step that fails is logged,
counted and tried again after a growing pause; it never ends the loop. Steps keep what they do in the
database, so a loop may be stopped at any instant.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field

import structlog
from structlog.contextvars import bound_contextvars

from app import metrics
from app.clock import Clock
from app.errors import StorageUnavailable
from app.repeats import Outage
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
    """One kind of background work. `at_least_every` seconds it looks even if nobody woke it; `gather` seconds
    after a wake-up it begins, so that what comes close together is done at once.

    `close` ends what the step has left running beside it. `after` is waited for, up to two seconds, before the
    first step.
    """

    name: str
    step: Step
    topics: Sequence[str]
    at_least_every: float
    close: Callable[[], Awaitable[None]] | None = None
    gather: float = 0.0
    after: asyncio.Event | None = None
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
        with wakeups.listen(*self.topics) as woken:
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
            wanted = await self.step()
        except StorageUnavailable as error:
            _stop_if_cancelled()
            # The database's own outage is logged where it is noticed, once for all loops.
            return self._failed("the database is away", error)
        except Exception as error:  # noqa: BLE001 - logged once, counted each time
            _stop_if_cancelled()
            self._outage.failed(str(error) or type(error).__name__, exc_info=error)
            return self._failed("unexpected", error)
        self.failures = 0
        self._outage.worked()
        return self.at_least_every if wanted is None else min(wanted, self.at_least_every)

    def _failed(self, why: str, error: Exception) -> float:
        self.failures += 1
        metrics.LOOP_FAILURES.labels(loop=self.name).inc()
        pause = _BACKOFF.pause(self.failures)
        log.debug(
            "background step will be tried again", loop=self.name, why=why, error=str(error), seconds=pause
        )
        return pause


def _stop_if_cancelled() -> None:
    """Obey a cancellation that came back as an error: the rollback on its way out can fail and hide it."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


class Crew:
    """The loops of one process, started together and stopped together."""

    def __init__(self, wakeups: Wakeups, clock: Clock) -> None:
        self._wakeups = wakeups
        self._clock = clock
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, loops: Iterable[Loop]) -> None:
        """Start each loop as a task of its own."""
        for loop in loops:
            self._tasks.append(asyncio.create_task(loop.run(self._wakeups, self._clock), name=loop.name))

    def watch(self, coroutine: Awaitable[None], name: str) -> None:
        """Run a side task beside the loops."""

        async def run() -> None:
            await coroutine

        self._tasks.append(asyncio.create_task(run(), name=name))

    async def stop(self) -> None:
        """Cancel everything and wait until it has let go; whoever hangs is left behind."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            _, hanging = await asyncio.wait(self._tasks, timeout=_STOP_SECONDS)
            if hanging:
                log.warning(
                    "background work did not stop in time", loops=[task.get_name() for task in hanging]
                )
        self._tasks.clear()
