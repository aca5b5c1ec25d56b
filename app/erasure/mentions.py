"""Looks through all tables for what else names a subject, and takes it out.

The tables come from the metadata, so a new one is looked through as well. By default the number is replaced
in the texts that have it. What a call consists of makes the call one of the subject's; some rows are deleted.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    JSON,
    ColumnElement,
    PrimaryKeyConstraint,
    Row,
    Select,
    String,
    Table,
    Text,
    UniqueConstraint,
    and_,
    cast,
    delete,
    false,
    func,
    literal,
    or_,
    select,
    tuple_,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from app.calls import store
from app.calls.ledger import Ledger
from app.calls.lifetime.legal_holds import find_held
from app.calls.lifetime.tombstones import find_erased, session_names
from app.db import tables
from app.db.types import ExactJson, UtcDateTime
from app.erasure.model import Counts, Subject, SubjectKind, camel
from app.erasure.removal import erase_calls, renew_directory
from app.erasure.spellings import SEPARATORS, Spelling
from app.ids import AccountId
from app.webhooks.folding.batches import read_delivery
from app.webhooks.folding.erased import names_of_insights
from app.webhooks.payloads.notification import InsightsEvent, PresenceEvent, TelephonyEvent

WINDOW = 500
"""Rows that one statement looks at."""

_HITS = 25
"""Rows that one transaction deals with."""

_PRESENCE = b'"activeCalls"'


class Fate(StrEnum):
    """What becomes of a row that names the subject."""

    CALL = "call"
    """Its call is one of the subject's, and is erased."""

    ROW = "row"
    TEXT = "text"
    """The number is replaced in its texts; a row that is found by the number is deleted."""


_FATES: Mapping[str, Fate] = {
    "calls": Fate.CALL,
    "call_parties": Fate.CALL,
    "call_records": Fate.CALL,
    "deliveries": Fate.ROW,
    "extensions": Fate.ROW,
}

WITHOUT_PEOPLE = frozenset(
    {
        "accounts", "api_keys", "audio_links", "call_aliases", "call_links", "credentials", "directories",
        "erased_calls", "erased_files", "erased_names", "erasures", "key_requests", "poll_targets",
        "rate_buckets", "subscriptions", "webhook_attempts", "webhook_endpoints", "webhook_messages",
        "webhook_waits",
    }
)  # fmt: skip
"""Tables with ids and settings alone. The main number in `directories` is the company's."""

DELETED_WHOLE = frozenset({"rc_cache"})
"""Tables whose rows of the account are deleted without a look: they are made again at need."""


@dataclass(frozen=True, slots=True)
class Place:
    """A table that is looked through, and its columns."""

    table: Table
    columns: Sequence[ColumnElement[Any]]
    fate: Fate

    @property
    def keys(self) -> list[ColumnElement[Any]]:
        return [column for column in self.table.primary_key.columns if column.name != "account_id"]

    def key_of(self, row: Row[Any]) -> tuple[Any, ...]:
        return tuple(getattr(row, column.name) for column in self.keys)

    def has_key(self, account_id: str, key: Sequence[Any]) -> ColumnElement[bool]:
        own = (column == value for column, value in zip(self.keys, key, strict=True))
        return and_(self.table.c.account_id == account_id, *own)


@dataclass(slots=True)
class Found:
    """What became of some rows. `calls` are to be erased; `waits`: something is not folded yet."""

    counts: Counts = field(default_factory=Counts)
    calls: set[str] = field(default_factory=set)
    waits: bool = False


def places_of(subject: Subject) -> dict[str, Place]:
    """Return the tables to look through, by name, in order. Ids are only in deliveries; see `removal`."""
    if subject.kind is SubjectKind.PHONE_NUMBER:
        return {place.table.name: place for place in _places()}
    return {"deliveries": Place(tables.deliveries, [tables.deliveries.c.raw], Fate.ROW)}


def _places() -> Iterator[Place]:
    for table in sorted(tables.metadata.tables.values(), key=lambda one: one.name):
        columns = [column for column in table.columns if _has_text(column) and column.name != "account_id"]
        if columns and table.name not in WITHOUT_PEOPLE | DELETED_WHOLE:
            yield Place(table, columns, _FATES.get(table.name, Fate.TEXT))


def _has_text(column: ColumnElement[Any]) -> bool:
    # Bytes elsewhere are encrypted or compressed.
    is_raw = column is tables.deliveries.c.raw
    return isinstance(column.type, String | JSON | ExactJson) or is_raw


async def find_rows(
    db: AsyncConnection,
    account_id: AccountId,
    place: Place,
    spelling: Spelling | None,
    after: Sequence[Any] | None,
) -> tuple[list[tuple[Any, ...]], tuple[Any, ...] | None]:
    """Return the keys of rows that may name the subject among the next ones, and the key of the last one.

    None as the last key: there are no more rows.
    """
    keys = place.keys
    is_delivery = place.table is tables.deliveries
    signs = [_may_have(column, spelling) for column in place.columns] if spelling and not is_delivery else []
    shown = [tables.deliveries.c.raw, tables.deliveries.c.telephony_session_id] if is_delivery else []
    query: Select[Any] = select(*keys, *shown, or_(false(), *signs).label("is_hit")).where(
        place.table.c.account_id == account_id
    )
    if after is not None:
        passed = [
            literal(value, column.type) for value, column in zip(_read_key(keys, after), keys, strict=True)
        ]
        query = query.where(tuple_(*keys) > tuple_(*passed))
    rows = (await db.execute(query.order_by(*keys).limit(WINDOW))).all()
    hits = [place.key_of(row) for row in rows if row.is_hit or (is_delivery and _may_tell(row, spelling))]
    if len(hits) > _HITS:
        return hits[:_HITS], hits[_HITS - 1]
    return hits, place.key_of(rows[-1]) if len(rows) == WINDOW else None


def write_key(key: Sequence[Any]) -> tuple[Any, ...]:
    """Return a key as JSON has it."""
    return tuple(value.isoformat() if isinstance(value, datetime) else value for value in key)


def _read_key(columns: Sequence[ColumnElement[Any]], key: Sequence[Any]) -> list[Any]:
    return [
        datetime.fromisoformat(value)
        if isinstance(column.type, UtcDateTime) and isinstance(value, str)
        else value
        for column, value in zip(columns, key, strict=True)
    ]


def _may_have(column: ColumnElement[Any], spelling: Spelling) -> ColumnElement[bool]:
    """Return the condition that a column has the digits of a spelling, whatever is written between them."""
    text: ColumnElement[Any] = column if isinstance(column.type, String) else cast(column, Text)
    for separator in SEPARATORS:
        text = func.replace(text, separator, "")
    return func.coalesce(text.like(f"%{spelling.needle}%"), False)


def _may_tell(row: Row[Any], spelling: Spelling | None) -> bool:
    """Whether a delivery may name the subject, or tell of erased calls that are not the one that it is
    stored under. The database cannot look into its body, which is packed."""
    if spelling is not None and spelling.needle.encode() in row.raw:
        return True
    return row.telephony_session_id is None or _PRESENCE in row.raw


async def take_out(
    ledger: Ledger,
    account_id: AccountId,
    place: Place,
    spelling: Spelling | None,
    keys: Sequence[tuple[Any, ...]],
    erasure_id: str,
) -> Found:
    """Deal with rows that `find_rows` found, under the ledger. `account_id`: under which they are stored."""
    found = Found()
    rows = [row for key in keys if (row := await _load(ledger.db, place, account_id, key)) is not None]
    named = await _named_by(ledger, place, rows)
    held = await find_held(ledger.db, ledger.account_id, set(named.values()))
    # The reason of a hold is not part of the held call.
    spared = held if place.table is not tables.legal_holds else set()
    touched: set[str] = set()
    for row in rows:
        call_id = named.get(place.key_of(row), "")
        if call_id in spared:
            continue
        columns = [c for c in place.columns if spelling is not None and spelling.is_in(getattr(row, c.name))]
        if place.table is tables.deliveries:
            await _take_delivery(ledger, account_id, row, found, names_it=bool(columns))
        elif columns and place.fate is Fate.CALL:
            found.calls.add(call_id)
        elif columns and spelling is not None:
            found.counts[await _change(ledger.db, account_id, place, row, columns, spelling, ledger.now)] += 1
            if call_id and place.table not in (tables.timeline, tables.legal_holds):
                touched.add(call_id)
    for call in (await store.load_by_ids(ledger.db, ledger.account_id, touched)).values():
        ledger.change(call, "call.updated", source="erasure")
        ledger.pass_on(call)
    found.counts += await erase_calls(ledger, found.calls, erasure_id)
    return found


async def _load(db: AsyncConnection, place: Place, account_id: str, key: Sequence[Any]) -> Row[Any] | None:
    query = select(place.table).where(place.has_key(account_id, key))
    return (await db.execute(query.with_for_update())).first()


async def _named_by(ledger: Ledger, place: Place, rows: Sequence[Row[Any]]) -> dict[tuple[Any, ...], str]:
    """Return the id of the call that each row belongs to, by the row's key."""
    columns = place.table.c
    if place.table is tables.deliveries:
        sessions = {row.telephony_session_id for row in rows if row.telephony_session_id}
        by_session = await store.load_by_sessions(ledger.db, ledger.account_id, sessions)
        found = {place.key_of(row): by_session.get(row.telephony_session_id) for row in rows}
        return {key: call.call_id for key, call in found.items() if call is not None}
    if "call_id" in columns:
        return {place.key_of(row): row.call_id for row in rows if row.call_id}
    if "subject" in columns and "parked" in columns:
        return {place.key_of(row): row.subject for row in rows if not row.parked}
    return {}


async def _take_delivery(
    ledger: Ledger, account_id: AccountId, row: Row[Any], found: Found, *, names_it: bool
) -> None:
    """Delete a delivery that names the subject, or tells of a call that was erased."""
    if not names_it:
        names = _names_in(row)
        names_it = bool(await find_erased(ledger.db, ledger.account_id, names))
    if not names_it:
        return
    if row.folded_at is None:
        found.waits = True  # it becomes part of its calls first
        return
    stored = tables.deliveries.c
    mine = and_(stored.account_id == account_id, stored.uuid == row.uuid)
    await ledger.db.execute(delete(tables.deliveries).where(mine))
    found.counts["deliveries"] += 1


def _names_in(row: Row[Any]) -> list[str]:
    event = read_delivery(row.raw, row.received_at)
    if isinstance(event, TelephonyEvent | PresenceEvent):
        keys = (call.key for call in event.calls)
        return [name for key in keys for name in session_names(key.telephony_session_id, key.session_id)]
    if isinstance(event, InsightsEvent):
        return names_of_insights(event.telephony_session_id, event.recording_id)
    return []


async def _change(
    db: AsyncConnection,
    account_id: AccountId,
    place: Place,
    row: Row[Any],
    columns: Sequence[ColumnElement[Any]],
    spelling: Spelling,
    now: datetime,
) -> str:
    """Replace the number in a row, or delete it; return the kind that is counted."""
    mine = place.has_key(account_id, place.key_of(row))
    if place.fate is Fate.ROW or not _names_of_rows(place.table).isdisjoint(one.name for one in columns):
        await db.execute(delete(place.table).where(mine))
        if place.table is tables.extensions:
            await renew_directory(db, account_id, now)
        return camel(place.table.name)
    new = {column.name: spelling.taken_out(getattr(row, column.name)) for column in columns}
    await db.execute(update(place.table).where(mine).values(new))
    return "mentions"


def _names_of_rows(table: Table) -> set[str]:
    """Return the columns by which rows are found or told apart: a replacement would stand there twice."""
    unique = (one for one in table.constraints if isinstance(one, PrimaryKeyConstraint | UniqueConstraint))
    return {column.name for group in (*table.indexes, *unique) for column in group.columns}
