"""The proof that deliveries can be stored takes the path of the intake and leaves no row."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from sqlalchemy import func, select, text

from app.db.engine import Database
from app.db.tables import deliveries
from app.errors import StorageUnavailable
from app.webhooks.intake import inbox as inbox_module
from app.webhooks.intake.inbox import Inbox
from app.work.wakeups import INBOX, Wakeups
from tests.fakes.clock import FakeClock
from tests.integration.webhooks.intake.test_inbox import a_delivery, stored


@pytest.fixture
async def inbox(database: Database, clock: FakeClock) -> AsyncIterator[Inbox]:
    opened = Inbox(database, clock)
    opened.start()
    yield opened
    await opened.stop()


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox_module, "COMMIT_SECONDS", 0.2)


@asynccontextmanager
async def locked(database: Database) -> AsyncIterator[None]:
    """Hold the lock that CREATE INDEX takes; on SQLite, that of another writing process."""
    if database.is_sqlite:
        other = sqlite3.connect(str(database.url.database), isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        try:
            yield
        finally:
            other.close()
        return
    async with database.engine.connect() as db, db.begin():
        await db.execute(text("LOCK TABLE deliveries IN SHARE MODE"))
        yield


async def refuse_inserts(database: Database) -> None:
    """Make each insert into `deliveries` fail as on a full disk."""
    if database.is_sqlite:
        statements = [
            "CREATE TRIGGER full BEFORE INSERT ON deliveries BEGIN SELECT RAISE(ABORT, 'disk full'); END"
        ]
    else:
        statements = [
            (
                "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS "
                "$$ BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = '53100'; END $$"
            ),
            "CREATE TRIGGER full_disk BEFORE INSERT ON deliveries EXECUTE FUNCTION full_disk()",
        ]
    async with database.write() as db:
        for statement in statements:
            await db.exec_driver_sql(statement)


async def accept_inserts(database: Database) -> None:
    async with database.write() as db:
        if database.is_sqlite:
            await db.exec_driver_sql("DROP TRIGGER full")
        else:
            await db.exec_driver_sql("DROP FUNCTION full_disk CASCADE")


async def test_a_proof_leaves_no_row_and_wakes_no_listener(database: Database, inbox: Inbox) -> None:
    wakeups = Wakeups()
    database.waker = wakeups.wake
    with wakeups.listen(INBOX) as woken:
        await asyncio.gather(*(inbox.prove_writable() for _ in range(5)))
        assert not woken.is_set()
    async with database.read() as db:
        assert await db.scalar(select(func.count()).select_from(deliveries)) == 0


async def proved_at_last(inbox: Inbox) -> None:
    """Prove it again and again: a busy machine may need longer than the limit."""
    async with asyncio.timeout(60):
        while True:
            try:
                return await inbox.prove_writable()
            except StorageUnavailable:
                continue


async def test_a_batch_of_deliveries_is_proof(database: Database, inbox: Inbox) -> None:
    proofs = [asyncio.create_task(inbox.prove_writable()) for _ in range(3)]
    await asyncio.gather(*(inbox.accept(a_delivery(uuid)) for uuid in "123"), *proofs)
    assert await stored(database) == ["1", "2", "3"]


@pytest.mark.usefixtures("_impatient")
async def test_a_proof_fails_while_the_table_is_locked(database: Database, inbox: Inbox) -> None:
    await proved_at_last(inbox)
    async with locked(database):
        with pytest.raises(StorageUnavailable):
            await inbox.prove_writable()
        with pytest.raises(StorageUnavailable):
            await inbox.accept(a_delivery("1"))
    await proved_at_last(inbox)


async def test_a_proof_fails_on_a_full_disk(database: Database, inbox: Inbox) -> None:
    await refuse_inserts(database)
    with pytest.raises(StorageUnavailable):
        await inbox.prove_writable()
    await accept_inserts(database)
    await inbox.prove_writable()


async def test_a_proof_fails_without_the_database(clock: FakeClock, tmp_path: Path) -> None:
    database = Database(f"sqlite+aiosqlite:///{tmp_path}/no-such-folder/a.db")
    inbox = Inbox(database, clock)
    inbox.start()
    with pytest.raises(StorageUnavailable):
        await inbox.prove_writable()
    await inbox.stop()
    await database.close()


async def test_a_proof_fails_while_the_inbox_stops(database: Database, clock: FakeClock) -> None:
    inbox = Inbox(database, clock)
    with pytest.raises(StorageUnavailable):
        await inbox.prove_writable()
    inbox.start()
    await inbox.stop()
    with pytest.raises(StorageUnavailable):
        await inbox.prove_writable()
