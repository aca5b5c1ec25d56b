"""The state of what comes in: the inbox, its dead letters, and the subscriptions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.tables import deliveries, subscriptions, sweeps
from app.enrichment.gaps import Reason
from app.ops.account_scope import among, load_scope
from app.ops.states import ACTIVE, MOST_COUNTED, InboxState, SubscriptionState, current_status

_MOST_SUBSCRIPTIONS = 10
_LOST = (Reason.MISSING, Reason.EXPIRED, Reason.SUSPENDED, Reason.REFUSED)


@dataclass(frozen=True, slots=True)
class DeadLetters:
    """Deliveries received since then that became part of no call, counted by reason."""

    since: datetime
    by_reason: Mapping[str, int] = field(default_factory=dict)


async def load_inbox(db: AsyncConnection, only: Sequence[str] | None, now: datetime) -> InboxState:
    """Return the state of the inbox of these accounts; None: of all."""
    own = among(deliveries.c.account_id, only)
    counted = (
        select(deliveries.c.received_at)
        .where(own, deliveries.c.folded_at.is_(None))
        .order_by(deliveries.c.account_id, deliveries.c.received_at)
        .limit(MOST_COUNTED)
        .subquery()
    )
    query = select(func.count(), func.min(counted.c.received_at)).select_from(counted)
    waiting, oldest = (await db.execute(query)).one()
    return InboxState(
        waiting=waiting,
        oldest_seconds=max(0.0, (now - oldest).total_seconds()) if oldest else None,
        ever=await db.scalar(select(deliveries.c.uuid).where(own).limit(1)) is not None,
    )


async def load_dead_letters(
    db: AsyncConnection, account_id: str | None, now: datetime, hours: float
) -> DeadLetters:
    """Count the dead letters of the last hours by the reason that folding noted, most frequent first."""
    only = None if account_id is None else await load_scope(db, account_id)
    since = now - timedelta(hours=hours)
    query = (
        select(deliveries.c.fold_note, func.count().label("number"))
        .where(
            among(deliveries.c.account_id, only),
            deliveries.c.received_at >= since,
            deliveries.c.fold_note.is_not(None),
        )
        .group_by(deliveries.c.fold_note)
        .order_by(func.count().desc(), deliveries.c.fold_note)
    )
    return DeadLetters(since, {row.fold_note: row.number for row in await db.execute(query)})


async def load_subscriptions(
    db: AsyncConnection, only: Sequence[str] | None, now: datetime
) -> tuple[SubscriptionState, ...]:
    """Return the subscriptions of these accounts (None: of all), those checked last first."""
    gaps = select(sweeps.c.account_id, func.min(sweeps.c.created_at).label("since")).where(
        among(sweeps.c.account_id, only), sweeps.c.to_at.is_(None), sweeps.c.reason.in_(_LOST)
    )
    lost = {row.account_id: row.since for row in await db.execute(gaps.group_by(sweeps.c.account_id))}
    query = (
        select(subscriptions)
        .where(among(subscriptions.c.account_id, only))
        .order_by(subscriptions.c.checked_at.desc())
        .limit(_MOST_SUBSCRIPTIONS)
    )
    found = []
    for row in await db.execute(query):
        status, since = current_status(row.status, row.expires_at, row.refused_since, now)
        # The gap was opened when the loss was first noticed.
        if status.lower() != ACTIVE:
            since = lost.get(row.account_id) or since or row.checked_at
        disabled = tuple(
            str(item.get("filter", item)) if isinstance(item, Mapping) else str(item)
            for item in row.disabled_filters or ()
        )
        found.append(
            SubscriptionState(
                row.account_id, status, row.expires_at, row.checked_at, disabled, row.name, since
            )
        )
    return tuple(found)
