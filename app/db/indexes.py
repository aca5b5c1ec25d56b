"""Creates and drops indexes in migrations while deliveries keep being stored.

CREATE INDEX locks out all writers of the table until it is done: minutes on a large installation. On
PostgreSQL these helpers do it CONCURRENTLY, which cannot be part of a transaction. So a migration that uses
them has nothing else in it, and each helper can be repeated after an interrupted run.
"""

from collections.abc import Sequence
from typing import Any

from alembic import op
from alembic.operations.ops import CreateIndexOp
from sqlalchemy import quoted_name, text
from sqlalchemy.engine import Connection
from sqlalchemy.schema import CreateIndex
from sqlalchemy.sql.elements import TextClause
from sqlalchemy.util import await_only

_IS_VALID = text(
    "SELECT indisvalid FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid"
    " WHERE relname = :name AND pg_table_is_visible(pg_class.oid)"
)


def create_index(name: str, table: str, columns: Sequence[str | TextClause], **options: Any) -> None:
    """Create an index of the schema, unless it exists and is valid.

    An interrupted run leaves an INVALID index behind: PostgreSQL maintains it and never uses it. It is
    created again.
    """
    connection = op.get_bind()
    if connection.dialect.name != "postgresql":
        op.create_index(name, table, columns, if_not_exists=True, **options)
        return
    is_valid = _settled(connection, name, table)
    index = CreateIndexOp(name, table, columns, **options, postgresql_concurrently=True).to_index(
        op.get_context()
    )
    with op.get_context().autocommit_block():
        if is_valid is False:
            _run(f"DROP INDEX CONCURRENTLY IF EXISTS {_quoted(connection, name)}")
        if not is_valid:
            _run(str(CreateIndex(index).compile(dialect=connection.dialect)))


def drop_index(name: str, table: str) -> None:
    """Drop an index if it exists."""
    connection = op.get_bind()
    if connection.dialect.name != "postgresql":
        op.drop_index(name, table, if_exists=True)
        return
    with op.get_context().autocommit_block():
        _run(f"DROP INDEX CONCURRENTLY IF EXISTS {_quoted(connection, name)}")


def _settled(connection: Connection, name: str, table: str) -> bool | None:
    """Return whether an index is valid; None if it does not exist.

    The server continues for a while with what a killed process began. This lock, which does not conflict with
    writers, waits for that.
    """
    connection.execute(text(f"LOCK TABLE {_quoted(connection, table)} IN SHARE UPDATE EXCLUSIVE MODE"))
    is_valid: bool | None = connection.scalar(_IS_VALID, {"name": name})
    return is_valid


def _quoted(connection: Connection, name: str) -> str:
    return connection.dialect.identifier_preparer.quote(quoted_name(name, quote=None))


def _run(statement: str) -> None:
    """Send a statement in one step, without preparing it, so that it reaches one session through a pooler as
    well.
    """
    driver: Any = op.get_bind().connection.driver_connection
    await_only(driver.execute(statement))
