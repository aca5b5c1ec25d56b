"""Where the calls of a list can be found: the ends of indexes, each of which leads to some of its filters.

The index of the order leads to all calls, in order. That of a phone number leads to the calls of the number,
in the order of their starts. Each of these is a source; `query` chooses one.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import Column, ColumnElement, Select, select, text, union_all

from app.calls.listing.axes import BOUNDS, Axis, Edge, Spans, highest, lowest
from app.calls.listing.conditions import Wanted
from app.calls.listing.filters import Internal
from app.db.tables import call_parties, calls, notes, sentiments
from app.db.tables.calls import INTERNAL, RECORDED, UNKNOWN_INTERNAL

_INTERNAL = {Internal.TRUE: INTERNAL, Internal.UNKNOWN: UNKNOWN_INTERNAL}


@dataclass(frozen=True, slots=True)
class ListSource:
    """A part of an index.

    Its rows are in the order of `keys`. With an axis, that is the order of the calls on it; otherwise it says
    nothing of the calls.
    """

    call_id: Column[Any]
    where: tuple[ColumnElement[bool], ...]
    fields: frozenset[str] = frozenset()
    """The filters that all its calls match."""
    axis: Axis | None = None
    keys: tuple[Column[Any], ...] = ()
    low: Edge | None = None
    high: Edge | None = None
    values: tuple[ColumnElement[bool], ...] = ()
    """Conditions of which its calls meet any, each with a part of the index of its own."""
    is_whole: bool = False
    """Whether it leads to all calls on its axis."""

    @property
    def parts(self) -> list["ListSource"]:
        """The source, or the sources of each of its values."""
        if not self.values:
            return [self]
        return [replace(self, where=(*self.where, value), values=()) for value in self.values]

    @property
    def ids(self) -> Any:
        """The query of the ids of all its calls."""
        found = [select(part.call_id).where(*part.conditions) for part in self.parts]
        return found[0] if len(found) == 1 else union_all(*found)

    @property
    def conditions(self) -> list[ColumnElement[bool]]:
        edges = [self.low.as_low(self.keys)] if self.low is not None else []
        edges += [self.high.as_high(self.keys)] if self.high is not None else []
        return [*self.where, *edges]

    def between(self, lows: Iterable[Edge], highs: Iterable[Edge]) -> "ListSource":
        """Return the part that is between these edges, and those that it has."""
        lows = [*lows, self.low] if self.low is not None else lows
        highs = [*highs, self.high] if self.high is not None else highs
        return replace(self, low=highest(lows), high=lowest(highs))

    def after(self, place: Sequence[Any], *, descends: bool) -> "ListSource":
        """Return what comes after a place in its order."""
        edge = [Edge(tuple(place), is_included=False)]
        return self.between([], edge) if descends else self.between(edge, [])

    def until(self, place: Sequence[Any], *, descends: bool) -> "ListSource":
        """Return what comes before a place in its order, or is there."""
        edge = [Edge(tuple(place), is_included=True)]
        return self.between(edge, []) if descends else self.between([], edge)

    def select(self, *columns: Any, descends: bool) -> Select[Any]:
        """Return the query of columns of its index, in the order of the index; not for one with values."""
        query = select(*columns).where(*self.conditions)
        return query.order_by(*(key.desc() if descends else key.asc() for key in self.keys))


@dataclass(frozen=True, slots=True)
class Limits:
    """What bounds imply: where the calls of the list lie on each axis."""

    spans: Spans = field(default_factory=Spans)
    changed_after: int | None = None
    """Every call of the list has changed after this number of the timeline."""


def axis_source(wanted: Wanted, axis: Axis, limits: Limits) -> ListSource:
    """Return the calls on an axis, as far as its bounds reach."""
    where = [calls.c.account_id == wanted.account_id]
    if axis is Axis.ENDED:
        # Databases disagree on the order of nulls.
        where.append(calls.c.ended_at.is_not(None))
    # By `updatedAt`, the bound is a number of the timeline, which is only near the time.
    fields = frozenset() if axis is Axis.CHANGED else BOUNDS[axis]
    source = ListSource(calls.c.call_id, tuple(where), fields, axis, axis.keys, is_whole=True)
    return source.between(*edges_of(wanted, axis, limits))


def sources_of(wanted: Wanted, order: Axis, limits: Limits) -> list[ListSource]:
    """Return all sources of a list, that of its order first."""
    found = [axis_source(wanted, order, limits)]
    for axis, fields in BOUNDS.items():
        if axis is not order and fields & wanted.stated:
            found.append(axis_source(wanted, axis, limits))
    edges = edges_of(wanted, Axis.STARTED, limits)
    found += [source.between(*edges) for source in (*_of_parties(wanted), *_of_calls(wanted))]
    return [*found, *_of_attachments(wanted)]


def edges_of(wanted: Wanted, axis: Axis, limits: Limits) -> tuple[list[Edge], list[Edge]]:
    """Return the low and high edges of a list on an axis: those that are stated or implied."""
    if axis is Axis.CHANGED:
        low = limits.changed_after
        return ([Edge((low,), is_included=False)] if low is not None else []), []
    filters = wanted.filters
    if axis is Axis.STARTED:
        after, before, span = filters.started_after, filters.started_before, limits.spans.started
    else:
        after, before, span = filters.ended_after, filters.ended_before, limits.spans.ended
    lows = [Edge((at,), is_included=True) for at in (after, span.low) if at is not None]
    highs = [Edge((before,), is_included=False)] if before is not None else []
    return lows, highs + ([Edge((span.high,), is_included=True)] if span.high is not None else [])


def _of_parties(wanted: Wanted) -> Iterator[ListSource]:
    filters, number = wanted.filters, wanted.number
    if filters.extension_id is not None:
        yield _party(wanted, "extension", (filters.extension_id,), "extension_id")
    if filters.phone_number is not None:
        values = number.values if number is not None else (filters.phone_number,)
        is_all = number is None or number.extension is None
        yield _party(wanted, "number", values, *(["phone_number"] if is_all else []))
    if number is not None and number.extension is not None:
        yield _party(wanted, "number", (number.extension,))


def _party(wanted: Wanted, kind: str, values: Sequence[str], *fields: str) -> ListSource:
    party = call_parties.c
    where = (party.account_id == wanted.account_id, party.kind == kind)
    keys = (party.started_at, party.call_id)
    source = ListSource(party.call_id, where, frozenset(fields), None, keys)
    return _with_values(source, [party.value == value for value in values])


def _of_calls(wanted: Wanted) -> Iterator[ListSource]:
    """Return the sources whose values stand in the call. One for which most calls match has no index."""
    filters, call = wanted.filters, calls.c
    if wanted.agent_ids:
        yield _call(wanted, "agent", *(call.agent_extension_id == one for one in wanted.agent_ids))
    for name, column, values in (
        ("stage", call.stage, filters.stage),
        ("outcome", call.outcome, filters.outcome),
    ):
        if values:
            yield _call(wanted, name, *(column == value for value in sorted(set(values))))
    if filters.main is False:
        yield _call(wanted, "main", call.main_call_id.is_not(None))
    internal = set(filters.internal)
    if internal and internal <= _INTERNAL.keys():
        yield _call(wanted, "internal", *(text(_INTERNAL[value]) for value in sorted(internal)))
    if filters.has_recording:
        yield _call(wanted, "has_recording", text(RECORDED))


def _call(wanted: Wanted, name: str, *values: Any) -> ListSource:
    where = (calls.c.account_id == wanted.account_id,)
    source = ListSource(calls.c.call_id, where, frozenset({name}), None, Axis.STARTED.keys)
    return _with_values(source, values)


def _with_values(source: ListSource, values: Sequence[Any]) -> ListSource:
    """Return the source of calls that meet any of the conditions. In order are those of one alone."""
    if len(values) > 1:
        return replace(source, values=tuple(values))
    return replace(source, where=(*source.where, *values), axis=Axis.STARTED)


def _of_attachments(wanted: Wanted) -> Iterator[ListSource]:
    filters = wanted.filters
    if filters.sentiment is not None:
        said = sentiments.c
        where = (said.account_id == wanted.account_id, said.label == filters.sentiment)
        yield ListSource(said.subject, where, frozenset({"sentiment"}), keys=(said.subject,))
    if filters.has_notes:
        own = (notes.c.account_id == wanted.account_id,)
        yield ListSource(notes.c.subject, own, frozenset({"has_notes"}), keys=(notes.c.subject,))
