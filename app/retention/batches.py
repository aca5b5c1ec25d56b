"""Removes rows in bounded batches: searched for outside of the transaction that deletes them."""

from collections.abc import Sequence
from typing import Any, Protocol

from sqlalchemy import Column, ColumnElement, delete, select, tuple_

from app import metrics
from app.db.engine import Database
from app.retention.rules import Kind

BATCH = 400
"""Rows of one transaction: some milliseconds, for which other writers may have to wait."""


class Remover(Protocol):
    """Removes one kind. `kind` is what it removes."""

    kind: Kind

    async def remove(self) -> bool:
        """Remove one batch; return whether there may be more."""
        ...


async def delete_batch(
    database: Database, kind: Kind, key: Sequence[Column[Any]], *old: ColumnElement[bool]
) -> bool:
    """Delete some of the old rows of a table, by its primary `key`; return whether there may be more."""
    # The search takes longer than other writers should wait.
    async with database.read() as db:
        found = [tuple(row) for row in await db.execute(select(*key).where(*old).limit(BATCH))]
    if found:
        async with database.write() as db:
            deleted = await db.execute(delete(key[0].table).where(tuple_(*key).in_(found), *old))
        count_removed(kind, deleted.rowcount)
    return len(found) == BATCH


def count_removed(kind: Kind, number: int) -> None:
    """Count what was removed, after the commit."""
    if number:
        metrics.REMOVED.labels(kind=kind.value).inc(number)
