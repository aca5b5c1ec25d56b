"""Forgets what has been kept for long enough: folded raw deliveries, idempotency keys."""

from datetime import timedelta

from sqlalchemy import delete, select, tuple_

from app.clock import Clock
from app.db.engine import Database
from app.db.tables import deliveries, idempotency_keys
from app.settings import Settings

BATCH = 400


class Upkeep:
    """The background work that deletes, a little at a time so that nobody waits for it."""

    def __init__(self, database: Database, clock: Clock, settings: Settings) -> None:
        self._database = database
        self._clock = clock
        self._deliveries = timedelta(days=settings.delivery_retention_days)
        self._idempotency = timedelta(hours=settings.idempotency_retention_hours)

    async def step(self) -> float | None:
        """Delete one batch; 0 when there may be more."""
        now = self._clock.now()
        # Found outside of the transaction that deletes: looking takes longer than anybody should wait to write.
        async with self._database.read() as db:
            old = (
                select(deliveries.c.account_id, deliveries.c.uuid)
                .where(deliveries.c.folded_at.is_not(None), deliveries.c.received_at < now - self._deliveries)
                .limit(BATCH)
            )
            keys = [(row.account_id, row.uuid) for row in await db.execute(old)]
        async with self._database.write() as db:
            key = tuple_(deliveries.c.account_id, deliveries.c.uuid)
            await db.execute(delete(deliveries).where(key.in_(keys)))
            await db.execute(
                delete(idempotency_keys).where(idempotency_keys.c.created_at < now - self._idempotency)
            )
        return 0.0 if len(keys) == BATCH else None
