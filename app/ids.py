"""Kinds of id, each its own type, and how ours are made.

RingCentral's ids are opaque text here, whatever they were on the wire: `extension.id` is a number in the Call
Log and text in events, so `as_text` normalises them where they come in.
"""

from datetime import datetime
from typing import Any, NewType

from ulid import ULID

AccountId = NewType("AccountId", str)
"""RingCentral's account id in decimal digits; `UNBOUND_ACCOUNT` until it is known."""

ExtensionId = NewType("ExtensionId", str)
SessionId = NewType("SessionId", str)
"""The numeric `sessionId`, as text. Not unique: all conferences have "0"."""

TelephonySessionId = NewType("TelephonySessionId", str)
"""The opaque `s-…` id of a telephony session; the key of a call within its account."""

PartyId = NewType("PartyId", str)
RecordId = NewType("RecordId", str)
CallId = NewType("CallId", str)
"""Ours: `call_` and a sortable unique id."""

NoteId = NewType("NoteId", str)

UNBOUND_ACCOUNT = AccountId("~")
"""The account of the service's own credentials, as `~` in RingCentral's paths."""

_REPLACEMENT = "\ufffd"
"""Shows that `app.values.storable` has replaced something: a damaged id identifies nothing."""

_TIME_CHARACTERS, _RANDOM_CHARACTERS = 10, 16
"""Of a ULID: milliseconds, then what distinguishes ids of the same millisecond."""

MAX_OUTSIDE_ID = 128
"""Longest id of RingCentral's that is kept; theirs have at most about 40 characters."""


def new_id(prefix: str, now: datetime) -> str:
    """Return `<prefix>_` and 26 characters that sort by `now`."""
    return f"{prefix}_{str(ULID.from_datetime(now)).lower()}"


def first_id(prefix: str, moment: datetime) -> str:
    """Return the lowest id that `new_id` can return at `moment`: ids that were made before are lower."""
    return f"{prefix}_{str(ULID.from_datetime(moment)).lower()[:_TIME_CHARACTERS]}{'0' * _RANDOM_CHARACTERS}"


def time_of_id(id_of_ours: str) -> datetime:
    """Return when an id of ours was made."""
    made: datetime = ULID.from_str(id_of_ours.partition("_")[2].upper()).datetime
    return made


def as_text(value: Any) -> str | None:
    """Return an id from outside as text: a number becomes text, anything that is not an id becomes None."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return str(value) if -(10 ** (MAX_OUTSIDE_ID - 1)) < value < 10**MAX_OUTSIDE_ID else None
    if isinstance(value, str) and 0 < len(value) <= MAX_OUTSIDE_ID and value.isprintable():
        return None if _REPLACEMENT in value else value
    return None


def is_alias(session_id: str | None) -> bool:
    """Whether a `sessionId` can identify a call: conferences all have "0", which identifies none."""
    return bool(session_id) and session_id != "0"
