"""How the service is doing, in figures: queries in, one `Summary` out.

Everything is counted in the database, so each replica tells the same. Calls are counted over the last hour,
by the moment they ended.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from typing import Any

from sqlalchemy import ColumnElement, Row, case, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.accounts.overview import AccountOverview, load_overview
from app.calls.model import Source, Stage
from app.db.tables import accounts, calls, deliveries, poll_targets, rate_buckets, subscriptions, sweeps
from app.db.time_functions import Epoch, Steps
from app.enrichment.call_log.gaps import Reason
from app.ids import UNBOUND_ACCOUNT
from app.ops.clock_skew import load_skews
from app.ops.problems_to_fix import ProblemToFix, among, load_problems
from app.ops.states import ACTIVE, MOST_COUNTED, InboxState, SubscriptionState, status_of
from app.rate_limits import bucket as budget
from app.rate_limits.bucket_state import BucketState
from app.settings import Settings
from app.vault import Vault

PERIOD_SECONDS = 3600
MINUTE_SECONDS = 60
MOST_WAITING = 20
"""Waiting calls that are listed; the count goes on."""

TICKS = 1200
"""Delays are counted in this many steps of the window: 0.1 s of 120."""

_NO_INBOX = InboxState()

BINS = 48
"""Bars of the histogram inside the window. One more follows it, for all that was found later."""


@dataclass(frozen=True, slots=True)
class CallFigures:
    """Calls that ended in the period, by what became of them; `live` are going on just now.

    `ended` is the sum of the others. `waiting` are in their window, `overdue` are past it and the Call Log has not
    shown them yet. `swept` were found by looking: no event told of their end, so nobody could look in their window.
    """

    ended: int = 0
    in_window: int = 0
    later: int = 0
    absent: int = 0
    waiting: int = 0
    overdue: int = 0
    swept: int = 0
    live: int = 0

    @property
    def found_share(self) -> float | None:
        """Share found in the window, 0..1, of the calls that an event told of and for which that is decided."""
        decided = self.in_window + self.later + self.absent + self.overdue
        return self.in_window / decided if decided else None


@dataclass(frozen=True, slots=True)
class Delays:
    """From the end of a call that an event told of to its record, seconds. `bins` has BINS + 1 counts, see `bin_of`."""

    count: int = 0
    median_seconds: float | None = None
    p99_seconds: float | None = None
    bins: tuple[int, ...] = (0,) * (BINS + 1)


@dataclass(frozen=True, slots=True)
class Minute:
    """Calls that ended in one minute, by what became of them."""

    at: datetime
    in_window: int = 0
    later: int = 0
    absent: int = 0
    waiting: int = 0
    overdue: int = 0
    swept: int = 0

    @property
    def open(self) -> int:
        """Those without a record yet."""
        return self.waiting + self.overdue


@dataclass(frozen=True, slots=True)
class WaitingCall:
    """An ended call that Active Calls may still show."""

    call_id: str
    session_id: str | None
    ended_at: datetime
    closes_at: datetime
    looks: int
    caller: Mapping[str, Any] | None = None
    callee: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class SlotUse:
    """One request that occupies the sliding window, until `frees_at`."""

    priority: str
    sent_at: datetime
    frees_at: datetime


@dataclass(frozen=True, slots=True)
class Budget:
    """The fullest of the buckets: `free` of `limit` requests may be sent at once."""

    limit: int
    free: int
    window_seconds: float
    silent_until: datetime | None = None
    slots: tuple[SlotUse, ...] = ()


@dataclass(frozen=True, slots=True)
class ServiceSummary:
    """Everything the operator sees at a glance. `rate_limited` is all replicas' count of all time.

    `clock_skew_seconds` is that of the worker whose clock is farthest from RingCentral's; positive is ahead, 0 stands
    for all that does not matter. `last_read_at` is when calls were last read from RingCentral.
    """

    at: datetime
    window_seconds: float
    lag_min_seconds: float
    lag_max_seconds: float
    calls: CallFigures = CallFigures()
    delays: Delays = Delays()
    minutes: tuple[Minute, ...] = ()
    waiting: tuple[WaitingCall, ...] = ()
    budget: Budget | None = None
    inbox: InboxState = _NO_INBOX
    subscriptions: tuple[SubscriptionState, ...] = ()
    accounts: tuple[AccountOverview, ...] = ()
    problems: tuple[ProblemToFix, ...] = ()
    rate_limited: int = 0
    clock_skew_seconds: float = 0.0
    last_read_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class DeadLetters:
    """Deliveries of the last `hours` that became part of no call, counted by reason."""

    since: datetime
    by_reason: Mapping[str, int] = field(default_factory=dict)


async def load_scope(db: AsyncConnection, account_id: str | None) -> list[str]:
    """Return the accounts that a viewer sees: all for None, else the one, and `~` if that is the same."""
    query = select(accounts.c.account_id, accounts.c.bound_to)
    known = {row.account_id: row.bound_to for row in await db.execute(query)}
    if account_id is None:
        return sorted(known)
    bound = known.get(UNBOUND_ACCOUNT)
    if bound and account_id in {UNBOUND_ACCOUNT, bound}:
        return sorted({UNBOUND_ACCOUNT, bound})
    return [account_id]


async def load_summary(
    db: AsyncConnection,
    account_id: str | None,
    settings: Settings,
    now: datetime,
    *,
    oversees: bool = False,
) -> ServiceSummary:
    """Gather the figures of one account; None: of all. Who `oversees` is told what all accounts want of a person."""
    scope = await load_scope(db, account_id)
    only = None if account_id is None else scope
    watched = None if oversees else only
    since = period_start(now)
    groups = await _load_minutes(db, scope, since, now)
    ticks = await _load_ticks(db, scope, since, settings)
    shown = await _load_accounts(db, watched, settings, now)
    subscriptions = await _load_subscriptions(db, only, now)
    inbox = await load_inbox(db, only, now)
    skews = await load_skews(db, now)
    return ServiceSummary(
        at=now,
        window_seconds=settings.active_calls_window_seconds,
        lag_min_seconds=settings.active_calls_lag_min_seconds,
        lag_max_seconds=settings.active_calls_lag_max_seconds,
        calls=figures(groups, live=await _count_live(db, scope)),
        delays=delays(ticks, settings.active_calls_window_seconds),
        minutes=minutes(groups, now),
        waiting=await _load_waiting(db, scope, now),
        budget=await load_budget(db, only, settings, now),
        inbox=inbox,
        subscriptions=subscriptions,
        accounts=shown,
        problems=await load_problems(
            db,
            watched,
            settings,
            now,
            shown=shown,
            subscriptions=subscriptions if watched == only else await _load_subscriptions(db, watched, now),
            inbox=inbox,
        ),
        last_read_at=await _last_read_at(db, only),
        rate_limited=await _count_429(db, only),
        clock_skew_seconds=max((float(skew["seconds"]) for skew in skews), key=abs, default=0.0),
    )


MinuteGroup = tuple[int, str, int]
"""Minutes since 1970, what became of the calls (`_fate`), how many."""


def _fate(now: datetime) -> ColumnElement[str]:
    """Say what became of a call, in one word; see CallFigures."""
    return case(
        (calls.c.stage == Stage.LIVE, "live"),
        (calls.c.source == Source.SWEEP, "swept"),
        (calls.c.stage == Stage.ABSENT, "absent"),
        (calls.c.bootstrapped_at.is_(None) & (calls.c.window_closes_at > now), "waiting"),
        (calls.c.bootstrapped_at.is_(None), "overdue"),
        (calls.c.bootstrapped_by == Source.ACTIVE_CALLS, "in_window"),
        # A feed of changes may be quicker than a poll.
        (calls.c.bootstrapped_at <= calls.c.window_closes_at, "in_window"),
        else_="later",
    )


def period_start(now: datetime) -> datetime:
    """Return when the period begins: with the first of its whole minutes, so that they add up to its figures."""
    last = int(now.timestamp()) // MINUTE_SECONDS
    return datetime.fromtimestamp((last + 1) * MINUTE_SECONDS - PERIOD_SECONDS, UTC)


async def _load_minutes(
    db: AsyncConnection, scope: Sequence[str], since: datetime, now: datetime
) -> list[MinuteGroup]:
    minute = Steps(Epoch(calls.c.ended_at) / MINUTE_SECONDS).label("minute")
    fate = _fate(now)
    query = (
        select(minute, fate.label("fate"), func.count().label("number"))
        .where(calls.c.account_id.in_(scope), calls.c.ended_at >= since, calls.c.ended_at <= now)
        .group_by(minute, fate)
    )
    return [(row.minute, row.fate, row.number) for row in await db.execute(query)]


async def _load_ticks(
    db: AsyncConnection, scope: Sequence[str], since: datetime, settings: Settings
) -> list[tuple[int, int]]:
    """Return (ticks from end to record, calls), see TICKS."""
    seconds = Epoch(calls.c.bootstrapped_at) - Epoch(calls.c.ended_at)
    ticks = Steps(seconds * (TICKS / settings.active_calls_window_seconds)).label("ticks")
    query = (
        select(ticks, func.count().label("number"))
        .where(
            calls.c.account_id.in_(scope),
            calls.c.ended_at >= since,
            calls.c.bootstrapped_at.is_not(None),
            calls.c.stage != Stage.LIVE,
            calls.c.source != Source.SWEEP,
        )
        .group_by(ticks)
    )
    return [(max(0, row.ticks), row.number) for row in await db.execute(query)]


async def _load_waiting(db: AsyncConnection, scope: Sequence[str], now: datetime) -> tuple[WaitingCall, ...]:
    """Return the waiting calls whose window closes first, up to MOST_WAITING."""
    query = (
        select(
            calls.c.call_id,
            calls.c.session_id,
            calls.c.ended_at,
            calls.c.window_closes_at.label("closes_at"),
            calls.c.looks,
            calls.c.caller,
            calls.c.callee,
        )
        .where(
            calls.c.account_id.in_(scope),
            calls.c.stage == "ended",
            calls.c.window_closes_at > now,
            calls.c.ended_at.is_not(None),
        )
        .order_by(calls.c.window_closes_at)
        .limit(MOST_WAITING)
    )
    return tuple(WaitingCall(**row._mapping) for row in await db.execute(query))  # noqa: SLF001


async def count_waiting(db: AsyncConnection, now: datetime) -> int:
    """Return how many ended calls of all accounts wait inside their window (up to MOST_COUNTED)."""
    query = select(calls.c.call_id).where(calls.c.stage == "ended", calls.c.window_closes_at > now)
    counted = query.limit(MOST_COUNTED).subquery()
    return await db.scalar(select(func.count()).select_from(counted)) or 0


async def _count_live(db: AsyncConnection, scope: Sequence[str]) -> int:
    live = select(calls.c.call_id).where(calls.c.account_id.in_(scope), calls.c.stage == Stage.LIVE)
    counted = live.limit(MOST_COUNTED).subquery()
    return await db.scalar(select(func.count()).select_from(counted)) or 0


def figures(groups: Iterable[MinuteGroup], *, live: int) -> CallFigures:
    """Add the minutes up."""
    sums: dict[str, int] = {}
    for _, fate, number in groups:
        if fate != "live":
            sums[fate] = sums.get(fate, 0) + number
    return CallFigures(ended=sum(sums.values()), **sums, live=live)


def minutes(groups: Iterable[MinuteGroup], now: datetime) -> tuple[Minute, ...]:
    """Return each minute of the period, oldest first, also those without calls; the last one is running."""
    last = int(now.timestamp()) // MINUTE_SECONDS
    counts: dict[int, dict[str, int]] = {}
    for minute, fate, number in groups:
        if fate != "live":
            counts.setdefault(minute, {})[fate] = number
    first = int(period_start(now).timestamp()) // MINUTE_SECONDS
    return tuple(
        Minute(at=datetime.fromtimestamp(minute * MINUTE_SECONDS, UTC), **counts.get(minute, {}))
        for minute in range(first, last + 1)
    )


def delays(ticks: Iterable[tuple[int, int]], window_seconds: float) -> Delays:
    """Make histogram and percentiles (nearest rank, to a tick) of counted delays."""
    counted = sorted(ticks)
    bins = [0] * (BINS + 1)
    for tick, number in counted:
        bins[bin_of(tick / TICKS)] += number
    if not counted:
        return Delays()
    sums = list(accumulate(number for _, number in counted))

    def percentile(share: float) -> float:
        rank = max(1, math.ceil(share * sums[-1]))
        tick = next(tick for (tick, _), below in zip(counted, sums, strict=True) if below >= rank)
        return (tick + 0.5) * window_seconds / TICKS

    return Delays(sums[-1], percentile(0.5), percentile(0.99), tuple(bins))


def bin_of(share: float) -> int:
    """Return the bar of a delay, given as a share of the window. The last bar takes all that came later.

    Bars are equally wide on a square-root axis: the first seconds, where records appear, get the room.
    """
    return BINS if share >= 1 else int(math.sqrt(max(0.0, share)) * BINS)


async def load_budget(
    db: AsyncConnection, only: Sequence[str] | None, settings: Settings, now: datetime
) -> Budget | None:
    """Return the fullest Heavy bucket of these accounts (None: of all); None if nothing was ever asked."""
    query = select(rate_buckets.c.bucket, rate_buckets.c.state)
    heavy = [
        read_budget(row.state, settings, now)
        for row in await db.execute(query.where(among(rate_buckets.c.account_id, only)))
        if "heavy" in row.bucket.lower()
    ]
    return min(heavy, key=lambda one: one.free / one.limit, default=None)


def read_budget(state: Mapping[str, Any], settings: Settings, now: datetime) -> Budget:
    """Say what a stored bucket allows now, and by what it is occupied."""
    limits = budget.Limits(
        limit=settings.rate_limit_heavy,
        window_seconds=settings.rate_limit_window_seconds,
        penalty_seconds=settings.rate_limit_penalty_seconds,
        request_timeout_seconds=settings.rc_timeout_seconds,
    )
    bucket = BucketState.from_json(state)
    cycle = budget.cycle_seconds(bucket, limits)
    silent = budget.silent_until(bucket, limits)
    slots = [
        SlotUse(
            priority=slot.priority.name.lower() if slot.token else "foreign",
            sent_at=slot.sent_at,
            frees_at=(slot.done_at or max(now, slot.sent_at)) + timedelta(seconds=cycle),
        )
        for slot in bucket.slots
    ]
    return Budget(
        limit=budget.limit_of(bucket, limits),
        free=budget.free_slots(bucket, now, limits),
        window_seconds=budget.window_seconds(bucket, limits),
        silent_until=silent if silent is not None and silent > now else None,
        slots=tuple(sorted((slot for slot in slots if slot.frees_at > now), key=lambda slot: slot.frees_at)),
    )


async def load_inbox(db: AsyncConnection, only: Sequence[str] | None, now: datetime) -> InboxState:
    """Say what waits in the inbox of these accounts; None: of all."""
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
    """Count the deliveries of the last hours that became part of no call, by the reason that folding noted."""
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


_LOST = (Reason.MISSING, Reason.EXPIRED, Reason.SUSPENDED, Reason.REFUSED)


async def _load_subscriptions(
    db: AsyncConnection, only: Sequence[str] | None, now: datetime
) -> tuple[SubscriptionState, ...]:
    gaps = select(sweeps.c.account_id, func.min(sweeps.c.created_at).label("since")).where(
        among(sweeps.c.account_id, only), sweeps.c.to_at.is_(None), sweeps.c.reason.in_(_LOST)
    )
    lost = {row.account_id: row.since for row in await db.execute(gaps.group_by(sweeps.c.account_id))}
    query = (
        select(subscriptions)
        .where(among(subscriptions.c.account_id, only))
        .order_by(subscriptions.c.checked_at.desc())
        .limit(10)
    )
    return tuple(_subscription(row, lost, now) for row in await db.execute(query))


def _subscription(row: Row[Any], lost: Mapping[str, datetime], now: datetime) -> SubscriptionState:
    disabled = row.disabled_filters or ()
    status, since = status_of(row.status, row.expires_at, row.refused_since, now)
    if status.lower() != ACTIVE:
        since = lost.get(row.account_id) or since or row.checked_at
    return SubscriptionState(
        account_id=row.account_id,
        status=status,
        expires_at=row.expires_at,
        checked_at=row.checked_at,
        disabled_filters=tuple(
            str(item.get("filter", item)) if isinstance(item, Mapping) else str(item) for item in disabled
        ),
        name=row.name,
        lost_at=since,
    )


async def _last_read_at(db: AsyncConnection, only: Sequence[str] | None) -> datetime | None:
    """Return when calls were last read: polled in Active Calls, or looked through in the Call Log."""
    polled = select(func.max(poll_targets.c.last_poll_at)).where(among(poll_targets.c.account_id, only))
    looked = select(func.max(sweeps.c.done_at)).where(among(sweeps.c.account_id, only))
    moments = [await db.scalar(polled), await db.scalar(looked)]
    return max((moment for moment in moments if moment is not None), default=None)


async def _load_accounts(
    db: AsyncConnection, only: Sequence[str] | None, settings: Settings, now: datetime
) -> tuple[AccountOverview, ...]:
    found = await load_overview(db, settings, Vault(settings.secrets()[0]), now)
    return tuple(one for one in found if only is None or one.account_id in only)


async def _count_429(db: AsyncConnection, only: Sequence[str] | None) -> int:
    """Return how many answers of RingCentral have ever said 429 to any replica."""
    query = select(func.sum(rate_buckets.c.refused)).where(among(rate_buckets.c.account_id, only))
    return int(await db.scalar(query) or 0)
