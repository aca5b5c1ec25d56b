"""Which connections can read a mailbox, and what is noted when one cannot.

Only the mailbox's own user and administrators can read its messages (API description 1.0.46, "Message
store").
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from functools import partial

import structlog

from app.accounts.connections import Connection, Connections
from app.accounts.selection import find_connections
from app.enrichment.audio.audio_stream import AudioSource
from app.errors import PermissionMissing, RequestRefused, RingCentralError
from app.ids import AccountId

READ_MESSAGES = "ReadMessages"
SCOPE_MISSING = "CMN-401"

log = structlog.get_logger(__name__)


async def find_mailbox_connections(
    connections: Connections, account_id: AccountId, extension_ids: Collection[str]
) -> Sequence[Connection]:
    """Return the connections that may be able to read these mailboxes, those with problems included.

    The owner's come first: an administrator's role may exclude the messages of others.
    """
    fitting = await find_connections(connections, account_id, extension_ids)
    return sorted(fitting, key=lambda one: not is_owner(one, extension_ids))


def is_owner(connection: Connection, extension_ids: Collection[str]) -> bool:
    """Whether one of the mailboxes is the connection's own."""
    return connection.extension_id in extension_ids or connection.access.owner_id in extension_ids


def may_read(connection: Connection, extension_ids: Collection[str], now: datetime) -> bool:
    """Whether a request makes sense.

    What is noted of an administrator who was refused the messages of others does not concern his own.
    """
    if connection.access.may(READ_MESSAGES, now):
        return True
    code = connection.access.lacks[READ_MESSAGES]["code"]
    return code != SCOPE_MISSING and is_owner(connection, extension_ids)


def is_refusal(error: RingCentralError) -> bool:
    """Whether RingCentral refuses a mailbox to this connection: another one may be allowed."""
    is_forbidden = isinstance(error, RequestRefused) and error.status == 403
    return isinstance(error, PermissionMissing) or is_forbidden


async def note_refusal(connections: Connections, connection: Connection, error: RingCentralError) -> bool:
    """Note that a connection cannot read messages, so that operators see it and it is not used again.

    Return whether that is so: a user without company permissions may be refused a colleague's mailbox and
    still read his own.
    """
    log.warning("voicemails are refused", code=error.code, why=error.detail, name=connection.name)
    is_general = error.code == SCOPE_MISSING or connection.is_company_wide
    if isinstance(error, PermissionMissing) and error.permission == READ_MESSAGES and is_general:
        await connections.note(connection, error)
        return True
    return False


def voicemail_source(connection: Connection, address: str) -> AudioSource:
    """Return how the connection opens the audio at this address."""
    return partial(connection.client.stream_voicemail, address)
