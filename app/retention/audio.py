"""Removes archived audio from the archive. The call shows from then on that it is `removed`.

Whether a call still needs its copy is decided under the account's lock, in the transaction that changes the
rows: a legal hold that is placed meanwhile keeps the file, or finds that it was removed before.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, FromClause, Select, Table, and_, or_, select

from app.calls.ledger import Ledger, open_ledger
from app.calls.media import recordings, voicemails
from app.calls.media.recordings import State
from app.calls.media.rows import MediaRow
from app.calls.media.voicemails import VoicemailState
from app.calls.removal.conditions import may_be_removed
from app.clock import Clock
from app.db import tables
from app.db.engine import Database
from app.db.tables import calls
from app.enrichment.audio.archive_store import Archive
from app.enrichment.recordings import recording_changes
from app.enrichment.records.reasons import MissingReason
from app.enrichment.voicemails import voicemail_changes
from app.ids import AccountId
from app.retention.batches import count_removed
from app.retention.files import FileDeletion, note_files
from app.retention.rules import Kind, RetentionRules

AT_ONCE = 20
_NOT_ARCHIVED = {"archive_path": None, "archive_bytes": None, "archive_sha256": None, "archived_at": None}


class AudioRemover:
    """Removes old recordings and voicemails from the archive."""

    kind = Kind.RECORDINGS

    def __init__(
        self, database: Database, clock: Clock, rules: RetentionRules, archive: Archive | None
    ) -> None:
        self._database = database
        self._clock = clock
        self._kept = rules.recordings
        self._files = None if archive is None else FileDeletion(database, clock, archive)

    async def remove(self) -> bool:
        if self._files is None:
            return False
        await self._files.run()
        if self._kept is None:
            return False
        before = self._clock.now() - self._kept
        has_more = False
        for table, media_id in ((tables.recordings, "recording_id"), (tables.voicemails, "voicemail_id")):
            old = _old(table, media_id, before)
            async with self._database.read() as db:
                found = [(row[0], row[1]) for row in await db.execute(old.limit(AT_ONCE))]
            for account_id, one in found:
                chosen = old.where(table.c.account_id == account_id, table.c[media_id] == one)
                await self._remove(table, AccountId(account_id), one, chosen)
            has_more = has_more or len(found) == AT_ONCE
        await self._files.run()
        return has_more

    async def _remove(self, table: Table, account_id: AccountId, media_id: str, chosen: Select[Any]) -> None:
        """Remove one recording or voicemail. `chosen`: the query that finds it while it may be removed."""
        is_recording = table is tables.recordings
        load: Any = recordings.load if is_recording else voicemails.load
        change = _expire_recording if is_recording else _expire_voicemail
        rows: Sequence[MediaRow] = ()
        now = self._clock.now()
        async with self._database.write() as db, open_ledger(db, account_id, now) as ledger:
            # Searched again under the lock: a hold may have been placed since.
            if (await db.execute(chosen)).first() is not None:
                rows = [row for row in await load(db, account_id, media_id) if row.archive_path is not None]
                await change(ledger, media_id, rows)
                await note_files(ledger, {str(row.archive_path) for row in rows})
        count_removed(self.kind, len(rows))


def _old(table: Table, media_id: str, before: datetime) -> Select[Any]:
    """Return the query for account and id of audio of which no call that names it needs the copy any more."""
    other = table.alias("other")
    of_call = and_(calls.c.account_id == other.c.account_id, calls.c.call_id == other.c.call_id)
    is_kept = (
        select(other.c.call_id)
        .join(calls, of_call)
        .where(
            other.c.account_id == table.c.account_id,
            other.c[media_id] == table.c[media_id],
            or_(~may_be_removed(), other.c.archived_at >= before, _is_being_archived(other)),
        )
        .correlate(table)
        .exists()
    )
    is_old = table.c.archived_at < before, table.c.archive_path.is_not(None)
    return select(table.c.account_id, table.c[media_id]).where(*is_old, ~is_kept).distinct()


def _is_being_archived(other: FromClause) -> ColumnElement[bool]:
    """Whether a call is about to share a copy that another has."""
    return and_(other.c.due_at.is_not(None), other.c.state == State.READY.value)


async def _expire_recording(ledger: Ledger, media_id: str, rows: Any) -> None:
    await recording_changes.change_state(
        ledger, media_id, rows, State.EXPIRED, MissingReason.REMOVED, **_NOT_ARCHIVED
    )


async def _expire_voicemail(ledger: Ledger, media_id: str, rows: Any) -> None:
    await voicemail_changes.change_state(
        ledger, media_id, rows, VoicemailState.EXPIRED, MissingReason.REMOVED, **_NOT_ARCHIVED
    )
