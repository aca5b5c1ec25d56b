"""Side by side, one lane each: who is slow or fails holds up nobody else.

A step of a loop hands over what is to be served, by key. Each key is served by a task of its own, never by two at
a time. The step waits for them, but not for ever: a task that takes longer goes on by itself, and the loop is
woken when it is through.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Mapping
from typing import Generic, TypeVar

import structlog
from structlog.contextvars import bind_contextvars

from app import metrics
from app.errors import StorageUnavailable
from app.repeats import STILL_SECONDS, Repeats
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

    `patience_seconds` is how long a step waits for the slow (None: until all are through), `longest_seconds` after
    what time a task is given up, `wake` what wakes the loop. At most `at_once` keys are served at a time, first
    come, first served.
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
        """`account_of` gives the id of the account that a key is about, for the log.

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
        self._left_alone = False
        self._account_of = account_of
        self._repeats = Repeats(every_seconds=STILL_SECONDS)

    async def run(self, work: Mapping[K, Serve]) -> float | None:
        """Serve each key that is not being served already; return the shortest pause that those through ask for.

        Whoever raises, StorageUnavailable too, asks for a pause that grows. One key may wait for a lock while the
        database serves all others; that it is away, the step finds out when it looks for what is to be served.
        """
        fresh = [self._start(key, serve) for key, serve in work.items() if key not in self._tasks]
        self._left_alone = False
        if fresh:
            await asyncio.wait(fresh, timeout=self._patience)
        self._left_alone = True
        return self._harvest()

    def has(self, key: K) -> bool:
        """Whether a key is being served, or was and the next `run` tells what came of it: it takes no other turn then."""
        return key in self._tasks

    async def close(self) -> None:
        """Stop everybody."""
        tasks = list(self._tasks.values())
        self._tasks.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _start(self, key: K, serve: Serve) -> asyncio.Task[float | None]:
        async def served() -> float | None:
            # The task has a context of its own: this says nothing of the others.
            bind_contextvars(account_id=self._account_of(key))
            async with self._turns, asyncio.timeout(self._longest):
                return await serve()

        task = asyncio.create_task(served(), name=f"{self._name} {key}")
        task.add_done_callback(self._through)
        self._tasks[key] = task
        return task

    def _through(self, task: asyncio.Task[float | None]) -> None:
        if self._left_alone and not task.cancelled():
            self._wake()

    def _harvest(self) -> float | None:
        pauses: list[float] = []
        for key in [key for key, task in self._tasks.items() if task.done()]:
            task = self._tasks.pop(key)
            error = task.exception() if not task.cancelled() else None
            if error is not None:
                pauses.append(self._failed(key, error))
            else:
                self._failures.pop(key, None)
                pause = None if task.cancelled() else task.result()
                pauses += [] if pause is None else [pause]
        return min(pauses, default=None)

    def _failed(self, key: K, error: BaseException) -> float:
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        metrics.LOOP_FAILURES.labels(loop=self._loop).inc()
        is_away = isinstance(error, StorageUnavailable)
        pause = (_DATABASE_BACKOFF if is_away else _BACKOFF).pause(failures)
        if is_away:
            # The database's own outage is logged where it is noticed, once for all loops.
            log.debug(
                "one of many waits for the database",
                loop=self._loop, account_id=self._account_of(key), why=str(error), seconds=pause,
            )  # fmt: skip
            return pause
        why = "took too long" if isinstance(error, TimeoutError) else "unexpected"
        self._repeats.tell(
            log.error, "one of many failed", key=(key, type(error)),
            loop=self._loop, account_id=self._account_of(key), why=why, seconds=pause, exc_info=error,
        )  # fmt: skip
        return pause
