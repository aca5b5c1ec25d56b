"""How connections to SQLite are opened, and given up when their user is cancelled."""

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Engine

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
        event.listen(engine, "begin", _begin)

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
        connection = dialect.connect(*arguments, **options)
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


def _begin(connection: Any) -> None:
    immediate = connection.get_execution_options().get(IMMEDIATE)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")
