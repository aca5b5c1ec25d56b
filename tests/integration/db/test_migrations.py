"""The schema made by the migrations, on both databases, is that of the tables in the code."""

import asyncio
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import Script, ScriptDirectory
from sqlalchemy import Connection, PrimaryKeyConstraint, Table, UniqueConstraint, insert, inspect, select

from app.calls import accounts
from app.db.engine import Database
from app.db.migrations import _config, current_revision, head, migrate
from app.db.schema import scripts
from app.db.tables import accounts as accounts_table
from app.db.tables import metadata, poll_targets
from tests.fakes.clock import START


def _is_ours(name: str) -> bool:
    """Partitions come and go; the table that they make up is compared."""
    return not name.startswith("deliveries_")


def _differences(connection: Connection) -> list[object]:
    def include(_: object, name: str | None, kind: str, *__: object) -> bool:
        return kind != "table" or _is_ours(str(name))

    options = {"compare_type": True, "target_metadata": metadata, "include_object": include}
    context = MigrationContext.configure(connection, opts=options)
    return list(compare_metadata(context, metadata))


def _tables(connection: Connection) -> set[str]:
    return set(inspect(connection).get_table_names())


def _indexes(connection: Connection) -> set[tuple[str, str, tuple[str | None, ...]]]:
    inspector = inspect(connection)
    return {
        (table, str(index["name"]), tuple(index["column_names"]))
        for table in filter(_is_ours, inspector.get_table_names())
        for index in inspector.get_indexes(table)
        if not index["unique"]
    }


async def test_migrations_create_exactly_the_tables_of_the_code(database: Database) -> None:
    async with database.read() as db:
        assert await db.run_sync(_differences) == []


async def test_migrations_create_exactly_the_indexes_of_the_code(database: Database) -> None:
    stated = {
        (table.name, str(index.name), tuple(column.name for column in index.columns))
        for table in metadata.tables.values()
        for index in table.indexes
    }
    async with database.read() as db:
        assert await db.run_sync(_indexes) == stated


async def test_the_schema_goes_up_down_and_up_again(database: Database) -> None:
    assert await current_revision(database) == head()
    await migrate(database, "base")
    async with database.read() as db:
        assert await db.run_sync(_tables) <= {"alembic_version"}
    assert await current_revision(database) is None
    await migrate(database)
    assert await current_revision(database) == head()
    async with database.read() as db:
        assert await db.run_sync(_differences) == []


async def test_each_migration_can_be_reversed_without_losing_data(database: Database) -> None:
    async with database.write() as db:
        await accounts.open_unbound(db, START)
        await db.execute(insert(poll_targets).values(account_id="~", target="account", lease_owner="web-1"))
    # Within the steps: the first of them makes the tables.
    for _ in list(ScriptDirectory.from_config(_config()).walk_revisions())[:-1]:
        await migrate(database, "-1")
    assert await current_revision(database) != head()
    await migrate(database)
    assert await current_revision(database) == head()
    async with database.read() as db:
        assert await db.run_sync(_differences) == []
        assert (await db.execute(select(accounts_table.c.account_id))).scalars().all() == ["~"]
        assert (await db.execute(select(poll_targets.c.lease_owner))).scalars().all() == ["web-1"]


async def test_replicas_that_start_together_migrate_once(database: Database) -> None:
    await migrate(database, "base")
    replicas = [Database(database.url.render_as_string(hide_password=False)) for _ in range(3)]
    try:
        await asyncio.gather(*(migrate(replica) for replica in replicas))
    finally:
        for replica in replicas:
            await replica.close()
    assert await current_revision(database) == head()


async def test_an_empty_database_has_no_revision(tmp_path: Path) -> None:
    database = Database(f"sqlite+aiosqlite:///{tmp_path / 'empty.db'}")
    try:
        assert await current_revision(database) is None
    finally:
        await database.close()


@pytest.mark.parametrize("table", metadata.sorted_tables, ids=lambda table: table.name)
def test_every_primary_and_unique_key_contains_the_account(table: Table) -> None:
    keys = [key for key in table.constraints if isinstance(key, PrimaryKeyConstraint | UniqueConstraint)]
    assert table.primary_key.columns
    for key in keys:
        assert "account_id" in key.columns, key.name
    for index in table.indexes:
        assert not index.unique or "account_id" in index.columns, index.name


@pytest.mark.parametrize("script", list(scripts().walk_revisions()), ids=lambda script: script.revision)
def test_each_migration_declares_whether_older_code_still_works(script: Script) -> None:
    assert script.module.breaks_older in {True, False}
