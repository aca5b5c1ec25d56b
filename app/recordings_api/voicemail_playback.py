"""Opens the audio of a voicemail for a reader: from the archive if it is stored there, or else from
RingCentral.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

from app.accounts.connections import Connection, Connections
from app.accounts.selection import load_connection
from app.calls.ledger import open_ledger
from app.calls.media import voicemails
from app.calls.media.voicemails import VoicemailRow, VoicemailState
from app.clock import Clock
from app.db.engine import Database
from app.enrichment.audio.archive_store import Archive
from app.enrichment.audio.archived_audio import PlayableAudio, open_archived
from app.enrichment.audio.audio_stream import open_audio_stream
from app.enrichment.audio.byte_ranges import ByteRange, is_same_version
from app.enrichment.voicemails import voicemail_access as access
from app.enrichment.voicemails.voicemail_changes import change_state, take_not_found
from app.errors import NotFound, RequestRefused, RingCentralError
from app.ids import AccountId, ExtensionId
from app.ringcentral.ports import Priority
from app.ringcentral.protocol.voicemails import content_address

_GONE = frozenset({VoicemailState.EXPIRED, VoicemailState.NONE})
_ASK_AGAIN_AFTER = timedelta(hours=1)


class VoicemailPlayback:
    """Opens voicemails for the readers of one process. `patience`: seconds to wait for the rate limit."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        connections: Connections,
        archive: Archive | None,
        *,
        patience: float,
    ) -> None:
        self._database = database
        self._clock = clock
        self._connections = connections
        self._archive = archive
        self._patience = timedelta(seconds=patience)

    async def load(self, account_id: AccountId, voicemail_id: str) -> list[VoicemailRow]:
        """Return the stored rows of a voicemail, one per call that names it. Raises NotFound without any."""
        async with self._database.read() as db:
            rows = await voicemails.load(db, account_id, voicemail_id)
        if not rows:
            raise NotFound(f"No call names the voicemail {voicemail_id}")
        return rows

    async def describe(self, account_id: AccountId, voicemail_id: str) -> list[VoicemailRow]:
        """Return the stored rows. One that nobody might read is requested again, at most once an hour: the
        permission may have been granted since."""
        rows = await self.load(account_id, voicemail_id)
        now = self._clock.now()
        refused = [row for row in rows if row.state is VoicemailState.NO_PERMISSION]
        if not refused or any(now - row.updated_at < _ASK_AGAIN_AFTER for row in refused):
            return rows
        if not await self._readable_by(account_id, rows):
            return rows
        await self._request_soon(account_id, voicemail_id)
        return await self.load(account_id, voicemail_id)

    @asynccontextmanager
    async def open(
        self,
        account_id: AccountId,
        voicemail_id: str,
        asked: ByteRange | None,
        if_range: str | None = None,
    ) -> AsyncIterator[PlayableAudio]:
        """Open a voicemail or a part of it, as `Playback.open` does a recording."""
        rows = await self.load(account_id, voicemail_id)
        asked_live = asked if is_same_version(if_range, None) else None
        archived = await open_archived(self._archive, rows, asked, if_range)
        async with archived or self._from_ringcentral(account_id, voicemail_id, rows, asked_live) as audio:
            yield audio

    @asynccontextmanager
    async def _from_ringcentral(
        self,
        account_id: AccountId,
        voicemail_id: str,
        rows: Sequence[VoicemailRow],
        asked: ByteRange | None,
    ) -> AsyncIterator[PlayableAudio]:
        if all(row.state in _GONE for row in rows):
            raise _not_found(voicemail_id, rows)
        connection = await self._connection(account_id, rows)
        row = voicemails.best_of(rows)
        try:
            address = row.content_uri or await self._fetch_address(connection, row)
            source = access.voicemail_source(connection, address)
            async with open_audio_stream(source, asked, deadline=self._deadline()) as stream:
                if any(one.state in (VoicemailState.PENDING, VoicemailState.NO_PERMISSION) for one in rows):
                    await self._request_soon(account_id, voicemail_id)
                yield PlayableAudio(stream, stream.content_type or row.content_type)
        except RequestRefused as refusal:
            if refusal.status == 404:
                rows = await self._note_not_found(account_id, voicemail_id)
                raise _not_found(voicemail_id, rows) from refusal
            await self._note_refusal(connection, refusal)
            raise
        except RingCentralError as error:
            await self._note_refusal(connection, error)
            raise

    async def _note_refusal(self, connection: Connection, error: RingCentralError) -> None:
        if access.is_refusal(error):
            await access.note_refusal(self._connections, connection, error)

    async def _connection(self, account_id: AccountId, rows: Sequence[VoicemailRow]) -> Connection:
        """Return the connection most likely to be allowed. Raises NoCredentials, PermissionMissing."""
        found = await self._readable_by(account_id, rows)
        if found:
            return found[0]
        mailboxes = {row.extension_id for row in rows}
        now = self._clock.now()
        return await load_connection(self._connections, account_id, mailboxes, access.READ_MESSAGES, now)

    async def _readable_by(self, account_id: AccountId, rows: Sequence[VoicemailRow]) -> list[Connection]:
        mailboxes = {row.extension_id for row in rows}
        fitting = await access.find_mailbox_connections(self._connections, account_id, mailboxes)
        now = self._clock.now()
        return [one for one in fitting if one.access.problem is None and access.may_read(one, mailboxes, now)]

    async def _fetch_address(self, connection: Connection, row: VoicemailRow) -> str:
        """Request where the audio is. Raises NotFound while it is not there."""
        mailbox = ExtensionId(row.extension_id)
        found = await connection.client.fetch_voicemail(
            mailbox, row.voicemail_id, priority=Priority.READER, deadline=self._deadline()
        )
        if found is None or found.audio is None:
            rows = await self._note_not_found(AccountId(row.account_id), row.voicemail_id)
            raise _not_found(row.voicemail_id, rows)
        return content_address(mailbox, row.voicemail_id, found.audio)

    def _deadline(self) -> datetime:
        return self._clock.now() + self._patience

    async def _request_soon(self, account_id: AccountId, voicemail_id: str) -> None:
        """Make a voicemail due at once: a reader has just found its audio, or its mailbox may be readable."""
        now = self._clock.now()
        async with self._database.write() as db, open_ledger(db, account_id, now) as ledger:
            rows = await voicemails.load(db, account_id, voicemail_id)
            refused = [row for row in rows if row.state is VoicemailState.NO_PERMISSION]
            await change_state(
                ledger, voicemail_id, refused, VoicemailState.PENDING, None, due_at=now, attempts=0
            )
            await voicemails.change(db, account_id, voicemail_id, states=voicemails.OPEN, due_at=now)

    async def _note_not_found(self, account_id: AccountId, voicemail_id: str) -> list[VoicemailRow]:
        """Note that RingCentral does not have a voicemail that was ready; return its rows."""
        now = self._clock.now()
        async with self._database.write() as db, open_ledger(db, account_id, now) as ledger:
            rows = await voicemails.load(db, account_id, voicemail_id)
            ready = [row for row in rows if row.state is VoicemailState.READY and row.archive_path is None]
            await take_not_found(ledger, voicemail_id, ready)
        return await self.load(account_id, voicemail_id)


def _not_found(voicemail_id: str, rows: Sequence[VoicemailRow]) -> NotFound:
    state = voicemails.best_of(rows).state
    why = "is not available any more, or never was" if state in _GONE else "is not ready yet"
    return NotFound(f"Voicemail {voicemail_id} {why}", state=state.value)
