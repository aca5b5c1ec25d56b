"""An event loop whose time passes only while there is nothing to do.

Timers fire in their order, but nobody waits for them: when no task can run and no real input or output is
outstanding, the time jumps to the next timer. FoundationDB's simulator works like this. `looptime` does it
for tests, but lets time pass while a socket is still at work.
"""

import asyncio
import selectors
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

EPOCH = datetime(2026, 3, 10, 8, tzinfo=UTC)
"""When virtual time begins: in the morning."""

_STALL_SECONDS = 0.3
"""Real seconds without an answer of the database after which time passes nevertheless: a statement that waits
for a lock may wait for a timer of its holder."""

_SHORT_STALL_SECONDS = 0.005
_SHORT_SECONDS = 1.0
"""A jump that is shorter than this hardly matters, so less time is spent on waiting."""


class NothingIsDueError(RuntimeError):
    """Every task waits for something that can never happen."""


class _Selector:
    """Lets the time of its loop jump instead of waiting."""

    def __init__(self, loop: "VirtualLoop", real: selectors.BaseSelector) -> None:
        self._loop = loop
        self._real = real

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def select(self, timeout: float | None = None) -> list[Any]:
        loop = self._loop
        if timeout is not None and timeout <= 0:
            return self._real.select(0) if loop.outstanding else []
        if loop.outstanding:
            is_short = timeout is not None and timeout < _SHORT_SECONDS
            events = self._real.select(_SHORT_STALL_SECONDS if is_short else _STALL_SECONDS)
            if events:
                return events
            loop.stalls += 1
        elif events := self._real.select(0):
            return events
        if timeout is None:
            raise NothingIsDueError("no task can run and no timer is set")
        loop.jump()
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """The loop. `outstanding` counts what it waits for in real time, `stalls` how often it gave that up.

    What would run in a thread runs in the loop's own, through `blocking`: in the same order for the same
    seed.
    """

    def __init__(self) -> None:
        self.outstanding = 0
        self.stalls = 0
        self.jumps = 0
        self.blocking: Callable[[partial[Any], asyncio.Future[Any]], None] = run_at_once
        self.wrap: Callable[[Any], Any] | None = None
        """Wraps the protocol of each connection that is opened."""
        self._virtual = 0.0
        super().__init__()
        self._selector: Any = _Selector(self, self._selector)
        self._clock_resolution = 1e-6

    def time(self) -> float:
        return self._virtual

    def jump(self) -> None:
        """Let the time pass up to the next timer."""
        scheduled: list[asyncio.TimerHandle] = self._scheduled  # type: ignore[attr-defined]
        if scheduled:
            self._virtual = max(self._virtual, scheduled[0].when())
            self.jumps += 1

    async def create_connection(
        self, protocol_factory: Callable[[], Any], *args: Any, **options: Any
    ) -> tuple[Any, Any]:
        """Open a connection. No time passes meanwhile."""
        if self.wrap is None:
            return await super().create_connection(protocol_factory, *args, **options)
        wire = self.wrap(protocol_factory())
        self.outstanding += 1
        try:
            await super().create_connection(lambda: wire, *args, **options)
        finally:
            self.outstanding -= 1
        return wire.transport, wire.inner

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Callable[..., Any], *args: Any
    ) -> "asyncio.Future[Any]":
        """Run the function in the loop, soon; no executor is used."""
        del executor
        future = self.create_future()
        self.call_soon(self.blocking, partial(func, *args), future)
        return future


def run_at_once(function: Callable[[], Any], future: "asyncio.Future[Any]") -> None:
    """Run a function, and give the future its result."""
    try:
        result = function()
    except BaseException as error:  # noqa: BLE001 - belongs to whoever waits
        if not future.done():
            future.set_exception(error)
    else:
        if not future.done():
            future.set_result(result)


class VirtualClock:
    """The clock of one machine: virtual time, and by how many seconds it is wrong."""

    def __init__(self, loop: VirtualLoop, ahead_seconds: float = 0.0) -> None:
        self._loop = loop
        self.ahead_seconds = ahead_seconds

    def now(self) -> datetime:
        return EPOCH + timedelta(seconds=self._loop.time() + self.ahead_seconds)

    def monotonic(self) -> float:
        return self._loop.time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds))


def real_seconds() -> float:
    """Return the machine's own time, to say what a simulated day costs."""
    return time.perf_counter()


def processor_seconds() -> float:
    """Return the processor time of this process: what a simulated day costs on any machine, quiet or not."""
    return time.process_time()
