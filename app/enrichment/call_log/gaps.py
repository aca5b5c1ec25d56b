"""Ranges of time whose calls have to be looked for: gaps of the deliveries, backfills, the regular look back.

The rows and who may work on them; what is done with a row is in `sweeps`. A gap is written down the moment it
is noticed, in the transaction of whoever noticed it, and stays as a record after it was swept.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Row, and_, case, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.calls import accounts
from app.db.engine import upsert_into, wake
from app.db.lists import is_one_of
from app.db.tables import calls, sweeps
from app.ids import AccountId, new_id
from app.work.leases import Lease, is_free
from app.work.wakeups import SWEEPS


class Reason(StrEnum):
    """Why a range has to be swept."""

    SERVICE_DOWN = "service-down"
    NOT_STORED = "deliveries-not-stored"
    MISSING = "subscription-missing"
    EXPIRED = "subscription-expired"
    SUSPENDED = "subscription-suspended"
    REFUSED = "deliveries-refused"
    BACKFILL = "backfill"
    REGULAR = "regular"


NO_GAPS = (Reason.BACKFILL.value, Reason.REGULAR.value)
"""Ranges that are swept although events came."""

REGULAR_ID = "regular"
"""The one regular row of an account."""


_MOST_PUT_OFF = 3
"""A gap that grows is put off for at most this many times the wait before a sweep."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """One row. `to_at` is None while a gap lasts, `cursor_at` while nothing is read."""

    account_id: AccountId
    sweep_id: str
    reason: str
    from_at: datetime
    to_at: datetime | None
    cursor_at: datetime | None
    span_seconds: float | None
    passes: int
    due_at: datetime | None
    done_at: datetime | None
    asked_at: datetime | None
    records: int
    found: int
    created_at: datetime
    detail: str | None = None
    problem: dict[str, Any] | None = None
    lease_owner: str | None = None
    lease_until: datetime | None = None

    @property
    def is_gap(self) -> bool:
        return self.reason not in NO_GAPS


def read_row(row: Row[Any]) -> Sweep:
    """Make a sweep of a row of the whole table."""
    return Sweep(**row._mapping)  # noqa: SLF001 - the documented way from a row to keywords


def _key(account_id: str, sweep_id: str) -> ColumnElement[bool]:
    return and_(sweeps.c.account_id == account_id, sweeps.c.sweep_id == sweep_id)


async def note_gap(
    db: AsyncConnection,
    account_id: AccountId,
    reason: Reason,
    from_at: datetime,
    to_at: datetime | None,
    now: datetime,
    *,
    sweep_after: timedelta,
    detail: str | None = None,
) -> str:
    """Write down that no event could come from `from_at` on, until `to_at` (None: it lasts); return the row's id.

    Gaps that touch each other are one, and one that lasts goes on lasting. A gap that had ended is swept
    `sweep_after` its end, when the Call Log has caught up; repeating this changes nothing. One that grows again and
    again is swept meanwhile as far as it has come. What was swept of it is swept with the later pass, not at once
    again.
    """
    touching = await _find_touching(db, account_id, from_at, to_at)
    if touching is None:
        sweep_id = new_id("gap", now)
        await db.execute(
            insert(sweeps).values(
                account_id=account_id,
                sweep_id=sweep_id,
                reason=reason.value,
                detail=detail,
                from_at=from_at,
                to_at=to_at,
                due_at=to_at + sweep_after if to_at else None,
                created_at=now,
            )
        )
        wake(db, SWEEPS)
        return sweep_id
    begin = min(from_at, touching.from_at)
    end = None if to_at is None or touching.to_at is None else max(to_at, touching.to_at)
    if (begin, end) != (touching.from_at, touching.to_at):
        due_at = end + sweep_after if end else None
        if due_at is not None and touching.due_at is not None and touching.passes == 0:
            # What grows again and again would be put off each time.
            due_at = min(due_at, max(touching.due_at, touching.created_at + _MOST_PUT_OFF * sweep_after))
        swept_until = touching.cursor_at if touching.passes == 0 else touching.to_at
        cursor_at = swept_until if begin == touching.from_at else None
        changed: dict[str, Any] = {
            "from_at": begin,
            "to_at": end,
            "due_at": due_at,
            "cursor_at": cursor_at,
            "passes": 0,
        }
        if detail is not None and touching.reason == reason.value:
            changed["detail"] = detail
        await db.execute(
            update(sweeps)
            .where(_key(account_id, touching.sweep_id))
            .values(**changed, asked_at=None, lease_owner=None, lease_until=None)
        )
        wake(db, SWEEPS)
    return touching.sweep_id


async def _find_touching(
    db: AsyncConnection, account_id: AccountId, from_at: datetime, to_at: datetime | None
) -> Sweep | None:
    meets = [or_(sweeps.c.to_at.is_(None), sweeps.c.to_at >= from_at)]
    if to_at is not None:
        meets.append(sweeps.c.from_at <= to_at)
    query = (
        select(sweeps)
        .where(
            sweeps.c.account_id == account_id,
            sweeps.c.reason.not_in(NO_GAPS),
            sweeps.c.done_at.is_(None),
            *meets,
        )
        .order_by(sweeps.c.from_at)
        .limit(1)
        .with_for_update()
    )
    row = (await db.execute(query)).one_or_none()
    return None if row is None else read_row(row)


async def end_gaps(db: AsyncConnection, account_id: AccountId, now: datetime, sweep_after: timedelta) -> None:
    """Note that events come again: what lasted, whatever it began with, is over."""
    lasting = and_(
        sweeps.c.account_id == account_id, sweeps.c.to_at.is_(None), sweeps.c.reason.not_in(NO_GAPS)
    )
    ended = await db.execute(update(sweeps).where(lasting).values(to_at=now, due_at=now + sweep_after))
    if ended.rowcount:
        wake(db, SWEEPS)


async def open_regular(
    db: AsyncConnection, account_id: AccountId, now: datetime, first_after: timedelta
) -> None:
    """Make sure that an account is looked over regularly. What was before is a matter of a backfill."""
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
    """Return the backfill of this range that was begun and not finished, else a new one.

    Without `to_at` it is the range from `from_at` until whenever it was begun.
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
    """Return a row that is there."""
    return read_row((await db.execute(select(sweeps).where(_key(account_id, sweep_id)))).one())


async def find_due(db: AsyncConnection, now: datetime) -> list[Sweep]:
    """Return what is due and nobody works on: of each account what is due longest, gaps before the regular look."""
    query = select(sweeps).where(sweeps.c.due_at <= now, is_free(sweeps, now)).order_by(sweeps.c.due_at)
    due = [read_row(row) for row in await db.execute(query)]
    first: dict[str, Sweep] = {}
    for sweep in sorted(due, key=lambda one: not one.is_gap):
        first.setdefault(sweep.account_id, sweep)
    return list(first.values())


async def claim(
    db: AsyncConnection, sweep: Sweep, replica: str, now: datetime, lease_seconds: float
) -> Sweep | None:
    """Take a row for a while and return it as it is now. Return None when another replica has it or it has changed."""
    row = await lease_of(sweep, replica, lease_seconds).take(
        db,
        now,
        sweeps.c.done_at.is_not_distinct_from(sweep.done_at),
        sweeps.c.due_at.is_not_distinct_from(sweep.due_at),
    )
    return None if row is None else read_row(row)


def lease_of(sweep: Sweep, replica: str, seconds: float = 0.0) -> Lease:
    """Return a replica's lease of a row. Where its range changes, the lease is lost and the row is read again."""
    key = {"account_id": sweep.account_id, "sweep_id": sweep.sweep_id}
    return Lease(sweeps, key, replica, seconds, f"the sweep {sweep.sweep_id} of account {sweep.account_id}")


_LATELY = timedelta(days=2)


@dataclass(frozen=True, slots=True)
class GapEnd:
    """Until when events of an account may be missing. `lasts`: they still may, and nothing has been settled.

    `is_settled`: after the last of its gaps every call that was live was asked after.
    """

    at: datetime
    lasts: bool
    is_settled: bool
    holders: frozenset[str]
    """Under which ids its gaps are noted: the account's own, `~`."""


async def find_ends(db: AsyncConnection, now: datetime) -> dict[AccountId, GapEnd]:
    """Return of each account the end of the last gap that it had of late.

    A call that went on in one before that has been silent for so long that it is asked after anyway.
    """
    lasting = func.sum(case((sweeps.c.to_at.is_(None), 1), else_=0))
    open_ones = func.sum(case((sweeps.c.asked_at.is_(None), 1), else_=0))
    query = (
        select(sweeps.c.account_id, func.max(sweeps.c.to_at).label("to_at"), lasting.label("lasting"),
               open_ones.label("unasked"))
        .where(
            sweeps.c.reason.not_in(NO_GAPS),
            or_(sweeps.c.to_at.is_(None), sweeps.c.to_at > now - _LATELY, sweeps.c.asked_at.is_(None)),
        )
        .group_by(sweeps.c.account_id)
    )  # fmt: skip
    ends: dict[AccountId, GapEnd] = {}
    for row in await db.execute(query):
        account_id = await accounts.resolve(db, row.account_id)
        holders = frozenset({row.account_id})
        end = GapEnd(now if row.lasting else row.to_at, bool(row.lasting), not row.unasked, holders)
        known = ends.get(account_id, end)
        ends[account_id] = GapEnd(
            max(end.at, known.at),
            end.lasts or known.lasts,
            end.is_settled and known.is_settled,
            end.holders | known.holders,
        )
    return ends


async def mark_asked(db: AsyncConnection, holders: Collection[str], now: datetime) -> None:
    """Note that the gaps that are over leave no call in doubt."""
    mine = and_(
        is_one_of(sweeps.c.account_id, sorted(holders)),
        sweeps.c.to_at.is_not(None),
        sweeps.c.asked_at.is_(None),
        sweeps.c.reason.not_in(NO_GAPS),
    )
    await db.execute(update(sweeps).where(mine).values(asked_at=now))


async def last_heard_at(db: AsyncConnection, account_id: AccountId) -> datetime | None:
    """Return the start of the last call that an event told of: until then deliveries came for certain."""
    query = (
        select(calls.c.started_at)
        .where(calls.c.account_id == account_id, calls.c.source == "webhook")
        .order_by(calls.c.started_at.desc())
        .limit(1)
    )
    heard_at: datetime | None = await db.scalar(query)
    return heard_at
