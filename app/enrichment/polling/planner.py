"""Decides when to poll Active Calls again, and when to stop. Pure: does no input or output and reads no
clock.

Facts used: an ended call shows up in Active Calls after 3-10 s and leaves about 120 s after its end; one
response lists all recent calls of the account (guide "Finding Active Calls"). About ten requests a minute are
allowed, and a request inside a penalty restarts the penalty (guide "Rate limits").

The policy. Every second for which a call is visible and not found costs one. The ages of the waiting calls
and the learnt visibility give how many calls will be visible and unfound at any coming moment; the account's
rhythm gives how many more will end. The bucket says when each of the next minute's requests may be sent at
the earliest. From these the plan places the requests at the least expected cost (exactly, by dynamic
programming), sends the first when its moment has come, and then plans again with what was learnt meanwhile.
At low load this polls early and often. Under load it spaces requests evenly, timed to when calls pile up, and
the requests that it reserves for calls that have not ended yet are the reserve against a burst.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from itertools import accumulate, pairwise
from typing import Final

from app.enrichment.polling.call_rate import Rhythm, busy_share, planned_rate
from app.enrichment.polling.limits import PlannerLimits
from app.enrichment.polling.request_layout import first_request
from app.enrichment.polling.visibility import Visibility

STEPS_PER_WINDOW: Final = 480
"""Resolution of the plan: 0.25 s of 120 s."""

MOST_REQUESTS_AHEAD: Final = 16
"""Most requests in one plan; a limit far above the default shortens the plan's horizon instead."""

REQUESTS_PRICED_A_WINDOW: Final = 2400
"""A request must save one call 0.05 s (of 120) of waiting to be worth sending, however many are free."""

USUAL_SHARE: Final = 0.97
"""The delay by which this share of the calls that ever appear has appeared is the usual one, but it is never
taken to be shorter than the longest documented delay. A call that was missed at a later age may never appear.
"""

PATIENCE_GAPS: Final = 1.5
"""An overdue call is polled for again after this many even gaps between requests, while there is a reserve
..."""

PATIENCE_GROWTH: Final = 1.6
"""... and once its age has grown by this factor: at about 10 s, 19, 30, 48, 77, and the last poll."""

PATIENCE_RESERVE: Final = 0.3
"""Share of the limit that must be free for that."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """An ended call without a record. `missed_at`: when the last complete poll without it was sent."""

    ended_at: datetime
    missed_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class PlannerBudget:
    """The rate bucket as polls see it: `bucket.poll_times` (ascending, never empty) and
    `bucket.cycle_seconds`."""

    free_at: tuple[datetime, ...]
    cycle_seconds: float


@dataclass(frozen=True, slots=True)
class PollAt:
    """Poll at this moment, at once if it is not after `now`. Otherwise plan again then and whenever a call
    ends."""

    when: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class Rest:
    """Do not poll until another call ends; `reason` goes to the log."""

    reason: str


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
    """Decide when to poll one account next.

    One response serves every waiting call of the account, so the plan considers all of them together. It
    ignores calls whose window closes before the budget allows a request and calls that had their last poll;
    the caller looks them up in the Call Log. `pages` is the number of requests that one poll takes. Takes
    about a millisecond, somewhat more for thousands of waiting calls.
    """
    if not waiting:
        return Rest("no call waits")
    free_at = bucket.free_at[pages - 1 :: pages] or bucket.free_at[-1:]
    earliest = max(now, free_at[0])
    groups = _group(waiting, earliest, limits)
    if not groups:
        return Rest("no open window needs a poll")
    budget = _Budget(
        offsets=[max(0.0, (at - earliest).total_seconds()) for at in free_at],
        cycle=bucket.cycle_seconds,
    )
    rate = planned_rate(rhythm, now, budget.even_gap, limits)
    usual = max(limits.lag_max_seconds, visibility.age_by(USUAL_SHARE))
    expected = [group for group in groups if group.missed_age < usual]
    choices = [
        (_seconds_until_worthwhile(expected, budget, visibility, rate, limits), "worth a request"),
        (_seconds_until_overdue(groups, budget, usual), "a call is overdue"),
        (_seconds_until_last_poll(groups, limits), "last poll"),
    ]
    seconds, reason = min(choices)
    return PollAt(earliest + timedelta(seconds=max(0.0, seconds)), reason)


@dataclass(frozen=True, slots=True)
class _Group:
    """Calls of about the same age that were missed at about the same age (0: never). Ages in seconds, at
    `earliest`."""

    age: float
    missed_age: float
    calls: int


@dataclass(frozen=True, slots=True)
class _Budget:
    """Seconds from `earliest` until each slot is free, ascending, and for how long a request occupies its
    slot."""

    offsets: list[float]
    cycle: float

    @property
    def even_gap(self) -> float:
        """The distance of requests that the budget sustains."""
        return self.cycle / len(self.offsets)


def _group(waiting: Iterable[Waiting], at: datetime, limits: PlannerLimits) -> list[_Group]:
    """Group the calls that a poll at `at` or later may still find; the number of groups is bounded."""
    step = limits.window_seconds / STEPS_PER_WINDOW
    window, last_poll = limits.window_seconds, limits.last_poll_seconds
    calls: dict[tuple[int, int], int] = {}
    for call in waiting:
        age = (at - call.ended_at).total_seconds()
        missed = 0.0 if call.missed_at is None else max(0.0, (call.missed_at - call.ended_at).total_seconds())
        if age >= window or missed >= last_poll:
            continue
        # Beyond the usual delays little changes from second to second: coarser groups suffice.
        coarse = 1 if age < 2.0 * limits.lag_max_seconds else 16
        # Ages are rounded up: rounded down, the last poll would be late.
        key = math.ceil(age / step / coarse) * coarse, int(missed / step / coarse) * coarse
        calls[key] = calls.get(key, 0) + 1
    return [_Group(age * step, missed * step, count) for (age, missed), count in calls.items()]


def _seconds_until_last_poll(groups: Sequence[_Group], limits: PlannerLimits) -> float:
    """Return in how many seconds the last poll for the oldest call is due; negative when it is overdue."""
    return limits.last_poll_by * limits.window_seconds - max(group.age for group in groups)


def _seconds_until_overdue(groups: Sequence[_Group], budget: _Budget, usual: float) -> float:
    """Return in how many seconds a call that should be visible is polled for again; infinite without a
    reserve.

    When calls suddenly cease, reserving requests for more of them would otherwise go on outweighing the last
    few that still wait.
    """
    reserve = math.ceil(PATIENCE_RESERVE * len(budget.offsets))
    if budget.offsets[reserve - 1] > 0.0:
        return math.inf
    gap = PATIENCE_GAPS * budget.even_gap
    return min(
        max(usual, group.missed_age) + max(gap, (PATIENCE_GROWTH - 1.0) * group.missed_age) - group.age
        for group in groups
    )


def _seconds_until_worthwhile(
    groups: Sequence[_Group],
    budget: _Budget,
    visibility: Visibility,
    rate: float,
    limits: PlannerLimits,
) -> float:
    """Return the seconds from `earliest` to the first request of the cheapest plan; infinite when none is
    worth it."""
    if not groups:
        return math.inf
    horizon = min(budget.cycle, limits.window_seconds, MOST_REQUESTS_AHEAD * budget.even_gap)
    requests = max(1, round(horizon / budget.even_gap))
    step = limits.window_seconds / STEPS_PER_WINDOW
    steps = _steps(max(1, round(horizon / step)))
    moments = [index * step for index in steps]
    known = _visible_waiting(groups, visibility, steps, step)
    coming = _visible_coming(groups, visibility, rate, steps, step, limits)
    unfound = [waiting + later for waiting, later in zip(known, coming, strict=True)]
    price = limits.window_seconds / REQUESTS_PRICED_A_WINDOW
    # A slot that is used late is also free late, a cycle from now, beyond the plan's horizon. If n even slots
    # are all late by d, the cost of a cycle, rate x cycle x gap / 2, grows by rate x cycle x d / 2n; this is
    # one slot's share.
    lateness = rate * budget.even_gap / (2.0 * len(budget.offsets))
    first = first_request(moments, unfound, budget.offsets[:requests], price, lateness)
    return math.inf if first is None else moments[first]


def _visible_waiting(
    groups: Sequence[_Group], visibility: Visibility, steps: Sequence[int], step: float
) -> list[float]:
    """Return how many waiting calls will be visible at each step, given that the last poll missed them."""
    by, _ = _tables(visibility, step)
    last = len(by) - 1
    weights: dict[int, float] = {}
    visible_at_poll = 0.0
    for group in groups:
        before = by[round(group.missed_age / step)]
        weight = group.calls / max(1.0 - before, 1e-6)
        visible_at_poll += weight * before
        age = round(group.age / step)
        weights[age] = weights.get(age, 0.0) + weight
    unfound = [-visible_at_poll] * len(steps)
    for age, weight in weights.items():
        unfound = [
            calls + weight * by[min(age + index, last)] for calls, index in zip(unfound, steps, strict=True)
        ]
    return [max(0.0, calls) for calls in unfound]


def _visible_coming(
    groups: Sequence[_Group],
    visibility: Visibility,
    rate: float,
    steps: Sequence[int],
    step: float,
    limits: PlannerLimits,
) -> list[float]:
    """Return how many calls that are not known yet will be visible at each step; never falling.

    To those that the rate predicts, the same number is added as if it had been appearing since the last poll.
    No such calls exist, but without them the plan would chase every chance cluster of known calls and space
    requests unevenly: under load the mean would hardly improve and the longest wait would be much longer.
    """
    _, integral = _tables(visibility, step)
    last = len(integral) - 1
    quiet = round(limits.quiet_seconds / step)
    background = rate * busy_share(rate, limits)
    since_poll = [group.age - group.missed_age for group in groups if group.missed_age]
    unpolled = min([*since_poll, max(group.age for group in groups), 2.0 * limits.lag_max_seconds])
    return [
        rate * (integral[min(index + quiet, last)] - integral[quiet]) + background * (unpolled + index * step)
        for index in steps
    ]


@lru_cache(maxsize=64)
def _steps(last: int) -> tuple[int, ...]:
    """Return the moments that a plan considers, in steps up to `last`: dense at first, then in strides."""
    close = range(min(33, last + 1))
    middle = range(34, min(65, last + 1), 2)
    far = range(70, last + 1, 6)
    steps = (*close, *middle, *far)
    return steps if steps[-1] == last else (*steps, last)


@lru_cache(maxsize=16)
def _tables(visibility: Visibility, step: float) -> tuple[list[float], list[float]]:
    """Return P(visible by) over steps of age up to twice the window, and its integral over age."""
    by = visibility.probabilities_by(step, 2 * STEPS_PER_WINDOW + 1)
    return by, list(accumulate(((low + high) / 2.0 * step for low, high in pairwise(by)), initial=0.0))
