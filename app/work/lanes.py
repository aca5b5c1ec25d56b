"""Serves keys side by side, one lane each: a key that is slow or fails delays no other.

A step of a loop passes what to serve, by key. Each key is served by a task of its own, never by two at a
time. The step waits for the tasks, but only for a limited time: a task that takes longer continues by itself,
and the loop is woken when it has finished.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Mapping
from typing import Generic, TypeVar

import structlog
from structlog.contextvars import bind_contextvars

from app import metrics
from app.errors import LeaseLost, StorageUnavailable
from app.log_repeats import STILL_SECONDS, Repeats
from app.work.backoff import Backoff
from app.work.log_context import account_of_key

K = TypeVar("K", bound=Hashable)
Serve = Callable[[], Awaitable[float | None]]

AT_ONCE = 16
_BACKOFF = Backoff(first=0.5, longest=30.0)
_DATABASE_BACKOFF = Backoff(first=0.5, longest=10.0)

log = structlog.get_logger(__name__)


class Lanes(Generic[K]):
    """The tasks of one loop.

    `patience_seconds` is how long a step waits for slow tasks (None: until all have finished),
    `longest_seconds` how long a task may take before it is cancelled, `wake` wakes the loop. At most
    `at_once` keys are served at a time, first come, first served.
    """

    def __init__(
        self,
        name: str,
        *,
        wake: Callable[[], None],
        longest_seconds: float,
        patience_seconds: float | None = None,
        at_once: int = AT_ONCE,
        account_of: Callable[[K], str | None] = account_of_key,
        loop: str | None = None,
    ) -> None:
        """`account_of` returns the account id of a key, for the log.

        `loop` is the name of the loop in metrics and logs, for a loop that has several lanes.
        """
        self._name = name
        self._loop = loop or name
        self._wake = wake
        self._longest = longest_seconds
        self._patience = patience_seconds
        self._turns = asyncio.Semaphore(at_once)
        self._tasks: dict[K, asyncio.Task[float | None]] = {}
        self._failures: dict[K, int] = {}
        self._is_detached = False
        self._account_of = account_of
        self._repeats = Repeats(every_seconds=STILL_SECONDS)

    async def run(self, work: Mapping[K, Serve]) -> float | None:
        """Serve each key that is not being served already; return the shortest pause of the finished ones.

        A task that raises, StorageUnavailable included, gets a growing pause. StorageUnavailable does not end
        the step: one key may wait for a lock while the database serves all others. If the database is
        unavailable, the step notices when it searches for work.
        """
        fresh = [self._start(key, serve) for key, serve in work.items() if key not in self._tasks]
        # Tasks that finish from here on are collected below; only those that finish later wake the loop.
        self._is_detached = False
        if fresh:
            await asyncio.wait(fresh, timeout=self._patience)
        self._is_detached = True
        return self._collect()

    def has(self, key: K) -> bool:
        """Whether a key takes no new turn: it is being served, or the next `run` collects its result."""
        return key in self._tasks

    def keys(self) -> list[K]:
        """Return the keys that take no new turn."""
        return list(self._tasks)

    async def close(self) -> None:
        """Cancel all tasks."""
        tasks = list(self._tasks.values())
        self._tasks.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _start(self, key: K, serve: Serve) -> asyncio.Task[float | None]:
        async def served() -> float | None:
            # The task has a context of its own, so this does not affect others.
            bind_contextvars(account_id=self._account_of(key))
            async with self._turns, asyncio.timeout(self._longest):
                return await serve()

        task = asyncio.create_task(served(), name=f"{self._name} {key}")
        task.add_done_callback(self._on_done)
        self._tasks[key] = task
        return task

    def _on_done(self, task: asyncio.Task[float | None]) -> None:
        if self._is_detached and not task.cancelled():
            self._wake()

    def _collect(self) -> float | None:
        pauses: list[float] = []
        for key in [key for key, task in self._tasks.items() if task.done()]:
            task = self._tasks.pop(key)
            error = task.exception() if not task.cancelled() else None
            if error is not None:
                pauses.append(self._record_failure(key, error))
            else:
                self._failures.pop(key, None)
                pause = None if task.cancelled() else task.result()
                pauses += [] if pause is None else [pause]
        return min(pauses, default=None)

    def _record_failure(self, key: K, error: BaseException) -> float:
        if isinstance(error, LeaseLost):
            # Another replica does the work. Nothing has failed, and nothing was written here.
            account_id = self._account_of(key)
            log.debug("a turn was taken over", loop=self._loop, account_id=account_id, why=str(error))
            return _BACKOFF.pause(1)
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        metrics.LOOP_FAILURES.labels(loop=self._loop).inc()
        is_unavailable = isinstance(error, StorageUnavailable)
        pause = (_DATABASE_BACKOFF if is_unavailable else _BACKOFF).pause(failures)
        if is_unavailable:
            # The database's own outage is logged where it is noticed, once for all loops.
            log.debug(
                "a lane waits for the database",
                loop=self._loop, account_id=self._account_of(key), why=str(error), seconds=pause,
            )  # fmt: skip
            return pause
        why = "took too long" if isinstance(error, TimeoutError) else "unexpected"
        self._repeats.tell(
            log.error, "a lane failed", key=(key, type(error)),
            loop=self._loop, account_id=self._account_of(key), why=why, seconds=pause, exc_info=error,
        )  # fmt: skip
        return pause
