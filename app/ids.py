"""Kinds of id, each its own type, and how ours are made.

RingCentral's ids are opaque text here, whatever they were on the wire: call-log `extension.id` is a
number, the same id in an event is text, so `ids.as_text` normalises them at the border.
"""

from datetime import datetime
from typing import Any, NewType

from ulid import ULID

AccountId = NewType("AccountId", str)
"""RingCentral's account id in decimal digits; `UNBOUND_ACCOUNT` until we have learnt it."""

ExtensionId = NewType("ExtensionId", str)
SessionId = NewType("SessionId", str)
"""The numeric `sessionId`, as text. Not unique: conferences all say "0"."""

TelephonySessionId = NewType("TelephonySessionId", str)
"""The opaque `s-…` id of a telephony session; the key of a call within its account."""

PartyId = NewType("PartyId", str)
RecordId = NewType("RecordId", str)
CallId = NewType("CallId", str)
"""Ours: `call_` and a sortable unique id."""

NoteId = NewType("NoteId", str)

UNBOUND_ACCOUNT = AccountId("~")
"""Stands for the account of the service's own credentials, as `~` does in RingCentral's paths."""

_REPLACEMENT = "\ufffd"
"""Stands where `app.values.storable` has replaced something: an id that was damaged names nothing."""

MAX_OUTSIDE_ID = 128
"""Longest id of RingCentral's that we keep; theirs have some 40 characters at most."""


def new_id(prefix: str, now: datetime) -> str:
    """Return `<prefix>_` and 26 characters that sort by `now`."""
    return f"{prefix}_{str(ULID.from_datetime(now)).lower()}"


def as_text(value: Any) -> str | None:
    """Return an outside id as text: a number loses its type, anything else that is no id becomes None."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return str(value) if -(10 ** (MAX_OUTSIDE_ID - 1)) < value < 10**MAX_OUTSIDE_ID else None
    if isinstance(value, str) and 0 < len(value) <= MAX_OUTSIDE_ID and value.isprintable():
        return None if _REPLACEMENT in value else value
    return None


def is_alias(session_id: str | None) -> bool:
    """Whether a `sessionId` can name a call: conferences all report "0", which names none."""
    return bool(session_id) and session_id != "0"
