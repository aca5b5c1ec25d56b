"""Real SQLite without threads: each call runs in the event loop, at a virtual time that a seed draws.

aiosqlite gives each connection a thread and a queue. Here the queue itself runs what is put in, so the same
seed gives the same order. A connection that finds the file locked asks again, as SQLite's busy handler would
in a thread: in virtual time.
"""

import asyncio
import sqlite3
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any
from unittest import mock

from aiosqlite import core

from app.webhooks.intake.deliveries import SqliteWriter, _unavailable
from tests.soak.faults import Weather
from tests.soak.machines import CURRENT, Machine, MachineDiedError
from tests.soak.virtual_loop import VirtualLoop, run_at_once

_BUSY_SECONDS = 15.0
_RETRY_SECONDS = 0.02
_ALWAYS = frozenset({"close", "rollback", "close_and_stop"})
"""What no fault concerns: the driver gives a connection back."""

_SHORT = frozenset({"cursor", "fetchall", "fetchone", "close"})
"""What takes no time that counts."""

Act = Callable[[], Any]


class InlineSqlite:
    """All connections of one world to its SQLite file."""

    def __init__(self, loop: VirtualLoop, weather: Weather) -> None:
        self.loop = loop
        self.weather = weather
        self.statements = 0
        self.writing: set[sqlite3.Connection] = set()
        """Connections that hold the lock for writing."""

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Let aiosqlite and the loop's executor work this way while the block runs."""
        with (
            mock.patch.object(core, "SimpleQueue", self._queue),
            mock.patch.object(core, "Thread", _NoThread),
            mock.patch.object(core, "Connection", _Connection),
        ):
            self.loop.blocking = self.block
            try:
                yield
            finally:
                self.loop.blocking = run_at_once

    def _queue(self) -> "_Queue":
        return _Queue(self)

    def block(self, act: "partial[Any]", future: "asyncio.Future[Any]", waited: float = 0.0) -> None:
        """Run what would run in a thread: among other things the intake's own transactions.

        SQLite must not wait for a lock in here, since its holder waits for this loop.
        """
        machine = CURRENT.get()
        writer = getattr(act.func, "__self__", None)
        if not isinstance(writer, SqliteWriter):
            run_at_once(act, future)
            return
        if self.writing and waited < _BUSY_SECONDS:
            self.loop.call_later(_RETRY_SECONDS, self.block, act, future, waited + _RETRY_SECONDS)
            return
        if act.func.__name__ == "_disconnect":
            run_at_once(act, future)
            return
        try:
            if machine is not None:
                machine.check()
            self.weather.database()
        except (sqlite3.Error, ConnectionError) as error:
            writer._disconnect()
            if not future.done():
                future.set_exception(_unavailable(error))  # as the writer does it
            return
        run_at_once(act, future)


class _Connection(core.Connection):
    """A connection that complains of not being closed, unless its process was killed."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._machine = CURRENT.get()

    def __del__(self) -> None:
        if self._machine is None or not self._machine.is_dead:
            super().__del__()  # type: ignore[no-untyped-call]


class _NoThread:
    """Stands for the thread of a connection."""

    daemon = True

    def __init__(self, **_: Any) -> None: ...

    def start(self) -> None: ...


class _Queue:
    """The queue of one connection, which runs one item after the other."""

    def __init__(self, sqlite: InlineSqlite) -> None:
        self._sqlite = sqlite
        self._machine: Machine | None = CURRENT.get()
        self._items: deque[tuple[asyncio.Future[Any] | None, Act]] = deque()
        self._raw: sqlite3.Connection | None = None
        self._waited = 0.0
        if self._machine is not None:
            self._machine.on_death.append(self._drop)

    def put_nowait(self, item: "tuple[asyncio.Future[Any] | None, Act]") -> None:
        self._items.append(item)
        if len(self._items) == 1:
            self._begin()

    def _begin(self) -> None:
        """Run the first item: mostly at once, as if the thread were faster than the loop."""
        seconds = self._sqlite.weather.disk_seconds(is_short=_read(self._items[0][1])[0] in _SHORT)
        if seconds is None or self._sqlite.loop.is_closed():
            self._run()
        else:
            self._sqlite.loop.call_later(seconds, self._run)

    def _run(self) -> None:
        future, act = self._items[0]
        try:
            result = self._perform(act)
        except BaseException as error:  # noqa: BLE001 - belongs to whoever waits
            if _is_busy(error) and self._waited < _BUSY_SECONDS:
                self._waited += _RETRY_SECONDS
                self._sqlite.loop.call_later(_RETRY_SECONDS, self._run)
                return
            core.set_exception(future, error) if future is not None else None
        else:
            core.set_result(future, result) if future is not None else None
        self._waited = 0.0
        self._items.popleft()
        if self._items:
            self._begin()

    def _perform(self, act: Act) -> Any:
        name, sql = _read(act)
        if name not in _ALWAYS:
            self._check()
        self._sqlite.statements += 1
        if sql is not None and sql.startswith("PRAGMA busy_timeout"):
            act = partial(act.func, "PRAGMA busy_timeout=0", *act.args[1:])  # type: ignore[attr-defined]
        try:
            result = act()
        finally:
            self._note_lock(sql)
        if isinstance(result, sqlite3.Connection):
            self._raw = result
        return result

    def _check(self) -> None:
        if self._machine is not None:
            self._machine.check()
        self._sqlite.weather.database()

    def _note_lock(self, sql: str | None) -> None:
        raw, writing = self._raw, self._sqlite.writing
        if raw is None:
            return
        try:
            is_open = raw.in_transaction
        except sqlite3.ProgrammingError:
            is_open = False
        if is_open and sql == "BEGIN IMMEDIATE":
            writing.add(raw)
        elif not is_open:
            writing.discard(raw)

    def _drop(self) -> None:
        """Lose the connection as a process does that is killed: SQLite rolls back."""
        raw, self._raw = self._raw, None
        if raw is None:
            return
        self._sqlite.writing.discard(raw)
        try:
            raw.rollback()
            raw.close()
        except sqlite3.Error:
            pass


def _read(act: Act) -> tuple[str, str | None]:
    """Return what a queued call does, and its SQL."""
    if isinstance(act, partial):
        sql = act.args[0] if act.args and isinstance(act.args[0], str) else None
        return getattr(act.func, "__name__", ""), sql
    return getattr(act, "__name__", ""), None


def _is_busy(error: BaseException) -> bool:
    code = getattr(error, "sqlite_errorcode", None)
    return not isinstance(error, MachineDiedError) and code is not None and code & 0xFF == sqlite3.SQLITE_BUSY
