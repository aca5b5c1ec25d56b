"""How far our clock and RingCentral's are apart, estimated from its responses. Pure.

Every response has a `Date` in whole seconds. It was made in the second that follows, while our clock was
between sending and receiving. So one response gives the difference to within a second plus the round trip;
several narrow it down.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime

_RESOLUTION_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Skew:
    """Our clock is ahead by a number of seconds between the two; negative is behind."""

    low: float
    high: float

    @property
    def least(self) -> float:
        """The smallest difference that explains the responses; 0 if the clocks may agree."""
        return max(self.low, 0.0) + min(self.high, 0.0)

    @property
    def most(self) -> float:
        """The largest possible difference, without a sign."""
        return max(abs(self.low), abs(self.high))


@dataclass(frozen=True, slots=True)
class Estimate:
    """What all responses say together. `doubt` is what the last one said if it contradicts them."""

    skew: Skew
    doubt: Skew | None = None


def read_skew(headers: Mapping[str, str], sent_at: datetime, answered_at: datetime) -> Skew | None:
    """Read the `Date` of one response (names of `headers` in lower case; times aware UTC).

    None without a readable date, and for a response from a cache (`Age`).
    """
    if "age" in headers:
        return None
    try:
        date = parsedate_to_datetime(headers.get("date", ""))
        low = (sent_at - date).total_seconds() - _RESOLUTION_SECONDS
        return Skew(low, (answered_at - date).total_seconds())
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def weigh(known: Estimate | None, seen: Skew) -> Estimate:
    """Add one response to the estimate.

    A response that agrees narrows the estimate. A clock that was set, or has drifted, is believed at the
    second response that says so: a single one may come from one odd server among many.
    """
    if known is None:
        return Estimate(seen)
    if (both := _overlap(known.skew, seen)) is not None:
        return Estimate(both)
    if known.doubt is not None and (again := _overlap(known.doubt, seen)) is not None:
        return Estimate(again)
    return Estimate(known.skew, doubt=seen)


def _overlap(one: Skew, other: Skew) -> Skew | None:
    low, high = max(one.low, other.low), min(one.high, other.high)
    return Skew(low, high) if low <= high else None


class SkewMeter:
    """Estimates the skew from the responses to one process, over all connections."""

    def __init__(self) -> None:
        self._known: Estimate | None = None

    @property
    def skew(self) -> Skew | None:
        """None until there was a response with a date."""
        return self._known.skew if self._known else None

    def observe(self, headers: Mapping[str, str], sent_at: datetime, answered_at: datetime) -> None:
        """Add a response to the estimate; see `read_skew`."""
        seen = read_skew(headers, sent_at, answered_at)
        if seen is not None:
            self._known = weigh(self._known, seen)
