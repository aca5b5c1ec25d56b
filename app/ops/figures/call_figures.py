"""Figures of the calls that ended in the last hour: what became of them, and how long their records took.

Everything is counted in the database, so each replica reports the same. The queries are at the top, what they
are turned into is pure and below.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import accumulate
from typing import Any

from sqlalchemy import ColumnElement, case, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.calls.model import Source, Stage
from app.db.tables import calls
from app.db.time_functions import Epoch, Steps
from app.ops.states import MOST_COUNTED

PERIOD_SECONDS = 3600
MINUTE_SECONDS = 60
MOST_WAITING = 20
"""Waiting calls that are listed; the count goes on."""

TICKS = 1200
"""Delays are counted in this many steps of the window: 0.1 s of 120."""

BINS = 48
"""Bars of the histogram inside the window. One more follows, for every record that was found later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallOutcomes:
    """Calls by what became of them.

    `waiting` are within their window, `overdue` are past it and not in the Call Log yet. `swept` were found
    by a sweep: no event announced their end, so they could not be polled within their window.
    """

    in_window: int = 0
    later: int = 0
    absent: int = 0
    waiting: int = 0
    overdue: int = 0
    swept: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class CallFigures(CallOutcomes):
    """The calls that ended in the period; `ended` is the sum. `live` calls are in progress now."""

    ended: int = 0
    live: int = 0

    @property
    def found_share(self) -> float | None:
        """Share found in the window, 0..1, of the announced calls whose outcome is decided."""
        decided = self.in_window + self.later + self.absent + self.overdue
        return self.in_window / decided if decided else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Minute(CallOutcomes):
    """The calls that ended in one minute."""

    at: datetime

    @property
    def open(self) -> int:
        """Those without a record yet."""
        return self.waiting + self.overdue


@dataclass(frozen=True, slots=True)
class Delays:
    """Seconds from an announced end of a call to its record. `bins`: BINS + 1 counts, see `bin_of`."""

    count: int = 0
    median_seconds: float | None = None
    p99_seconds: float | None = None
    bins: tuple[int, ...] = (0,) * (BINS + 1)


@dataclass(frozen=True, slots=True)
class CallInWindow:
    """An ended call that Active Calls may still show. `looks` polls have not shown it."""

    call_id: str
    session_id: str | None
    ended_at: datetime
    closes_at: datetime
    looks: int
    caller: Mapping[str, Any] | None = None
    callee: Mapping[str, Any] | None = None


MinuteGroup = tuple[int, str, int]
"""Minutes since 1970, outcome (a field of CallOutcomes, or "live"), number of calls."""


def _outcome(now: datetime) -> ColumnElement[str]:
    return case(
        # The first condition that holds decides. A revived call has an end and is live again.
        (calls.c.stage == Stage.LIVE, "live"),
        (calls.c.source == Source.SWEEP, "swept"),
        (calls.c.stage == Stage.ABSENT, "absent"),
        (calls.c.bootstrapped_at.is_(None) & (calls.c.window_closes_at > now), "waiting"),
        (calls.c.bootstrapped_at.is_(None), "overdue"),
        (calls.c.bootstrapped_by == Source.ACTIVE_CALLS, "in_window"),
        # The change feed may be quicker than a poll.
        (calls.c.bootstrapped_at <= calls.c.window_closes_at, "in_window"),
        else_="later",
    )


async def load_minutes(
    db: AsyncConnection, scope: Sequence[str], since: datetime, now: datetime
) -> list[MinuteGroup]:
    """Count the calls of these accounts that ended since then, by minute and outcome."""
    minute = Steps(Epoch(calls.c.ended_at) / MINUTE_SECONDS).label("minute")
    outcome = _outcome(now)
    query = (
        select(minute, outcome.label("outcome"), func.count().label("number"))
        .where(calls.c.account_id.in_(scope), calls.c.ended_at >= since, calls.c.ended_at <= now)
        .group_by(minute, outcome)
    )
    return [(row.minute, row.outcome, row.number) for row in await db.execute(query)]


async def load_ticks(
    db: AsyncConnection, scope: Sequence[str], since: datetime, window_seconds: float
) -> list[tuple[int, int]]:
    """Return (ticks from end to record, number of calls), see TICKS."""
    seconds = Epoch(calls.c.bootstrapped_at) - Epoch(calls.c.ended_at)
    ticks = Steps(seconds * (TICKS / window_seconds)).label("ticks")
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
    # A record can be earlier than the end that was computed from its events.
    return [(max(0, row.ticks), row.number) for row in await db.execute(query)]


async def load_waiting(db: AsyncConnection, scope: Sequence[str], now: datetime) -> tuple[CallInWindow, ...]:
    """Return the waiting calls whose window closes first, up to MOST_WAITING."""
    query = (
        select(
            calls.c.call_id, calls.c.session_id, calls.c.ended_at, calls.c.window_closes_at, calls.c.looks,
            calls.c.caller, calls.c.callee,
        )
        .where(
            calls.c.account_id.in_(scope),
            calls.c.stage == Stage.ENDED,
            calls.c.window_closes_at > now,
            calls.c.ended_at.is_not(None),
        )
        .order_by(calls.c.window_closes_at)
        .limit(MOST_WAITING)
    )  # fmt: skip
    return tuple(CallInWindow(*row) for row in await db.execute(query))


async def count_calls(db: AsyncConnection, *conditions: ColumnElement[bool]) -> int:
    """Count calls, up to MOST_COUNTED."""
    # The limit is inside, so that the database stops counting there.
    counted = select(calls.c.call_id).where(*conditions).limit(MOST_COUNTED).subquery()
    return await db.scalar(select(func.count()).select_from(counted)) or 0


def period_start(now: datetime) -> datetime:
    """Return the start of the period: a whole minute, so that the minutes add up to the figures."""
    last = int(now.timestamp()) // MINUTE_SECONDS
    return datetime.fromtimestamp((last + 1) * MINUTE_SECONDS - PERIOD_SECONDS, UTC)


def add_up_figures(groups: Iterable[MinuteGroup], *, live: int) -> CallFigures:
    """Add the minutes up. `live` includes calls that did not start in the period."""
    sums: dict[str, int] = {}
    for _, outcome, number in groups:
        if outcome != "live":
            sums[outcome] = sums.get(outcome, 0) + number
    return CallFigures(ended=sum(sums.values()), **sums, live=live)


def fill_minutes(groups: Iterable[MinuteGroup], now: datetime) -> tuple[Minute, ...]:
    """Return each minute of the period, oldest first, even without calls; the last is not over yet."""
    counts: dict[int, dict[str, int]] = {}
    for minute, outcome, number in groups:
        if outcome != "live":
            counts.setdefault(minute, {})[outcome] = number
    first = int(period_start(now).timestamp()) // MINUTE_SECONDS
    return tuple(
        Minute(at=datetime.fromtimestamp(minute * MINUTE_SECONDS, UTC), **counts.get(minute, {}))
        for minute in range(first, int(now.timestamp()) // MINUTE_SECONDS + 1)
    )


def summarize_delays(ticks: Iterable[tuple[int, int]], window_seconds: float) -> Delays:
    """Return the histogram and the percentiles (nearest rank, to a tick) of counted delays."""
    counted = sorted(ticks)
    if not counted:
        return Delays()
    bins = [0] * (BINS + 1)
    for tick, number in counted:
        bins[bin_of(tick / TICKS)] += number
    sums = list(accumulate(number for _, number in counted))

    def percentile(share: float) -> float:
        rank = max(1, math.ceil(share * sums[-1]))
        tick = next(tick for (tick, _), below in zip(counted, sums, strict=True) if below >= rank)
        # The middle of the tick.
        return (tick + 0.5) * window_seconds / TICKS

    return Delays(sums[-1], percentile(0.5), percentile(0.99), tuple(bins))


def bin_of(share: float) -> int:
    """Return the bar of a delay, given as a share of the window. The last bar takes everything that came
    later.

    Bars are equally wide on a square-root axis, which gives room to the first seconds, when most records
    appear.
    """
    return BINS if share >= 1 else int(math.sqrt(max(0.0, share)) * BINS)
