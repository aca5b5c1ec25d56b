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

_IS_PARTITIONED = text(
    "SELECT relkind = 'p' FROM pg_class WHERE relname = :table AND pg_table_is_visible(oid)"
)
_PARTITIONS_WITHOUT = text(
    "SELECT part.relname FROM pg_inherits i JOIN pg_class part ON part.oid = i.inhrelid"
    " JOIN pg_class parent ON parent.oid = i.inhparent"
    " WHERE parent.relname = :table AND pg_table_is_visible(parent.oid) AND NOT EXISTS ("
    "  SELECT FROM pg_index own JOIN pg_inherits of ON of.inhrelid = own.indexrelid"
    "  JOIN pg_class whole ON whole.oid = of.inhparent"
    "  WHERE own.indrelid = part.oid AND whole.relname = :name)"
    " ORDER BY part.relname"
)
_LONGEST_NAME = 63

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
    if connection.scalar(_IS_PARTITIONED, {"table": table}):
        _create_on_partitions(connection, name, table, columns, options)
        return
    is_valid = _settled(connection, name, table)
    _create(connection, name, table, columns, options, is_valid)


def _create(
    connection: Connection,
    name: str,
    table: str,
    columns: Sequence[str | TextClause],
    options: dict[str, Any],
    is_valid: bool | None,
) -> None:
    index = CreateIndexOp(name, table, columns, **options, postgresql_concurrently=True).to_index(
        op.get_context()
    )
    with op.get_context().autocommit_block():
        if is_valid is False:
            _run(f"DROP INDEX CONCURRENTLY IF EXISTS {_quoted(connection, name)}")
        if not is_valid:
            _run(str(CreateIndex(index).compile(dialect=connection.dialect)))


def _create_on_partitions(
    connection: Connection,
    name: str,
    table: str,
    columns: Sequence[str | TextClause],
    options: dict[str, Any],
) -> None:
    """Create an index on each partition, then that of the whole table, which consists of them.

    Only the second step locks the whole table, for a moment. Partitions that the service makes after it get
    their index from it; those that it made before it are found in the last step.
    """
    index = CreateIndexOp(name, table, columns, **options).to_index(op.get_context())
    statement = str(CreateIndex(index).compile(dialect=connection.dialect))
    whole = _quoted(connection, table)
    for part, own in _partitions_without(connection, name, table):
        _create(connection, own, part, columns, options, _settled(connection, own, part))
    with op.get_context().autocommit_block():
        if connection.scalar(_IS_VALID, {"name": name}) is None:
            _run(statement.replace(f" ON {whole} ", f" ON ONLY {whole} ", 1))
    for part, own in _partitions_without(connection, name, table):
        _create(connection, own, part, columns, options, _settled(connection, own, part))
        with op.get_context().autocommit_block():
            _run(f"ALTER INDEX {_quoted(connection, name)} ATTACH PARTITION {_quoted(connection, own)}")


def _partitions_without(connection: Connection, name: str, table: str) -> list[tuple[str, str]]:
    """Return the partitions that have no part of an index yet, and what that part is called."""
    found = connection.scalars(_PARTITIONS_WITHOUT, {"table": table, "name": name})
    return [(part, f"{name}_{part.removeprefix(table).strip('_')}"[:_LONGEST_NAME]) for part in found]


def drop_index(name: str, table: str) -> None:
    """Drop an index if it exists."""
    connection = op.get_bind()
    if connection.dialect.name != "postgresql":
        op.drop_index(name, table, if_exists=True)
        return
    with op.get_context().autocommit_block():
        # That of a partitioned table can only be dropped at once, for which it locks the table for a moment.
        is_partitioned = connection.scalar(_IS_PARTITIONED, {"table": table})
        how = "" if is_partitioned else "CONCURRENTLY "
        _run(f"DROP INDEX {how}IF EXISTS {_quoted(connection, name)}")


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
