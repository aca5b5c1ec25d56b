"""Lists calls: filters, orders, and pages by keyset, each on an index.

A cursor holds the place of the last call in its order, and a digest of the filters and the order that it
belongs to; so it cannot be used with others by mistake. It is no secret and needs no signature: whatever
place it names, the account is always the key's.

By `updatedAt` calls are ordered by their last change in the account's timeline, whose numbers are gap-free
in commit order; whoever walks that order onwards misses no change, which by times alone could happen.
"""

import base64
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
)
from pydantic.alias_generators import to_camel
from pydantic_core import from_json, to_json
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
    select,
    true,
    tuple_,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from app.calls.attachments.inputs import Label
from app.calls.feed import positions
from app.calls.feed.positions import BEGINNING, Place
from app.calls.inputs import Source
from app.calls.model import Outcome, Stage
from app.calls.schemas import ExtensionIdText
from app.calls.views import COLUMNS
from app.db.tables import accounts, call_parties, calls, crm_links, notes, sentiments, timeline
from app.errors import BadInput
from app.ids import AccountId

DEFAULT_LIMIT = 50
MAX_LIMIT = 200
_CURSOR_FORM = 2
_FORM_WITHOUT_END = 1
"""Of cursors that earlier versions gave out: they do not name the end of the feed, so they are not checked by it."""
_YEARS = range(1970, 2200)
_LARGEST_SEQ = 2**63 - 1
_LONGEST_CURSOR = 512
_LONGEST_NUMBER = 128
_NUMBER = re.compile(r"\+?(?=[X*#]*[0-9])[0-9X*#]{1,31}", re.IGNORECASE)
"""Digits; also masked ones and service codes, as events and records have them."""
_NO_NUMBERS = frozenset({"anonymous", "conference"})
"""Words that stand where a number would (published event streams)."""

_CLOCKS_DIFFER = timedelta(seconds=60)
"""Events are numbered in commit order; their times, taken before the lock, can be out of it by this much."""
_NEAR_ENOUGH = 64


class Direction(StrEnum):
    """Which way a call went, as the company sees it."""

    INBOUND = "Inbound"
    OUTBOUND = "Outbound"


class Order(StrEnum):
    """What the list is sorted by; `-` means newest first. By `endTime`, only calls that have ended are listed."""

    NEWEST = "-startTime"
    OLDEST = "startTime"
    LATEST_CHANGE = "-updatedAt"
    EARLIEST_CHANGE = "updatedAt"
    LATEST_END = "-endTime"
    EARLIEST_END = "endTime"

    @property
    def descends(self) -> bool:
        return self.value.startswith("-")

    @property
    def by(self) -> str:
        return self.value.removeprefix("-")


def _written_time(value: Any) -> Any:
    """Undo what URLs do to `+02:00`, which arrives as ` 02:00` when it was not escaped."""
    if not isinstance(value, str):
        return value
    if value.lstrip("+-").replace(".", "").isdecimal():
        # Could be seconds, milliseconds or a date without dashes; a guess would list the wrong calls.
        raise ValueError("A time is written as RFC 3339 has it, such as 2026-03-10T18:00:00Z")
    return re.sub(r" (\d\d:?\d\d)$", r"+\1", value)


def _in_our_times(value: datetime) -> datetime:
    if value.year not in _YEARS:
        raise ValueError(f"The year must lie between {_YEARS[0]} and {_YEARS[-1]}")
    return value


def normal_number(value: Any) -> Any:
    """Return a phone number as events and records write it: `+` and digits, or a short number as it is.

    `+` that arrives as a blank, `00`, blanks, dots, dashes and brackets are understood; text that is no
    number (`anonymous`, a masked number) stays.
    """
    if not isinstance(value, str) or len(value) > _LONGEST_NUMBER:
        return value
    bare = re.sub(r"[\s().\-/]", "", value)
    if bare.startswith("00") and bare.isdecimal():
        return f"+{bare[2:]}"
    came_with_plus = value[:1].isspace() and bare.isdecimal()
    is_international = bare.isdecimal() and len(bare) > 10
    return f"+{bare}" if came_with_plus or is_international else bare or value.strip()


def _a_number(value: str) -> str:
    if not _NUMBER.fullmatch(value) and value.casefold() not in _NO_NUMBERS:
        raise ValueError(
            "A phone number is expected in E.164, such as +15550179001, or a short one, such as 101; or `anonymous`"
        )
    return value


def _in_any_case(words: type[StrEnum]) -> BeforeValidator:
    """Understand a word of a closed set however it is capitalised."""
    known = {word.value.casefold(): word.value for word in words}
    return BeforeValidator(
        lambda value: known.get(value.casefold(), value) if isinstance(value, str) else value
    )


Moment = Annotated[AwareDatetime, BeforeValidator(_written_time), AfterValidator(_in_our_times)]
PhoneNumber = Annotated[
    str,
    StringConstraints(min_length=1, max_length=_LONGEST_NUMBER),
    BeforeValidator(normal_number),
    AfterValidator(_a_number),
]
_MOMENT = "2026-03-10T18:00:00Z"


class CallFilters(BaseModel):
    """Which calls to list. All that are given must hold."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True)

    started_after: Moment | None = Field(None, description="Started then or later.", examples=[_MOMENT])
    started_before: Moment | None = Field(None, description="Started earlier.", examples=[_MOMENT])
    ended_after: Moment | None = Field(None, description="Ended then or later.", examples=[_MOMENT])
    ended_before: Moment | None = Field(None, description="Ended earlier.", examples=[_MOMENT])
    updated_after: Moment | None = Field(None, description="Last changed then or later.", examples=[_MOMENT])
    direction: Annotated[Direction, _in_any_case(Direction)] | None = Field(
        None, description="As the company sees it.", examples=["Inbound", "Outbound"]
    )
    extension_id: ExtensionIdText | None = Field(
        None, description="An extension that took part, by RingCentral's id.", examples=["711000101"]
    )
    phone_number: PhoneNumber | None = Field(
        None,
        description="A number that took part, in E.164; usual ways of writing it are understood. `anonymous`: "
        "callers who hid theirs.",
        examples=["+15550179001"],
    )
    outcome: list[Outcome] = Field(
        [], max_length=12, description="Repeat it to allow several.", examples=[["missed", "voicemail"]]
    )
    stage: list[Stage] = Field(
        [], max_length=6, description="Repeat it to allow several.", examples=[["reconciled", "final"]]
    )
    has_recording: bool | None = Field(None, description="Whether a recording is known.")
    sentiment: Annotated[Label, _in_any_case(Label)] | None = Field(
        None, description="A label that some source gave.", examples=["negative"]
    )
    has_notes: bool | None = Field(None, description="Whether somebody attached a note.")
    unlinked_crm: Source | None = Field(
        None,
        description="Not written to this CRM yet; quick if most of these are new, or with a bound such as "
        "`startedAfter`.",
        examples=["hubspot"],
    )


class ListQuery(CallFilters):
    """Filters, order and page."""

    order: Order = Field(Order.NEWEST, description="What to sort by; `-` means newest first.")
    limit: int = Field(DEFAULT_LIMIT, ge=1, le=MAX_LIMIT, description="Calls per page.")
    cursor: str | None = Field(
        None,
        max_length=_LONGEST_CURSOR,
        description="`nextCursor` of the page before, with the same filters.",
    )


@dataclass(frozen=True, slots=True)
class CallPage:
    """Rows with `views.COLUMNS`, and the cursor of the next page; None on the last one."""

    rows: Sequence[Row[Any]]
    next_cursor: str | None


async def list_calls(db: AsyncConnection, account_id: AccountId, query: ListQuery) -> CallPage:
    """Return one page.

    Raises BadInput for a cursor that is none of ours or belongs to other filters or another order, and HistoryChanged for
    one from before the database was put back.
    """
    digest = _digest(account_id, query)
    place = None
    if query.cursor is not None:
        place, end = read_cursor(query.cursor, digest, query.order)
        await positions.check(db, account_id, end)
    changed_after = await _seq_before(db, account_id, query.updated_after) if query.updated_after else None
    statement = build(account_id, query, place, changed_after)
    rows = (await db.execute(statement)).all()
    if len(rows) <= query.limit:
        return CallPage(rows, None)
    rows = rows[: query.limit]
    return CallPage(
        rows, write_cursor(digest, query.order, rows[-1], await positions.load_end(db, account_id))
    )


# Cursors


def _digest(account_id: AccountId, query: ListQuery) -> str:
    same = query.model_dump(mode="json", exclude={"limit", "cursor"}, exclude_defaults=True)
    return hashlib.sha256(to_json([account_id, query.order, sorted(same.items())])).hexdigest()[:16]


def write_cursor(digest: str, order: Order, last: Row[Any], end: Place) -> str:
    """Name the place behind a row, and the end of the feed, by which the history of the database is known."""
    by_number = order.by == "updatedAt"
    place = [last.changed_seq] if by_number else [last.place_at.isoformat(), last.call_id]
    return base64.urlsafe_b64encode(to_json([_CURSOR_FORM, digest, str(end), *place])).decode().rstrip("=")


def read_cursor(cursor: str, digest: str, order: Order) -> tuple[list[Any], Place]:
    """Return the place that a cursor names, as values of the order's columns, and the end that the feed had then.

    Raises BadInput when it is none of ours, or not for these filters and this order.
    """
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        form, of, *place = from_json(base64.b64decode(padded, altchars=b"-_", validate=True))
        end = BEGINNING if form == _FORM_WITHOUT_END else Place.parse(place.pop(0))
        is_ours = of == digest and form in {_FORM_WITHOUT_END, _CURSOR_FORM}
        values = _read_place(place, order) if is_ours else None
    except (ValueError, TypeError, AttributeError, IndexError) as error:
        raise BadInput("The cursor is not one of ours; start again without it", parameter="cursor") from error
    if values is None:
        raise BadInput(
            "The cursor belongs to other filters or another order; repeat those of the page before, or start "
            "again without it",
            parameter="cursor",
        )
    return values, end


def _read_place(place: list[Any], order: Order) -> list[Any]:
    if order.by == "updatedAt":
        (seq,) = place
        if type(seq) is not int or not 0 <= seq <= _LARGEST_SEQ:
            raise ValueError("not a number of the timeline")
        return [seq]
    at, call_id = place
    if not call_id.isascii() or not call_id.isprintable():
        raise ValueError("not an id")
    return [_in_our_times(datetime.fromisoformat(at)).astimezone(UTC), call_id]


# Statements


def build(
    account_id: AccountId, query: ListQuery, place: Sequence[Any] | None, changed_after: int | None
) -> Select[Any]:
    """Build the statement of one page; it asks for one row more than the page has.

    A filter by extension or number starts from `call_parties`, whose index holds the calls of each in order.
    """
    source, started_at, call_id, held = _source(account_id, query)
    conditions = [*held, *_ranges(query, started_at), *_attachments(query)]
    if changed_after is not None:
        conditions += [calls.c.changed_seq > changed_after, calls.c.updated_at >= query.updated_after]
    keys: list[Any] = {
        "startTime": [started_at, call_id],
        "endTime": [calls.c.ended_at, calls.c.call_id],
        "updatedAt": [calls.c.changed_seq],
    }[query.order.by]
    if query.order.by == "endTime":
        conditions.append(calls.c.ended_at.is_not(None))
    if place is not None:
        conditions.append(_behind(keys, place, descends=query.order.descends))
    place_at = keys[0].label("place_at")
    return (
        select(*COLUMNS, place_at)
        .select_from(source)
        .where(*conditions)
        .order_by(*(key.desc() if query.order.descends else key.asc() for key in keys))
        .limit(query.limit + 1)
    )


def _source(
    account_id: AccountId, query: ListQuery
) -> tuple[FromClause, Column[Any], Column[Any], list[ColumnElement[bool]]]:
    """Return where to start, the columns of its order, and what holds there."""
    who = _who(query)
    if not who:
        return calls, calls.c.started_at, calls.c.call_id, [calls.c.account_id == account_id]
    party = call_parties.c
    (kind, value), *others = who
    source = call_parties.join(
        calls, and_(calls.c.account_id == party.account_id, calls.c.call_id == party.call_id)
    )
    held = [party.account_id == account_id, party.kind == kind, party.value == value]
    return source, party.started_at, party.call_id, [*held, *(_took_part(*other) for other in others)]


def _who(query: ListQuery) -> list[tuple[str, str]]:
    asked = (("extension", query.extension_id), ("number", query.phone_number))
    return [(kind, value) for kind, value in asked if value is not None]


def _took_part(kind: str, value: str) -> ColumnElement[bool]:
    party = call_parties.alias("another").c
    return exists().where(
        party.account_id == calls.c.account_id,
        party.call_id == calls.c.call_id,
        party.kind == kind,
        party.value == value,
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
        # Implied, but for clocks that differ; it spares walking the starts of all later calls.
        conditions.append(started_at < query.ended_before + _CLOCKS_DIFFER)
    if query.direction is not None:
        conditions.append(calls.c.direction == query.direction)
    if query.outcome:
        conditions.append(_one_of(calls.c.outcome, query.outcome))
    if query.stage:
        conditions.append(_one_of(calls.c.stage, query.stage))
    if query.has_recording is not None:
        # As the partial index states it; `IS true` would not be recognised.
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
        conditions.append(_not_linked(query.unlinked_crm))
    return conditions


def _not_linked(crm: str) -> ColumnElement[bool]:
    # Not as NOT EXISTS: PostgreSQL would join all calls with all links first, because it cannot know that
    # those not linked yet stand together at the newest end. This is asked call by call, in the list's order;
    # of a COALESCE it expects that half of the calls meet it, and so begins there.
    link = crm_links.c
    mine = (link.account_id == calls.c.account_id, link.subject == calls.c.call_id, link.crm == crm)
    return func.coalesce(select(false()).where(*mine).limit(1).scalar_subquery(), true())


def _attached(table: Any, *conditions: ColumnElement[bool]) -> ColumnElement[bool]:
    return exists().where(
        table.c.account_id == calls.c.account_id, table.c.subject == calls.c.call_id, *conditions
    )


def _behind(keys: Sequence[Any], place: Sequence[Any], *, descends: bool) -> ColumnElement[bool]:
    # A comparison of rows, which both databases answer by the index; an OR of ANDs they would not.
    here = tuple_(*keys)
    there = tuple_(*(literal(value, key.type) for key, value in zip(keys, place, strict=True)))
    return here < there if descends else here > there


async def _seq_before(db: AsyncConnection, account_id: AccountId, moment: datetime) -> int:
    """Return a number of the timeline such that every change at `moment` or later has a greater one.

    Times have no index; they follow the numbers closely enough to halve the way to the place.
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
        if row is None or row.at >= moment - _CLOCKS_DIFFER:
            high = middle
        else:
            low = row.seq
    return low
