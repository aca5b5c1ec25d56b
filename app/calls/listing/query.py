"""Lists calls: one statement per page, with filters and orders that have an index, and keyset pagination.

By `updatedAt`, calls are ordered by their last change in the account's timeline, whose numbers have no gaps
and follow the order of commits. A client that follows this order misses no change; by times alone it could.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    FromClause,
    Row,
    Select,
    and_,
    exists,
    false,
    func,
    literal,
    or_,
    select,
    true,
    tuple_,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from app.calls.feed import positions
from app.calls.listing.crm import BELONGS_IN_A_CRM
from app.calls.listing.cursors import digest_of, read_cursor, write_cursor
from app.calls.listing.filters import Internal, ListQuery
from app.calls.listing.numbers import WantedNumber, find_wanted_number
from app.calls.views import COLUMNS
from app.db.tables import accounts, call_parties, calls, crm_links, notes, sentiments, timeline
from app.ids import AccountId

_CLOCK_TOLERANCE = timedelta(seconds=60)
"""Events are numbered in commit order; their times, taken before the lock, may differ from it by this."""
_NEAR_ENOUGH = 64
_Party = tuple[str, tuple[str, ...]]
"""A kind of party, and the values of which a call must have one."""

# Worded as the index has them; PostgreSQL would not match `IS true` with it.
_INTERNAL: dict[Internal, ColumnElement[bool]] = {
    Internal.TRUE: and_(calls.c.internal),
    Internal.FALSE: ~calls.c.internal,
    Internal.UNKNOWN: calls.c.internal.is_(None),
}


@dataclass(frozen=True, slots=True)
class ListedRows:
    """One page: rows with `views.COLUMNS`, and the cursor of the next page, None on the last one."""

    rows: Sequence[Row[Any]]
    next_cursor: str | None


async def list_calls(db: AsyncConnection, account_id: AccountId, query: ListQuery) -> ListedRows:
    """Return one page.

    Raises BadInput for a cursor that is invalid or belongs to other filters or another order, and
    HistoryChanged for one of a database before its restore.
    """
    wanted = None
    if query.phone_number is not None:
        wanted = await find_wanted_number(db, account_id, query.phone_number)
        # Another spelling of the same number is the same list.
        query = query.model_copy(update={"phone_number": wanted.values[0]})
    digest = digest_of(account_id, query)
    place = None
    if query.cursor is not None:
        place, end = read_cursor(query.cursor, digest, query.order)
        await positions.check(db, account_id, end)
    changed_after = await _seq_before(db, account_id, query.updated_after) if query.updated_after else None
    statement = build(account_id, query, place, changed_after, wanted)
    rows = (await db.execute(statement)).all()
    # The statement reads one row more than the page: if it is there, there is a next page.
    if len(rows) <= query.limit:
        return ListedRows(rows, None)
    rows = rows[: query.limit]
    return ListedRows(
        rows, write_cursor(digest, query.order, rows[-1], await positions.load_end(db, account_id))
    )


def build(
    account_id: AccountId,
    query: ListQuery,
    place: Sequence[Any] | None,
    changed_after: int | None,
    wanted: WantedNumber | None = None,
) -> Select[Any]:
    """Build the statement of one page, with one more row, which shows whether there is a next page.

    A filter by extension or number starts from `call_parties`, whose index has the calls of each in order.
    `wanted` is the query's number as it is stored; without it, the number is in its normal form.
    """
    source, started_at, call_id, base = _source(account_id, _parties(query, wanted))
    conditions = [*base, *_ranges(query, started_at), *_attachments(query)]
    if changed_after is not None:
        conditions += [calls.c.changed_seq > changed_after, calls.c.updated_at >= query.updated_after]
    keys: list[Any] = {
        "startTime": [started_at, call_id],
        "endTime": [calls.c.ended_at, calls.c.call_id],
        "updatedAt": [calls.c.changed_seq],
    }[query.order.by]
    # Databases disagree on the order of nulls, and the partial index does not contain them.
    if query.order.by == "endTime":
        conditions.append(calls.c.ended_at.is_not(None))
    if place is not None:
        conditions.append(_after(keys, place, descends=query.order.descends))
    place_at = keys[0].label("place_at")
    return (
        select(*COLUMNS, place_at)
        .select_from(source)
        .where(*conditions)
        .order_by(*(key.desc() if query.order.descends else key.asc() for key in keys))
        .limit(query.limit + 1)
    )


def _source(
    account_id: AccountId, parties: Sequence[_Party]
) -> tuple[FromClause, Column[Any], Column[Any], list[ColumnElement[bool]]]:
    """Return the table to start from, the columns of its order, and its own conditions."""
    if not parties:
        return calls, calls.c.started_at, calls.c.call_id, [calls.c.account_id == account_id]
    # One index drives the list; a second filter is checked for each of its calls.
    (kind, values), *others = sorted(parties, key=lambda one: len(one[1]))
    if len(values) > 1:
        # A call can have several of the values, and a join would list it several times.
        named = [_having(account_id, *one) for one in parties]
        return calls, calls.c.started_at, calls.c.call_id, [calls.c.account_id == account_id, *named]
    party = call_parties.c
    source = call_parties.join(
        calls, and_(calls.c.account_id == party.account_id, calls.c.call_id == party.call_id)
    )
    base = [party.account_id == account_id, party.kind == kind, party.value == values[0]]
    return source, party.started_at, party.call_id, [*base, *(_took_part(*other) for other in others)]


def _parties(query: ListQuery, wanted: WantedNumber | None) -> list[_Party]:
    parties: list[_Party] = []
    if query.extension_id is not None:
        parties.append(("extension", (query.extension_id,)))
    if query.phone_number is not None:
        parties.append(("number", wanted.values if wanted else (query.phone_number,)))
    if wanted is not None and wanted.extension is not None:
        parties.append(("number", (wanted.extension,)))
    return parties


def _having(account_id: AccountId, kind: str, values: Sequence[str]) -> ColumnElement[bool]:
    party = call_parties.c
    mine = (party.account_id == account_id, party.kind == kind, party.value.in_(values))
    return calls.c.call_id.in_(select(party.call_id).where(*mine))


def _took_part(kind: str, values: Sequence[str]) -> ColumnElement[bool]:
    party = call_parties.alias("another").c
    return exists().where(
        party.account_id == calls.c.account_id,
        party.call_id == calls.c.call_id,
        party.kind == kind,
        _one_of(party.value, values),
    )


def _ranges(query: ListQuery, started_at: Column[Any]) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    for column, after, before in (
        (started_at, query.started_after, query.started_before),
        (calls.c.ended_at, query.ended_after, query.ended_before),
    ):
        conditions += [column >= after] if after is not None else []
        conditions += [column < before] if before is not None else []
    if query.ended_before is not None:
        # Implied by the end, apart from clock differences; with it, the index skips all calls that start
        # later.
        conditions.append(started_at < query.ended_before + _CLOCK_TOLERANCE)
    if query.direction is not None:
        conditions.append(calls.c.direction == query.direction)
    if query.agent is not None:
        conditions.append(calls.c.agent_extension_id == query.agent)
    if query.outcome:
        conditions.append(_one_of(calls.c.outcome, query.outcome))
    if query.stage:
        conditions.append(_one_of(calls.c.stage, query.stage))
    if query.main is not None:
        other = calls.c.main_call_id
        conditions.append(other.is_(None) if query.main else other.is_not(None))
    if query.internal:
        conditions.append(or_(*(_INTERNAL[value] for value in sorted(set(query.internal)))))
    if query.has_recording is not None:
        # Worded as in the partial index; PostgreSQL would not match `IS true` with it.
        conditions.append(calls.c.has_recording if query.has_recording else ~calls.c.has_recording)
    return conditions


def _one_of(column: Column[Any], values: Sequence[str]) -> ColumnElement[bool]:
    return column == values[0] if len(values) == 1 else column.in_(values)


def _attachments(query: ListQuery) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if query.sentiment is not None:
        conditions.append(_attached(sentiments, sentiments.c.label == query.sentiment))
    if query.has_notes is not None:
        has = _attached(notes)
        conditions.append(has if query.has_notes else ~has)
    if query.unlinked_crm is not None:
        conditions += [*BELONGS_IN_A_CRM, _not_linked(query.unlinked_crm)]
    return conditions


def _not_linked(crm: str) -> ColumnElement[bool]:
    # Not NOT EXISTS: PostgreSQL would first join all calls with all links, because it cannot know that the
    # calls without links are all at the newest end. This subquery runs per call, in the order of the list:
    # PostgreSQL estimates that half of the calls match a COALESCE, and so starts from the calls.
    link = crm_links.c
    mine = (link.account_id == calls.c.account_id, link.subject == calls.c.call_id, link.crm == crm)
    return func.coalesce(select(false()).where(*mine).limit(1).scalar_subquery(), true())


def _attached(table: Any, *conditions: ColumnElement[bool]) -> ColumnElement[bool]:
    return exists().where(
        table.c.account_id == calls.c.account_id, table.c.subject == calls.c.call_id, *conditions
    )


def _after(keys: Sequence[Any], place: Sequence[Any], *, descends: bool) -> ColumnElement[bool]:
    # Both databases use the index for a row comparison, but not for an OR of ANDs.
    here = tuple_(*keys)
    there = tuple_(*(literal(value, key.type) for key, value in zip(keys, place, strict=True)))
    return here < there if descends else here > there


async def _seq_before(db: AsyncConnection, account_id: AccountId, moment: datetime) -> int:
    """Return a number of the timeline such that every change at `moment` or later has a greater number.

    Times have no index, but they follow the numbers closely enough for a binary search.
    """
    mine = timeline.c.account_id == account_id
    low = 0
    high = int(
        await db.scalar(select(accounts.c.timeline_seq).where(accounts.c.account_id == account_id)) or 0
    )
    while high - low > _NEAR_ENOUGH:
        middle = (low + high) // 2
        query = select(timeline.c.seq, timeline.c.at).where(mine, timeline.c.seq > middle)
        row = (await db.execute(query.order_by(timeline.c.seq).limit(1))).first()
        if row is None or row.at >= moment - _CLOCK_TOLERANCE:
            high = middle
        else:
            low = row.seq
    return low
