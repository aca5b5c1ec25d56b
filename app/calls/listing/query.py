"""Lists calls, by keyset pagination, and reads for a page no more than `MOST_READ` calls.

By `updatedAt`, calls are ordered by their last change in the account's timeline, whose numbers have no gaps
and follow the order of commits. A client that follows this order misses no change; by times alone it could.

A list is bounded however many calls there are and whatever its filters are:

- If an index has the order and all the filters, the page is its next rows.
- If one of the filters leads to few calls, all of them are looked at and sorted.
- Otherwise, the next `MOST_READ` calls are looked at, in the order of the list. The page has those that
  match, maybe fewer than its size, maybe none, and its cursor continues after the last one looked at.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, Text, and_, any_, func, literal, null, select, union_all
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncConnection

from app.calls.feed import positions
from app.calls.listing.agents import find_wanted_agents
from app.calls.listing.axes import (
    BOUNDS,
    Axis,
    Edge,
    Spans,
    axis_of,
    lowest_change,
    spans_of,
)
from app.calls.listing.conditions import READ_COLUMNS, Wanted, conditions_of
from app.calls.listing.cursors import digest_of, read_cursor, write_cursor
from app.calls.listing.filters import ListQuery
from app.calls.listing.moments import find_seq_before, load_odd_calls
from app.calls.listing.numbers import find_wanted_number
from app.calls.listing.sources import Limits, ListSource, axis_source, sources_of
from app.calls.views import COLUMNS
from app.db.tables import calls
from app.ids import AccountId

MOST_READ = 500
"""Calls that are looked at for a page if no index has its order and its filters: ten pages of the usual
size."""

Place = Sequence[Any]
"""The values of the order's columns in one call."""


@dataclass(frozen=True, slots=True)
class ListedRows:
    """One page: rows with `views.COLUMNS`, and the cursor of the next page, None on the last one."""

    rows: Sequence[Row[Any]]
    next_cursor: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Listing:
    """One page that is to be read."""

    wanted: Wanted
    axis: Axis
    descends: bool
    place: Place | None
    size: int
    """Rows to read: one more than the page, which shows whether there is a next page."""
    most_read: int


async def list_calls(
    db: AsyncConnection, account_id: AccountId, query: ListQuery, most_read: int = MOST_READ
) -> ListedRows:
    """Return one page, for which at most `most_read` calls are looked at.

    Raises BadInput for a cursor that is invalid or belongs to other filters or another order, and
    HistoryChanged for one of a database before its restore.
    """
    number = None
    if query.phone_number is not None:
        number = await find_wanted_number(db, account_id, query.phone_number)
        # Another spelling of the same number is the same list.
        query = query.model_copy(update={"phone_number": number.values[0]})
    digest = digest_of(account_id, query)
    place = None
    if query.cursor is not None:
        place, end = read_cursor(query.cursor, digest, query.order)
        await positions.check(db, account_id, end)
    agents = await find_wanted_agents(db, account_id, query)
    if agents == ():
        return ListedRows([], None)
    order = query.order
    listing = _Listing(
        wanted=Wanted(account_id, query, number, agents),
        axis=axis_of(order),
        descends=order.descends,
        place=place,
        size=query.limit + 1,
        most_read=most_read,
    )
    rows, next_place = await _read(db, listing)
    if next_place is None:
        return ListedRows(rows, None)
    end = await positions.load_end(db, account_id)
    return ListedRows(rows, write_cursor(digest, next_place, end))


async def _read(db: AsyncConnection, listing: _Listing) -> tuple[Sequence[Row[Any]], Place | None]:
    """Return the rows of a page, and the place after which the next one begins; None if there is none."""
    limits = await _find_limits(db, listing)
    statement, boundary = await _choose(db, listing, limits)
    rows = (await db.execute(statement)).all()
    if len(rows) < listing.size:
        return rows, boundary
    rows = rows[: listing.size - 1]
    return rows, [getattr(rows[-1], key.name) for key in listing.axis.keys]


async def _find_limits(db: AsyncConnection, listing: _Listing) -> Limits:
    """Return what the bounds of the list imply. Asks the database only if a bound is on another axis."""
    filters, axis = listing.wanted.filters, listing.axis
    spans = spans_of(filters, axis, listing.place, descends=listing.descends)
    odd = None
    if _needs_implied(listing, spans):
        odd = await load_odd_calls(db, listing.wanted.account_id)
        spans = spans.imply(odd) if odd is not None else spans
    moments = [filters.updated_after] if filters.updated_after is not None else []
    if odd is not None and axis is Axis.CHANGED and spans.started.low is not None:
        moments.append(spans.started.low)
    if not moments:
        return Limits(spans)
    low = await find_seq_before(db, listing.wanted.account_id, max(moments))
    return Limits(spans, lowest_change(low, spans.started, odd or ()))


def _needs_implied(listing: _Listing, spans: Spans) -> bool:
    """Whether a bound is on another axis than that of the order, or than that of a source."""
    stated = listing.wanted.stated
    axes = {axis for axis in (Axis.STARTED, Axis.ENDED) if BOUNDS[axis] & stated}
    if listing.place is not None:
        axes.add(listing.axis)
    has_others = not stated <= frozenset().union(*BOUNDS.values())
    return not spans.is_open and bool(axes - {listing.axis} or (has_others and axes - {Axis.STARTED}))


async def _choose(db: AsyncConnection, listing: _Listing, limits: Limits) -> tuple[Select[Any], Place | None]:
    """Return the statement of a page, and the place up to which it looks; None if that is the end."""
    wanted, axis = listing.wanted, listing.axis
    if wanted.stated <= BOUNDS[axis]:
        return _next_calls(listing, limits), None
    sources = sources_of(wanted, axis, limits)
    sources = [_from_place(listing, source) for source in sources]
    if axis is Axis.STARTED:
        for source in sources[1:]:
            if source.axis is axis and wanted.stated <= source.fields | BOUNDS[axis]:
                return _next_of(listing, source), None
    places = await _probe(db, listing, sources)
    for number, source in enumerate(sources):
        if number not in places:
            return _matching(db, listing, source), None
    # The one whose next calls reach furthest is the sparsest, and most of its calls match.
    ordered = [number for number, source in enumerate(sources) if source.axis is axis]
    furthest = (min if listing.descends else max)(ordered, key=lambda number: places[number][0])
    boundary = places[furthest]
    source = sources[furthest].until(boundary, descends=listing.descends)
    return _matching(db, listing, source), boundary


def _from_place(listing: _Listing, source: ListSource) -> ListSource:
    """Return the part of a source where the page begins, if it is in the order of the list."""
    if listing.place is None or source.axis is not listing.axis:
        return source
    return source.after(listing.place, descends=listing.descends)


async def _probe(
    db: AsyncConnection, listing: _Listing, sources: Sequence[ListSource]
) -> Mapping[int, Place]:
    """Return the place of the last of the next `most_read` calls of each source that has so many."""
    asked = [_probe_one(listing, number, source) for number, source in enumerate(sources)]
    rows = await db.execute(union_all(*(select(query.subquery()) for query in asked)))
    return {row.number: row[1:] for row in rows}


def _probe_one(listing: _Listing, number: int, source: ListSource) -> Select[Any]:
    keys = source.keys if source.axis is listing.axis else ()
    shown = (literal(number).label("number"), *_padded(keys, listing.axis))
    if not source.values:
        found = source.select(*shown, descends=listing.descends)
    else:
        # The next ones of each value: databases find these, but not those of any value, in an index.
        parts = [
            select(part.select(part.call_id, descends=listing.descends).limit(listing.most_read).subquery())
            for part in source.parts
        ]
        found = select(*shown).select_from(union_all(*parts).subquery())
    return found.offset(listing.most_read - 1).limit(1)


def _padded(keys: Sequence[Any], axis: Axis) -> list[ColumnElement[Any]]:
    given = [key.label(f"key{number}") for number, key in enumerate(keys)]
    missing = axis.keys[len(given) :]
    return given + [
        null().cast(key.type).label(f"key{number}") for number, key in enumerate(missing, len(given))
    ]


def _next_calls(listing: _Listing, limits: Limits) -> Select[Any]:
    """Return the statement of a list that has no filters besides bounds of its order."""
    source = _from_place(listing, axis_source(listing.wanted, listing.axis, limits))
    rest = conditions_of(listing.wanted, calls.c, besides=source.fields)
    return source.select(*COLUMNS, descends=listing.descends).where(*rest).limit(listing.size)


def _next_of(listing: _Listing, source: ListSource) -> Select[Any]:
    """Return the statement of a list whose order and filters one source has."""
    return _of_listed(listing, source.select(*source.keys, descends=listing.descends).limit(listing.size))


def _matching(db: AsyncConnection, listing: _Listing, source: ListSource) -> Select[Any]:
    """Return the statement that looks at all calls of a source."""
    wanted = listing.wanted
    in_order = source.is_whole and source.axis is listing.axis
    if in_order:
        looked_at = source.select(*READ_COLUMNS, descends=listing.descends)
    else:
        is_found = _is_in(db, source.ids)
        looked_at = select(*READ_COLUMNS).where(calls.c.account_id == wanted.account_id, is_found)
    # OFFSET keeps the planners from pulling the conditions in, and from another index that they might prefer.
    call = looked_at.offset(0).subquery("looked_at").c
    conditions = conditions_of(wanted, call, besides=source.fields)
    keys = [call[key.name] for key in listing.axis.keys]
    if source.axis is not listing.axis and listing.place is not None:
        edge = Edge(tuple(listing.place), is_included=False)
        conditions.append(edge.as_high(keys) if listing.descends else edge.as_low(keys))
    if listing.axis is Axis.ENDED:
        conditions.append(call.ended_at.is_not(None))
    columns = {key.name: key for key in (call.call_id, *keys)}
    page = select(*columns.values()).where(*conditions).order_by(*_order(call, listing))
    return _of_listed(listing, page.limit(listing.size))


def _of_listed(listing: _Listing, page: Select[Any]) -> Select[Any]:
    """Return the statement of whole calls, by the query of their ids and the columns of the order."""
    wanted, listed = listing.wanted, page.subquery("listed")
    own = and_(calls.c.account_id == wanted.account_id, calls.c.call_id == listed.c.call_id)
    return select(*COLUMNS).select_from(listed.join(calls, own)).order_by(*_order(listed.c, listing))


def _order(columns: Any, listing: _Listing) -> list[Any]:
    keys = [columns[key.name] for key in listing.axis.keys]
    return [key.desc() if listing.descends else key.asc() for key in keys]


def _is_in(db: AsyncConnection, ids: Any) -> ColumnElement[bool]:
    """Return the condition that a call has one of the ids, which both databases answer by the primary key."""
    if db.dialect.name == "sqlite":
        return calls.c.call_id.in_(ids)
    # PostgreSQL could make a join of IN, and read all calls for it.
    return calls.c.call_id == any_(func.array(ids.scalar_subquery(), type_=ARRAY(Text)))
