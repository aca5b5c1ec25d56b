"""Whether a call was lost, in figures: what became of every call that ended, and when no event could arrive.

The `ended` of a day is the sum of what became of its calls, since each call has one stage. A call that no
source knows is `absent`, with a reason; one that is not decided yet is `open`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from itertools import chain

from sqlalchemy import and_, case, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.calls.model import Source, Stage
from app.db.tables import calls, removed_calls, sweeps
from app.db.time_functions import Epoch, Steps
from app.enrichment.gaps import REGULAR_ID, Sweep, find_ends, read_row
from app.ops.account_scope import load_scope
from app.ops.figures.intake import DeadLetters, load_dead_letters
from app.webhooks.folding.due_calls import unsettled_since
from app.webhooks.folding.ending import STALE_SECONDS

MOST_CALLS = 200
"""The most calls that are listed, of those without a record and of those in doubt; the counts go on."""

MOST_GAPS = 100
_DAY_SECONDS = 86_400
_NOT_LOGGED_YET = "not-in-the-call-log-yet"
_NAMES = (calls.c.call_id, calls.c.session_id, calls.c.telephony_session_id)


class DoubtReason(StrEnum):
    """Why a live call may be over."""

    SINCE_GAP = "not-asked-since-the-gap"
    TOO_LONG = "live-for-too-long"


@dataclass(frozen=True, slots=True)
class Day:
    """Calls that ended on one day (UTC).

    `swept` of them were announced by no event, `removed` of them were removed after their retention.
    """

    day: date
    final: int = 0
    reconciled: int = 0
    bootstrapped: int = 0
    open: int = 0
    absent: Mapping[str, int] = field(default_factory=dict)
    swept: int = 0
    removed: int = 0

    @property
    def ended(self) -> int:
        return self.final + self.reconciled + self.bootstrapped + self.open + sum(self.absent.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedCall:
    """A call that may be lost. `next_look_at` is when RingCentral is asked again."""

    call_id: str
    session_id: str | None
    telephony_session_id: str
    reason: str
    since: datetime
    next_look_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CallWithoutRecord(ListedCall):
    """A call that ended and has no record. It is not looked up again without `next_look_at`."""

    stage: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CallInDoubt(ListedCall):
    """A live call that may be over: nothing is known `since` then."""

    started_at: datetime


@dataclass(frozen=True, slots=True)
class Completeness:
    """What became of the calls of some days.

    `regular` holds each account's regular sweep of the Call Log, `last_look_at` when the oldest of them last
    finished.
    """

    since: datetime
    days: Sequence[Day]
    calls: Sequence[CallWithoutRecord]
    live: Sequence[CallInDoubt]
    gaps: Sequence[Sweep]
    dead_letters: DeadLetters
    last_look_at: datetime | None
    regular: Sequence[Sweep] = ()


async def load_completeness(
    db: AsyncConnection,
    account_id: str | None,
    now: datetime,
    days: int,
    stale_seconds: float = STALE_SECONDS,
) -> Completeness:
    """Load the completeness of the last `days`, including today, of one account; None: of all.

    A live call without news for `stale_seconds` may be over.
    """
    scope = await load_scope(db, account_id)
    since = datetime.combine(now.date() - timedelta(days=days - 1), datetime.min.time(), UTC)
    regular = await _load_regular(db, scope)
    return Completeness(
        since=since,
        days=add_up(
            await _load_groups(db, scope, since), since.date(), days, await _load_removed(db, scope, since)
        ),
        calls=await _load_recordless(db, scope, since, now),
        live=await _load_doubtful(db, scope, now, stale_seconds),
        gaps=await _load_gaps(db, scope, since),
        dead_letters=await load_dead_letters(db, account_id, now, (now - since).total_seconds() / 3600),
        last_look_at=min((look.done_at for look in regular if look.done_at), default=None),
        regular=regular,
    )


Group = tuple[int, str, str | None, bool, int]
"""Days since 1970, stage, reason of absence, whether a sweep found the calls, number of calls."""


async def _load_groups(db: AsyncConnection, scope: Sequence[str], since: datetime) -> list[Group]:
    day = Steps(Epoch(calls.c.ended_at) / _DAY_SECONDS).label("day")
    swept = case((calls.c.source == Source.SWEEP, 1), else_=0).label("swept")
    keys = (day, calls.c.stage, calls.c.absent_reason, swept)
    query = (
        select(*keys, func.count().label("number"))
        .where(calls.c.account_id.in_(scope), calls.c.ended_at >= since, calls.c.stage != Stage.LIVE)
        .group_by(*keys)
    )
    return [
        (row.day, row.stage, row.absent_reason, bool(row.swept), row.number)
        for row in await db.execute(query)
    ]


async def _load_removed(db: AsyncConnection, scope: Sequence[str], since: datetime) -> list[Group]:
    """Return the same for calls that were removed: they were counted in the transaction that removed them."""
    column = removed_calls.c
    keys = (column.day, column.stage, column.absent_reason, column.swept)
    first = int(since.timestamp()) // _DAY_SECONDS
    query = (
        select(*keys, func.sum(column.number).label("number"))
        .where(column.account_id.in_(scope), column.day >= first)
        .group_by(*keys)
    )
    return [
        (row.day, row.stage, row.absent_reason or None, row.swept, int(row.number))
        for row in await db.execute(query)
    ]


def add_up(groups: Iterable[Group], first: date, days: int, removed: Sequence[Group] = ()) -> list[Day]:
    """Return a row for each day, the earliest first, including days without calls.

    Calls that were removed count among what had become of them.
    """
    gone: dict[date, int] = {}
    for number_of_day, *_, number in removed:
        day = date(1970, 1, 1) + timedelta(days=number_of_day)
        gone[day] = gone.get(day, 0) + number
    stages: dict[date, dict[str, int]] = {}
    absent: dict[date, dict[str, int]] = {}
    swept: dict[date, int] = {}
    for number_of_day, stage, reason, is_swept, number in chain(groups, removed):
        day = date(1970, 1, 1) + timedelta(days=number_of_day)
        if stage == Stage.ABSENT:
            reasons = absent.setdefault(day, {})
            reasons[reason or "unknown"] = reasons.get(reason or "unknown", 0) + number
        else:
            name = "open" if stage == Stage.ENDED else stage
            counts = stages.setdefault(day, {})
            counts[name] = counts.get(name, 0) + number
        swept[day] = swept.get(day, 0) + number * is_swept
    return [
        Day(
            day,
            **stages.get(day, {}),
            absent=absent.get(day, {}),
            swept=swept.get(day, 0),
            removed=gone.get(day, 0),
        )
        for day in (first + timedelta(days=number) for number in range(days))
    ]


async def _load_recordless(
    db: AsyncConnection, scope: Sequence[str], since: datetime, now: datetime
) -> list[CallWithoutRecord]:
    is_closed = or_(calls.c.window_closes_at.is_(None), calls.c.window_closes_at <= now)
    is_overdue = (calls.c.stage == Stage.ENDED) & is_closed
    query = (
        select(
            *_NAMES,
            calls.c.stage,
            func.coalesce(calls.c.absent_reason, _NOT_LOGGED_YET).label("reason"),
            calls.c.ended_at.label("since"),
            calls.c.read_at.label("next_look_at"),
        )
        .where(
            calls.c.account_id.in_(scope),
            calls.c.ended_at >= since,
            or_(is_overdue, calls.c.stage == Stage.ABSENT),
        )
        .order_by(calls.c.ended_at.desc())
        .limit(MOST_CALLS)
    )
    return [CallWithoutRecord(**row) for row in (await db.execute(query)).mappings()]


async def _load_doubtful(
    db: AsyncConnection, scope: Sequence[str], now: datetime, stale_seconds: float
) -> list[CallInDoubt]:
    """Return live calls that may be over, however long ago they began, the oldest first."""
    ends = await find_ends(db, now)
    known = func.coalesce(calls.c.state_known_at, calls.c.started_at)
    is_stale = known < now - timedelta(seconds=stale_seconds)
    unsettled = [
        and_(calls.c.account_id == account_id, unsettled_since(end.at))
        for account_id, end in ends.items()
        if account_id in scope
    ]
    query = (
        select(
            *_NAMES,
            # A call that is both has been quiet for longer than the gap explains.
            case((is_stale, DoubtReason.TOO_LONG), else_=DoubtReason.SINCE_GAP).label("reason"),
            calls.c.started_at,
            known.label("since"),
            calls.c.ask_at.label("next_look_at"),
        )
        .where(calls.c.account_id.in_(scope), calls.c.stage == Stage.LIVE, or_(is_stale, *unsettled))
        .order_by(calls.c.started_at, calls.c.call_id)
        .limit(MOST_CALLS)
    )
    return [CallInDoubt(**row) for row in (await db.execute(query)).mappings()]


async def _load_gaps(db: AsyncConnection, scope: Sequence[str], since: datetime) -> list[Sweep]:
    """Return gaps and backfills that reach into the period or are not finished, the latest first."""
    query = (
        select(sweeps)
        .where(
            sweeps.c.account_id.in_(scope),
            sweeps.c.sweep_id != REGULAR_ID,
            or_(sweeps.c.done_at.is_(None), sweeps.c.done_at >= since),
        )
        .order_by(sweeps.c.from_at.desc())
        .limit(MOST_GAPS)
    )
    found = [read_row(row) for row in await db.execute(query)]
    return [
        replace(gap, found=gap.removed + await _count_swept(db, scope, gap.from_at, gap.to_at))
        if gap.is_gap
        else gap
        for gap in found
    ]


async def _load_regular(db: AsyncConnection, scope: Sequence[str]) -> list[Sweep]:
    query = select(sweeps).where(sweeps.c.account_id.in_(scope), sweeps.c.sweep_id == REGULAR_ID)
    return [read_row(row) for row in await db.execute(query.order_by(sweeps.c.account_id))]


async def _count_swept(
    db: AsyncConnection, scope: Sequence[str], from_at: datetime, to_at: datetime | None
) -> int:
    """Count the calls of a time that no event announced, whichever sweep or read found them first."""
    # Not the gap's own count: the regular sweep or another gap may have found them before.
    began = [calls.c.started_at >= from_at]
    if to_at is not None:
        began.append(calls.c.started_at <= to_at)
    query = select(func.count()).where(calls.c.account_id.in_(scope), calls.c.source == Source.SWEEP, *began)
    return await db.scalar(query) or 0
