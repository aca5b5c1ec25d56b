"""How often calls of an account end: counts per slice of time, and the rate to plan for. Pure."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Self

from app.enrichment.polling.limits import PlannerLimits

SLICES_PER_WINDOW: Final = 12
"""Resolution of the rhythm: 10 s of 120 s."""

SLICES_KEPT: Final = 120
"""How far back the rhythm goes: twenty minutes."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Rhythm:
    """How many calls ended in each of the last slices of time, oldest first. `starts_at` is the start of the
    first."""

    slice_seconds: float
    starts_at: datetime
    counts: tuple[int, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return compact JSON for the poll target's row; the time is in microseconds since 1970."""
        start = (self.starts_at - _EPOCH) // timedelta(microseconds=1)
        return {"slice": self.slice_seconds, "start": start, "counts": list(self.counts)}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote."""
        starts_at = _EPOCH + stored["start"] * timedelta(microseconds=1)
        return cls(float(stored["slice"]), starts_at, tuple(int(count) for count in stored["counts"]))


def begin_rhythm(now: datetime, limits: PlannerLimits) -> Rhythm:
    """Return a rhythm without experience."""
    return Rhythm(limits.window_seconds / SLICES_PER_WINDOW, now)


def count_ends(rhythm: Rhythm, ended_at: Iterable[datetime], now: datetime) -> Rhythm:
    """Count calls whose end has just become known, each once, and drop slices that are too old.

    Call it before every plan, without calls too, so that silence counts. An end before the first slice counts
    in the first, one in the future in the last.
    """
    counts = [*rhythm.counts, *[0] * (_slice_of(rhythm, now) + 1 - len(rhythm.counts))]
    for at in ended_at:
        counts[min(max(0, _slice_of(rhythm, at)), len(counts) - 1)] += 1
    surplus = max(0, len(counts) - SLICES_KEPT)
    starts_at = rhythm.starts_at + timedelta(seconds=surplus * rhythm.slice_seconds)
    return replace(rhythm, starts_at=starts_at, counts=tuple(counts[surplus:]))


def planned_rate(rhythm: Rhythm, now: datetime, even_gap: float, limits: PlannerLimits) -> float:
    """Return the calls per second to plan for: the present rate or the usual one, whichever is higher.

    `even_gap` is the distance in seconds of requests that the budget sustains. Each rate counts in proportion
    to the time in which a call waits. Single calls can use the requests of the pauses between them, so a low
    rate needs less provision.
    """
    counts = rhythm.counts
    block = SLICES_PER_WINDOW // 2
    seconds = block * rhythm.slice_seconds
    rates = [sum(counts[end - block : end]) / seconds for end in range(len(counts), block - 1, -block)]
    # Without experience, assume one block with one call per request.
    rates.append(1.0 / even_gap)
    usual = sum(rate * busy_share(rate, limits) for rate in rates) / len(rates)
    present = _present_rate(rhythm, now, limits)
    return max(usual, present * busy_share(present, limits))


def busy_share(rate: float, limits: PlannerLimits) -> float:
    """Return the share of time in which at least one call waits when calls end at random at this rate."""
    return 1.0 - math.exp(-rate * (limits.lag_max_seconds - limits.lag_min_seconds))


def _present_rate(rhythm: Rhythm, now: datetime, limits: PlannerLimits) -> float:
    """Return the highest rate of the last 10, 20 and 40 s of 120, each less its uncertainty, to see a burst
    early."""
    known = (now - rhythm.starts_at).total_seconds() - limits.quiet_seconds
    rate = 0.0
    for slices in (1, 2, 4):
        first = max(0, len(rhythm.counts) - slices)
        seconds = known - first * rhythm.slice_seconds
        if seconds >= rhythm.slice_seconds / 4:
            calls = sum(rhythm.counts[first:])
            rate = max(rate, (calls - math.sqrt(calls)) / seconds)
    return rate


def _slice_of(rhythm: Rhythm, at: datetime) -> int:
    return math.floor((at - rhythm.starts_at).total_seconds() / rhythm.slice_seconds)
