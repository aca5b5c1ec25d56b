"""How long after its end a call appears in Active Calls, learnt per account.

Decides nothing, does no input or output and reads no clock: a value, and functions from value to value.

Active Calls shows a call some 3-10 s after its end (RingCentral's guide "Finding Active Calls"), but nobody
can watch the moment: one look did not have the call, a later look had it. Such a pair is an interval-censored
sample. The knowledge is a small histogram over the call's age; a sample spreads its weight over the bins of
its interval in proportion to what the histogram held there already (one step of expectation-maximisation),
and older samples fade. It is kept as JSON in the poll target's row, so every replica knows the same.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from typing import Any, Self

FINE_BINS_PER_WINDOW = 240
"""Width of a fine bin as a share of the window: 0.5 s of 120 s."""

COARSE_BINS = 12
"""Bins that share the time between twice the longest expected delay and the window's end."""

PRIOR_SAMPLES = 20.0
"""How many samples the prior weighs."""

MEMORY_SAMPLES = 400.0
"""About how many samples back the histogram remembers."""

PRIOR_FLOOR = 0.01
"""Share of the prior that no experience removes, so that a changed behaviour can be learnt anew."""

LATE_SHARE = 0.02
"""What the prior expects to appear later than the longest documented delay."""

NEVER_SHARE = 0.02
"""What the prior expects never to appear: no permission for the extension, a test call, never logged."""

_DIGITS = 7


@dataclass(frozen=True, slots=True)
class Observation:
    """What one call taught: not there at `unseen_seconds` after its end, there at `seen_seconds`.

    `unseen_seconds` is 0 when the first look had it, `seen_seconds` None when its last look was in vain (`vain_look`).
    Both ages are those of the request's *sending* for the look that failed and of its *answer* for the look
    that succeeded, which is the widest the interval can be.
    """

    unseen_seconds: float
    seen_seconds: float | None


@dataclass(frozen=True, slots=True)
class Visibility:
    """Distribution of the delay from a call's end to its appearing, in seconds.

    `edges` are the bins' borders (first 0, last the window), `weights` the share that appears in each bin;
    what is missing to 1 never appears. `samples` is how much has been learnt, fading included.
    """

    edges: tuple[float, ...]
    prior: tuple[float, ...]
    weights: tuple[float, ...]
    samples: float = 0.0

    @property
    def never(self) -> float:
        """Share of calls that never appear."""
        return max(0.0, 1.0 - math.fsum(self.weights))

    def probability_by(self, age_seconds: float) -> float:
        """P(the call shows up no later than this age); 0 for a negative age."""
        if age_seconds <= 0.0:
            return 0.0
        index = min(bisect_right(self.edges, age_seconds), len(self.weights)) - 1
        share = (age_seconds - self.edges[index]) / (self.edges[index + 1] - self.edges[index])
        return math.fsum(self.weights[:index]) + min(1.0, share) * self.weights[index]

    def age_by(self, share: float) -> float:
        """The age by which this share of the calls that ever appear has appeared, to the bin."""
        wanted = share * math.fsum(self.weights)
        summed = 0.0
        for weight, edge in zip(self.weights, self.edges[1:], strict=True):
            summed += weight
            if summed >= wanted:
                return edge
        return self.edges[-1]

    def probabilities_by(self, step_seconds: float, count: int) -> list[float]:
        """`probability_by` of the ages 0, step, 2 steps, ...: a table for those who ask often."""
        table: list[float] = []
        by = 0.0
        for (left, right), weight in zip(pairwise(self.edges), self.weights, strict=True):
            until = min(count, math.ceil(right / step_seconds))
            slope = weight / (right - left)
            table += [by + slope * (index * step_seconds - left) for index in range(len(table), until)]
            by += weight
        return table + [by] * (count - len(table))

    def to_json(self) -> dict[str, Any]:
        """Compact JSON for the poll target's row."""
        return {
            "edges": list(self.edges),
            "prior": list(self.prior),
            "weights": list(self.weights),
            "samples": self.samples,
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`; raises KeyError or ValueError when it is something else."""
        edges = tuple(float(edge) for edge in stored["edges"])
        prior = tuple(float(weight) for weight in stored["prior"])
        weights = tuple(float(weight) for weight in stored["weights"])
        if not len(edges) - 1 == len(prior) == len(weights) or len(edges) < 2:
            raise ValueError("bins and weights of a stored visibility do not fit together")
        return cls(edges, prior, weights, float(stored["samples"]))


def prior_visibility(window_seconds: float, lag_min_seconds: float, lag_max_seconds: float) -> Visibility:
    """Knowledge before the first sample: a triangle over lag_min..lag_max, and little beyond it.

    A change of these settings is noticed by `fits`, and then this value has to replace the stored one.
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
    """Whether the value was begun under these settings."""
    begun = prior_visibility(window_seconds, lag_min_seconds, lag_max_seconds)
    return begun.edges == visibility.edges and begun.prior == visibility.prior


def missed_observation(
    age_seconds: float, looked_seconds: float | None, last_from_seconds: float
) -> Observation | None:
    """Return what a look in vain at this age teaches; None: nothing as yet, for further looks will tell.

    Only the last look of a call teaches, one at `last_from_seconds` or later, and only the first of such;
    `looked_seconds` is the age at the look before. A call whose window closes without a last look, because of a
    penalty or because nobody was there to look, teaches nothing: it is not one that never appears. Were the silent ones
    left out instead, those that do appear would make every absence look like lateness, worth request after request.
    """
    had_last_look = looked_seconds is not None and looked_seconds >= last_from_seconds
    return Observation(age_seconds, None) if age_seconds >= last_from_seconds and not had_last_look else None


def learn(visibility: Visibility, looks: Iterable[Observation]) -> Visibility:
    """Return the knowledge enriched by these samples, in their order; older ones fade."""
    weights, samples = list(visibility.weights), visibility.samples
    never = visibility.never
    for look in looks:
        spread, spread_never = _posterior(visibility.edges, weights, never, look)
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
    edges: Sequence[float], weights: Sequence[float], never: float, look: Observation
) -> tuple[list[float], float]:
    """Where this sample's one unit of weight belongs, given what is known: over the bins, and to never."""
    low = max(0.0, look.unseen_seconds)
    high = edges[-1] if look.seen_seconds is None else max(look.seen_seconds, low)
    inside = [
        weight * max(0.0, min(high, right) - max(low, left)) / (right - left)
        for weight, (left, right) in zip(weights, pairwise(edges), strict=True)
    ]
    may_never = never if look.seen_seconds is None else 0.0
    total = math.fsum(inside) + may_never
    if total > 1e-9:
        return [share / total for share in inside], may_never / total
    # Nothing was expected there: the bin of the moment that is certain takes it.
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
    """Cumulated isosceles triangle; a step when low and high are the same."""
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
