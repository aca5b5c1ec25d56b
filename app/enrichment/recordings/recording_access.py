"""Which connection can access a recording, and what is noted when none can."""

from collections.abc import Sequence
from datetime import datetime
from functools import partial

import structlog

from app.accounts.connections import Connection, Connections
from app.accounts.selection import find_connection, load_connection
from app.calls import store
from app.calls.media.recordings import RecordingRow
from app.db.engine import Database
from app.enrichment.audio.audio_stream import AudioSource
from app.enrichment.records.reasons import MissingReason
from app.errors import PermissionMissing
from app.ids import AccountId

READ_RECORDINGS = "ReadCallRecording"
_SCOPE_MISSING = "CMN-401"
_OLD_NO_PERMISSION = "no right"
"""How rows of earlier versions say `no-permission`."""

log = structlog.get_logger(__name__)


async def find_recording_connection(
    database: Database,
    connections: Connections,
    account_id: AccountId,
    rows: Sequence[RecordingRow],
    now: datetime,
) -> Connection | None:
    """Return a working connection that sees the calls of these rows, preferably one that can access
    recordings."""
    async with database.read() as db:
        extension_ids = await store.extensions_of(db, account_id, [row.call_id for row in rows])
    return await find_connection(connections, account_id, extension_ids, READ_RECORDINGS, now)


async def load_recording_connection(
    database: Database,
    connections: Connections,
    account_id: AccountId,
    rows: Sequence[RecordingRow],
    now: datetime,
) -> Connection:
    """Return such a connection. Raises NoCredentials or PermissionMissing, as `load_connection` does."""
    async with database.read() as db:
        extension_ids = await store.extensions_of(db, account_id, [row.call_id for row in rows])
    return await load_connection(connections, account_id, extension_ids, READ_RECORDINGS, now)


def recording_source(connection: Connection, content_uri: str) -> AudioSource:
    """Return how the connection opens the recording at RingCentral's address."""
    return partial(connection.client.stream_recording, content_uri)


async def note_missing_permission(
    connections: Connections, connection: Connection, error: PermissionMissing
) -> bool:
    """Note that a connection cannot access recordings, so that operators see it and it is not used again.

    Return whether that is so: a user without company permissions may be refused a colleague's recording and
    still access his own.
    """
    log.warning("recordings are refused", code=error.code, why=error.detail, name=connection.name)
    is_general = error.code == _SCOPE_MISSING or connection.is_company_wide
    if error.permission == READ_RECORDINGS and is_general:
        await connections.note(connection, error)
        return True
    return False


def was_refused(row: RecordingRow) -> bool:
    """Whether a recording was given up for a missing permission, which may have been granted since."""
    problem = row.problem or ""
    return problem in (MissingReason.NO_PERMISSION, _OLD_NO_PERMISSION) or problem.startswith("CMN-4")
