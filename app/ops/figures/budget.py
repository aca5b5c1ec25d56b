"""The request budget: what the fullest rate bucket allows now."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.tables import rate_buckets
from app.ops.account_scope import among
from app.rate_limits import bucket
from app.rate_limits.bucket_state import BucketState
from app.settings import Settings


@dataclass(frozen=True, slots=True)
class SlotUse:
    """One request that occupies the sliding window until `frees_at`."""

    priority: str
    sent_at: datetime
    frees_at: datetime


@dataclass(frozen=True, slots=True)
class Budget:
    """The fullest bucket: `free` of `limit` requests may be sent at once."""

    limit: int
    free: int
    window_seconds: float
    silent_until: datetime | None = None
    slots: tuple[SlotUse, ...] = ()


async def load_budget(
    db: AsyncConnection, only: Sequence[str] | None, settings: Settings, now: datetime
) -> Budget | None:
    """Return the fullest Heavy bucket of these accounts (None: of all); None before the first request."""
    query = select(rate_buckets.c.bucket, rate_buckets.c.state)
    heavy = [
        read_budget(row.state, settings, now)
        for row in await db.execute(query.where(among(rate_buckets.c.account_id, only)))
        if "heavy" in row.bucket.lower()
    ]
    return min(heavy, key=lambda one: one.free / one.limit, default=None)


def read_budget(stored: Mapping[str, Any], settings: Settings, now: datetime) -> Budget:
    """Return what a stored bucket allows now, and the requests that occupy it."""
    limits = bucket.Limits(
        limit=settings.rate_limit_heavy,
        window_seconds=settings.rate_limit_window_seconds,
        penalty_seconds=settings.rate_limit_penalty_seconds,
        request_timeout_seconds=settings.rc_timeout_seconds,
    )
    state = BucketState.from_json(stored)
    cycle = timedelta(seconds=bucket.cycle_seconds(state, limits))
    silent = bucket.silent_until(state, limits)
    # A request without a token was sent by another program and learnt from a response.
    slots = [
        SlotUse(
            priority=slot.priority.name.lower() if slot.token else "foreign",
            sent_at=slot.sent_at,
            # A request in progress frees its slot a cycle after it ends, at the earliest now.
            frees_at=(slot.done_at or max(now, slot.sent_at)) + cycle,
        )
        for slot in state.slots
    ]
    return Budget(
        limit=bucket.limit_of(state, limits),
        free=bucket.free_slots(state, now, limits),
        window_seconds=bucket.window_seconds(state, limits),
        silent_until=silent if silent is not None and silent > now else None,
        slots=tuple(sorted((slot for slot in slots if slot.frees_at > now), key=lambda slot: slot.frees_at)),
    )


async def count_429(db: AsyncConnection, only: Sequence[str] | None) -> int:
    """Return how many 429 responses all replicas have ever received."""
    query = select(func.sum(rate_buckets.c.refused)).where(among(rate_buckets.c.account_id, only))
    return int(await db.scalar(query) or 0)
