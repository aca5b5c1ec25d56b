"""Provoked errors of real databases: outages become StorageUnavailable, all others are passed on."""

import asyncio
import resource
import sqlite3
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from sqlalchemy import cast, insert, literal, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db import sqlite_connections
from app.db.engine import Database
from app.db.failures import Failure, failure_of
from app.db.tables import accounts, calls, deliveries
from app.db.types import Json
from app.errors import StorageUnavailable
from tests.cluster import Cluster, free_port
from tests.conftest import until
from tests.fakes.clock import FakeClock


async def failing(database: Database, *statements: Any) -> BaseException:
    try:
        async with database.write() as db:
            for statement in statements:
                await db.execute(text(statement) if isinstance(statement, str) else statement)
    except Exception as error:  # noqa: BLE001 - what comes is what is tested
        return error
    raise AssertionError("nothing failed")


@pytest.mark.parametrize(
    "statement",
    ["SELECT nope FROM calls", "SELECT * FROM nope", "INSERT INTO accounts (nope) VALUES (1)", "SELEKT 1"],
)
async def test_a_schema_mismatch_is_neither_an_outage_nor_a_data_fault(
    database: Database, statement: str
) -> None:
    error = await failing(database, statement)
    assert not isinstance(error, StorageUnavailable)
    assert failure_of(error) is Failure.SCHEMA


def account(clock: FakeClock, **values: Any) -> Any:
    return insert(accounts).values({"account_id": "1", "created_at": clock.now(), **values})


async def test_rejected_values_are_data_faults(database: Database, clock: FakeClock) -> None:
    refused = [
        account(clock, account_id="a\ud800"),
        account(clock, account_id=None),
        account(clock, timeline_seq=2**64),
        account(clock, created_at="yesterday"),
        text("SELECT CAST('x' AS jsonb)") if not database.is_sqlite else text("SELECT json('x')"),
    ]
    if not database.is_sqlite:
        refused += [
            account(clock, account_id="a\x00"),
            account(clock, account_id="x" * 129),
            account(clock, timeline_seq="one"),
            select(cast(literal({"a": float("nan")}, Json), Json)),
            select(cast(literal({"a": "\x00"}, Json), Json)),
            text("SELECT 1 / 0"),
            select(calls.c.call_id).where(calls.c.call_id.in_([str(number) for number in range(40_000)])),
        ]
    for statement in refused:
        error = await failing(database, statement)
        assert not isinstance(error, StorageUnavailable), error
        assert failure_of(error) is Failure.DATA, error
    error = await failing(database, account(clock), account(clock))
    assert failure_of(error) is Failure.DATA


async def test_a_read_only_database_is_an_outage(database: Database, clock: FakeClock) -> None:
    only = "PRAGMA query_only = ON" if database.is_sqlite else "SET TRANSACTION READ ONLY"
    assert isinstance(await failing(database, only, account(clock)), StorageUnavailable)


# PostgreSQL


@pytest.fixture
async def holder(postgres_database: Database) -> AsyncIterator[AsyncConnection]:
    """A second connection, to block the first."""
    async with postgres_database.engine.connect() as db:
        yield db


async def test_locks_and_time_limits_of_postgresql_are_outages(
    postgres_database: Database, holder: AsyncConnection
) -> None:
    await holder.execute(text("LOCK TABLE deliveries IN ACCESS EXCLUSIVE MODE"))
    waits = "SELECT count(*) FROM deliveries"
    for limit in ("lock_timeout", "statement_timeout"):
        error = await failing(postgres_database, f"SET LOCAL {limit} = '50ms'", waits)
        assert isinstance(error, StorageUnavailable), error
    assert "55P03" in str(await failing(postgres_database, "LOCK TABLE deliveries IN SHARE MODE NOWAIT"))
    idle = "SET LOCAL idle_in_transaction_session_timeout = '50ms'"
    try:
        async with postgres_database.write() as db:
            await db.execute(text(idle))
            await asyncio.sleep(0.5)
            await db.execute(text("SELECT 1"))
    except StorageUnavailable:
        pass
    else:
        raise AssertionError("the session was ended")


async def test_a_deadlock_and_a_terminated_backend_are_outages(
    postgres_database: Database, clock: FakeClock
) -> None:
    async with postgres_database.write() as db:
        await db.execute(account(clock, account_id="1"))
        await db.execute(account(clock, account_id="2"))
    ready = asyncio.Barrier(2)

    async def lock(first: str, second: str) -> str:
        try:
            async with postgres_database.write() as db:
                await db.execute(text("SET LOCAL deadlock_timeout = '50ms'"))
                for name in (first, second):
                    held = select(accounts).where(accounts.c.account_id == name).with_for_update()
                    await db.execute(held)
                    if name == first:
                        await ready.wait()
        except StorageUnavailable as error:
            return str(error)
        return ""

    told = await asyncio.gather(lock("1", "2"), lock("2", "1"))
    assert sorted("40P01" in one for one in told) == [False, True]
    error = await failing(postgres_database, "SELECT pg_terminate_backend(pg_backend_pid())")
    assert isinstance(error, StorageUnavailable)


async def test_a_server_that_accepts_no_login_is_an_outage(postgres: Cluster, postgres_url: str) -> None:
    urls = [
        f"postgresql+asyncpg://{postgres.superuser}@127.0.0.1:{postgres.port}/no_such_database",
        postgres_url.replace(f"{postgres.superuser}@", "nobody-of-this-name@"),
        postgres_url.replace(str(postgres.port), str(free_port())),
    ]
    for url in urls:
        database = Database(url)
        assert isinstance(await failing(database, "SELECT 1"), StorageUnavailable), url
        await database.close()


async def test_too_many_connections_are_an_outage(postgres: Cluster, postgres_url: str) -> None:
    admin = await asyncpg.connect(postgres.dsn())
    name = postgres_url.rpartition("/")[2]
    await admin.execute("CREATE ROLE crowded LOGIN CONNECTION LIMIT 0")
    database = Database(postgres_url.replace(f"{postgres.superuser}@", "crowded@"))
    try:
        error = await failing(database, "SELECT 1")
        assert isinstance(error, StorageUnavailable)
        assert "53300" in str(error)
    finally:
        await database.close()
        await admin.execute("DROP ROLE crowded")
        await admin.close()
    assert name


# SQLite


async def test_a_busy_sqlite_is_an_outage(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_connections, "_BUSY_MILLISECONDS", 20)
    database = Database(sqlite_url)
    other = sqlite3.connect(database.url.database or "", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    error = await failing(database, "SELECT 1")
    assert isinstance(error, StorageUnavailable)
    assert "SQLITE_BUSY" in str(error)
    other.close()
    await database.close()


async def test_a_full_sqlite_is_an_outage(sqlite_url: str, clock: FakeClock) -> None:
    database = Database(sqlite_url)
    row = {"account_id": "1", "uuid": "1", "received_at": clock.now(), "raw": b"x" * 1_000_000}
    error = await failing(database, "PRAGMA max_page_count = 1", insert(deliveries).values(row))
    assert isinstance(error, StorageUnavailable)
    assert "SQLITE_FULL" in str(error)
    await database.close()


@pytest.mark.parametrize(
    "content", [None, b"this is no database at all" * 100], ids=["missing", "no database"]
)
async def test_an_unusable_sqlite_file_is_an_outage(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "folder" / "a.db"
    if content is not None:
        path.parent.mkdir()
        path.write_bytes(content)
    database = Database(f"sqlite+aiosqlite:///{path}")
    assert isinstance(await failing(database, "SELECT 1"), StorageUnavailable)
    await database.close()
    # The driver's thread ends by itself after a failed connect, and still needs this event loop.
    await until(lambda: not any("_connection_worker" in thread.name for thread in threading.enumerate()))


async def test_a_failed_disk_write_is_an_outage(sqlite_url: str, clock: FakeClock) -> None:
    database = Database(sqlite_url)
    row = {"account_id": "1", "uuid": "1", "received_at": clock.now(), "raw": b"x" * 3_000_000}
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, hard))
    try:
        error = await failing(database, insert(deliveries).values(row))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert isinstance(error, StorageUnavailable), error
    await database.close()
