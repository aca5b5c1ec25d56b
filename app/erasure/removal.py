"""Erases a batch of calls with all that belongs to them, in one transaction, under the ledger.

The whole call goes, for everybody who took part: see docs/decisions/erasure.md. Files of the archive are
noted in the same transaction and deleted after it.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, Select, Table, and_, delete, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.calls import store
from app.calls.ledger import Ledger
from app.calls.lifetime.legal_holds import find_held, is_held
from app.calls.lifetime.tombstones import recording_name, session_names, write_tombstones
from app.calls.model import Call
from app.calls.related.store import relink
from app.calls.removal.remove import count_calls
from app.db.lists import insert_rows, is_one_of
from app.db.tables import (
    call_aliases,
    deliveries,
    directories,
    dispositions,
    erased_files,
    extensions,
    idempotency_keys,
    insights,
    notes,
    rc_cache,
    recordings,
    voicemails,
)
from app.enrichment.audio.archive_store import archive_path
from app.enrichment.voicemails.archiver import VoicemailArchiver
from app.erasure.model import Counts, Subject, SubjectKind, camel
from app.erasure.selection import TABLES_OF_CALLS, TABLES_OF_SUBJECTS, accounts_of
from app.ids import AccountId, new_id

_MARGIN = timedelta(minutes=1)
"""After the lease of a copy that may be under way: what it saves last is deleted as well."""

_MEDIA: Sequence[tuple[Table, str, str]] = (
    (recordings, "recording_id", ""),
    (voicemails, "voicemail_id", VoicemailArchiver.prefix),
)


async def erase_calls(ledger: Ledger, call_ids: Collection[str], erasure_id: str) -> Counts:
    """Erase these calls except those under legal hold; return how many rows went, by kind.

    Raises nothing for calls that are gone already, so a batch can be repeated.
    """
    db, account_id = ledger.db, ledger.account_id
    held = await find_held(db, account_id, call_ids)
    found = await store.load_by_ids(db, account_id, set(call_ids) - held)
    if not found:
        return Counts()
    names = await _find_names(db, found)
    await _note_files(ledger, found, erasure_id)
    await write_tombstones(db, found.values(), names, erasure_id, ledger.now)
    await count_calls(db, account_id, found)
    counts = await _delete_named(db, found, names)
    for table in TABLES_OF_CALLS:
        mine = and_(table.c.account_id == account_id, is_one_of(table.c.call_id, found))
        counts[camel(table.name)] += (await db.execute(delete(table).where(mine))).rowcount
    for call in found.values():
        ledger.announce_erased(call)
    await ledger.flush()
    for conversation_id in sorted({one.conversation_id for one in found.values() if one.conversation_id}):
        await relink(ledger, conversation_id)
    return +counts


async def _find_names(db: AsyncConnection, found: Mapping[str, Call]) -> dict[str, set[str]]:
    """Return what else RingCentral calls these calls by: aliases, and recordings that no other call names."""
    account_id = next(iter(found.values())).account_id
    names: dict[str, set[str]] = {call_id: set() for call_id in found}
    mine = (call_aliases.c.account_id == account_id) & is_one_of(call_aliases.c.call_id, found)
    for row in await db.execute(select(call_aliases).where(mine)):
        names[row.call_id].add(row.alias)
    for row in await _rows_of_media(db, recordings, "recording_id", account_id, found):
        if not row.is_shared:
            names[row.call_id].add(recording_name(row.media_id))
    return names


async def _rows_of_media(
    db: AsyncConnection, table: Table, column: str, account_id: str, found: Collection[str]
) -> Sequence[Row[Any]]:
    """Return the audio that calls name; `is_shared`: a call that stays names it, too."""
    other = table.alias("other")
    shared = select(other.c.call_id).where(
        other.c.account_id == table.c.account_id,
        other.c[column] == table.c[column],
        ~is_one_of(other.c.call_id, found),
    )
    columns = (table.c[name] for name in ("call_id", "archive_path", "content_type", "due_at", "state"))
    mine = and_(table.c.account_id == account_id, is_one_of(table.c.call_id, found))
    shown = (table.c[column].label("media_id"), shared.exists().label("is_shared"))
    query: Select[Any] = select(*columns, *shown).where(mine)
    rows: Sequence[Row[Any]] = (await db.execute(query)).all()
    return rows


async def _note_files(ledger: Ledger, found: Mapping[str, Call], erasure_id: str) -> None:
    """Note the files to delete. Audio that a call that stays names as well is kept with that call."""
    rows: dict[str, dict[str, Any]] = {}
    for table, column, prefix in _MEDIA:
        for row in await _rows_of_media(ledger.db, table, column, ledger.account_id, found):
            if row.is_shared:
                continue
            call, media_id = found[row.call_id], prefix + row.media_id
            # A copy may be under way, or a crash may have come between the file and its row.
            likely = archive_path(call.account_id, media_id, call.started_at, row.content_type)
            for path in {likely, row.archive_path or likely}:
                rows[path] = {
                    "account_id": ledger.account_id,
                    "path": path,
                    "erasure_id": erasure_id,
                    "media_id": media_id,
                    "due_at": _due_at(row, ledger.now),
                }
    await insert_rows(ledger.db, erased_files, list(rows.values()), or_ignore=True)


def _due_at(row: Row[Any], now: datetime) -> datetime:
    is_copied_now = row.archive_path is None and row.state == "ready" and row.due_at is not None
    return row.due_at + _MARGIN if is_copied_now and row.due_at > now else now


async def _delete_named(
    db: AsyncConnection, found: Mapping[str, Call], names: Mapping[str, Collection[str]]
) -> Counts:
    """Delete what is stored under the names of calls: attachments, parked insights, deliveries, responses."""
    account_id = next(iter(found.values())).account_id
    counts: Counts = Counts()
    sessions = {
        name
        for call in found.values()
        for name in (*session_names(call.telephony_session_id, call.session_id), *names[call.call_id])
        if not name.startswith(recording_name(""))
    }
    recorded = [
        name.removeprefix(recording_name(""))
        for some in names.values()
        for name in some
        if name.startswith(recording_name(""))
    ]
    for table in TABLES_OF_SUBJECTS:
        # What is parked under a name that another call has as well joined that one long ago.
        mine = and_(table.c.account_id == account_id, is_one_of(table.c.subject, {*found, *sessions}))
        counts[camel(table.name)] += (await db.execute(delete(table).where(mine))).rowcount
    waits = and_(
        insights.c.account_id == account_id,
        insights.c.call_id.is_(None),
        or_(
            is_one_of(insights.c.telephony_session_id, sessions), is_one_of(insights.c.recording_id, recorded)
        ),
    )
    counts["insights"] += (await db.execute(delete(insights).where(waits))).rowcount
    for one in await accounts_of(db, account_id):
        told = and_(
            deliveries.c.account_id == one,
            is_one_of(deliveries.c.telephony_session_id, sessions),
            # One that waits may tell of other calls, too: folding deletes it.
            deliveries.c.folded_at.is_not(None),
        )
        counts["deliveries"] += (await db.execute(delete(deliveries).where(told))).rowcount
        counts["idempotencyKeys"] += await _delete_responses(db, one, found, sessions)
    return counts


async def _delete_responses(
    db: AsyncConnection, account_id: str, found: Iterable[str], sessions: Iterable[str]
) -> int:
    stored = idempotency_keys.c
    shown = or_(
        is_one_of(stored.body["callId"].as_string(), found),
        is_one_of(stored.body["sessionRef"].as_string(), sessions),
    )
    mine = and_(stored.account_id == account_id, shown)
    return (await db.execute(delete(idempotency_keys).where(mine))).rowcount


async def erase_around(ledger: Ledger, subject: Subject) -> Counts:
    """Delete what a subject has beside calls, and what can be made again. Can be repeated."""
    db, counts = ledger.db, Counts()
    for one in await accounts_of(db, ledger.account_id):
        cached = rc_cache.c.account_id == one
        counts["rcCache"] += (await db.execute(delete(rc_cache).where(cached))).rowcount
    if subject.kind is not SubjectKind.EXTENSION:
        return +counts
    mine = and_(extensions.c.account_id == ledger.account_id, extensions.c.extension_id == subject.value)
    counts["extensions"] = (await db.execute(delete(extensions).where(mine))).rowcount
    if counts["extensions"]:
        await renew_directory(db, ledger.account_id, ledger.now)
    for table in (notes, dispositions):
        # Of calls in which the extension took no part.
        wrote = and_(
            table.c.account_id == ledger.account_id,
            table.c.author["id"].as_string() == subject.value,
            ~is_held(table.c.account_id, table.c.subject),
        )
        counts["mentions"] += (await db.execute(update(table).where(wrote).values(author=None))).rowcount
    return +counts


async def renew_directory(db: AsyncConnection, account_id: AccountId, now: datetime) -> None:
    """Make the stored directory a new version, so that no process keeps what was deleted from it.

    It is read anew: who is still in RingCentral's directory appears again.
    """
    mine = directories.c.account_id == account_id
    changes = {"version": new_id("dir", now), "etags": None}
    await db.execute(update(directories).where(mine).values(changes))
