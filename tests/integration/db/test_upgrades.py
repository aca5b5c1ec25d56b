"""Upgrades while the service is running: newer schemas, long migrations, killed ones, and their locks."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import asyncpg
import pytest
import structlog
from sqlalchemy import text

from app.api.dependencies import Services
from app.clock import SystemClock
from app.db import migrations, schema
from app.db.engine import Database
from app.db.migrations import await_schema, current_revision, head, migrate
from app.db.schema import schema_state
from app.errors import SettingsError, StorageUnavailable
from app.main import create_app
from app.ops.health.router import check_all
from app.settings import Settings
from app.webhooks.intake.inbox import Inbox
from tests.conftest import answer_to, until
from tests.fakes.clock import FakeClock
from tests.integration.webhooks.intake.test_inbox import a_delivery

HEADER = '''"""Made up."""
import asyncio
import sqlalchemy as sa
from alembic import op
from sqlalchemy.util import await_only
from app.db.indexes import create_index, drop_index

revision = "{revision}"
down_revision = "{down}"
branch_labels = None
depends_on = None
breaks_older = {breaks}

def upgrade():
    {up}

def downgrade():
    {down_step}
'''
ADD = 'op.add_column("notes", sa.Column("mood", sa.String(20), nullable=True))'
DROP = 'op.drop_column("notes", "mood")'
INDEX = 'create_index("ix_made_up", "deliveries", ["received_at"])'
NO_INDEX = 'drop_index("ix_made_up", "deliveries")'

Add = Callable[..., None]


@pytest.fixture
def newer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Add:
    """Give the code more migrations than it has; `monkeypatch.undo()` restores the old code."""
    folder = tmp_path / "migrations"
    shutil.copytree(schema.SCRIPTS, folder, ignore=shutil.ignore_patterns("__pycache__"))
    last = head()

    def add(revision: str, up: str = "pass", down: str = "pass", *, breaks: bool = False) -> None:
        nonlocal last
        made = HEADER.format(revision=revision, down=last, breaks=breaks, up=up, down_step=down)
        (folder / "versions" / f"{revision}.py").write_text(made)
        last = revision
        monkeypatch.setattr(schema, "SCRIPTS", folder)
        schema._scripts.cache_clear()

    return add


@pytest.fixture
async def other(database_url: str) -> AsyncIterator[Database]:
    opened = Database(database_url)
    yield opened
    await opened.close()


async def test_old_code_works_on_a_newer_schema_that_serves_it(
    database: Database, services: Services, settings: Settings, newer: Add, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = head()
    newer("20990101_wider", ADD, DROP)
    newer("20990102_wider", breaks=False)
    await migrate(database)
    assert await current_revision(database) == "20990102_wider"
    monkeypatch.undo()
    state = await schema_state(database)
    assert (state.revision, state.expected, state.serves, state.is_newer) == (
        "20990102_wider",
        old,
        True,
        True,
    )
    assert all(check.ok for check in await check_all(services))
    await migrate(database)
    await await_schema(database, SystemClock())
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        await app.state.process.intake.inbox.accept(a_delivery("1"))
    with pytest.raises(SettingsError, match="made by newer code than this"):
        await migrate(database, "-1")


async def test_old_code_refuses_a_newer_schema_that_no_longer_serves_it(
    database: Database, services: Services, settings: Settings, newer: Add, monkeypatch: pytest.MonkeyPatch
) -> None:
    newer("20990101_narrower", breaks=True)
    newer("20990102_wider", breaks=False)
    await migrate(database)
    monkeypatch.undo()
    (schema_check,) = (check for check in await check_all(services) if check.name == "schema")
    assert not schema_check.ok
    assert schema_check.todo == "Run the newest version, or restore a backup from before its migration."
    for refuse in (migrate(database), await_schema(database, SystemClock())):
        with pytest.raises(
            SettingsError, match=r"at 20990102_wider, made by newer code .* no longer serves\. Run"
        ):
            await refuse
    app = create_app(settings)
    with pytest.raises(SettingsError, match="made by newer code"):
        async with app.router.lifespan_context(app):
            pass


async def test_a_record_for_another_revision_is_ignored(database: Database) -> None:
    async with database.write() as db:
        await db.execute(text("UPDATE alembic_version SET version_num = 'of-the-future'"))
    state = await schema_state(database)
    assert state.is_newer
    assert not state.serves


async def test_a_schema_without_a_record_still_has_its_revision(database: Database, newer: Add) -> None:
    async with database.write() as db:
        await db.execute(text("ALTER TABLE alembic_version DROP COLUMN serves_since"))
    assert (await schema_state(database)).serves
    newer("20990101_wider", ADD, DROP)
    await migrate(database)
    async with database.read() as db:
        assert (
            await db.scalar(text("SELECT serves_since FROM alembic_version")) == f"20990101_wider:{oldest()}"
        )


def oldest() -> str:
    return schema.serves_since(head())


async def test_a_process_that_may_not_migrate_waits_for_the_schema(
    database: Database, other: Database, newer: Add
) -> None:
    newer("20990101_wider", ADD, DROP)
    with structlog.testing.capture_logs() as said:
        waiting = asyncio.create_task(await_schema(other, SystemClock()))
        async with asyncio.timeout(30):
            await until(lambda: any("schema" in line for line in said))
        await migrate(database)
        async with asyncio.timeout(30):
            await waiting
    (waited,) = (line for line in said if line["event"] == "waiting for the schema")
    assert "expected 20990101_wider" in waited["schema"]


async def test_waiting_for_the_schema_ends_with_instructions(
    database: Database, newer: Add, clock: FakeClock
) -> None:
    newer("20990101_wider", ADD, DROP)
    waiting = asyncio.create_task(await_schema(database, clock))
    async with asyncio.timeout(60):
        while not waiting.done():
            clock.advance(1.0)
            await asyncio.sleep(0.01)
    with pytest.raises(SettingsError, match="Run `aftercall migrate`"):
        await waiting


async def test_an_unknown_revision_is_rejected(database: Database) -> None:
    with pytest.raises(SettingsError, match="cannot be brought to nonsense"):
        await migrate(database, "nonsense")
    assert await current_revision(database) == head()


async def test_creating_an_index_is_idempotent(database: Database, newer: Add) -> None:
    newer("20990101_index", f"{INDEX}; {INDEX}", f"{NO_INDEX}; {NO_INDEX}")
    await migrate(database)
    await migrate(database, "-1")
    await migrate(database)
    assert await current_revision(database) == "20990101_index"


# --- PostgreSQL only: locks, time-outs, sessions ------------------------------------------------------------


async def test_a_migration_statement_has_no_time_limit(
    postgres_database: Database, newer: Add, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.db.engine._STATEMENT_SECONDS", 0.3)
    impatient = Database(
        postgres_database.url.render_as_string(hide_password=False) + "?options=-cstatement_timeout%3D300"
    )
    newer("20990101_long", "op.execute('SELECT pg_sleep(1)')")
    await migrate(impatient)
    assert await current_revision(impatient) == "20990101_long"
    with pytest.raises(StorageUnavailable):
        async with impatient.read() as db:
            await db.execute(text("SELECT pg_sleep(1)"))
    await impatient.close()


async def test_a_busy_lock_is_retried_without_blocking_others(
    postgres_database: Database,
    postgres_url: str,
    newer: Add,
    clock: FakeClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(migrations, "LOCK_MILLISECONDS", 100)
    newer("20990101_wider", 'op.add_column("deliveries", sa.Column("mood", sa.String(20)))')
    inbox = Inbox(postgres_database, clock)
    inbox.start()
    holder = await asyncpg.connect(postgres_url.replace("+asyncpg", ""))
    transaction = holder.transaction()
    await transaction.start()
    await holder.execute("SELECT count(*) FROM deliveries")
    with structlog.testing.capture_logs() as said:
        migrating = asyncio.create_task(migrate(postgres_database))
        async with asyncio.timeout(60):
            await until(lambda: any("waits for a lock" in str(line["event"]) for line in said))
            await inbox.accept(a_delivery("1"))
            await transaction.rollback()
            await migrating
    assert await current_revision(postgres_database) == "20990101_wider"
    await inbox.accept(a_delivery("2"))
    await holder.close()
    await inbox.stop()


async def test_a_lock_that_is_never_released_ends_with_an_error(
    postgres_database: Database, postgres_url: str, newer: Add, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrations, "LOCK_MILLISECONDS", 100)
    monkeypatch.setattr(migrations, "_LOCK_PATIENCE_SECONDS", 0.0)
    newer("20990101_wider", 'op.add_column("deliveries", sa.Column("mood", sa.String(20)))')
    holder = await asyncpg.connect(postgres_url.replace("+asyncpg", ""))
    async with holder.transaction():
        await holder.execute("SELECT count(*) FROM deliveries")
        with pytest.raises(StorageUnavailable, match="pg_stat_activity"):
            await migrate(postgres_database)
    await holder.close()


async def seen(url: str, query: str) -> None:
    """Wait until a query finds something. Within one transaction pg_stat_activity never changes."""
    observer = await asyncpg.connect(url.replace("+asyncpg", ""))
    await answer_to(lambda: observer.fetchval(query))
    await observer.close()


async def test_deliveries_are_stored_while_a_large_index_is_created(
    postgres_database: Database, postgres_url: str, newer: Add, clock: FakeClock
) -> None:
    newer("20990101_index", INDEX, NO_INDEX)
    inbox = Inbox(postgres_database, clock)
    inbox.start()
    writer = await asyncpg.connect(postgres_url.replace("+asyncpg", ""))
    transaction = writer.transaction()
    await transaction.start()
    await writer.execute("DELETE FROM deliveries")  # the index waits for this transaction
    migrating = asyncio.create_task(migrate(postgres_database))
    waiting = (
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE query LIKE 'CREATE INDEX CONCURRENTLY%' AND datname = current_database()"
    )
    async with asyncio.timeout(120):
        await seen(postgres_url, waiting)
        await inbox.accept(a_delivery("1"))
        late = asyncio.create_task(migrate(postgres_database))  # a replica that starts meanwhile
        await asyncio.sleep(0.2)
        assert not late.done()
        await transaction.rollback()
        await asyncio.gather(migrating, late)
    assert await writer.fetchval("SELECT indisvalid FROM pg_index WHERE indexrelid = 'ix_made_up'::regclass")
    await writer.close()
    await inbox.stop()


async def test_an_index_left_by_an_interrupted_run_is_created_again(
    postgres_database: Database, postgres_url: str, newer: Add
) -> None:
    newer("20990101_index", INDEX, NO_INDEX)
    holder = await asyncpg.connect(postgres_url.replace("+asyncpg", ""))
    transaction = holder.transaction()
    await transaction.start()
    await holder.execute("DELETE FROM deliveries")
    killed = asyncio.create_task(migrate(postgres_database))
    running = (
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE query LIKE 'CREATE INDEX CONCURRENTLY%' AND datname = current_database()"
    )
    async with asyncio.timeout(120):
        await seen(postgres_url, running)
    killed.cancel()
    await asyncio.gather(killed, return_exceptions=True)
    await transaction.rollback()
    assert await current_revision(postgres_database) != "20990101_index"
    await migrate(postgres_database)
    assert await holder.fetchval("SELECT indisvalid FROM pg_index WHERE indexrelid = 'ix_made_up'::regclass")
    assert await current_revision(postgres_database) == "20990101_index"
    await holder.close()


async def test_a_killed_migration_continues_with_the_next_run(
    postgres_database: Database, postgres_url: str, newer: Add
) -> None:
    newer("20990101_wider", ADD, DROP)
    newer("20990102_long", "op.execute('SELECT pg_sleep(600)') if PAUSE else None".replace("PAUSE", "True"))
    killed = asyncio.create_task(migrate(postgres_database))
    observer = await asyncpg.connect(postgres_url.replace("+asyncpg", ""))
    sleeping = (
        "SELECT pid FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%'"
        " AND datname = current_database()"
    )
    async with asyncio.timeout(60):
        process = await answer_to(lambda: observer.fetchval(sleeping))
    await observer.execute(f"SELECT pg_terminate_backend({process})")
    with pytest.raises(StorageUnavailable):
        await killed
    assert await current_revision(postgres_database) == "20990101_wider"
    newer("20990102_long")
    await observer.close()
