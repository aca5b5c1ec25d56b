"""The pool of connections, which also tells how many tasks wait for one of them."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import AsyncAdaptedQueuePool, QueuePool


class CountingPool(AsyncAdaptedQueuePool):
    """SQLAlchemy's own pool. `waiting` is how many tasks wait for a connection to become free just now."""

    waiting = 0

    def _do_get(self) -> Any:
        # With a free connection, or room for a new one, nobody waits here but for the opening of the new one.
        self.waiting += 1
        try:
            return super()._do_get()
        finally:
            self.waiting -= 1


@dataclass(frozen=True, slots=True)
class PoolState:
    """Connections in use and idle, how many may be in use at once, and how many tasks wait for one."""

    in_use: int
    idle: int
    limit: int
    waiting: int


def pool_state(engine: AsyncEngine) -> PoolState | None:
    """Describe the pool of an engine; None if it keeps no connections."""
    pool = engine.pool
    if not isinstance(pool, QueuePool):
        return None
    limit = pool.size() + max(0, pool._max_overflow)  # noqa: SLF001 - told nowhere else
    return PoolState(pool.checkedout(), pool.checkedin(), limit, getattr(pool, "waiting", 0))
