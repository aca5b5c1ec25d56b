"""When to ask Active Calls again, and when to stop asking.

Decides; does no input or output and reads no clock.

Facts used: an ended call shows up in Active Calls after 3-10 s and leaves about 120 s after its end; one answer
lists all recent calls of the account (guide "Finding Active Calls"). About ten requests a minute are allowed,
and a request inside a penalty starts the penalty anew (guide "Rate limits").

The policy. What hurts is time: every second for which a call is visible and not found costs one. From the ages
of the waiting calls and the learnt visibility follows how many will be visible and unfound at any moment to come;
from the account's rhythm how many more there will be. The bucket says when each of the coming minute's requests
may be sent at the earliest. Over both, the plan lays the requests so that the expected hurt is least - exactly, by
dynamic programming - sends the first of them when its moment has come, and plans anew with whatever was learnt
meanwhile. At low load this asks early and often; under load it spaces evenly, timed to when calls pile up; and the
requests that it sets aside for calls that have not even ended yet are the reserve against a burst.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import accumulate, pairwise
from typing import Any, Final, Self

from app.enrichment.polling.visibility import Visibility

STEPS_PER_WINDOW: Final = 480
"""Resolution of the plan: 0.25 s of 120 s."""

SLICES_PER_WINDOW: Final = 12
"""Resolution of the rhythm: 10 s of 120 s."""

SLICES_KEPT: Final = 120
"""How far back the rhythm remembers: twenty minutes."""

MOST_REQUESTS_AHEAD: Final = 16
"""How many requests one plan lays; a limit far above the default shortens the plan's horizon instead."""

REQUESTS_PRICED_A_WINDOW: Final = 2400
"""A request must save 0.05 s (of 120) of one call's waiting to be worth sending, however many are free."""

USUAL_SHARE: Final = 0.97
"""Share of the calls that ever appear whose delay is called usual, if it is longer than the longest documented one.

A call that was looked for in vain at a later age may never appear; it is looked for out of patience only.
"""

PATIENCE_GAPS: Final = 1.5
"""Even gaps between requests after which a call that should be there is looked for, while there is a reserve ..."""

PATIENCE_GROWTH: Final = 1.6
"""... and by what its age has to grow until the next such look: about 10 s, 19, 30, 48, 77, and the last."""

PATIENCE_RESERVE: Final = 0.3
"""Share of the limit that has to be free for it."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class PlannerLimits:
    """Settings the plan depends on, in seconds. Everything derived scales with them."""

    window_seconds: float = 120.0
    lag_min_seconds: float = 3.0
    lag_max_seconds: float = 10.0
    quiet_seconds: float = 3.0
    """From a call's end to our being told that it was the end."""

    last_look_from: float = 0.75
    """Share of the window: a look at this age or later is a call's last one (90 s of 120) ..."""

    last_look_by: float = 0.8
    """... and at this age it has to be sent, if the budget permits (96 s)."""

    @property
    def last_look_seconds(self) -> float:
        """The age from which a look at a call is its last one."""
        return self.last_look_from * self.window_seconds


@dataclass(frozen=True, slots=True)
class Waiting:
    """One ended call without record. `looked_at`: when the last poll was sent that read all pages and had it not."""

    ended_at: datetime
    looked_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class PlannerBudget:
    """The rate bucket as polls see it: `budget.poll_times` (ascending, never empty) and `budget.cycle_seconds`."""

    free_at: tuple[datetime, ...]
    cycle_seconds: float


@dataclass(frozen=True, slots=True)
class PollAt:
    """Poll at this moment, at once if it is not after `now`. If it is, plan anew then and whenever a call ends."""

    when: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class Rest:
    """Poll no more until another call ends; `reason` goes to the log."""

    reason: str


@dataclass(frozen=True, slots=True)
class Rhythm:
    """How many calls ended in each of the last slices of time, oldest first: the account's rate and its swings.

    `starts_at` is the start of the first slice. Kept as JSON in the poll target's row.
    """

    slice_seconds: float
    starts_at: datetime
    counts: tuple[int, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Compact JSON; the time is microseconds since 1970."""
        start = (self.starts_at - _EPOCH) // timedelta(microseconds=1)
        return {"slice": self.slice_seconds, "start": start, "counts": list(self.counts)}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`."""
        starts_at = _EPOCH + stored["start"] * timedelta(microseconds=1)
        return cls(float(stored["slice"]), starts_at, tuple(int(count) for count in stored["counts"]))


def begin_rhythm(now: datetime, limits: PlannerLimits) -> Rhythm:
    """A rhythm without experience."""
    return Rhythm(limits.window_seconds / SLICES_PER_WINDOW, now)


def hear(rhythm: Rhythm, ended_at: Iterable[datetime], now: datetime) -> Rhythm:
    """Count calls that we were newly told of, each once, and forget what is too old.

    Call it with nothing too before a plan, so that silence is heard. An end before the first slice counts into it,
    one in the future into the last.
    """
    start = rhythm.starts_at
    counts = [*rhythm.counts, *[0] * (_slice_of(rhythm, now) + 1 - len(rhythm.counts))]
    for at in ended_at:
        counts[min(max(0, _slice_of(rhythm, at)), len(counts) - 1)] += 1
    surplus = max(0, len(counts) - SLICES_KEPT)
    start += timedelta(seconds=surplus * rhythm.slice_seconds)
    return replace(rhythm, starts_at=start, counts=tuple(counts[surplus:]))


def plan_poll(
    waiting: Sequence[Waiting],
    bucket: PlannerBudget,
    visibility: Visibility,
    rhythm: Rhythm,
    now: datetime,
    limits: PlannerLimits,
    *,
    pages: int = 1,
) -> PollAt | Rest:
    """Say when to poll one account next.

    One answer serves every call that waits on the account, so the plan looks at all of them together. Calls whose
    window has closed, or will have before the budget allows a request, and calls that had their last look, are passed
    over; the caller takes them to the Call Log. `pages` is how many requests one poll takes. Costs about a
    millisecond, thousands of waiting calls some more.
    """
    if not waiting:
        return Rest("nobody waits")
    free_at = bucket.free_at[pages - 1 :: pages] or bucket.free_at[-1:]
    earliest = max(now, free_at[0])
    groups = _group(waiting, earliest, limits)
    if not groups:
        return Rest("no open window is in want of a look")
    budget = _Budget(
        offsets=[max(0.0, (at - earliest).total_seconds()) for at in free_at],
        cycle=bucket.cycle_seconds,
    )
    load = _load(rhythm, now, budget, limits)
    usual = max(limits.lag_max_seconds, visibility.age_by(USUAL_SHARE))
    expected = [group for group in groups if group.looked < usual]
    choices = [
        (_pays_in(expected, budget, visibility, load, limits), "worth a request"),
        (_patience_in(groups, budget, usual), "patience is over"),
        (_last_look_in(groups, limits), "last look"),
    ]
    seconds, reason = min(choices)
    return PollAt(earliest + timedelta(seconds=max(0.0, seconds)), reason)


@dataclass(frozen=True, slots=True)
class _Group:
    """Calls of about the same age, looked at at about the same age (0: never). Ages in seconds, at `earliest`."""

    age: float
    looked: float
    calls: int


@dataclass(frozen=True, slots=True)
class _Budget:
    """Seconds from `earliest` to each slot's being free, ascending; and how long a request occupies its slot."""

    offsets: list[float]
    cycle: float

    @property
    def even_gap(self) -> float:
        """The distance of requests that can be kept up for ever."""
        return self.cycle / len(self.offsets)


def _group(waiting: Iterable[Waiting], at: datetime, limits: PlannerLimits) -> list[_Group]:
    """Those that a poll at `at` or later may still find, in few groups, however many they are."""
    step = limits.window_seconds / STEPS_PER_WINDOW
    window, last_look = limits.window_seconds, limits.last_look_seconds
    calls: dict[tuple[int, int], int] = {}
    for call in waiting:
        age = (at - call.ended_at).total_seconds()
        looked = 0.0 if call.looked_at is None else max(0.0, (call.looked_at - call.ended_at).total_seconds())
        if age >= window or looked >= last_look:
            continue
        # Beyond the usual delays little changes from second to second: coarser groups will do.
        coarse = 1 if age < 2.0 * limits.lag_max_seconds else 16
        # An age is rounded up, or a last look would be late.
        key = math.ceil(age / step / coarse) * coarse, int(looked / step / coarse) * coarse
        calls[key] = calls.get(key, 0) + 1
    return [_Group(age * step, looked * step, count) for (age, looked), count in calls.items()]


def _last_look_in(groups: Sequence[_Group], limits: PlannerLimits) -> float:
    """Seconds until a call has to be looked at for the last time, negative when that is overdue."""
    return limits.last_look_by * limits.window_seconds - max(group.age for group in groups)


def _patience_in(groups: Sequence[_Group], budget: _Budget, usual: float) -> float:
    """Seconds until a look at a call that should have been there is overdue; infinite without a reserve.

    Where calls suddenly cease, the expected benefit of keeping requests for more of them would go on outweighing the
    last few that are still waiting.
    """
    reserve = math.ceil(PATIENCE_RESERVE * len(budget.offsets))
    if budget.offsets[reserve - 1] > 0.0:
        return math.inf
    gap = PATIENCE_GAPS * budget.even_gap
    return min(
        max(usual, group.looked) + max(gap, (PATIENCE_GROWTH - 1.0) * group.looked) - group.age
        for group in groups
    )


def _pays_in(
    groups: Sequence[_Group],
    budget: _Budget,
    visibility: Visibility,
    load: float,
    limits: PlannerLimits,
) -> float:
    """Seconds from `earliest` to the first request of the plan that hurts least; infinite when none pays."""
    if not groups:
        return math.inf
    horizon = min(budget.cycle, limits.window_seconds, MOST_REQUESTS_AHEAD * budget.even_gap)
    requests = max(1, round(horizon / budget.even_gap))
    step = limits.window_seconds / STEPS_PER_WINDOW
    steps = _steps(max(1, round(horizon / step)))
    moments = [index * step for index in steps]
    unfound = [
        known + coming
        for known, coming in zip(
            _known(groups, visibility, steps, step, limits),
            _coming(groups, visibility, load, steps, step, limits),
            strict=True,
        )
    ]
    price = limits.window_seconds / REQUESTS_PRICED_A_WINDOW
    # A slot that is used late is free late, too, a cycle from now, which the plan does not reach. With n even slots
    # that are all late by d, the hurt of a cycle, load x cycle x gap / 2, grows by load x cycle x d / 2n; a slot's part.
    lateness = load * budget.even_gap / (2.0 * len(budget.offsets))
    first = _lay(moments, unfound, budget.offsets[:requests], price, lateness)
    return math.inf if first is None else moments[first]


def _load(rhythm: Rhythm, now: datetime, budget: _Budget, limits: PlannerLimits) -> float:
    """Calls per second to plan for: the present rate, or what the account's minutes have shown, if that is more.

    Each rate counts as far as it keeps us busy without a break. Calls that come one by one can have the requests
    that fall to the pauses between them, so of a low rate less has to be provided for.
    """
    counts = rhythm.counts
    block = SLICES_PER_WINDOW // 2
    seconds = block * rhythm.slice_seconds
    rates = [sum(counts[end - block : end]) / seconds for end in range(len(counts), block - 1, -block)]
    # Knowing nothing counts as one block of one call per request.
    rates.append(1.0 / budget.even_gap)
    usual = sum(rate * _busy(rate, limits) for rate in rates) / len(rates)
    present = _present_rate(rhythm, now, limits)
    return max(usual, present * _busy(present, limits))


def _busy(rate: float, limits: PlannerLimits) -> float:
    """Share of the time in which at least one call waits, calls coming at random at this rate."""
    return 1.0 - math.exp(-rate * (limits.lag_max_seconds - limits.lag_min_seconds))


def _present_rate(rhythm: Rhythm, now: datetime, limits: PlannerLimits) -> float:
    """The highest rate of the last 10, 20 and 40 s of 120, each less its own uncertainty: quick to see a burst."""
    known = (now - rhythm.starts_at).total_seconds() - limits.quiet_seconds
    rate = 0.0
    for slices in (1, 2, 4):
        first = max(0, len(rhythm.counts) - slices)
        seconds = known - first * rhythm.slice_seconds
        if seconds >= rhythm.slice_seconds / 4:
            calls = sum(rhythm.counts[first:])
            rate = max(rate, (calls - math.sqrt(calls)) / seconds)
    return rate


def _known(
    groups: Sequence[_Group], visibility: Visibility, steps: Sequence[int], step: float, limits: PlannerLimits
) -> list[float]:
    """How many of the waiting calls will be visible at each step, given that they were not when last looked at."""
    by, _ = _tables(visibility, step)
    last = len(by) - 1
    weights: dict[int, float] = {}
    seen_at_look = 0.0
    for group in groups:
        before = by[round(group.looked / step)]
        weight = group.calls / max(1.0 - before, 1e-6)
        seen_at_look += weight * before
        age = round(group.age / step)
        weights[age] = weights.get(age, 0.0) + weight
    unfound = [-seen_at_look] * len(steps)
    for age, weight in weights.items():
        unfound = [
            calls + weight * by[min(age + index, last)] for calls, index in zip(unfound, steps, strict=True)
        ]
    return [max(0.0, calls) for calls in unfound]


def _coming(
    groups: Sequence[_Group],
    visibility: Visibility,
    load: float,
    steps: Sequence[int],
    step: float,
    limits: PlannerLimits,
) -> list[float]:
    """How many calls that we have not been told of yet will be visible at each step; never falling.

    Beside those that the load promises, as many again that are taken to have been appearing ever since the last look.
    There are no such calls, but without them the plan would chase every chance cluster of known ones, and the gaps
    would be uneven: under load the mean is hardly better for it and the worst waiting much worse.
    """
    _, integral = _tables(visibility, step)
    last = len(integral) - 1
    quiet = round(limits.quiet_seconds / step)
    background = load * _busy(load, limits)
    since_look = [group.age - group.looked for group in groups if group.looked]
    unlooked = min([*since_look, max(group.age for group in groups), 2.0 * limits.lag_max_seconds])
    return [
        load * (integral[min(index + quiet, last)] - integral[quiet]) + background * (unlooked + index * step)
        for index in steps
    ]


def _lay(
    moments: Sequence[float],
    unfound: Sequence[float],
    free_at: Sequence[float],
    price: float,
    lateness: float,
) -> int | None:
    """Lay up to `len(free_at)` requests so that the hurt is least; say at which moment the first one is.

    `unfound[i]` is how many calls will have become visible by `moments[i]` if nobody looks; it never falls. The k-th
    request is not before `free_at[k]`. Between requests at moments a and b the hurt is the sum of the waiting,
    H(b) - H(a) - U(a) (b - a) with H the integral of U = `unfound`. For a fixed a that is a line over b, so the best a
    for every b is found on the lower envelope of lines, in time that is linear in the number of moments.
    Returns None when no request pays.
    """
    hurt = _integral(moments, unfound)
    end = moments[-1]
    after = [
        hurt[-1] - done - calls * (end - at) for done, calls, at in zip(hurt, unfound, moments, strict=True)
    ]
    # The cheapest plan whose latest request is at each moment, and where that plan's first request is.
    costs = [done + price + lateness * at for done, at in zip(hurt, moments, strict=True)]
    firsts = list(range(len(moments)))
    least, best = hurt[-1], None
    for request in range(1, len(free_at) + 1):
        for cost, rest, first in zip(costs, after, firsts, strict=True):
            if cost + rest < least:
                least, best = cost + rest, first
        if request < len(free_at):
            costs, firsts = _with_one_more(
                costs, firsts, free_at[request], moments, unfound, hurt, price, lateness
            )
    return best


def _with_one_more(
    costs: Sequence[float],
    firsts: Sequence[int],
    free_at: float,
    moments: Sequence[float],
    unfound: Sequence[float],
    hurt: Sequence[float],
    price: float,
    lateness: float,
) -> tuple[list[float], list[int]]:
    """Lengthen the cheapest plans by a request that cannot be sent before `free_at`.

    The line of a plan whose latest request is at moment a: slope -U(a), height cost(a) - H(a) + U(a) a. The slopes never
    rise and the moments asked for only rise, so the lowest line is found by walking along the envelope once. It is
    written out here rather than as a class because nine tenths of a plan's time are spent in this loop.
    """
    longer_costs, longer_firsts = [math.inf] * len(moments), list(firsts)
    slopes: list[float] = []
    heights: list[float] = []
    names: list[int] = []
    head = 0
    for index, at in enumerate(moments):
        if at >= free_at and slopes:
            lowest = slopes[head] * at + heights[head]
            while (
                head + 1 < len(slopes) and (following := slopes[head + 1] * at + heights[head + 1]) <= lowest
            ):
                head, lowest = head + 1, following
            longer_costs[index] = lowest + hurt[index] + price + lateness * (at - free_at)
            longer_firsts[index] = firsts[names[head]]
        cost = costs[index]
        if cost == math.inf:
            continue
        slope, height = -unfound[index], cost - hurt[index] + unfound[index] * at
        if slopes and slopes[-1] == slope:
            if heights[-1] <= height:
                continue
            del slopes[-1], heights[-1], names[-1]
        # A line is never lowest if its neighbours cross below it.
        while len(slopes) > head + 1 and (height - heights[-2]) * (slopes[-2] - slopes[-1]) <= (
            heights[-1] - heights[-2]
        ) * (slopes[-2] - slope):
            del slopes[-1], heights[-1], names[-1]
        slopes.append(slope)
        heights.append(height)
        names.append(index)
        head = min(head, len(slopes) - 1)
    return longer_costs, longer_firsts


def _integral(moments: Sequence[float], values: Sequence[float]) -> list[float]:
    spans = zip(pairwise(moments), pairwise(values), strict=True)
    return list(
        accumulate(((low + high) / 2.0 * (end - start) for (start, end), (low, high) in spans), initial=0.0)
    )


@lru_cache(maxsize=64)
def _steps(last: int) -> tuple[int, ...]:
    """The moments that a plan considers, in steps: close ones every step, far ones in strides; `last` is the last."""
    close = range(min(33, last + 1))
    middle = range(34, min(65, last + 1), 2)
    far = range(70, last + 1, 6)
    steps = (*close, *middle, *far)
    return steps if steps[-1] == last else (*steps, last)


@lru_cache(maxsize=16)
def _tables(visibility: Visibility, step: float) -> tuple[list[float], list[float]]:
    """P(visible by) over steps of age to twice the window, and its integral over age."""
    by = visibility.probabilities_by(step, 2 * STEPS_PER_WINDOW + 1)
    return by, list(accumulate(((low + high) / 2.0 * step for low, high in pairwise(by)), initial=0.0))


def _slice_of(rhythm: Rhythm, at: datetime) -> int:
    return math.floor((at - rhythm.starts_at).total_seconds() / rhythm.slice_seconds)
