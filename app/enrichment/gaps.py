"""Gaps in the deliveries, and the other ranges of time whose calls are looked up: backfills, the regular
sweep.

A gap is stored in the transaction that notices it, and its row remains after it was swept. `sweeps` opens and
claims rows for the sweeper.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Row, and_, case, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.calls import accounts
from app.db.engine import wake
from app.db.lists import is_one_of
from app.db.tables import calls, sweeps
from app.ids import AccountId, new_id
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
"""Ranges that are swept although no delivery was lost."""

REGULAR_ID = "regular"
"""The one regular row of an account."""

_MOST_DELAYS = 3
"""A growing gap is swept after at most this many times the usual wait."""

_RECENT = timedelta(days=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """One row. `to_at` is None while a gap lasts, `cursor_at` before the first slice is read.

    `problem` has `code`, `detail` and `since` (`sweep_state`).
    """

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
    removed: int = 0
    detail: str | None = None
    problem: dict[str, Any] | None = None
    lease_owner: str | None = None
    lease_until: datetime | None = None

    @property
    def is_gap(self) -> bool:
        return self.reason not in NO_GAPS


def read_row(row: Row[Any]) -> Sweep:
    """Make a sweep from a row of all columns."""
    return Sweep(**row._mapping)  # noqa: SLF001 - the documented way to keywords


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
    """Store that no event could arrive from `from_at` until `to_at` (None: it lasts); return the row's id.

    Gaps that touch each other become one, and a lasting one continues to last. A gap is swept `sweep_after`
    its end, when the Call Log has caught up. Idempotent. A gap that grows repeatedly is swept meanwhile as
    far as it has come; what was swept of it is swept again only by the later pass.
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
            # A gap that grows repeatedly would be delayed each time.
            due_at = min(due_at, max(touching.due_at, touching.created_at + _MOST_DELAYS * sweep_after))
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
    """Note that events arrive again: all lasting gaps end, whatever their reason."""
    lasting = and_(
        sweeps.c.account_id == account_id, sweeps.c.to_at.is_(None), sweeps.c.reason.not_in(NO_GAPS)
    )
    ended = await db.execute(update(sweeps).where(lasting).values(to_at=now, due_at=now + sweep_after))
    if ended.rowcount:
        wake(db, SWEEPS)


@dataclass(frozen=True, slots=True)
class GapEnd:
    """Until when events of an account may be missing. `lasts`: they still may be.

    `is_settled`: since its last gap, the state of every live call was requested.
    """

    at: datetime
    lasts: bool
    is_settled: bool
    holders: frozenset[str]
    """The account ids under which its gaps are stored: its own, `~`."""


async def find_ends(db: AsyncConnection, now: datetime) -> dict[AccountId, GapEnd]:
    """Return the end of each account's latest gap, if it is recent or unsettled.

    Live calls of older gaps have been silent for so long that their state is requested anyway.
    """
    lasting = func.sum(case((sweeps.c.to_at.is_(None), 1), else_=0))
    open_ones = func.sum(case((sweeps.c.asked_at.is_(None), 1), else_=0))
    query = (
        select(sweeps.c.account_id, func.max(sweeps.c.to_at).label("to_at"), lasting.label("lasting"),
               open_ones.label("unasked"))
        .where(
            sweeps.c.reason.not_in(NO_GAPS),
            or_(sweeps.c.to_at.is_(None), sweeps.c.to_at > now - _RECENT, sweeps.c.asked_at.is_(None)),
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
    """Note that no call is in doubt because of a gap that has ended."""
    mine = and_(
        is_one_of(sweeps.c.account_id, sorted(holders)),
        sweeps.c.to_at.is_not(None),
        sweeps.c.asked_at.is_(None),
        sweeps.c.reason.not_in(NO_GAPS),
    )
    await db.execute(update(sweeps).where(mine).values(asked_at=now))


async def last_announced_at(db: AsyncConnection, account_id: AccountId) -> datetime | None:
    """Return the start of the latest call that an event announced: deliveries arrived until then."""
    query = (
        select(calls.c.started_at)
        .where(calls.c.account_id == account_id, calls.c.source == "webhook")
        .order_by(calls.c.started_at.desc())
        .limit(1)
    )
    started_at: datetime | None = await db.scalar(query)
    return started_at
