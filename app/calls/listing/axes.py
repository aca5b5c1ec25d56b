"""The axes by which calls are ordered and bounded, and what a bound on one axis implies on another. No I/O.

A call starts, ends at most `LONG` later, and changes after both. So a list by `startTime` that is bounded by
`endedAfter` can stop early, and a list by `updatedAt` that is bounded by `startedAfter` can begin late. Calls
that break this rule have an index of their own (`ix_calls_odd`). It is nearly empty, and they are looked at
before anything is implied, so that no call is lost.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import Column, ColumnElement, and_, literal, tuple_

from app.calls.listing.filters import CallFilters, Order
from app.db.tables import calls

LONG = timedelta(hours=6)
"""Calls that last longer are in `ix_calls_odd`: its condition has the same number."""


class Axis(StrEnum):
    """What calls are ordered by. The values are those of `Order`."""

    STARTED = "startTime"
    ENDED = "endTime"
    CHANGED = "updatedAt"

    @property
    def keys(self) -> tuple[Column[Any], ...]:
        """The columns of its index after the account: no two calls have the same values."""
        return _KEYS[self]


_KEYS: Mapping[Axis, tuple[Column[Any], ...]] = {
    Axis.STARTED: (calls.c.started_at, calls.c.call_id),
    Axis.ENDED: (calls.c.ended_at, calls.c.call_id),
    Axis.CHANGED: (calls.c.changed_seq,),
}
BOUNDS: Mapping[Axis, frozenset[str]] = {
    Axis.STARTED: frozenset({"started_after", "started_before"}),
    Axis.ENDED: frozenset({"ended_after", "ended_before"}),
    Axis.CHANGED: frozenset({"updated_after"}),
}
"""The filters that bound each axis."""


def axis_of(order: Order) -> Axis:
    return Axis(order.by)


@dataclass(frozen=True, slots=True)
class Span:
    """A part of an axis of time, both ends included; None where it is open."""

    low: datetime | None = None
    high: datetime | None = None

    @property
    def is_open(self) -> bool:
        return self.low is None and self.high is None

    def includes(self, at: datetime) -> bool:
        return (self.low is None or at >= self.low) and (self.high is None or at <= self.high)

    def meet(self, other: "Span") -> "Span":
        """Return what both have in common."""
        return Span(_pick(max, self.low, other.low), _pick(min, self.high, other.high))

    def widen(self, moments: Iterable[datetime]) -> "Span":
        """Return the span with these moments included."""
        found = list(moments)
        if not found:
            return self
        return Span(
            None if self.low is None else min(self.low, *found),
            None if self.high is None else max(self.high, *found),
        )


def _pick(choose: Any, one: datetime | None, other: datetime | None) -> Any:
    return other if one is None else one if other is None else choose(one, other)


@dataclass(frozen=True, slots=True)
class OddCall:
    """A call that lasts longer than `LONG`, ends before it starts, or changed last before it starts."""

    started_at: datetime
    ended_at: datetime | None
    changed_seq: int


@dataclass(frozen=True, slots=True)
class Spans:
    """Where the calls of a list lie on the axes of time. Every call of the list is in both spans."""

    started: Span = Span()
    ended: Span = Span()

    @property
    def is_open(self) -> bool:
        return self.started.is_open and self.ended.is_open

    def imply(self, odd: Sequence[OddCall]) -> "Spans":
        """Return narrower spans, by what each says about the other. `odd`: all odd calls of the account."""
        of_started = [one.ended_at for one in odd if one.ended_at and self.started.includes(one.started_at)]
        of_ended = [one.started_at for one in odd if one.ended_at and self.ended.includes(one.ended_at)]
        latest = self.started.high + LONG if self.started.high is not None else None
        earliest = self.ended.low - LONG if self.ended.low is not None else None
        return Spans(
            self.started.meet(Span(earliest, self.ended.high).widen(of_ended)),
            self.ended.meet(Span(self.started.low, latest).widen(of_started)),
        )


def spans_of(filters: CallFilters, axis: Axis, place: Sequence[Any] | None, *, descends: bool) -> Spans:
    """Return the spans that the filters state, and the place after which the page begins."""
    stated = Spans(
        Span(filters.started_after, filters.started_before), Span(filters.ended_after, filters.ended_before)
    )
    if place is None or axis is Axis.CHANGED:
        return stated
    rest = Span(high=place[0]) if descends else Span(low=place[0])
    if axis is Axis.STARTED:
        return Spans(stated.started.meet(rest), stated.ended)
    return Spans(stated.started, stated.ended.meet(rest))


def lowest_change(low: int, started: Span, odd: Iterable[OddCall]) -> int:
    """Return a number of the timeline below the last change of every call that starts in `started`.

    `low`: such a number for all calls that are not odd.
    """
    return min([low, *(one.changed_seq - 1 for one in odd if started.includes(one.started_at))])


@dataclass(frozen=True, slots=True)
class Edge:
    """An end of the part of an index that is read: the values of its first columns, or of all."""

    values: tuple[Any, ...]
    is_included: bool

    def as_low(self, keys: Sequence[Any]) -> ColumnElement[bool]:
        """Return the condition that a row is at the edge or higher."""
        here, there = _compared(keys, self.values)
        condition: ColumnElement[bool] = here >= there if self.is_included else here > there
        return condition if len(self.values) == 1 else and_(condition, keys[0] >= self.values[0])

    def as_high(self, keys: Sequence[Any]) -> ColumnElement[bool]:
        """Return the condition that a row is at the edge or lower."""
        here, there = _compared(keys, self.values)
        condition: ColumnElement[bool] = here <= there if self.is_included else here < there
        return condition if len(self.values) == 1 else and_(condition, keys[0] <= self.values[0])


def _compared(keys: Sequence[Any], values: Sequence[Any]) -> tuple[Any, Any]:
    bound = [literal(value, key.type) for value, key in zip(values, keys, strict=False)]
    if len(values) == 1:
        return keys[0], bound[0]
    # Both databases use the index for a comparison of rows, but not for an OR of ANDs. From the comparison of
    # the first column alone, PostgreSQL estimates how many rows there are between two edges.
    return tuple_(*keys), tuple_(*bound)


def highest(edges: Iterable[Edge]) -> Edge | None:
    """Return the low edge that leaves the fewest rows. SQLite would use any one of several."""
    return max(edges, key=lambda edge: _rank(edge, is_low=True), default=None)


def lowest(edges: Iterable[Edge]) -> Edge | None:
    """Return the high edge that leaves the fewest rows."""
    return min(edges, key=lambda edge: _rank(edge, is_low=False), default=None)


_AFTER_IDS = "\U0010ffff"


def _rank(edge: Edge, *, is_low: bool) -> tuple[Any, str, bool]:
    """Return what orders edges by where they cut. One without an id lies before all ids, or after them."""
    at, *ids = edge.values
    is_after = edge.is_included is not is_low
    return at, ids[0] if ids else _AFTER_IDS if is_after else "", is_after
