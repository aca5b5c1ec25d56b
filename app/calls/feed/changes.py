"""Reads the feed from the database: every visible change of an account's calls, once, in commit order.

The numbers of the timeline are assigned under the account's lock, so they have no gaps and follow the order
of commits: a change that commits late cannot appear before a cursor that has passed. A cursor names the last
change that was read, by its number and its mark (`positions`).
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sqlalchemy import ColumnElement, Select, Table, and_, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.calls.feed.positions import (
    BEGINNING,
    Position,
    check_floor,
    check_kept,
    check_row,
    floor_of,
    load_end,
)
from app.calls.model import NO_SESSION
from app.db.tables import calls, erased_calls, timeline
from app.errors import HistoryChanged
from app.ids import AccountId
from app.values.exact_json import write_json
from app.values.times import time_text

FROM_NOW = "now"
"""The cursor of the current end of the feed."""

_NUMBERS_AT_ONCE = 500

Json = dict[str, Any]


@dataclass(frozen=True)
class FeedEntry:
    """One change as the feed shows it. It is serialised once, however many read it.

    `position`: the one after it.
    """

    position: Position
    shown: Json

    @property
    def seq(self) -> int:
        return self.position.seq

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the call that changed."""
        shown = self.shown
        names = (shown["callId"], shown["sessionId"], shown["telephonySessionId"])
        return tuple(name for name in names if name)

    @cached_property
    def body(self) -> bytes:
        """The change as JSON."""
        return write_json(self.shown)

    @cached_property
    def event(self) -> bytes:
        """The change as a server-sent event, whose id is the cursor after it."""
        name, cursor = self.shown["type"].encode(), str(self.position).encode()
        return b"event: %b\ndata: %b\nid: %b\n\n" % (name, self.body, cursor)


@dataclass(frozen=True, slots=True)
class ChangeFeed:
    """A part of the feed. `after`: the position to continue from."""

    changes: list[FeedEntry]
    after: Position
    has_more: bool


@dataclass(frozen=True, slots=True)
class CallEvents:
    """A part of one call's timeline. `after`: the position to continue from."""

    events: list[Json]
    after: Position
    has_more: bool


async def read_feed(db: AsyncConnection, account_id: AccountId, after: Position, limit: int) -> ChangeFeed:
    """Return the next changes after a position, at most `limit`.

    Raises HistoryChanged if the position is not in this history, or if changes after it were removed.
    """
    query = (
        _changes_of(account_id, floor_of(account_id).label("floor"))
        .where(timeline.c.seq >= after.seq)
        .order_by(timeline.c.seq)
        .limit(limit + 2)
    )
    # The change at the position itself is read too: one statement checks the position and returns what
    # follows.
    rows = list(await db.execute(query))
    if rows:
        check_floor(after, rows[0].floor)
    if rows and rows[0].seq == after.seq:
        check_row(after, rows.pop(0))
    elif not rows and after.seq:
        await check_kept(db, account_id, after)
    shown, end, has_more = _part(rows, after, limit)
    return ChangeFeed([_change(row) for row in shown], end, has_more)


FeedPart = tuple[AccountId, Position, int]
"""Whose feed, after which position, and how many changes at most."""


async def read_parts(
    db: AsyncConnection, parts: Collection[FeedPart]
) -> dict[FeedPart, ChangeFeed | HistoryChanged]:
    """Return parts of feeds as `read_feed` does, or what it raises, by the part."""
    found: dict[FeedPart, ChangeFeed | HistoryChanged] = {}
    for part in parts:
        try:
            found[part] = await read_feed(db, *part)
        except HistoryChanged as error:
            found[part] = error
    return found


async def load_changes(
    db: AsyncConnection, account_id: AccountId, seqs: Collection[int]
) -> dict[int, FeedEntry]:
    """Return the changes with these numbers, by number, without those that do not exist any more."""
    if not seqs:
        return {}
    found = {}
    numbers = sorted(set(seqs))
    for start in range(0, len(numbers), _NUMBERS_AT_ONCE):
        wanted = timeline.c.seq.in_(numbers[start : start + _NUMBERS_AT_ONCE])
        for row in await db.execute(_changes_of(account_id).where(wanted)):
            found[row.seq] = _change(row)
    return found


def _changes_of(account_id: AccountId, *columns: ColumnElement[Any]) -> Select[Any]:
    # The last change of an erased call has only its tombstone left.
    sides = (
        func.coalesce(calls.c[name], erased_calls.c[name]).label(name)
        for name in ("session_id", "telephony_session_id")
    )
    return (
        select(timeline, *sides, *columns)
        .outerjoin(calls, _is_of(calls))
        .outerjoin(erased_calls, _is_of(erased_calls))
        .where(timeline.c.account_id == account_id)
    )


def _is_of(table: Table) -> ColumnElement[bool]:
    return and_(table.c.account_id == timeline.c.account_id, table.c.call_id == timeline.c.call_id)


def _part(rows: Sequence[Any], after: Position, limit: int) -> tuple[Sequence[Any], Position, bool]:
    """Return the first `limit` rows and the position after them; one more row shows that there are more."""
    shown = rows[:limit]
    return shown, Position.after(shown[-1]) if shown else after, len(rows) > limit


def _change(row: Any) -> FeedEntry:
    # A call that was removed without a tombstone has no names any more.
    is_nameless = row.telephony_session_id is None or row.telephony_session_id.startswith(NO_SESSION)
    position = Position.after(row)
    shown = {
        "cursor": str(position),
        **event_json(row),
        "callId": row.call_id,
        "sessionId": row.session_id,
        "telephonySessionId": None if is_nameless else row.telephony_session_id,
    }
    return FeedEntry(position, shown)


def event_json(row: Any) -> Json:
    """Return a row of `timeline` as the API shows it."""
    return {
        "seq": row.seq,
        "type": row.type,
        "version": row.version,
        "at": time_text(row.at),
        "data": row.data,
    }


async def resolve_cursor(db: AsyncConnection, account_id: AccountId, cursor: str | None) -> Position:
    """Return the position that a cursor of the feed names; None is the start, `now` the current end.

    Raises BadInput for an invalid cursor, and HistoryChanged for one of another account or of a database
    before its restore, which would silently skip changes.
    """
    if cursor is None:
        return BEGINNING
    if cursor == FROM_NOW:
        return await load_end(db, account_id)
    position = Position.parse(cursor)
    await check_kept(db, account_id, position)
    return position


async def read_call_events(
    db: AsyncConnection, account_id: AccountId, call_id: str, after: Position, limit: int
) -> CallEvents:
    """Return the changes of one call after a position of the account's timeline."""
    # Not the column alone: a database would go through the changes of all calls, because these are sorted.
    number = timeline.c.seq + 0
    query = (
        select(timeline)
        .where(timeline.c.account_id == account_id, timeline.c.call_id == call_id, number > after.seq)
        .order_by(number)
        .limit(limit + 1)
    )
    rows = (await db.execute(query)).all()
    shown, end, has_more = _part(rows, after, limit)
    return CallEvents([event_json(row) for row in shown], end, has_more)
