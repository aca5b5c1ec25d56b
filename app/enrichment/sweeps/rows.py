"""Rows of sweeps: opened for regular sweeps and backfills, found when due, and claimed by one replica."""

from datetime import datetime, timedelta

from sqlalchemy import and_, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.engine import upsert_into
from app.db.tables import sweeps
from app.enrichment.gaps import REGULAR_ID, Reason, Sweep, read_row
from app.ids import AccountId, new_id
from app.work.leases import Lease, is_free
from app.work.lookout import NOW, is_past


async def open_regular(
    db: AsyncConnection, account_id: AccountId, now: datetime, first_after: timedelta
) -> None:
    """Make sure that an account is swept regularly, from now on. What was before is for a backfill."""
    row = {
        "account_id": account_id,
        "sweep_id": REGULAR_ID,
        "reason": Reason.REGULAR.value,
        "from_at": now,
        "to_at": now + first_after,
        "due_at": now + first_after,
        "created_at": now,
    }
    await db.execute(upsert_into(db, sweeps).values(row).on_conflict_do_nothing())


async def open_backfill(
    db: AsyncConnection, account_id: AccountId, from_at: datetime, to_at: datetime | None, now: datetime
) -> Sweep:
    """Return the unfinished backfill of this range, or a new one.

    Without `to_at` the range ends when the backfill was opened.
    """
    query = select(sweeps).where(
        sweeps.c.account_id == account_id,
        sweeps.c.reason == Reason.BACKFILL.value,
        sweeps.c.from_at == from_at,
        sweeps.c.done_at.is_(None),
    )
    if to_at is not None:
        query = query.where(sweeps.c.to_at == to_at)
    row = (await db.execute(query.order_by(sweeps.c.created_at.desc()).limit(1))).one_or_none()
    if row is not None:
        return read_row(row)
    sweep_id = new_id("backfill", now)
    values = {
        "account_id": account_id,
        "sweep_id": sweep_id,
        "reason": Reason.BACKFILL.value,
        "from_at": from_at,
        "to_at": to_at or now,
        "created_at": now,
    }
    await db.execute(insert(sweeps).values(values))
    return await load(db, account_id, sweep_id)


async def load(db: AsyncConnection, account_id: AccountId, sweep_id: str) -> Sweep:
    """Return a row that must exist."""
    mine = and_(sweeps.c.account_id == account_id, sweeps.c.sweep_id == sweep_id)
    return read_row((await db.execute(select(sweeps).where(mine))).one())


ANY_DUE = is_past(sweeps.c.due_at, is_free(sweeps, NOW))


async def find_due(db: AsyncConnection, now: datetime) -> list[Sweep]:
    """Return one free row of each account: the one due longest, gaps before the regular sweep."""
    query = select(sweeps).where(sweeps.c.due_at <= now, is_free(sweeps, now)).order_by(sweeps.c.due_at)
    due = [read_row(row) for row in await db.execute(query)]
    first: dict[str, Sweep] = {}
    for sweep in sorted(due, key=lambda one: not one.is_gap):
        first.setdefault(sweep.account_id, sweep)
    return list(first.values())


async def claim(
    db: AsyncConnection, sweep: Sweep, replica: str, now: datetime, lease_seconds: float
) -> Sweep | None:
    """Take a row for a while and return it as it is now. Return None if another replica has it or it has
    changed."""
    row = await lease_of(sweep, replica, lease_seconds).take(
        db,
        now,
        sweeps.c.done_at.is_not_distinct_from(sweep.done_at),
        sweeps.c.due_at.is_not_distinct_from(sweep.due_at),
    )
    return None if row is None else read_row(row)


def lease_of(sweep: Sweep, replica: str, seconds: float = 0.0) -> Lease:
    """Return a replica's lease of a row. The lease is lost when the row's range changes; then it is read
    again."""
    key = {"account_id": sweep.account_id, "sweep_id": sweep.sweep_id}
    return Lease(sweeps, key, replica, seconds, f"the sweep {sweep.sweep_id} of account {sweep.account_id}")
