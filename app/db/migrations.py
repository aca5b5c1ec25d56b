"""Brings the schema up or down, from code.

Replicas that start together take turns: on PostgreSQL by an advisory lock, on SQLite by its one writer.
"""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text
from sqlalchemy.engine import Connection

from app.db.engine import Database

_TURN = 4_202_611_23
_SCRIPTS = Path(__file__).parents[2] / "migrations"


def _config(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def head() -> str:
    """Return the revision that this code expects."""
    return ScriptDirectory.from_config(_config()).get_current_head() or ""


async def migrate(database: Database, revision: str = "head") -> None:
    """Bring the schema to `revision`; "base" takes everything down. Repeating it changes nothing."""
    async with database.write() as db:
        if not database.is_sqlite:
            await db.execute(text("SELECT pg_advisory_xact_lock(:turn)"), {"turn": _TURN})
        current = await db.run_sync(_current)
        if current == head() and revision == "head":
            return
        down = revision == "base" or revision.startswith("-")
        await db.run_sync(lambda c: (command.downgrade if down else command.upgrade)(_config(c), revision))


async def current_revision(database: Database) -> str | None:
    """Return the revision that the database is at; None for an empty one."""
    async with database.read() as db:
        return await db.run_sync(_current)


def _current(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()
