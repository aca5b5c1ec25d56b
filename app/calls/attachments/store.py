"""What people and CRMs attach to calls: notes, sentiments, dispositions, links to CRM objects.

An attachment hangs on a *subject*: the call's id when the call is known, else the name under which it waits
for its call (`parked`). Both the look-up and the write happen under the account's lock, and so do the
creation of a call and `join_parked`. So there is no moment in which an attachment could be parked beside
the call that it is meant for.

A change to an attached thing is a change of its call: one version, one timeline event. Parked things
change silently; their joining is told. Records of RingCentral never touch these tables.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from itertools import islice
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Row,
    Table,
    and_,
    bindparam,
    delete,
    insert,
    literal,
    select,
    union_all,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from app.calls import accounts, store
from app.calls.ledger import Ledger, open_ledger
from app.calls.model import NO_SESSION, Call
from app.db.lists import is_one_of
from app.db.tables import crm_links, dispositions, notes, sentiments
from app.errors import NotFound, PreconditionFailed, Unprocessable
from app.ids import MAX_OUTSIDE_ID, UNBOUND_ACCOUNT, AccountId, NoteId, is_alias, new_id
from app.values.exact_json import is_same

_OWN_ID = "call_"
_NAMES_PER_QUERY = 1_000
_PLACE_COLUMNS = frozenset({"account_id", "subject", "parked"})


@dataclass(frozen=True, slots=True)
class AttachmentKind:
    """One of the four things that can be attached, and how its rows are told apart."""

    word: str
    """Begins the names of its events."""
    table: Table
    slot: tuple[str, ...]
    """Columns that are unique within a subject; a null in one of them means that the row fills no slot."""
    row_key: tuple[str, ...]
    """The primary key, without the account."""
    created: str
    changed: str
    told: Mapping[str, str]
    """What its events say: field -> column. Never a text that somebody wrote."""


NOTE = AttachmentKind(
    word="note",
    table=notes,
    slot=("source", "external_id"),
    row_key=("note_id",),
    created="note.created",
    changed="note.updated",
    told={"noteId": "note_id", "source": "source"},
)
SENTIMENT = AttachmentKind(
    word="sentiment",
    table=sentiments,
    slot=("source",),
    row_key=("subject", "source"),
    created="sentiment.set",
    changed="sentiment.set",
    told={"source": "source", "label": "label"},
)
DISPOSITION = AttachmentKind(
    word="disposition",
    table=dispositions,
    slot=(),
    row_key=("subject",),
    created="disposition.set",
    changed="disposition.set",
    told={"code": "code"},
)
LINK = AttachmentKind(
    word="link",
    table=crm_links,
    slot=("crm",),
    row_key=("subject", "crm"),
    created="link.set",
    changed="link.set",
    told={"crm": "crm"},
)
KINDS = (NOTE, SENTIMENT, DISPOSITION, LINK)


class Effect(StrEnum):
    """What a write did."""

    CREATED = "created"
    CHANGED = "changed"
    UNCHANGED = "unchanged"


@dataclass(frozen=True, slots=True)
class Written:
    """The row as it is after a write."""

    row: Row[Any]
    effect: Effect


@dataclass(frozen=True, slots=True)
class Precondition:
    """What `If-Match` and `If-None-Match` ask of the present state."""

    versions: frozenset[int] | None = None
    """The present version has to be one of these, whatever its content, or one of `marked`; None: any."""
    marked: frozenset[tuple[int, str]] = frozenset()
    """Versions with the mark of their content (see mark_of)."""
    must_exist: bool = False
    must_be_new: bool = False

    def check(self, row: Row[Any] | None) -> None:
        """Raises PreconditionFailed, with the present version, when the state is another one."""
        if row is None:
            if self.must_exist or self.versions is not None:
                raise PreconditionFailed("There is nothing here yet, so no version can match.")
            return
        if self.must_be_new:
            raise PreconditionFailed("It is already there.", version=row.version)
        if self.versions is None or row.version in self.versions:
            return
        if not self.marked or (row.version, mark_of(row)) not in self.marked:
            raise PreconditionFailed(f"It is at version {row.version} by now.", version=row.version)


ANY_STATE = Precondition()


def mark_of(row: Row[Any]) -> str:
    """Return a digest of what is attached and when, the same while it waits and once it has joined its call.

    A version alone does not name a content for good: a database that was put back gives its number out again.
    """
    told = {name: value for name, value in row._mapping.items() if name not in _PLACE_COLUMNS}  # noqa: SLF001
    return hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()[:12]


@dataclass(frozen=True, slots=True)
class Subject:
    """What an attachment hangs on: a call, or the name under which it waits for one."""

    key: str
    call: Call | None

    @property
    def parked(self) -> bool:
        return self.call is None


@asynccontextmanager
async def open_account(db: AsyncConnection, account_id: AccountId, now: datetime) -> AsyncIterator[Ledger]:
    """Hold the account for writing until the transaction of `db` ends; `~` is what it turned out to be.

    `~` is looked up again under its lock: it may have been bound just now, and what is then still parked
    under it would never be found.
    """
    account_id = await accounts.resolve(db, account_id)
    if account_id == UNBOUND_ACCOUNT:
        await accounts.lock(db, UNBOUND_ACCOUNT, now)
        account_id = await accounts.resolve(db, UNBOUND_ACCOUNT)
    async with open_ledger(db, account_id, now) as ledger:
        yield ledger


_EMPTY_VALUES = frozenset({"undefined", "null", "none", "nil", "nan", "true", "false", "[object object]"})


def check_name(name: str) -> str:
    """Return `name` if it can be the name of a call.

    Raises Unprocessable for what can never name one: nothing, conferences' "0", control characters.
    """
    if not is_alias(name):
        raise Unprocessable(
            'A sessionId of "0" or nothing names no call: RingCentral reports "0" for all conferences. '
            "Use the telephonySessionId."
        )
    if len(name) > MAX_OUTSIDE_ID or not name.isprintable() or name != name.strip():
        raise Unprocessable(
            f"The name of a call has at most {MAX_OUTSIDE_ID} printable characters and no space around it."
        )
    if name.casefold() in _EMPTY_VALUES:
        raise Unprocessable(f"{name!r} is what a program writes for no value; send the call's sessionId.")
    if name.startswith(NO_SESSION):
        raise Unprocessable(f"Name the call by the sessionId alone, without {NO_SESSION!r} before it.")
    return name


async def add_note(ledger: Ledger, name: str, note: Mapping[str, Any]) -> Written:
    """Attach a note to the call that goes by `name`, or park it.

    `note` has the columns `source`, `external_id`, `title`, `text`, `format`, `author`, and `created_at` if
    the author wrote it at another time than now. A note of the same (source, external_id) is the same
    note: it takes on the new content.

    Raises AmbiguousCall, NotFound (an id of ours that does not exist) and Unprocessable.
    """
    subject = await load_subject(ledger, name)
    existing = None
    if note["external_id"] is not None:
        existing = await find_in_slot(ledger, NOTE, subject, note)
    if existing is not None:
        return await _change(ledger, NOTE, subject.call, existing, note)
    values = {"created_at": ledger.now, **note, "note_id": new_id("note", ledger.now)}
    return await _create(ledger, NOTE, subject, values)


async def change_note(
    ledger: Ledger,
    name: str,
    note_id: NoteId,
    content: Mapping[str, Any],
    precondition: Precondition = ANY_STATE,
) -> Written:
    """Change the given columns of a note and no others.

    Raises NotFound and PreconditionFailed.
    """
    row, call = await _load_note(ledger, name, note_id)
    precondition.check(row)
    return await _change(ledger, NOTE, call, row, content)


async def remove_note(
    ledger: Ledger, name: str, note_id: NoteId, precondition: Precondition = ANY_STATE
) -> None:
    """Raises NotFound and PreconditionFailed."""
    row, call = await _load_note(ledger, name, note_id)
    precondition.check(row)
    await _remove(ledger, NOTE, call, row)


async def put(
    ledger: Ledger,
    kind: AttachmentKind,
    name: str,
    slot: Mapping[str, Any],
    content: Mapping[str, Any],
    precondition: Precondition = ANY_STATE,
) -> Written:
    """Fill a slot of the call that goes by `name` (its sentiment of one source, its links in one CRM).

    Raises AmbiguousCall, NotFound (an id of ours that does not exist), Unprocessable, PreconditionFailed.
    """
    subject = await load_subject(ledger, name)
    return await fill(ledger, kind, subject, slot, content, precondition)


async def fill(
    ledger: Ledger,
    kind: AttachmentKind,
    subject: Subject,
    slot: Mapping[str, Any],
    content: Mapping[str, Any],
    precondition: Precondition = ANY_STATE,
) -> Written:
    """Fill a slot of a call that is at hand: whoever holds one must not have it loaded again.

    Raises PreconditionFailed.
    """
    existing = await find_in_slot(ledger, kind, subject, slot)
    precondition.check(existing)
    if existing is None:
        return await _create(ledger, kind, subject, {"created_at": ledger.now, **slot, **content})
    return await _change(ledger, kind, subject.call, existing, content)


async def remove(
    ledger: Ledger,
    kind: AttachmentKind,
    name: str,
    slot: Mapping[str, Any],
    precondition: Precondition = ANY_STATE,
) -> None:
    """Empty a slot.

    Raises AmbiguousCall, NotFound, Unprocessable, PreconditionFailed.
    """
    subject = await load_subject(ledger, name)
    row = await find_in_slot(ledger, kind, subject, slot)
    if row is None:
        raise _nothing(kind, name)
    precondition.check(row)
    await _remove(ledger, kind, subject.call, row)


async def load_subject(ledger: Ledger, name: str) -> Subject:
    """Return what to attach to under this name.

    Raises AmbiguousCall, NotFound (an id of ours that does not exist) and Unprocessable (see check_name).
    """
    call = await store.find_call(ledger.db, ledger.account_id, check_name(name))
    if call is not None:
        return Subject(call.call_id, call)
    if name.startswith(_OWN_ID):
        raise NotFound(f"There is no call {name}.")
    return Subject(name, None)


async def find_all(
    db: AsyncConnection, account_id: AccountId, kind: AttachmentKind, name: str
) -> Sequence[Row[Any]]:
    """Return what of this kind hangs on the call, or waits under the name, oldest first.

    A known call may have nothing; raises NotFound for a name under which nothing waits. Raises
    AmbiguousCall and Unprocessable.
    """
    check_name(name)
    call_id = await store.find_id(db, account_id, name)
    rows = await _find_rows(db, account_id, kind, call_id or name)
    if call_id is None and not rows:
        # Between the two look-ups the call may have come and taken along what was parked.
        call_id = await store.find_id(db, account_id, name)
        if call_id is None:
            raise NotFound(f"No call goes by {name}, and no {kind.word} waits for one.")
        rows = await _find_rows(db, account_id, kind, call_id)
    return rows


async def load_one(
    db: AsyncConnection, account_id: AccountId, kind: AttachmentKind, name: str, slot: Mapping[str, Any]
) -> Row[Any]:
    """Return the row in a slot. Raises AmbiguousCall, NotFound, Unprocessable."""
    for row in await find_all(db, account_id, kind, name):
        if all(getattr(row, column) == slot[column] for column in kind.slot):
            return row
    raise _nothing(kind, name)


async def load_note(db: AsyncConnection, account_id: AccountId, name: str, note_id: NoteId) -> Row[Any]:
    """Return a note of the call, or one of the calls, that go by `name`. Raises NotFound, Unprocessable.

    A name that has come to mean several calls still leads to the note that was written under it.
    """
    check_name(name)
    query = select(notes).where(notes.c.account_id == account_id, notes.c.note_id == note_id)
    row = (await db.execute(query)).first()
    if row is None or not await _goes_by(db, account_id, row.subject, name):
        raise NotFound(f"The call {name} has no note {note_id}.")
    return row


async def join_parked(ledger: Ledger, joins: Mapping[str, Call]) -> int:
    """Give calls what was parked under the names that they have just got; return how many things joined.

    To be called in the transaction that gives calls new names: name -> call, for the whole batch. One
    query when nothing waits. Where a slot is taken on both sides the newest stays, with a version above
    all others', so that no ETag comes to mean two contents. Each joined thing is one change of its call.
    """
    joined = 0
    names = (name for name in joins if is_alias(name))
    while batch := list(islice(names, _NAMES_PER_QUERY)):
        waiting = await _find_waiting(ledger, batch)
        for kind in KINDS:
            if subjects := waiting[kind.word]:
                joined += await _join(ledger, kind, {subject: joins[subject] for subject in subjects})
    return joined


async def bind_account(db: AsyncConnection, account_id: AccountId, now: datetime) -> bool:
    """Say which account `~` is, if nobody has said so yet, and give calls what was parked under `~`.

    The way to call `accounts.bind`; not inside a ledger of the account. Returns whether it was news.
    """
    await accounts.lock(db, UNBOUND_ACCOUNT, now)
    if await accounts.resolve(db, UNBOUND_ACCOUNT) != UNBOUND_ACCOUNT:
        return False
    await accounts.lock(db, account_id, now)
    for kind in KINDS:
        await _make_way(db, kind, account_id)
    await accounts.bind(db, account_id, now)
    async with open_ledger(db, account_id, now) as ledger:
        await join_parked(ledger, await _find_parked_beside_calls(ledger))
    return True


async def _create(
    ledger: Ledger, kind: AttachmentKind, subject: Subject, values: Mapping[str, Any]
) -> Written:
    row = {
        **values,
        "account_id": ledger.account_id,
        "subject": subject.key,
        "parked": subject.parked,
        "version": 1,
        "updated_at": ledger.now,
    }
    written = (await ledger.db.execute(insert(kind.table).values(row).returning(kind.table))).one()
    _tell(ledger, kind, subject.call, kind.created, written)
    return Written(written, Effect.CREATED)


async def _change(
    ledger: Ledger, kind: AttachmentKind, call: Call | None, row: Row[Any], content: Mapping[str, Any]
) -> Written:
    if all(is_same(getattr(row, column), value) for column, value in content.items()):
        return Written(row, Effect.UNCHANGED)
    statement = (
        update(kind.table)
        .where(_is_row(kind, ledger.account_id, row))
        .values(**content, version=row.version + 1, updated_at=ledger.now)
        .returning(kind.table)
    )
    written = (await ledger.db.execute(statement)).one()
    _tell(ledger, kind, call, kind.changed, written)
    return Written(written, Effect.CHANGED)


async def _remove(ledger: Ledger, kind: AttachmentKind, call: Call | None, row: Row[Any]) -> None:
    await ledger.db.execute(delete(kind.table).where(_is_row(kind, ledger.account_id, row)))
    _tell(ledger, kind, call, f"{kind.word}.deleted", row)


def _tell(ledger: Ledger, kind: AttachmentKind, call: Call | None, event: str, row: Row[Any]) -> None:
    if call is not None:
        ledger.change(call, event, **{name: getattr(row, column) for name, column in kind.told.items()})


def _is_row(kind: AttachmentKind, account_id: AccountId, row: Row[Any]) -> ColumnElement[bool]:
    own = (kind.table.c[column] == getattr(row, column) for column in kind.row_key)
    return and_(kind.table.c.account_id == account_id, *own)


def _nothing(kind: AttachmentKind, name: str) -> NotFound:
    return NotFound(f"The call {name} has no such {kind.word}.")


async def find_in_slot(
    ledger: Ledger, kind: AttachmentKind, subject: Subject, slot: Mapping[str, Any]
) -> Row[Any] | None:
    """Return what fills a slot, None when it is empty."""
    table = kind.table
    query = select(table).where(
        table.c.account_id == ledger.account_id,
        table.c.subject == subject.key,
        *(table.c[column] == slot[column] for column in kind.slot),
    )
    return (await ledger.db.execute(query)).first()


async def _find_rows(
    db: AsyncConnection, account_id: AccountId, kind: AttachmentKind, subject: str
) -> Sequence[Row[Any]]:
    table = kind.table
    query = (
        select(table)
        .where(table.c.account_id == account_id, table.c.subject == subject)
        .order_by(table.c.created_at, *(table.c[column] for column in kind.row_key))
    )
    return (await db.execute(query)).all()


async def _load_note(ledger: Ledger, name: str, note_id: NoteId) -> tuple[Row[Any], Call | None]:
    row = await load_note(ledger.db, ledger.account_id, name, note_id)
    if row.parked:
        return row, None
    return row, (await store.load_by_ids(ledger.db, ledger.account_id, [row.subject]))[row.subject]


async def _goes_by(db: AsyncConnection, account_id: AccountId, subject: str, name: str) -> bool:
    return subject == name or subject in await store.find_ids(db, account_id, name)


async def _find_waiting(ledger: Ledger, names: Sequence[str]) -> dict[str, set[str]]:
    """Return under which of the names something is parked, by kind: one query for all four tables."""
    found: dict[str, set[str]] = defaultdict(set)
    parts = (_parked(kind, ledger.account_id, is_one_of(kind.table.c.subject, names)) for kind in KINDS)
    for word, subject in await ledger.db.execute(union_all(*parts)):
        found[word].add(subject)
    return found


def _parked(kind: AttachmentKind, account_id: AccountId, *conditions: ColumnElement[bool]) -> Any:
    table = kind.table
    return select(literal(kind.word), table.c.subject).where(
        table.c.account_id == account_id, table.c.parked.is_(True), *conditions
    )


async def _join(ledger: Ledger, kind: AttachmentKind, joins: Mapping[str, Call]) -> int:
    calls = {call.call_id: call for call in joins.values()}
    table = kind.table
    query = (
        select(table)
        .where(table.c.account_id == ledger.account_id, is_one_of(table.c.subject, [*joins, *calls]))
        .order_by(table.c.updated_at, table.c.created_at)
    )
    rows = (await ledger.db.execute(query)).all()
    contests = [
        rivals for rivals in _by_slot(kind, rows, joins).values() if any(row.parked for row in rivals)
    ]
    await _drop(ledger, kind, [row for rivals in contests for row in rivals[:-1]])
    await _seat(ledger, kind, contests, joins)
    for *losers, winner in contests:
        call = joins[winner.subject] if winner.parked else calls[winner.subject]
        for loser in losers:
            if kind is NOTE and not loser.parked:
                _tell(ledger, kind, call, "note.deleted", loser)
        _tell(ledger, kind, call, f"{kind.word}.joined" if winner.parked else kind.changed, winner)
    return len(contests)


def _by_slot(
    kind: AttachmentKind, rows: Iterable[Row[Any]], joins: Mapping[str, Call]
) -> dict[tuple[Any, ...], list[Row[Any]]]:
    """Sort rows, oldest first, into the slots that they will fill once they have joined."""
    slots: dict[tuple[Any, ...], list[Row[Any]]] = defaultdict(list)
    for row in rows:
        subject = joins[row.subject].call_id if row.parked else row.subject
        slot = tuple(getattr(row, column) for column in kind.slot)
        own = slot if None not in slot else tuple(getattr(row, column) for column in kind.row_key)
        slots[(subject, *own)].append(row)
    return slots


async def _drop(ledger: Ledger, kind: AttachmentKind, rows: Sequence[Row[Any]]) -> None:
    if rows:
        statement = delete(kind.table).where(_is_bound_row(kind, ledger.account_id))
        await ledger.db.execute(statement, [_bound_key(kind, row) for row in rows])


async def _seat(
    ledger: Ledger, kind: AttachmentKind, contests: Sequence[Sequence[Row[Any]]], joins: Mapping[str, Call]
) -> None:
    """Move the winners to their calls."""
    if not contests:
        return
    statement = (
        update(kind.table)
        .where(_is_bound_row(kind, ledger.account_id))
        .values(subject=bindparam("to_subject"), parked=False, version=bindparam("to_version"))
    )
    await ledger.db.execute(
        statement,
        [
            {
                **_bound_key(kind, winner),
                "to_subject": joins[winner.subject].call_id if winner.parked else winner.subject,
                "to_version": max(row.version for row in (*losers, winner)) + bool(losers),
            }
            for *losers, winner in contests
        ],
    )


def _is_bound_row(kind: AttachmentKind, account_id: AccountId) -> ColumnElement[bool]:
    own = (kind.table.c[column] == bindparam(f"key_{column}") for column in kind.row_key)
    return and_(kind.table.c.account_id == account_id, *own)


def _bound_key(kind: AttachmentKind, row: Row[Any]) -> dict[str, Any]:
    return {f"key_{column}": getattr(row, column) for column in kind.row_key}


async def _make_way(db: AsyncConnection, kind: AttachmentKind, account_id: AccountId) -> None:
    """Where `~` and the account have the same slot filled, drop the older of the two."""
    ours, theirs = kind.table.alias("ours"), kind.table.alias("theirs")
    same = [ours.c[column] == theirs.c[column] for column in ("subject", *kind.slot)]
    query = select(
        *(ours.c[column].label(f"key_{column}") for column in kind.row_key),
        *(theirs.c[column].label(f"their_{column}") for column in kind.row_key),
        (ours.c.updated_at >= theirs.c.updated_at).label("ours_is_newer"),
    ).where(ours.c.account_id == UNBOUND_ACCOUNT, theirs.c.account_id == account_id, *same)
    for pair in await db.execute(query):
        loser, side = (account_id, "their") if pair.ours_is_newer else (UNBOUND_ACCOUNT, "key")
        own = (kind.table.c[column] == getattr(pair, f"{side}_{column}") for column in kind.row_key)
        await db.execute(delete(kind.table).where(kind.table.c.account_id == loser, *own))


async def _find_parked_beside_calls(ledger: Ledger) -> dict[str, Call]:
    """Return the names under which something is parked although a call goes by them, with that call.

    That happens only when rows come over from `~`. Of several calls the first one takes it all.
    """
    parts = (_parked(kind, ledger.account_id) for kind in KINDS)
    names = sorted({subject for _, subject in await ledger.db.execute(union_all(*parts))})
    first = {}
    for name in names:
        if found := await store.find_ids(ledger.db, ledger.account_id, name):
            first[name] = min(found)
    calls = await store.load_by_ids(ledger.db, ledger.account_id, set(first.values()))
    return {name: calls[call_id] for name, call_id in first.items()}
