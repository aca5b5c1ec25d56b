"""Lists of values and sets of rows, each as a single parameter of one statement.

`is_one_of(column, values)` is an IN list, however long it is. PostgreSQL takes 32,767 parameters in a
statement and SQLite 32,766, and each length of an IN list is another statement to compile. An array on
PostgreSQL and a JSON list on SQLite avoid both.

`insert_rows` and `update_rows` write whole sets. PostgreSQL takes the rows as JSON (`jsonb_to_recordset`):
one plan, one round trip, and no bound value of each column of each row, which costs more than the write
itself. SQLite takes them one by one within one call (`executemany`), which is its fastest way.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import JSON, Table, Text, TextClause, bindparam, or_, text, update
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.engine import Dialect
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.dml import Update
from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import Boolean, TypeDecorator, TypeEngine

from app.db.engine import upsert_into

ROWS_AT_ONCE = 100
"""Rows of one statement on PostgreSQL."""

_DIALECT = postgresql.dialect()  # type: ignore[no-untyped-call]
_KEY = "key_"


class _TextList(TypeDecorator[list[str]]):
    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return dialect.type_descriptor(Text() if dialect.name == "sqlite" else ARRAY(Text()))

    def process_bind_param(self, value: list[str] | None, dialect: Dialect) -> Any:
        return json.dumps(value) if dialect.name == "sqlite" else value


class _IsOneOf(FunctionElement[bool]):
    type = Boolean()
    inherit_cache = True
    _is_implicitly_boolean = True  # otherwise SQLite gets `… IN (…) = 1`, and scans all rows


def is_one_of(column: ColumnElement[Any], values: Iterable[str]) -> ColumnElement[bool]:
    """Return the condition that a text column has one of these values."""
    return _IsOneOf(column, bindparam(None, sorted(set(values)), type_=_TextList(), unique=True))


def is_one_of_bound(column: ColumnElement[Any], name: str) -> ColumnElement[bool]:
    """Return the same condition for a statement that is made once: its execution binds the list to a name."""
    return _IsOneOf(column, bindparam(name, type_=_TextList()))


@compiles(_IsOneOf, "postgresql")
def _on_postgresql(element: _IsOneOf, compiler: SQLCompiler, **options: Any) -> str:
    column, values = element.clauses
    return f"{compiler.process(column, **options)} = ANY ({compiler.process(values, **options)})"


@compiles(_IsOneOf, "sqlite")
def _on_sqlite(element: _IsOneOf, compiler: SQLCompiler, **options: Any) -> str:
    column, values = element.clauses
    listed = f"json_each({compiler.process(values, **options)})"
    return f"{compiler.process(column, **options)} IN (SELECT value FROM {listed})"  # noqa: S608 - no values in it


async def insert_rows(
    db: AsyncConnection, table: Table, rows: Sequence[Mapping[str, Any]], *, or_ignore: bool = False
) -> None:
    """Insert rows that all have the same columns; `or_ignore` leaves out those whose key exists."""
    if not rows:
        return
    if db.dialect.name == "sqlite":
        statement = upsert_into(db, table)
        await db.execute(statement.on_conflict_do_nothing() if or_ignore else statement, list(rows))
        return
    insertion = _insertion(table, tuple(rows[0]), or_ignore)
    for part in _parts(rows):
        await db.execute(insertion, {"rows": part})


async def update_rows(
    db: AsyncConnection,
    table: Table,
    keys: Sequence[str],
    rows: Sequence[Mapping[str, Any]],
    *,
    if_different: bool = False,
) -> None:
    """Update the rows with these `keys` to the other values. All rows have the same columns.

    `if_different` leaves rows alone that have these values: writing them again costs as much as a change.
    """
    if not rows:
        return
    columns = tuple(name for name in rows[0] if name not in keys)
    if db.dialect.name == "sqlite":
        # In an UPDATE, SQLAlchemy reserves the names of columns for SET.
        bound = [
            {_KEY + name: row[name] for name in row} | {name: row[name] for name in columns} for row in rows
        ]
        await db.execute(_single_update(table, tuple(keys), columns, if_different), bound)
        return
    statement = _set_update(table, tuple(keys), columns, if_different)
    for part in _parts(rows):
        await db.execute(statement, {"rows": part})


def _parts(rows: Sequence[Mapping[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    for start in range(0, len(rows), ROWS_AT_ONCE):
        yield [
            {name: _as_json(value) for name, value in row.items()}
            for row in rows[start : start + ROWS_AT_ONCE]
        ]


def _as_json(value: Any) -> Any:
    if not isinstance(value, datetime):
        return value
    if value.tzinfo is None:
        raise ValueError("a point in time needs a time zone")
    return value.isoformat()


@lru_cache(maxsize=256)
def _insertion(table: Table, columns: tuple[str, ...], or_ignore: bool) -> TextClause:
    names = _names(columns)
    ending = " ON CONFLICT DO NOTHING" if or_ignore else ""
    # The names are those of our tables.
    return _with_rows(
        f"INSERT INTO {table.name} ({names}) SELECT {names} FROM {_recordset(table, columns)}{ending}"  # noqa: S608
    )


@lru_cache(maxsize=256)
def _set_update(
    table: Table, keys: tuple[str, ...], columns: tuple[str, ...], if_different: bool
) -> TextClause:
    sets = ", ".join(f'"{name}" = r."{name}"' for name in columns)
    same = " AND ".join(f'{table.name}."{name}" = r."{name}"' for name in keys)
    if if_different:
        different = (f'{table.name}."{name}" IS DISTINCT FROM r."{name}"' for name in columns)
        same += f" AND ({' OR '.join(different)})"
    return _with_rows(
        f"UPDATE {table.name} SET {sets} FROM {_recordset(table, (*keys, *columns))} WHERE {same}"  # noqa: S608
    )


def _with_rows(statement: str) -> TextClause:
    return text(statement).bindparams(bindparam("rows", type_=JSONB))


@lru_cache(maxsize=256)
def _single_update(
    table: Table, keys: tuple[str, ...], columns: tuple[str, ...], if_different: bool
) -> Update:
    own = [table.c[name] == bindparam(_KEY + name) for name in keys]
    if if_different:
        own.append(or_(*(table.c[name].is_distinct_from(bindparam(_KEY + name)) for name in columns)))
    return update(table).where(*own).values({name: bindparam(name) for name in columns})


def _recordset(table: Table, columns: Iterable[str]) -> str:
    typed = ", ".join(f'"{name}" {_type_of(table, name)}' for name in columns)
    return f"jsonb_to_recordset(:rows) AS r({typed})"


def _type_of(table: Table, name: str) -> str:
    """Return the type in which a column is read from JSON. Text has no width there: the table checks it."""
    kind = table.c[name].type
    if isinstance(kind, JSON):
        return "jsonb"
    spelled = str(kind.compile(_DIALECT))
    return "text" if spelled.startswith("VARCHAR") else spelled


def _names(columns: Iterable[str]) -> str:
    return ", ".join(f'"{name}"' for name in columns)
