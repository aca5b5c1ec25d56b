"""Opens the audio of a recording for a reader: from the archive if it is stored there, or else from
RingCentral.

RingCentral is also asked for a recording that no call names: readers of the Call Log API may find one.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any

import structlog

from app.accounts.connections import Connection, Connections
from app.calls.ledger import open_ledger
from app.calls.media import recordings
from app.clock import Clock
from app.db.engine import Database
from app.enrichment.audio.archive_store import Archive
from app.enrichment.audio.archived_audio import PlayableAudio, open_archived
from app.enrichment.audio.audio_stream import open_audio_stream
from app.enrichment.audio.byte_ranges import ByteRange, is_same_version
from app.enrichment.recordings.recording_access import (
    READ_RECORDINGS,
    load_recording_connection,
    note_missing_permission,
    recording_source,
    was_refused,
)
from app.enrichment.recordings.recording_changes import metadata_columns, take_not_found
from app.errors import (
    NoCredentials,
    NotFound,
    PermissionMissing,
    RequestRefused,
    RingCentralError,
)
from app.ids import AccountId
from app.ringcentral.models import Recording
from app.ringcentral.ports import Priority
from app.values import widths

_GONE = frozenset({recordings.State.EXPIRED, recordings.State.NONE})

log = structlog.get_logger(__name__)


class Playback:
    """Opens recordings for the readers of one process. `patience`: seconds to wait for the rate limit."""

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

    async def load(self, account_id: AccountId, recording_id: str) -> list[recordings.RecordingRow]:
        """Return the stored rows of a recording, one per call that names it."""
        async with self._database.read() as db:
            return await recordings.load(db, account_id, recording_id)

    async def describe(self, account_id: AccountId, recording_id: str) -> list[recordings.RecordingRow]:
        """Return the stored rows of a recording, with type and length if RingCentral gives them now."""
        rows = await self.load(account_id, recording_id)
        if not rows or any(
            row.state != recordings.State.READY or row.content_type is not None for row in rows
        ):
            return rows
        now = self._clock.now()
        try:
            connection = await self._connection(account_id, rows)
            if not connection.access.may(READ_RECORDINGS, now):
                return rows
            found = await self._request(connection, recording_id, Priority.GLANCE, now)
        except (RingCentralError, NoCredentials) as error:
            log.info("a recording is described by its record only", why=str(error))
            return rows
        if found is None:
            await self._note_not_found(account_id, recording_id, rows)
        else:
            await self._note(account_id, recording_id, **metadata_columns(found))
        return await self.load(account_id, recording_id)

    async def fetch(
        self, account_id: AccountId, recording_id: str, rows: Sequence[recordings.RecordingRow]
    ) -> Recording:
        """Request the metadata of a recording now. Raises NotFound when it is not ready or gone."""
        connection = await self._connection(account_id, rows)
        found = await self._request(connection, recording_id, Priority.READER, self._deadline())
        if found is None:
            raise _not_found(recording_id, rows)
        return found

    async def _request(
        self, connection: Connection, recording_id: str, priority: Priority, deadline: datetime
    ) -> Recording | None:
        try:
            return await connection.client.fetch_recording(recording_id, priority=priority, deadline=deadline)
        except PermissionMissing as error:
            await note_missing_permission(self._connections, connection, error)
            raise

    @asynccontextmanager
    async def open(
        self,
        account_id: AccountId,
        recording_id: str,
        asked: ByteRange | None,
        if_range: str | None = None,
    ) -> AsyncIterator[PlayableAudio]:
        """Open a recording or a part of it; the whole if `if_range` names another version than the current
        one.

        RingCentral gives no versions, so only the archive can answer `if_range` with a part. Raises NotFound,
        OutOfRangeError, and what RingCentral's client raises.
        """
        rows = await self.load(account_id, recording_id)
        asked_live = asked if is_same_version(if_range, None) else None
        archived = await open_archived(self._archive, rows, asked, if_range)
        async with archived or self._from_ringcentral(account_id, recording_id, rows, asked_live) as audio:
            yield audio

    @asynccontextmanager
    async def _from_ringcentral(
        self,
        account_id: AccountId,
        recording_id: str,
        rows: Sequence[recordings.RecordingRow],
        asked: ByteRange | None,
    ) -> AsyncIterator[PlayableAudio]:
        if rows and all(row.state in _GONE and not was_refused(row) for row in rows):
            raise _not_found(recording_id, rows)
        connection = await self._connection(account_id, rows)
        content_uri, content_type = await self._address(account_id, recording_id, rows)
        try:
            source = recording_source(connection, content_uri)
            async with open_audio_stream(source, asked, deadline=self._deadline()) as stream:
                if any(row.state in recordings.OPEN for row in rows):
                    await self._request_soon(account_id, recording_id)
                elif rows and stream.content_type and all(row.content_type is None for row in rows):
                    await self._note(
                        account_id, recording_id, content_type=stream.content_type[: widths.CONTENT_TYPE]
                    )
                yield PlayableAudio(stream, stream.content_type or content_type)
        except PermissionMissing as error:
            await note_missing_permission(self._connections, connection, error)
            raise
        except RequestRefused as refusal:
            if refusal.status != 404:
                raise
            state = await self._note_not_found(account_id, recording_id, rows)
            raise _not_found(recording_id, rows, state) from refusal

    async def _address(
        self, account_id: AccountId, recording_id: str, rows: Sequence[recordings.RecordingRow]
    ) -> tuple[str, str | None]:
        """Return RingCentral's address of the audio, and its type if it is known."""
        for row in rows:
            if row.content_uri is not None:
                return row.content_uri, row.content_type
        found = await self.fetch(account_id, recording_id, rows)
        if found.content_uri is None:
            raise NotFound("RingCentral does not give the address of this recording")
        return found.content_uri, found.content_type

    async def _connection(self, account_id: AccountId, rows: Sequence[recordings.RecordingRow]) -> Connection:
        now = self._clock.now()
        return await load_recording_connection(self._database, self._connections, account_id, rows, now)

    def _deadline(self) -> datetime:
        return self._clock.now() + self._patience

    async def _request_soon(self, account_id: AccountId, recording_id: str) -> None:
        """Make a recording due at once: a reader has just found its audio."""
        async with self._database.write() as db:
            now = self._clock.now()
            await recordings.change(db, account_id, recording_id, states=recordings.OPEN, due_at=now)

    async def _note(self, account_id: AccountId, recording_id: str, **values: Any) -> None:
        async with self._database.write() as db:
            await recordings.change(db, account_id, recording_id, **values, updated_at=self._clock.now())

    async def _note_not_found(
        self, account_id: AccountId, recording_id: str, rows: Sequence[recordings.RecordingRow]
    ) -> recordings.State | None:
        if not any(row.state == recordings.State.READY and row.archive_path is None for row in rows):
            return None
        now = self._clock.now()
        async with self._database.write() as db, open_ledger(db, account_id, now) as ledger:
            return await take_not_found(ledger, recording_id, rows)


def _not_found(
    recording_id: str, rows: Sequence[recordings.RecordingRow], state: recordings.State | None = None
) -> NotFound:
    if not rows:
        return NotFound(f"RingCentral does not have the recording {recording_id}, or not yet")
    state = state or recordings.best_of(rows).state
    why = {
        recordings.State.EXPIRED: "is not available any more, or never was",
        recordings.State.NONE: "was too short to be stored",
        recordings.State.READY: "is not available any more",
    }.get(state, "is not ready yet")
    return NotFound(f"Recording {recording_id} {why}", state=state.value)
