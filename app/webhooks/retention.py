"""Deletes what has been kept long enough: folded raw deliveries, idempotency keys."""

from datetime import timedelta
from typing import Any

from sqlalchemy import Column, ColumnElement, delete, select, tuple_

from app.clock import Clock
from app.db.engine import Database
from app.db.tables import deliveries, idempotency_keys
from app.settings import Settings

BATCH = 400


class Retention:
    """The background work that deletes, in small batches so that no other writer waits for long."""

    def __init__(self, database: Database, clock: Clock, settings: Settings) -> None:
        self._database = database
        self._clock = clock
        self._deliveries = timedelta(days=settings.delivery_retention_days)
        self._idempotency = timedelta(hours=settings.idempotency_retention_hours)

    async def step(self) -> float | None:
        """Delete one batch of each table; return 0 when there may be more."""
        now, delivery, key = self._clock.now(), deliveries.c, idempotency_keys.c
        old_delivery = delivery.folded_at.is_not(None) & (delivery.received_at < now - self._deliveries)
        has_more = [
            await self._delete(old_delivery, delivery.account_id, delivery.uuid),
            await self._delete(key.created_at < now - self._idempotency, key.account_id, key.key_id, key.key),
        ]
        return 0.0 if any(has_more) else None

    async def _delete(self, old: ColumnElement[bool], *key: Column[Any]) -> bool:
        """Delete some of the old rows of a table, by its primary `key`; return whether there may be more."""
        # Search outside of the transaction that deletes: it takes longer than other writers should wait.
        async with self._database.read() as db:
            found = [tuple(row) for row in await db.execute(select(*key).where(old).limit(BATCH))]
        if found:
            async with self._database.write() as db:
                await db.execute(delete(key[0].table).where(tuple_(*key).in_(found), old))
        return len(found) == BATCH
