"""Runs migrations on a connection that is handed over, or on the database of the settings."""

import asyncio

from alembic import context
from sqlalchemy.engine import Connection

from app.db.engine import Database
from app.db.schema import note_serves_since
from app.db.tables import metadata
from app.settings import read_settings


def _run(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=metadata,
        render_as_batch=connection.dialect.name == "sqlite",
        compare_type=True,
        compare_server_default=False,
        transaction_per_migration=True,
        on_version_apply=note_serves_since,
    )
    with context.begin_transaction():
        context.run_migrations()


async def _run_on_settings() -> None:
    database = Database(read_settings().database_url, direct_url=read_settings().database_direct_url)
    try:
        async with database.write() as db:
            await db.run_sync(_run)
    finally:
        await database.close()


given = context.config.attributes.get("connection")
if given is not None:
    _run(given)
else:
    asyncio.run(_run_on_settings())
