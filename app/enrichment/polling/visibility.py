"""How long after its end a call appears in Active Calls, learnt per account. Pure: functions from value to
value.

Active Calls shows a call some 3-10 s after its end (RingCentral's guide "Finding Active Calls"), but the
moment itself cannot be observed: one poll did not show the call, a later one did. Such a pair is an
interval-censored sample. The knowledge is a small histogram over the call's age. A sample spreads its weight
over the bins of its interval in proportion to their present weights (one step of expectation-maximisation),
and older samples fade. It is stored as JSON in the poll target's row, so that all replicas share it.
"""

import math
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from typing import Any

from pydantic import TypeAdapter

FINE_BINS_PER_WINDOW = 240
"""Width of a fine bin as a share of the window: 0.5 s of 120 s."""

COARSE_BINS = 12
"""Bins that share the time between twice the longest expected delay and the window's end."""

PRIOR_SAMPLES = 20.0
"""How many samples the prior weighs."""

MEMORY_SAMPLES = 400.0
"""About how many samples back the histogram reaches."""

PRIOR_FLOOR = 0.01
"""Share of the prior that no experience removes, so that a changed behaviour can be learnt."""

LATE_SHARE = 0.02
"""Share that the prior expects to appear later than the longest documented delay."""

NEVER_SHARE = 0.02
"""Share that the prior expects never to appear: no permission for the extension, a test call, never logged.
"""

_DIGITS = 7


@dataclass(frozen=True, slots=True)
class Observation:
    """What polls showed of one call: not visible `unseen_seconds` after its end, visible at `seen_seconds`.

    `unseen_seconds` is 0 when the first poll showed it; `seen_seconds` is None when its last poll did not
    (`missed_observation`). The ages are taken when the request that missed it was *sent* and when the
    *response* that showed it arrived, which makes the interval as wide as it can be.
    """

    unseen_seconds: float
    seen_seconds: float | None


@dataclass(frozen=True, slots=True)
class Visibility:
    """Distribution of the delay in seconds from a call's end until it appears.

    `edges` are the borders of the bins (from 0 to the window), `weights` the share of calls that appears in
    each bin; the rest never appears. `samples` is the number of samples learnt, fading included.
    """

    edges: tuple[float, ...]
    prior: tuple[float, ...]
    weights: tuple[float, ...]
    samples: float = 0.0

    def __post_init__(self) -> None:
        if not len(self.edges) - 1 == len(self.prior) == len(self.weights) or len(self.edges) < 2:
            raise ValueError("bins and weights of a visibility do not fit together")

    @property
    def never(self) -> float:
        """Share of calls that never appear."""
        return max(0.0, 1.0 - math.fsum(self.weights))

    def probability_by(self, age_seconds: float) -> float:
        """Return P(the call appears no later than this age); 0 for a negative age."""
        if age_seconds <= 0.0:
            return 0.0
        index = min(bisect_right(self.edges, age_seconds), len(self.weights)) - 1
        share = (age_seconds - self.edges[index]) / (self.edges[index + 1] - self.edges[index])
        return math.fsum(self.weights[:index]) + min(1.0, share) * self.weights[index]

    def age_by(self, share: float) -> float:
        """Return the age, to the bin, by which this share of the calls that ever appear has appeared."""
        wanted = share * math.fsum(self.weights)
        summed = 0.0
        for weight, edge in zip(self.weights, self.edges[1:], strict=True):
            summed += weight
            if summed >= wanted:
                return edge
        return self.edges[-1]

    def probabilities_by(self, step_seconds: float, count: int) -> list[float]:
        """Return `probability_by` for the ages 0, step, 2 steps, ... as a table for frequent use."""
        table: list[float] = []
        by = 0.0
        for (left, right), weight in zip(pairwise(self.edges), self.weights, strict=True):
            until = min(count, math.ceil(right / step_seconds))
            slope = weight / (right - left)
            table += [by + slope * (index * step_seconds - left) for index in range(len(table), until)]
            by += weight
        return table + [by] * (count - len(table))

    def to_json(self) -> dict[str, Any]:
        """Return compact JSON for the poll target's row: the fields by their names."""
        stored: dict[str, Any] = _STORED.dump_python(self, mode="json")
        return stored

    @staticmethod
    def from_json(stored: Mapping[str, Any]) -> "Visibility":
        """Read what `to_json` wrote. Raises ValueError for anything else."""
        return _STORED.validate_python(stored)


_STORED: TypeAdapter[Visibility] = TypeAdapter(Visibility)


def prior_visibility(window_seconds: float, lag_min_seconds: float, lag_max_seconds: float) -> Visibility:
    """Return the knowledge before the first sample: a triangle over lag_min..lag_max, and little beyond it.

    `fits` detects a change of these settings; then this value has to replace the stored one.
    """
    edges = _edges(window_seconds, lag_max_seconds)
    triangle = [
        _triangle(high, lag_min_seconds, lag_max_seconds) - _triangle(low, lag_min_seconds, lag_max_seconds)
        for low, high in pairwise(edges)
    ]
    # Lateness thins out with age: the share falls off as 1/age between lag_max and the window's end.
    late = [
        max(0.0, math.log(high / max(low, lag_max_seconds))) if high > lag_max_seconds else 0.0
        for low, high in pairwise(edges)
    ]
    all_late = math.fsum(late) or 1.0
    in_time = 1.0 - LATE_SHARE - NEVER_SHARE
    weights = tuple(
        round(in_time * usual + LATE_SHARE * tail / all_late, _DIGITS)
        for usual, tail in zip(triangle, late, strict=True)
    )
    return Visibility(edges, weights, weights)


def fits(
    visibility: Visibility, window_seconds: float, lag_min_seconds: float, lag_max_seconds: float
) -> bool:
    """Whether the value began under these settings."""
    begun = prior_visibility(window_seconds, lag_min_seconds, lag_max_seconds)
    return begun.edges == visibility.edges and begun.prior == visibility.prior


def missed_observation(
    age_seconds: float, missed_seconds: float | None, last_from_seconds: float
) -> Observation | None:
    """Return the observation from a poll that missed a call at this age; None if later polls will show more.

    Only the last poll for a call counts: the first one at `last_from_seconds` or later. `missed_seconds` is
    the age at the previous miss. A call whose window closes without a last poll, because of a penalty or an
    outage, gives no observation: it may well have appeared. If calls that never appear gave none either,
    every absence would look like a delay and be worth request after request.
    """
    had_last_poll = missed_seconds is not None and missed_seconds >= last_from_seconds
    return Observation(age_seconds, None) if age_seconds >= last_from_seconds and not had_last_poll else None


def learn(visibility: Visibility, observations: Iterable[Observation]) -> Visibility:
    """Return the knowledge with these samples added in their order; older ones fade."""
    weights, samples = list(visibility.weights), visibility.samples
    never = visibility.never
    for observation in observations:
        spread, spread_never = _posterior(visibility.edges, weights, never, observation)
        step = 1.0 / (PRIOR_SAMPLES + min(samples, MEMORY_SAMPLES) + 1.0)
        weights = [(1.0 - step) * weight + step * new for weight, new in zip(weights, spread, strict=True)]
        never = (1.0 - step) * never + step * spread_never
        samples = min(samples + 1.0, MEMORY_SAMPLES)
    floored = (
        max(round(weight, _DIGITS), round(PRIOR_FLOOR * begun, _DIGITS))
        for weight, begun in zip(weights, visibility.prior, strict=True)
    )
    return replace(visibility, weights=_at_most_one(tuple(floored)), samples=samples)


def _posterior(
    edges: Sequence[float], weights: Sequence[float], never: float, observation: Observation
) -> tuple[list[float], float]:
    """Return how the sample's unit of weight spreads over the bins and over "never", given what is known."""
    low = max(0.0, observation.unseen_seconds)
    high = edges[-1] if observation.seen_seconds is None else max(observation.seen_seconds, low)
    inside = [
        weight * max(0.0, min(high, right) - max(low, left)) / (right - left)
        for weight, (left, right) in zip(weights, pairwise(edges), strict=True)
    ]
    may_never = never if observation.seen_seconds is None else 0.0
    total = math.fsum(inside) + may_never
    if total > 1e-9:
        return [share / total for share in inside], may_never / total
    # Nothing was expected in the interval: the bin of the certain moment takes all of it.
    index = min(max(bisect_right(edges, high) - 1, 0), len(weights) - 1)
    return [1.0 if place == index else 0.0 for place in range(len(weights))], 0.0


def _at_most_one(weights: tuple[float, ...]) -> tuple[float, ...]:
    total = math.fsum(weights)
    return (
        weights
        if total <= 1.0
        else tuple(math.floor(weight / total * 10**_DIGITS) / 10**_DIGITS for weight in weights)
    )


def _triangle(age: float, low: float, high: float) -> float:
    """Return the cumulative isosceles triangle; a step when low and high are equal."""
    if age <= low:
        return 0.0
    if age >= high:
        return 1.0
    share = (age - low) / (high - low)
    return 2.0 * share * share if share <= 0.5 else 1.0 - 2.0 * (1.0 - share) ** 2


@lru_cache(maxsize=64)
def _edges(window_seconds: float, lag_max_seconds: float) -> tuple[float, ...]:
    step = window_seconds / FINE_BINS_PER_WINDOW
    fine_until = min(2.0 * lag_max_seconds, window_seconds)
    fine = max(1, round(fine_until / step))
    edges = [round(index * step, _DIGITS) for index in range(fine + 1)]
    coarse = (window_seconds - edges[-1]) / COARSE_BINS
    if coarse > step / 2:
        edges += [round(edges[fine] + coarse * (index + 1), _DIGITS) for index in range(COARSE_BINS)]
    return tuple(edges)
