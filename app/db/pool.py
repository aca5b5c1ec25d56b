"""The connection pool, which also counts the tasks that wait for a connection."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import AsyncAdaptedQueuePool, QueuePool


class CountingPool(AsyncAdaptedQueuePool):
    """SQLAlchemy's own pool. `waiting` is how many tasks wait for a free connection."""

    waiting = 0

    def _do_get(self) -> Any:
        # If a connection is free, or may be opened, the only wait in here is for its opening.
        self.waiting += 1
        try:
            return super()._do_get()
        finally:
            self.waiting -= 1


@dataclass(frozen=True, slots=True)
class PoolState:
    """Connections in use and idle, the limit of those in use, and the number of waiting tasks."""

    in_use: int
    idle: int
    limit: int
    waiting: int


def pool_state(engine: AsyncEngine) -> PoolState | None:
    """Return the state of an engine's pool; None if it keeps no connections."""
    pool = engine.pool
    if not isinstance(pool, QueuePool):
        return None
    limit = pool.size() + max(0, pool._max_overflow)  # noqa: SLF001 - not available otherwise
    return PoolState(pool.checkedout(), pool.checkedin(), limit, getattr(pool, "waiting", 0))
