"""Connections whose users are cancelled."""

import asyncio
import threading
from typing import Any

import anyio
import pytest
from sqlalchemy import text

from app.cli.group import wait_for_sqlite
from app.db.engine import Database
from app.db.pool import pool_state
from tests.conftest import until

BUSY = text(
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000) SELECT sum(i) FROM n"
)


async def read_for_ever(database: Database) -> None:
    while True:
        async with database.read() as db:
            await db.execute(BUSY)


async def test_a_cancelled_query_leaves_no_task_behind(database: Database) -> None:
    before = asyncio.all_tasks()
    for place in range(40):
        async with anyio.create_task_group() as readers:  # cancels again and again, as a server does
            readers.start_soon(read_for_ever, database)
            await asyncio.sleep(place / 4000)
            readers.cancel_scope.cancel()
    async with asyncio.timeout(20):
        await until(lambda: asyncio.all_tasks() <= before)
    # A connection that was being opened has a thread, which reports to the event loop of this test.
    await database.close()
    await wait_for_sqlite()


async def test_a_cancelled_writer_of_sqlite_that_holds_a_cursor_holds_no_lock(sqlite_url: str) -> None:
    database = Database(sqlite_url)
    async with database.engine.connect() as db:
        driver: Any = (await db.get_raw_connection()).driver_connection
        await driver.execute("BEGIN IMMEDIATE")
        cursor = await driver.execute("SELECT * FROM sqlite_master")  # and no row of it is read
        sync: Any = db.sync_connection
        sync.invalidate(asyncio.CancelledError())
        async with asyncio.timeout(60), database.write() as other:
            await other.execute(text("DELETE FROM accounts"))
    assert cursor is not None
    await database.close()


async def test_a_connection_to_sqlite_whose_opening_is_cancelled_is_closed(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = Database(sqlite_url)

    def cancelled(*_: object) -> None:
        raise asyncio.CancelledError

    monkeypatch.setattr(database.engine.sync_engine.dialect, "initialize", cancelled)
    with pytest.raises(asyncio.CancelledError):
        async with database.read():
            pass
    await database.close()
    async with asyncio.timeout(60):
        await until(lambda: not any("_connection_worker" in thread.name for thread in threading.enumerate()))


async def test_requests_leave_connections_to_the_loops(database: Database) -> None:
    """However many requests read, a loop and a writer find a connection at once."""
    requests = database.for_requests()
    limit = pool_state(database.engine).limit  # type: ignore[union-attr]
    let_go, reading = asyncio.Event(), 0

    async def read() -> None:
        nonlocal reading
        async with requests.read() as db:
            await db.scalar(text("SELECT 1"))
            reading += 1
            await let_go.wait()

    readers = [asyncio.create_task(read()) for _ in range(2 * limit)]
    async with asyncio.timeout(20):
        await until(lambda: reading >= limit - limit // 3)
        async with database.read() as db:
            assert await db.scalar(text("SELECT 1")) == 1
        async with database.write() as db:
            assert await db.scalar(text("SELECT 1")) == 1
        assert reading == limit - limit // 3
        assert pool_state(database.engine).waiting == 2 * limit - reading  # type: ignore[union-attr]
        let_go.set()
        await asyncio.gather(*readers)
    assert pool_state(database.engine).waiting == 0  # type: ignore[union-attr]
