"""Requests a voicemail and its transcript, with each connection that may read the mailbox in turn.

The deadline of each request is now, so that none waits for the rate limit: another account may be served.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog

from app.accounts.connections import Connection
from app.accounts.context import AccountsWorker
from app.calls.media.recordings import NOT_THERE
from app.calls.media.voicemails import VoicemailRow
from app.enrichment.records.reasons import MissingReason
from app.enrichment.voicemails.voicemail_access import (
    READ_MESSAGES,
    find_mailbox_connections,
    is_refusal,
    may_read,
    note_refusal,
)
from app.errors import CredentialsRefused, ForeignHost, RateLimited, RequestRefused, RingCentralError
from app.ids import AccountId, ExtensionId
from app.ringcentral.models import Attachment, Voicemail
from app.ringcentral.protocol.voicemails import content_address
from app.work.failures import log_failure

_IN_PROGRESS = "inprogress"
_WITH_TRANSCRIPT = frozenset({"completed", "completedpartially"})

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class VoicemailFound:
    """The voicemail can be played; `columns` are those of its rows.

    `is_settled`: the transcript is there, or will not come. `problem`: why it is missing, if that is unusual.
    """

    columns: dict[str, Any]
    is_settled: bool
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class VoicemailMissing:
    """RingCentral does not have it, or not yet; or it refused the request as such."""

    problem: str


@dataclass(frozen=True, slots=True)
class MailboxRefused:
    """No connection may read the mailbox."""

    problem: str


@dataclass(frozen=True, slots=True)
class VoicemailOutage:
    """No request could be answered, which says nothing about the voicemail."""

    problem: str


@dataclass(frozen=True, slots=True)
class BudgetUsedUp:
    """The rate limit is used up until then."""

    until: datetime


VoicemailResult = VoicemailFound | VoicemailMissing | MailboxRefused | VoicemailOutage | BudgetUsedUp


def awaits_transcript(found: Voicemail) -> bool:
    return (found.transcription_status or "").casefold() == _IN_PROGRESS


def transcript_of(found: Voicemail) -> Attachment | None:
    """Return the attachment with the transcript, if there is one."""
    status = (found.transcription_status or "").casefold()
    return found.transcription if status in _WITH_TRANSCRIPT else None


class VoicemailRequests(AccountsWorker):
    """Requests voicemails of any account."""

    async def request(self, account_id: AccountId, row: VoicemailRow) -> VoicemailResult:
        """Request the voicemail of this row; try each connection until one is not refused."""
        mailbox = (row.extension_id,)
        fitting = await find_mailbox_connections(self._connections, account_id, mailbox)
        usable = [one for one in fitting if one.access.problem is None]
        if not usable:
            problem = MissingReason.NO_CREDENTIALS
            return VoicemailOutage(problem) if fitting else MailboxRefused(problem)
        refusal: str = MissingReason.NO_PERMISSION
        for connection in usable:
            now = self._clock.now()
            if not may_read(connection, mailbox, now):
                refusal = connection.access.lacks[READ_MESSAGES]["code"]
                continue
            result = await self._request_with(connection, row)
            if not isinstance(result, MailboxRefused):
                return result
            refusal = result.problem
        return MailboxRefused(refusal)

    async def _request_with(self, connection: Connection, row: VoicemailRow) -> VoicemailResult:
        mailbox = ExtensionId(row.extension_id)
        try:
            found = await connection.client.fetch_voicemail(
                mailbox, row.voicemail_id, deadline=self._clock.now()
            )
            if found is None or found.audio is None or found.is_purged:
                return VoicemailMissing(NOT_THERE)
            columns = {
                "content_uri": content_address(mailbox, row.voicemail_id, found.audio),
                "content_type": found.audio.content_type,
                "duration_seconds": found.duration_seconds,
                "transcript_status": found.transcription_status,
                "transcript": None,
            }
            return await self._with_transcript(connection, mailbox, found, columns)
        except RateLimited as error:
            return BudgetUsedUp(error.retry_at)
        except CredentialsRefused as error:
            log_failure(log, "credentials for voicemails were refused", error)
            return VoicemailOutage(error.code or MissingReason.NO_CREDENTIALS)
        except RingCentralError as error:
            if is_refusal(error):
                await note_refusal(self._connections, connection, error)
                return MailboxRefused(error.code or MissingReason.NO_PERMISSION)
            if isinstance(error, RequestRefused):
                log_failure(log, "a voicemail was refused", error)
                return VoicemailMissing(error.code or type(error).__name__)
            log_failure(log, "requesting a voicemail failed", error)
            return VoicemailOutage(MissingReason.UNREACHABLE)

    async def _with_transcript(
        self, connection: Connection, mailbox: ExtensionId, found: Voicemail, columns: dict[str, Any]
    ) -> VoicemailFound:
        attachment = transcript_of(found)
        if attachment is None:
            return VoicemailFound(columns, is_settled=not awaits_transcript(found))
        address = content_address(mailbox, found.id, attachment)
        try:
            text = await connection.client.fetch_transcript(address, deadline=self._clock.now())
        except (ForeignHost, RequestRefused) as error:
            # The voicemail itself can be played.
            log_failure(log, "a transcript was refused", error)
            return VoicemailFound(columns, is_settled=True, problem=error.code)
        # A transcript that is completed and not there yet is requested again, like one in progress.
        return VoicemailFound(columns | {"transcript": text}, is_settled=text is not None)


def first_of(rows: Sequence[VoicemailRow]) -> VoicemailRow:
    """Return the row whose mailbox is asked for: that of the call that named the voicemail first."""
    return min(rows, key=lambda row: (row.created_at, row.call_id))
