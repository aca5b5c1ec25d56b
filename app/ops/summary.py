"""How the service is doing, in figures: queries in, one `Summary` out.

Everything is counted in the database, so each replica tells the same. Calls are counted over the last hour,
by the moment they ended.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from typing import Any

from sqlalchemy import ColumnElement, Float, Integer, Row, case, func, select, true
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from app.calls.model import Source, Stage
from app.db.tables import (
    accounts,
    calls,
    deliveries,
    rate_buckets,
    subscriptions,
    work,
)
from app.enrichment import budget
from app.enrichment.clocks import load_skews
from app.enrichment.credentials import OWN
from app.enrichment.roster import Account, load_roster
from app.enrichment.set_aside import load_set_aside
from app.enrichment.silences import load_silences
from app.ids import UNBOUND_ACCOUNT
from app.settings import Settings
from app.vault import Vault
from app.webhooks.subscription import KIND as SUBSCRIPTION_WORK

PERIOD_SECONDS = 3600
MINUTE_SECONDS = 60
MOST_WAITING = 20
"""Waiting calls that are listed; the count goes on."""

MOST_COUNTED = 10_001
"""Backlogs are counted up to here: beyond it the figure no longer matters, and counting would cost."""

FAILURES_BEFORE_ALARM = 3

TICKS = 1200
"""Delays are counted in this many steps of the window: 0.1 s of 120."""

BINS = 48
"""Bars of the histogram inside the window. One more follows it, for all that was found later."""


@dataclass(frozen=True, slots=True)
class CallFigures:
    """Calls that ended in the period, by what became of them; `live` are going on just now.

    `overdue` are those whose window has closed and that the Call Log has not shown yet.
    """

    ended: int = 0
    in_window: int = 0
    later: int = 0
    absent: int = 0
    waiting: int = 0
    overdue: int = 0
    live: int = 0

    @property
    def found_share(self) -> float | None:
        """Share found in the window, 0..1, of all calls for which that is decided; None if for none."""
        decided = self.in_window + self.later + self.absent + self.overdue
        return self.in_window / decided if decided else None


@dataclass(frozen=True, slots=True)
class Delays:
    """From the end of a call to its record, seconds. `bins` has BINS + 1 counts, see `bin_of`."""

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
    open: int = 0


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
class InboxState:
    """Deliveries that are stored and not folded into calls yet (`waiting` counts up to MOST_COUNTED).

    `ever` says whether any delivery is stored at all.
    """

    waiting: int = 0
    oldest_seconds: float | None = None
    ever: bool = False


@dataclass(frozen=True, slots=True)
class SubscriptionState:
    """A webhook subscription as we last saw it."""

    account_id: str
    status: str
    expires_at: datetime | None
    checked_at: datetime
    disabled_filters: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that only a person can put right. `about` is "credentials", "subscription", "sweep", "clock",
    "rate-limit" or "records".

    `credentials` names those that it is about, of the account.
    """

    account_id: str
    about: str
    code: str
    detail: str
    since: datetime | None = None
    credentials: str | None = None


@dataclass(frozen=True, slots=True)
class Summary:
    """Everything the operator sees at a glance. `rate_limited` is all replicas' count of all time.

    `clock_skew_seconds` is that of the worker whose clock is farthest from RingCentral's; positive is ahead, 0 stands
    for all that does not matter.
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
    inbox: InboxState = InboxState()
    subscriptions: tuple[SubscriptionState, ...] = ()
    accounts: tuple[Account, ...] = ()
    problems: tuple[Problem, ...] = ()
    rate_limited: int = 0
    clock_skew_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class DeadLetters:
    """Deliveries of the last `hours` that became part of no call, counted by reason."""

    since: datetime
    by_reason: Mapping[str, int] = field(default_factory=dict)


class Steps(FunctionElement[int]):
    """Whole steps of so many seconds, from 1970 or between two columns: `Steps(seconds, at[, since])`."""

    type = Integer()
    inherit_cache = True
    name = "aftercall_steps"


class Epoch(FunctionElement[float]):
    """Seconds since 1970."""

    type = Float()
    inherit_cache = True
    name = "aftercall_epoch"


@compiles(Epoch)
def _epoch(element: Any, compiler: Any, **kw: Any) -> str:
    return f"EXTRACT(EPOCH FROM {compiler.process(element.clauses, **kw)})"


@compiles(Epoch, "sqlite")
def _epoch_sqlite(element: Any, compiler: Any, **kw: Any) -> str:
    return f"((julianday({compiler.process(element.clauses, **kw)}) - 2440587.5) * 86400.0)"


@compiles(Steps)
def _steps(element: Any, compiler: Any, **kw: Any) -> str:
    return f"CAST(FLOOR({compiler.process(element.clauses, **kw)}) AS BIGINT)"


@compiles(Steps, "sqlite")
def _steps_sqlite(element: Any, compiler: Any, **kw: Any) -> str:
    return f"CAST(({compiler.process(element.clauses, **kw)}) AS INTEGER)"


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
) -> Summary:
    """Gather the figures of one account; None: of all. Who `oversees` is told what all accounts want of a person."""
    scope = await load_scope(db, account_id)
    only = None if account_id is None else scope
    watched = None if oversees else only
    since = now - timedelta(seconds=PERIOD_SECONDS)
    groups = await _load_minutes(db, scope, since, now)
    waiting, waiting_count = await _load_waiting(db, scope, now)
    ticks = await _load_ticks(db, scope, since, settings)
    shown = await _load_accounts(db, watched, settings, now)
    skews = await load_skews(db, now)
    return Summary(
        at=now,
        window_seconds=settings.active_calls_window_seconds,
        lag_min_seconds=settings.active_calls_lag_min_seconds,
        lag_max_seconds=settings.active_calls_lag_max_seconds,
        calls=figures(groups, waiting=waiting_count, live=await _count_live(db, scope)),
        delays=delays(ticks, settings.active_calls_window_seconds),
        minutes=minutes(groups, now),
        waiting=waiting,
        budget=await load_budget(db, only, settings, now),
        inbox=await load_inbox(db, only, now),
        subscriptions=await _load_subscriptions(db, only),
        accounts=shown,
        problems=(
            *(read_problem("clock", UNBOUND_ACCOUNT, skew["problem"]) for skew in skews),
            *_each_once(_problems_of(shown), await _load_subscription_problems(db, watched)),
            *await _load_answer_problems(db, watched, now),
        ),
        rate_limited=await _count_429(db, only),
        clock_skew_seconds=max((float(skew["seconds"]) for skew in skews), key=abs, default=0.0),
    )


def _among(column: ColumnElement[str], only: Sequence[str] | None) -> ColumnElement[bool]:
    return true() if only is None else column.in_(only)


MinuteGroup = tuple[int, str, int]
"""Minutes since 1970, what became of the calls (`_FATE`), how many."""

_FATE = case(
    (calls.c.stage == Stage.LIVE, "live"),
    (calls.c.stage == Stage.ABSENT, "absent"),
    (calls.c.bootstrapped_at.is_(None), "open"),
    (calls.c.bootstrapped_by == Source.ACTIVE_CALLS, "in_window"),
    # A feed of changes may be quicker than a poll.
    (calls.c.bootstrapped_at <= calls.c.window_closes_at, "in_window"),
    else_="later",
)


async def _load_minutes(
    db: AsyncConnection, scope: Sequence[str], since: datetime, now: datetime
) -> list[MinuteGroup]:
    minute = Steps(Epoch(calls.c.ended_at) / MINUTE_SECONDS).label("minute")
    query = (
        select(minute, _FATE.label("fate"), func.count().label("number"))
        .where(calls.c.account_id.in_(scope), calls.c.ended_at >= since, calls.c.ended_at <= now)
        .group_by(minute, _FATE)
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
        )
        .group_by(ticks)
    )
    return [(max(0, row.ticks), row.number) for row in await db.execute(query)]


async def _load_waiting(
    db: AsyncConnection, scope: Sequence[str], now: datetime
) -> tuple[tuple[WaitingCall, ...], int]:
    """Return the waiting calls whose window closes first, and how many there are (up to MOST_COUNTED)."""
    waits = (calls.c.account_id.in_(scope), calls.c.stage == "ended", calls.c.window_closes_at > now)
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
        .where(*waits, calls.c.ended_at.is_not(None))
        .order_by(calls.c.window_closes_at)
        .limit(MOST_WAITING)
    )
    first = tuple(WaitingCall(**row._mapping) for row in await db.execute(query))  # noqa: SLF001
    if len(first) < MOST_WAITING:
        return first, len(first)
    counted = select(calls.c.call_id).where(*waits).limit(MOST_COUNTED).subquery()
    return first, await db.scalar(select(func.count()).select_from(counted)) or 0


async def count_waiting(db: AsyncConnection, now: datetime) -> int:
    """Return how many ended calls of all accounts wait inside their window (up to MOST_COUNTED)."""
    query = select(calls.c.call_id).where(calls.c.stage == "ended", calls.c.window_closes_at > now)
    counted = query.limit(MOST_COUNTED).subquery()
    return await db.scalar(select(func.count()).select_from(counted)) or 0


async def _count_live(db: AsyncConnection, scope: Sequence[str]) -> int:
    live = select(calls.c.call_id).where(calls.c.account_id.in_(scope), calls.c.stage == Stage.LIVE)
    counted = live.limit(MOST_COUNTED).subquery()
    return await db.scalar(select(func.count()).select_from(counted)) or 0


def figures(groups: Iterable[MinuteGroup], *, waiting: int, live: int) -> CallFigures:
    """Add the minutes up. Of the open calls, those not `waiting` inside their window are overdue."""
    sums = {"in_window": 0, "later": 0, "absent": 0, "open": 0, "live": 0}
    for _, fate, number in groups:
        sums[fate] += number
    return CallFigures(
        ended=sums["in_window"] + sums["later"] + sums["absent"] + sums["open"],
        in_window=sums["in_window"],
        later=sums["later"],
        absent=sums["absent"],
        waiting=waiting,
        overdue=max(0, sums["open"] - waiting),
        live=live,
    )


def minutes(groups: Iterable[MinuteGroup], now: datetime) -> tuple[Minute, ...]:
    """Return each minute of the period, oldest first, also those without calls; the last one is running."""
    last = int(now.timestamp()) // MINUTE_SECONDS
    counts: dict[int, dict[str, int]] = {}
    for minute, fate, number in groups:
        if fate != "live":
            counts.setdefault(minute, {})[fate] = number
    first = last - PERIOD_SECONDS // MINUTE_SECONDS + 1
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
        for row in await db.execute(query.where(_among(rate_buckets.c.account_id, only)))
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
    bucket = budget.BucketState.from_json(state)
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
    own = _among(deliveries.c.account_id, only)
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
            _among(deliveries.c.account_id, only),
            deliveries.c.received_at >= since,
            deliveries.c.fold_note.is_not(None),
        )
        .group_by(deliveries.c.fold_note)
        .order_by(func.count().desc(), deliveries.c.fold_note)
    )
    return DeadLetters(since, {row.fold_note: row.number for row in await db.execute(query)})


async def _load_subscriptions(
    db: AsyncConnection, only: Sequence[str] | None
) -> tuple[SubscriptionState, ...]:
    query = (
        select(subscriptions)
        .where(_among(subscriptions.c.account_id, only))
        .order_by(subscriptions.c.checked_at.desc())
        .limit(10)
    )
    return tuple(_subscription(row) for row in await db.execute(query))


def _subscription(row: Row[Any]) -> SubscriptionState:
    disabled = row.disabled_filters or ()
    return SubscriptionState(
        account_id=row.account_id,
        status=row.status,
        expires_at=row.expires_at,
        checked_at=row.checked_at,
        disabled_filters=tuple(
            str(item.get("filter", item)) if isinstance(item, Mapping) else str(item) for item in disabled
        ),
    )


async def _load_accounts(
    db: AsyncConnection, only: Sequence[str] | None, settings: Settings, now: datetime
) -> tuple[Account, ...]:
    found = await load_roster(db, settings, Vault(settings.secrets()[0]), now)
    return tuple(one for one in found if only is None or one.account_id in only)


def _problems_of(shown: Iterable[Account]) -> list[Problem]:
    """Return what credentials want of a person, those of each account by themselves."""
    return [
        replace(read_problem("credentials", account.account_id, complaint), credentials=member.name)
        for account in shown
        for member in account.members
        for complaint in member.problems
    ]


async def _load_subscription_problems(db: AsyncConnection, only: Sequence[str] | None) -> list[Problem]:
    """Return what the keepers of subscriptions complain of."""
    own = await db.scalar(select(accounts.c.bound_to).where(accounts.c.account_id == UNBOUND_ACCOUNT))
    query = select(work.c.account_id, work.c.kind, work.c.failures, work.c.state).where(
        _among(work.c.account_id, only), work.c.kind.startswith(SUBSCRIPTION_WORK), work.c.state.is_not(None)
    )
    found = []
    for row in await db.execute(query.order_by(work.c.account_id, work.c.kind)):
        complaint = row.state.get("problem")
        # The first failures may be a passing trouble of the network; what RingCentral disabled is none.
        if complaint and (row.failures == 0 or row.failures >= FAILURES_BEFORE_ALARM):
            account_id = own if own and row.account_id == UNBOUND_ACCOUNT else row.account_id
            name = row.kind.partition(":")[2] or OWN
            found.append(replace(read_problem("subscription", account_id, complaint), credentials=name))
    return found


async def _load_answer_problems(
    db: AsyncConnection, only: Sequence[str] | None, now: datetime
) -> list[Problem]:
    """Return what RingCentral's answers ask of people: long silences, and records that could not be stored."""
    own = await db.scalar(select(accounts.c.bound_to).where(accounts.c.account_id == UNBOUND_ACCOUNT))
    found = [
        *(("rate-limit", *silence) for silence in await load_silences(db, now)),
        *(("records", aside.account_id, None, aside.problem) for aside in await load_set_aside(db, now)),
    ]
    return [
        replace(
            read_problem(about, own if own and account_id == UNBOUND_ACCOUNT else account_id, problem),
            credentials=name,
        )
        for about, account_id, name, problem in found
        if only is None or account_id in only
    ]


def _each_once(of_credentials: Sequence[Problem], of_subscriptions: Sequence[Problem]) -> tuple[Problem, ...]:
    """Leave out what a subscription's keeper was refused for the same reason as the credentials that it uses."""

    def refusal(problem: Problem) -> tuple[str, str | None, str]:
        return problem.account_id, problem.credentials, problem.code

    told = {refusal(problem) for problem in of_credentials}
    return (*of_credentials, *(problem for problem in of_subscriptions if refusal(problem) not in told))


def read_problem(about: str, account_id: str, stored: Mapping[str, Any]) -> Problem:
    """Read the stored form of a problem: code (may be null), detail, since."""
    since = stored.get("since")
    return Problem(
        account_id=account_id,
        about=about,
        code=str(stored.get("code") or about),
        detail=str(stored.get("detail") or ""),
        since=datetime.fromisoformat(since) if isinstance(since, str) else None,
    )


async def _count_429(db: AsyncConnection, only: Sequence[str] | None) -> int:
    """Return how many answers of RingCentral have ever said 429 to any replica."""
    query = select(func.sum(rate_buckets.c.refused)).where(_among(rate_buckets.c.account_id, only))
    return int(await db.scalar(query) or 0)
