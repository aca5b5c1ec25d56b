"""Copies ready recordings into the archive."""

from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncConnection

from app import metrics
from app.accounts.connections import Connection
from app.calls.ledger import Ledger
from app.calls.media import recordings
from app.calls.media.recordings import RecordingRow
from app.enrichment.audio.archiver import AudioArchiver
from app.enrichment.audio.audio_stream import AudioSource
from app.enrichment.recordings.recording_access import (
    find_recording_connection,
    note_missing_permission,
    recording_source,
)
from app.enrichment.recordings.recording_changes import take_not_found
from app.errors import PermissionMissing
from app.ids import AccountId


class Archiver(AudioArchiver[RecordingRow]):
    """The background work that archives recordings."""

    kind = "recording"
    loop_name = "archive"
    table = recordings.TABLE
    outcomes = metrics.RECORDINGS

    async def load(self, db: AsyncConnection, account_id: AccountId, media_id: str) -> list[RecordingRow]:
        return await recordings.load(db, account_id, media_id)

    async def find_connection(self, account_id: AccountId, rows: Sequence[RecordingRow]) -> Connection | None:
        now = self._clock.now()
        return await find_recording_connection(self._database, self._connections, account_id, rows, now)

    def source(self, connection: Connection, content_uri: str) -> AudioSource:
        return recording_source(connection, content_uri)

    async def note_refusal(self, connection: Connection, error: PermissionMissing) -> bool:
        return await note_missing_permission(self._connections, connection, error)

    async def note_not_found(self, ledger: Ledger, media_id: str, rows: Sequence[RecordingRow]) -> None:
        await take_not_found(ledger, media_id, rows)
