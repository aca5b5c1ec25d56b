"""Connections whose users are cancelled."""

import asyncio

import anyio
from sqlalchemy import text

from app.cli.group import wait_for_sqlite
from app.db.engine import Database
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
