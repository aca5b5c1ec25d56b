"""Copies ready voicemails into the archive."""

from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncConnection

from app import metrics
from app.accounts.connections import Connection
from app.calls.ledger import Ledger
from app.calls.media import voicemails
from app.calls.media.voicemails import VoicemailRow
from app.enrichment.audio.archiver import AudioArchiver
from app.enrichment.audio.audio_stream import AudioSource
from app.enrichment.voicemails.voicemail_access import (
    find_mailbox_connections,
    may_read,
    note_refusal,
    voicemail_source,
)
from app.enrichment.voicemails.voicemail_changes import take_not_found
from app.errors import PermissionMissing
from app.ids import AccountId


class VoicemailArchiver(AudioArchiver[VoicemailRow]):
    """The background work that archives voicemails."""

    kind = "voicemail"
    prefix = "voicemail-"
    loop_name = "voicemail archive"
    table = voicemails.TABLE
    outcomes = metrics.VOICEMAILS

    async def load(self, db: AsyncConnection, account_id: AccountId, media_id: str) -> list[VoicemailRow]:
        return await voicemails.load(db, account_id, media_id)

    async def find_connection(self, account_id: AccountId, rows: Sequence[VoicemailRow]) -> Connection | None:
        extension_ids = {row.extension_id for row in rows}
        fitting = await find_mailbox_connections(self._connections, account_id, extension_ids)
        now = self._clock.now()
        usable = [one for one in fitting if one.access.problem is None]
        usable.sort(key=lambda one: not may_read(one, extension_ids, now))
        return next(iter(usable), None)

    def source(self, connection: Connection, content_uri: str) -> AudioSource:
        return voicemail_source(connection, content_uri)

    async def note_refusal(self, connection: Connection, error: PermissionMissing) -> bool:
        return await note_refusal(self._connections, connection, error)

    async def note_not_found(self, ledger: Ledger, media_id: str, rows: Sequence[VoicemailRow]) -> None:
        await take_not_found(ledger, media_id, rows)
