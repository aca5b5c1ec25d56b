"""Reads and writes attachments: notes, sentiments, dispositions, and links to CRM objects.

An attachment belongs to a *subject*: the id of its call, or the name under which it waits for its call
(`parked`). The account's lock covers the look-up and the write; it also covers the creation of a call and
`join_parked`. So nothing can be parked beside the call that it is meant for.

A change of an attachment is a change of its call: one version and one timeline event. Changes of parked
attachments are silent; their joining is an event. RingCentral's records never touch these tables.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, and_, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.calls import store
from app.calls.attachments.idempotency import forget_notes
from app.calls.attachments.preconditions import ANY_STATE, Precondition
from app.calls.attachments.rules.notes import stored_texts
from app.calls.attachments.rules.receipts import is_unchanged
from app.calls.attachments.stored import CONVERSATION_KINDS, NOTE, AttachmentKind, StoredAttachment
from app.calls.attachments.subjects import Subject, check_name, load_subject
from app.calls.ledger import Ledger
from app.calls.lifetime.tombstones import check_not_erased
from app.calls.model import Call
from app.db.lists import is_one_of
from app.db.tables import notes
from app.errors import NotFound
from app.ids import AccountId, NoteId, new_id


class Effect(StrEnum):
    """What a write did."""

    CREATED = "created"
    CHANGED = "changed"
    UNCHANGED = "unchanged"


@dataclass(frozen=True, slots=True)
class WriteResult:
    """The attachment after a write."""

    attachment: StoredAttachment
    effect: Effect

    @property
    def status(self) -> int:
        """The HTTP status of the write: 202 while it waits for its call, 201 if it is new, otherwise 200."""
        if self.attachment.parked:
            return 202
        return 201 if self.effect is Effect.CREATED else 200


async def add_note(ledger: Ledger, name: str, note: Mapping[str, Any]) -> WriteResult:
    """Attach a note to the call with this name, or park it.

    Raises AmbiguousCall, NotFound (an id of ours that does not exist) and Unprocessable.
    """
    return await write_note(ledger, await load_subject(ledger, name), note)


async def write_note(ledger: Ledger, subject: Subject, note: Mapping[str, Any]) -> WriteResult:
    """Attach a note to a call, or park it.

    `note` has the columns `source`, `external_id`, `title`, `author`, those of `stored_texts`, and
    `created_at` if it was not written just now. A note with the same `source` and `external_id` is the same
    note and takes the new content.
    """
    existing = None
    if note["external_id"] is not None:
        existing = await find_in_slot(ledger, NOTE, subject, note)
    if existing is not None:
        return await _change(ledger, subject.call, existing, note)
    values = {"created_at": ledger.now, **note, "note_id": new_id("note", ledger.now)}
    return await _create(ledger, NOTE, subject, values)


async def change_note(
    ledger: Ledger, name: str, note_id: NoteId, content: Mapping[str, Any], precondition: Precondition
) -> WriteResult:
    """Change the given columns of a note, of which `plain_text` follows from the others.

    Raises NotFound, PreconditionFailed and Unprocessable.
    """
    note, call = await _load_note(ledger, name, note_id)
    precondition.check(note)
    if not content.keys().isdisjoint({"text", "format"}):
        text, format_ = (content.get(column, note.columns[column]) for column in ("text", "format"))
        content = {**content, **stored_texts(format_, text)}
    return await _change(ledger, call, note, content)


async def remove_note(ledger: Ledger, name: str, note_id: NoteId, precondition: Precondition) -> None:
    """Raises NotFound, PreconditionFailed and Unprocessable."""
    note, call = await _load_note(ledger, name, note_id)
    precondition.check(note)
    await forget_notes(ledger, [note_id])
    await _remove(ledger, call, note)


async def remove_notes(ledger: Ledger, note_ids: Collection[NoteId]) -> None:
    """Remove these notes, of calls and parked ones; each is a change of its call."""
    if not note_ids:
        return
    mine = notes.c.account_id == ledger.account_id, is_one_of(notes.c.note_id, note_ids)
    rows = (await ledger.db.execute(select(notes).where(*mine).order_by(notes.c.note_id))).mappings().all()
    found = [StoredAttachment.read(NOTE, row) for row in rows]
    subjects = {note.subject for note in found if not note.parked}
    its_calls = await store.load_by_ids(ledger.db, ledger.account_id, subjects)
    await forget_notes(ledger, note_ids)
    for note in found:
        await _remove(ledger, None if note.parked else its_calls.get(note.subject), note)


async def put(
    ledger: Ledger,
    kind: AttachmentKind,
    name: str,
    slot: Mapping[str, Any],
    content: Mapping[str, Any],
    precondition: Precondition = ANY_STATE,
) -> WriteResult:
    """Fill a slot of the call with this name.

    Raises AmbiguousCall, NotFound (an id of ours that does not exist), Unprocessable, PreconditionFailed.
    """
    return await fill(ledger, kind, await load_subject(ledger, name), slot, content, precondition)


async def fill(
    ledger: Ledger,
    kind: AttachmentKind,
    subject: Subject,
    slot: Mapping[str, Any],
    content: Mapping[str, Any],
    precondition: Precondition = ANY_STATE,
) -> WriteResult:
    """Fill a slot of a subject, such as its sentiment of one source or its links in one CRM.

    Load the call of a subject once: a second copy would overwrite it. Raises PreconditionFailed.
    """
    existing = await find_in_slot(ledger, kind, subject, slot)
    precondition.check(existing)
    if existing is None:
        return await _create(ledger, kind, subject, {"created_at": ledger.now, **slot, **content})
    return await _change(ledger, subject.call, existing, content)


async def remove(
    ledger: Ledger,
    kind: AttachmentKind,
    name: str,
    slot: Mapping[str, Any],
    precondition: Precondition = ANY_STATE,
) -> None:
    """Empty a slot. Raises AmbiguousCall, NotFound, Unprocessable, PreconditionFailed."""
    subject = await load_subject(ledger, name)
    found = await find_in_slot(ledger, kind, subject, slot)
    if found is None:
        raise _not_attached(kind, name)
    precondition.check(found)
    await _remove(ledger, subject.call, found)


async def find_all(
    db: AsyncConnection, account_id: AccountId, kind: AttachmentKind, name: str
) -> list[StoredAttachment]:
    """Return the attachments of this kind to the call, or those parked under the name, oldest first.

    A known call may have none. Raises NotFound for an unknown name under which nothing is parked,
    AmbiguousCall and Unprocessable.
    """
    check_name(name)
    call_id = await store.find_id(db, account_id, name)
    found = await load_of_subject(db, account_id, kind, call_id or name)
    if call_id is None and not found:
        # Between the two queries the call may have been created and the parked attachments may have joined
        # it.
        call_id = await store.find_id(db, account_id, name)
        if call_id is None:
            await check_not_erased(db, account_id, name)
            raise NotFound(f"No call is known as {name}, and no {kind.word} waits for one")
        found = await load_of_subject(db, account_id, kind, call_id)
    return found


async def load_one(
    db: AsyncConnection, account_id: AccountId, kind: AttachmentKind, name: str, slot: Mapping[str, Any]
) -> StoredAttachment:
    """Return the attachment in a slot. Raises AmbiguousCall, NotFound, Unprocessable."""
    wanted = tuple(slot[column] for column in kind.slot)
    for attachment in await find_all(db, account_id, kind, name):
        if attachment.slot == wanted:
            return attachment
    raise _not_attached(kind, name)


async def load_note(
    db: AsyncConnection, account_id: AccountId, name: str, note_id: NoteId
) -> StoredAttachment:
    """Return a note of the call, or of one of the calls, with this name. Raises NotFound, Unprocessable.

    A note that was written under a name stays there, even when the name turns out to match several calls.
    """
    check_name(name)
    query = select(notes).where(notes.c.account_id == account_id, notes.c.note_id == note_id)
    row = (await db.execute(query)).mappings().first()
    if row is not None:
        note = StoredAttachment.read(NOTE, row)
        if note.subject == name or note.subject in await store.find_ids(db, account_id, name):
            return note
    await check_not_erased(db, account_id, name)
    raise NotFound(f"The call {name} has no note {note_id}")


async def find_in_slot(
    ledger: Ledger, kind: AttachmentKind, subject: Subject, slot: Mapping[str, Any]
) -> StoredAttachment | None:
    """Return the attachment in a slot; None if it is empty."""
    table = kind.table
    query = select(table).where(
        table.c.account_id == ledger.account_id,
        table.c.subject == subject.key,
        *(table.c[column] == slot[column] for column in kind.slot),
    )
    row = (await ledger.db.execute(query)).mappings().first()
    return None if row is None else StoredAttachment.read(kind, row)


def record_change(ledger: Ledger, call: Call | None, event: str, attachment: StoredAttachment) -> None:
    """Make a change of an attachment a change of its call; nothing while it is parked."""
    if call is not None:
        ledger.change(call, event, **attachment.event_data())
        if attachment.kind in CONVERSATION_KINDS:
            ledger.pass_on(call)


async def _create(
    ledger: Ledger, kind: AttachmentKind, subject: Subject, values: Mapping[str, Any]
) -> WriteResult:
    row = {
        **values,
        "account_id": ledger.account_id,
        "subject": subject.key,
        "parked": subject.call is None,
        "version": 1,
        "updated_at": ledger.now,
    }
    statement = insert(kind.table).values(row).returning(kind.table)
    created = StoredAttachment.read(kind, (await ledger.db.execute(statement)).mappings().one())
    record_change(ledger, subject.call, kind.created, created)
    return WriteResult(created, Effect.CREATED)


async def _change(
    ledger: Ledger, call: Call | None, attachment: StoredAttachment, content: Mapping[str, Any]
) -> WriteResult:
    if is_unchanged(attachment.columns, content):
        return WriteResult(attachment, Effect.UNCHANGED)
    kind = attachment.kind
    statement = (
        update(kind.table)
        .where(_is_row(ledger.account_id, attachment))
        .values(**content, version=attachment.version + 1, updated_at=ledger.now)
        .returning(kind.table)
    )
    changed = StoredAttachment.read(kind, (await ledger.db.execute(statement)).mappings().one())
    record_change(ledger, call, kind.changed, changed)
    return WriteResult(changed, Effect.CHANGED)


async def _remove(ledger: Ledger, call: Call | None, attachment: StoredAttachment) -> None:
    await ledger.db.execute(delete(attachment.kind.table).where(_is_row(ledger.account_id, attachment)))
    record_change(ledger, call, f"{attachment.kind.word}.deleted", attachment)


def _is_row(account_id: AccountId, attachment: StoredAttachment) -> ColumnElement[bool]:
    table = attachment.kind.table
    own = (table.c[column] == value for column, value in attachment.row_key.items())
    return and_(table.c.account_id == account_id, *own)


def _not_attached(kind: AttachmentKind, name: str) -> NotFound:
    return NotFound(f"The call {name} has no such {kind.word}")


async def load_of_subject(
    db: AsyncConnection, account_id: AccountId, kind: AttachmentKind, subject: str
) -> list[StoredAttachment]:
    """Return the attachments of this kind to a call, or under a name, oldest first."""
    table = kind.table
    query = (
        select(table)
        .where(table.c.account_id == account_id, table.c.subject == subject)
        .order_by(table.c.created_at, *(table.c[column] for column in kind.row_key))
    )
    return [StoredAttachment.read(kind, row) for row in (await db.execute(query)).mappings()]


async def _load_note(ledger: Ledger, name: str, note_id: NoteId) -> tuple[StoredAttachment, Call | None]:
    note = await load_note(ledger.db, ledger.account_id, name, note_id)
    if note.parked:
        return note, None
    return note, (await store.load_by_ids(ledger.db, ledger.account_id, [note.subject]))[note.subject]
