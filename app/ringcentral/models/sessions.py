"""Telephony sessions, as Call Control describes them. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from app.ids import ExtensionId, PartyId, TelephonySessionId, as_text
from app.ringcentral.models.fields import as_object, as_objects, optional, read_text, read_time


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionParty:
    """A party of a live telephony session."""

    id: PartyId | None = None
    extension_id: ExtensionId | None = None
    direction: str | None = None
    status_code: str | None = None
    status_reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TelephonySession:
    """A telephony session in the Call Control API, where it has no `sessionId`."""

    id: TelephonySessionId
    creation_time: datetime | None = None
    parties: tuple[SessionParty, ...] = ()
    raw: Mapping[str, Any]


def read_session(value: Any) -> TelephonySession | None:
    """Read a telephony session, flat as it comes or wrapped in `session` as the API description says."""
    fields = as_object(value)
    inner = fields.get("session")
    fields = inner if isinstance(inner, Mapping) else fields
    session_id = as_text(fields.get("id"))
    if session_id is None:
        return None
    return TelephonySession(
        id=TelephonySessionId(session_id),
        creation_time=read_time(fields.get("creationTime")),
        parties=tuple(map(_read_session_party, as_objects(fields.get("parties")))),
        raw=fields,
    )


def _read_session_party(value: Mapping[str, Any]) -> SessionParty:
    owner, status = as_object(value.get("owner")), as_object(value.get("status"))
    extension = as_text(value.get("extensionId")) or as_text(owner.get("extensionId"))
    return SessionParty(
        id=optional(PartyId, as_text(value.get("id"))),
        extension_id=optional(ExtensionId, extension),
        direction=read_text(value.get("direction")),
        status_code=read_text(status.get("code")),
        status_reason=read_text(status.get("reason")),
    )
