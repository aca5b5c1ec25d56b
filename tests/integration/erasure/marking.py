"""Writes a phone number into every column of every table that can hold one, and looks for it everywhere.

The tables come from the metadata, so a new table is filled and searched without a change here.
"""

import json
import random
import re
from collections.abc import Iterator
from typing import Any

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Date,
    DateTime,
    Float,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    String,
    Table,
    UniqueConstraint,
    insert,
    select,
)

from app.db.engine import Database
from app.db.tables import metadata
from app.db.types import Body, ExactJson, UtcDateTime
from app.values.packed_bodies import pack_body
from tests.factories_calls import ACCOUNT
from tests.fakes.clock import START

NUMBER = "+15550179001"
NEEDLE = "5550179001"
SPELLINGS = (
    NUMBER, "15550179001", "5550179001", "(555) 017-9001", "555-017-9001", "+1 555 017 9001",
    "1-555-017-9001", "+1.555.017.9001", "001 555 0179001",
    "+1\u00a0555\u00a0017\u00a09001", "+1 (555) 017-9001",
)  # fmt: skip
"""All mean the same to a person."""

_SHORTEST_COLUMN = 40
_BETWEEN = re.compile(r"(?:[\s().\-/\[\]_~\u00a0\u2011]|\\u00a0|\\u2011)+")


class Marker:
    """Fills tables. `call_id` is a call in which the erased person has no part, for rows that need one;
    `held_id` is another one, for legal holds.
    """

    def __init__(self, seed: int, call_id: str, held_id: str) -> None:
        self._random = random.Random(seed)
        self._call_id = call_id
        self._held_id = held_id
        self._count = 0

    def rows(self, table: Table) -> Iterator[dict[str, Any]]:
        """Yield rows of a table whose texts all have the number; where it fits a key, a row with it there."""
        yield self._row(table, in_keys=False)
        if any(self._may_hold(table, column) for column in _keys(table)):
            yield self._row(table, in_keys=True)

    def _row(self, table: Table, *, in_keys: bool) -> dict[str, Any]:
        self._count += 1
        return {column.name: self._value(table, column, in_keys=in_keys) for column in table.columns}

    def _may_hold(self, table: Table, column: Column[Any]) -> bool:
        # Ids are RingCentral's or ours. A CRM's can be anything.
        is_id = column.name.endswith("_id") and column.name != "external_id"
        is_short = isinstance(column.type, String) and (column.type.length or 99) < _SHORTEST_COLUMN
        is_named = column.name in {"subject", "uuid"}
        return isinstance(column.type, String) and not (is_id or is_short or is_named)

    def _value(self, table: Table, column: Column[Any], *, in_keys: bool) -> Any:
        kind = column.type
        if column.name == "account_id":
            return ACCOUNT
        if column.name == "subject" or (column.name == "call_id" and table.name != "calls"):
            return self._held_id if table.name == "legal_holds" else self._call_id
        if isinstance(kind, JSON | ExactJson):
            return {"said": [f"call {self._spelled()} back"], "number": int(NUMBER), self._spelled(): None}
        if isinstance(kind, Body):
            body = json.dumps({"event": "x", "body": {"from": NUMBER, "of": table.name * 20}}).encode()
            return pack_body(body) if self._count % 2 else body
        if isinstance(kind, LargeBinary):
            return json.dumps({"event": "x", "body": {"from": NUMBER, "of": table.name}}).encode()
        if isinstance(kind, String):
            is_key = column in _keys(table)
            if self._may_hold(table, column) and (in_keys or not is_key):
                return f"{self._spelled()} {self._count}"
            return f"{self._count}"[: kind.length]
        if isinstance(kind, Boolean):
            return False
        if isinstance(kind, Integer | Float):
            return 1_000_000 + self._count
        if isinstance(kind, Date):
            return START.date()
        assert isinstance(kind, UtcDateTime | DateTime), f"{column} has a type that this does not know"
        return START

    def _spelled(self) -> str:
        return self._random.choice(SPELLINGS)


def _keys(table: Table) -> set[Column[Any]]:
    unique = [one for one in table.constraints if isinstance(one, PrimaryKeyConstraint | UniqueConstraint)]
    return {column for one in unique for column in one.columns}


async def fill(database: Database, marker: Marker, table: Table) -> None:
    async with database.write() as db:
        for row in marker.rows(table):
            await db.execute(insert(table).values(row))


async def find_marked(database: Database) -> dict[str, list[str]]:
    """Return where the number is found, however it is spelled: columns by table."""
    found: dict[str, list[str]] = {}
    async with database.read() as db:
        for table in metadata.sorted_tables:
            for row in (await db.execute(select(table))).mappings():
                found.setdefault(table.name, []).extend(
                    name for name, value in row.items() if NEEDLE in _BETWEEN.sub("", _text(value))
                )
    return {table: sorted(set(columns)) for table, columns in found.items() if columns}


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
