"""How connections to SQLite are opened, used, and given up when their user is cancelled.

aiosqlite runs all that a connection does in a thread, and each turn costs two switches between threads.
SQLAlchemy's adapter takes four turns for a statement (a cursor, the statement, its rows, the end of the
cursor), and one to roll back what has just been committed. Here a statement is one turn, and what was
committed is not rolled back.
"""

import asyncio
import collections
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from sqlalchemy import event
from sqlalchemy.dialects.sqlite.aiosqlite import AsyncAdapt_aiosqlite_connection, AsyncAdapt_aiosqlite_cursor
from sqlalchemy.engine import Engine
from sqlalchemy.util import EMPTY_DICT, await_only

IMMEDIATE = "aftercall_immediate"
"""The execution option of a transaction that takes the lock for writing when it begins."""

_BUSY_MILLISECONDS = 15_000


class SqliteConnections:
    """The connections of one engine that its pool does not know: not yet, or not any more.

    `prepare_file` is called before each is opened.
    """

    def __init__(self, engine: Engine, prepare_file: Callable[[], None]) -> None:
        self._prepare_file = prepare_file
        self._opening: dict[Any, asyncio.Task[Any] | None] = {}
        """Each connection that is being opened, with its task."""
        self._given_up: dict[Any, asyncio.Task[None]] = {}
        engine.dialect.do_terminate = self._give_up  # type: ignore[assignment]
        event.listen(engine, "do_connect", self._open)
        event.listen(engine, "connect", self._take_opened)
        engine.dialect.do_begin = _begin  # type: ignore[assignment,method-assign]
        event.listen(engine, "begin", _choose_begin)  # comes first

    async def close(self) -> None:
        """Close those that were left; the engine is disposed of before."""
        for connection in list(self._opening):
            self._give_up(connection)
        await asyncio.gather(*self._given_up.values())

    def _open(self, dialect: Any, _record: Any, arguments: Any, options: Any) -> Any:
        self._prepare_file()
        task = asyncio.current_task()
        # SQLAlchemy forgets a connection whose user is cancelled while it runs the first statements on it.
        for left in [one for one, its in self._opening.items() if its is None or its is task or its.done()]:
            self._give_up(left)
        adapted = dialect.connect(*arguments, **options)
        connection = SqliteConnection(adapted.dbapi, adapted.driver_connection)
        self._opening[connection] = task
        return connection

    def _take_opened(self, connection: Any, _record: Any) -> None:
        try:
            prepare_sqlite(connection)
        except BaseException:
            self._give_up(connection)
            raise
        self._opening.pop(connection, None)

    def _give_up(self, connection: Any) -> None:
        """Close a connection whose user was cancelled, in a task that nobody cancels.

        SQLAlchemy closes it within the user's task. A user who is cancelled twice, like a stream whose reader
        leaves, then stops aiosqlite's thread twice, and leaves a task that waits for it forever.
        """
        self._opening.pop(connection, None)
        driver = connection.driver_connection
        if driver not in self._given_up:  # closed twice at once, aiosqlite waits forever
            closing = asyncio.get_running_loop().create_task(_roll_back_and_close(driver))
            self._given_up[driver] = closing
            closing.add_done_callback(lambda _: self._given_up.pop(driver))


async def _roll_back_and_close(driver: Any) -> None:
    """Close a connection that may be in the middle of a statement.

    SQLite closes a connection when its last cursor is gone, and its transaction keeps its locks until then.
    The user who was cancelled may hold such a cursor while he waits to write.
    """
    with suppress(sqlite3.Error, ValueError):  # of a connection that is closed already
        await driver.rollback()
    with suppress(sqlite3.Error, ValueError):
        await driver.close()


def prepare_sqlite(connection: Any) -> None:
    """Apply the settings that all connections share."""
    # The driver would open transactions itself, at the first change only: too late for BEGIN IMMEDIATE.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout={_BUSY_MILLISECONDS}")
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


def _choose_begin(connection: Any) -> None:
    immediate = connection.get_execution_options().get(IMMEDIATE)
    connection.connection.dbapi_connection.begins_with = "BEGIN IMMEDIATE" if immediate else "BEGIN"


def _begin(connection: Any) -> None:
    connection.begin()


_Parameters = Sequence[Any] | Mapping[str, Any] | None


class _Done(NamedTuple):
    """What a statement leaves, as its cursor had it."""

    rows: Sequence[Any]
    description: Any
    rowcount: int
    lastrowid: int | None


_NOTHING = _Done((), None, -1, None)


class _Cursor(AsyncAdapt_aiosqlite_cursor):
    """A cursor without one: the real cursor is opened and closed within the turn of its statement.

    A user who is cancelled leaves none behind, which would hold SQLite's locks.
    """

    __slots__ = ("_done",)

    def __init__(self, adapt_connection: Any) -> None:
        self._adapt_connection = adapt_connection
        self._connection = adapt_connection.driver_connection
        self._soft_closed_memoized = EMPTY_DICT
        self._rows = collections.deque()
        self._done = _NOTHING

    @property
    def description(self) -> Any:
        return self._done.description

    @property
    def rowcount(self) -> int:
        return self._done.rowcount

    @property
    def lastrowid(self) -> Any:
        return self._done.lastrowid

    @property
    def arraysize(self) -> int:
        return 1

    @arraysize.setter
    def arraysize(self, value: int) -> None:
        raise NotImplementedError("all rows are read at once")

    def execute(self, operation: Any, parameters: _Parameters = None) -> Any:
        self._turn(_run, operation, () if parameters is None else parameters)

    def executemany(self, operation: Any, seq_of_parameters: Any) -> Any:
        self._turn(_run_many, operation, seq_of_parameters)

    def _turn(self, act: Callable[..., _Done], operation: str, parameters: Any) -> None:
        connection: Any = self._adapt_connection
        driver = connection.driver_connection
        connection.is_clean = False
        try:
            # As the adapter itself does: aiosqlite has no public way to run a function in its thread.
            turn = driver._execute(act, operation, parameters, driver._conn)  # noqa: SLF001
            self._done = await_only(turn)
        except Exception as error:  # noqa: BLE001 - the adapter turns it into the driver's kind
            connection._handle_exception(error)  # noqa: SLF001
        self._rows = collections.deque(self._done.rows)

    async def _async_soft_close(self) -> None:
        return

    def close(self) -> None:
        self._rows.clear()


def _run(operation: str, parameters: Any, connection: sqlite3.Connection) -> _Done:
    return _finish(connection.execute(operation, parameters))


def _run_many(operation: str, parameters: Any, connection: sqlite3.Connection) -> _Done:
    return _finish(connection.executemany(operation, parameters))


def _finish(cursor: sqlite3.Cursor) -> _Done:
    try:
        description = cursor.description
        rows = cursor.fetchall() if description else ()
        # Of an INSERT or UPDATE that returns rows, the number is known once they are read.
        return _Done(rows, description, cursor.rowcount, cursor.lastrowid)
    finally:
        cursor.close()


class SqliteConnection(AsyncAdapt_aiosqlite_connection):
    """A connection. `begins_with` is the statement that begins its next transaction."""

    __slots__ = ("begins_with", "is_clean")

    _cursor_cls = _Cursor

    def __init__(self, dbapi: Any, connection: Any) -> None:
        super().__init__(dbapi, connection)
        self.begins_with = "BEGIN"
        self.is_clean = False
        """Whether nothing has been sent since a commit or a rollback that succeeded."""

    def begin(self) -> None:
        """Begin a transaction."""
        self.execute(self.begins_with)

    def commit(self) -> None:
        super().commit()
        self.is_clean = True

    def rollback(self) -> None:
        if not self.is_clean:
            super().rollback()
            self.is_clean = True
