"""The voicemails of calls: their states, when each is requested next, and where it is archived.

A voicemail is `pending` once a record names it, then `ready`: its audio can be played and its transcript is
there, or will not come. It is `expired` if it was not found in time or was deleted, and `no-permission` if no
connection may read the mailbox. Linked calls may name the same voicemail: it has a row for each.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from app.calls.media.rows import MediaRow, MediaTable
from app.calls.model import ReadinessState
from app.db.tables import voicemails
from app.errors import AccessReason
from app.ids import AccountId

PART = "voicemail"
_SCOPE_MISSING = "CMN-401"


class VoicemailState(StrEnum):
    """The state of a voicemail."""

    PENDING = "pending"
    READY = "ready"
    EXPIRED = "expired"
    NONE = "none"
    NO_PERMISSION = "no-permission"


OPEN = frozenset({VoicemailState.PENDING})
"""States in which it is requested."""

_READINESS = {
    VoicemailState.PENDING: ReadinessState.PENDING,
    VoicemailState.READY: ReadinessState.READY,
    VoicemailState.EXPIRED: ReadinessState.EXPIRED,
    VoicemailState.NONE: ReadinessState.NONE,
    VoicemailState.NO_PERMISSION: ReadinessState.NONE,
}
_BEST_FIRST = (
    VoicemailState.READY,
    VoicemailState.PENDING,
    VoicemailState.NO_PERMISSION,
    VoicemailState.EXPIRED,
    VoicemailState.NONE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class VoicemailRow(MediaRow):
    """A voicemail of one call: a row of the table, which says what each field is."""

    voicemail_id: str
    extension_id: str
    state: VoicemailState
    transcript: str | None = None
    transcript_status: str | None = None


TABLE = MediaTable(
    voicemails,
    "voicemail_id",
    written=("extension_id", "state", "due_at", "attempts", "problem", "updated_at"),
)
change = TABLE.change
save = TABLE.save
claim_due = TABLE.claim_due
find_due_accounts = TABLE.find_due_accounts
find_next_due = TABLE.find_next_due


def best_of(rows: Iterable[VoicemailRow]) -> VoicemailRow:
    """Return the most promising row; the latest of several that are equally promising."""
    latest_first = sorted(rows, key=lambda row: (row.created_at, row.voicemail_id), reverse=True)
    return min(latest_first, key=lambda row: _BEST_FIRST.index(row.state))


def readiness_of(rows: Collection[VoicemailRow]) -> tuple[ReadinessState, str | None]:
    """Return the state of a call's voicemails together, and the reason: `pending` while one is, else the
    best."""
    pending = [row for row in rows if row.state is VoicemailState.PENDING]
    row = best_of(pending or rows)
    reason = row.problem or row.state.value
    shows_reason = row.state in (VoicemailState.EXPIRED, VoicemailState.NONE, VoicemailState.NO_PERMISSION)
    return _READINESS[row.state], reason if shows_reason else None


def may_have_voicemail(readiness: Mapping[str, Any]) -> bool:
    """Whether rows of voicemails may exist for a call with this readiness: most calls need no query."""
    stored = readiness.get(PART, {})
    return stored.get("state", ReadinessState.NONE) != ReadinessState.NONE or bool(stored.get("reason"))


def remedy_of(problem: str | None, extension_id: str) -> str:
    """Return what an operator does about a voicemail that nobody may read."""
    if problem == _SCOPE_MISSING:
        return "Grant the app the scope ReadMessages in RingCentral's developer console."
    if problem == AccessReason.NO_CREDENTIALS:
        return f"Add the credentials of extension {extension_id} or of an administrator."
    return (
        f"Grant the service's user the permission ReadMessages, or add the credentials of extension "
        f"{extension_id}."
    )


async def load_of_calls(
    db: AsyncConnection, account_id: AccountId, call_ids: Collection[str]
) -> dict[str, dict[str, VoicemailRow]]:
    """Return rows by call id and voicemail id; every asked call has a dict."""
    found: dict[str, dict[str, VoicemailRow]] = {call_id: {} for call_id in call_ids}
    for row in await TABLE.rows_of_calls(db, account_id, call_ids) if call_ids else ():
        found[row.call_id][row.voicemail_id] = _read_row(row)
    return found


async def load(db: AsyncConnection, account_id: AccountId, voicemail_id: str) -> list[VoicemailRow]:
    """Return the rows of one voicemail, one per call that names it; there may be none."""
    return [_read_row(row) for row in await TABLE.rows(db, account_id, voicemail_id)]


async def load_open(db: AsyncConnection, account_id: AccountId, voicemail_id: str) -> Sequence[VoicemailRow]:
    """Return the rows of one voicemail that are still requested."""
    return [row for row in await load(db, account_id, voicemail_id) if row.state in OPEN]


def _read_row(row: Row[Any]) -> VoicemailRow:
    return VoicemailRow(**{**row._mapping, "state": VoicemailState(row.state)})  # noqa: SLF001 - the documented way to keywords
