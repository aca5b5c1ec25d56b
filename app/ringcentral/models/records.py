"""Call records: the entries of the Call Log and of Active Calls, with their legs and recordings. Pure."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from app.ids import ExtensionId, PartyId, RecordId, SessionId, TelephonySessionId, as_text
from app.ringcentral.models.fields import (
    as_object,
    as_objects,
    optional,
    read_address,
    read_seconds,
    read_text,
    read_time,
)
from app.values import widths

IN_PROGRESS = "in progress"

MOST_LEGS = 1000
"""Legs read of one record; `raw` has the others."""

_MAILBOX_IN_URI = re.compile(r"/extension/([0-9]{1,32})/message-store/")
_RECORD_IN_URI = re.compile(r"/call-log/([^/?,]{1,128})(?:[?]|$)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Party:
    """One side of a call. Every field can be None: `{}` is a party too.

    `phone_number` can be E.164, a short number, masked, `anonymous` or `conference`.
    """

    phone_number: str | None = None
    extension_number: str | None = None
    extension_id: ExtensionId | None = None
    name: str | None = None
    location: str | None = None
    device_id: str | None = None
    dialed_phone_number: str | None = None


NOBODY = Party()


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """A recording as a record, a leg or the recording resource describes it.

    `content_uri` comes from outside: only `RingCentralClient.stream_recording` may follow it. Only the
    recording resource knows `content_type` and `duration_seconds`.
    """

    id: str
    type: str | None = None
    content_uri: str | None = None
    content_type: str | None = None
    duration_seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """The voicemail or fax that a record links to, in the message store of an extension."""

    id: str
    type: str | None = None
    extension_id: ExtensionId | None = None

    @property
    def is_voicemail(self) -> bool:
        """Whether it is a voicemail: `VoiceMail` or `Voicemail`, depending on the release."""
        return self.type is not None and self.type.casefold() == "voicemail"


@dataclass(frozen=True, slots=True, kw_only=True)
class CallFields:
    """What records and legs have in common.

    `result`, `action`, `direction` and the like are RingCentral's words, unchanged. `start_time` is aware UTC
    in whole seconds. `duration_seconds` is None while the call goes on.
    """

    telephony_session_id: TelephonySessionId | None = None
    extension_id: ExtensionId | None = None
    party_id: PartyId | None = None
    type: str | None = None
    direction: str | None = None
    action: str | None = None
    result: str | None = None
    reason: str | None = None
    reason_description: str | None = None
    start_time: datetime | None = None
    duration_seconds: float | None = None
    from_party: Party = NOBODY
    to_party: Party = NOBODY
    transport: str | None = None
    internal_type: str | None = None
    recording: Recording | None = None
    short_recording: bool | None = None
    message: Message | None = None
    delegate_name: str | None = None
    transfer_target: TelephonySessionId | None = None
    transferee: TelephonySessionId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Leg(CallFields):
    """One leg of a record. `is_master` is None in old records, whose first leg is the master."""

    leg_type: str | None = None
    is_master: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRecord(CallFields):
    """One entry of the Call Log, or of Active Calls, which has the same shape.

    `legs` is None if the response had none (the Simple view), and empty if it had an empty list.
    """

    id: RecordId
    session_id: SessionId | None = None
    last_modified_time: datetime | None = None
    is_deleted: bool = False
    legs: tuple[Leg, ...] | None = None
    raw: Mapping[str, Any]

    @property
    def is_in_progress(self) -> bool:
        """Whether the call goes on according to this record; a record without a result counts as well."""
        return self.result is None or self.result.strip().casefold() == IN_PROGRESS

    @property
    def is_detailed(self) -> bool:
        return self.legs is not None

    @property
    def recordings(self) -> tuple[Recording, ...]:
        """Recordings of the record and its legs, each once: records and legs repeat the same ids."""
        found = (part.recording for part in (self, *(self.legs or ())))
        return tuple({recording.id: recording for recording in found if recording}.values())


@dataclass(frozen=True, slots=True)
class BadRecord:
    """An entry in a list of records that cannot be read as one. It does not affect its neighbours."""

    raw: Any
    why: str


def read_call_record(value: Any) -> CallRecord | BadRecord:
    """Read one record. It is a BadRecord if it has an id neither of its own nor in its `uri`."""
    if not isinstance(value, Mapping):
        return BadRecord(value, "not an object")
    record_id = as_text(value.get("id")) or _id_in_uri(value.get("uri")) or _short_id(value.get("id"))
    if record_id is None:
        return BadRecord(value, "no id")
    legs = value.get("legs")
    return CallRecord(
        id=RecordId(record_id),
        session_id=optional(SessionId, as_text(value.get("sessionId"))),
        last_modified_time=read_time(value.get("lastModifiedTime")),
        is_deleted=value.get("deleted") is True,
        legs=tuple(map(_read_leg, as_objects(legs)[:MOST_LEGS])) if isinstance(legs, list) else None,
        raw=value,
        **_call_fields(value),
    )


def read_recording(value: Any) -> Recording | None:
    """Read a recording; None without an id."""
    fields = as_object(value)
    recording_id = as_text(fields.get("id"))
    if recording_id is None:
        return None
    return Recording(
        id=recording_id,
        type=read_text(fields.get("type"), widths.RECORDING_TYPE),
        content_uri=read_address(fields.get("contentUri")),
        content_type=read_text(fields.get("contentType"), widths.CONTENT_TYPE),
        duration_seconds=read_seconds(fields.get("duration")),
    )


def _call_fields(value: Mapping[str, Any]) -> dict[str, Any]:
    short = value.get("shortRecording")
    extension = as_text(as_object(value.get("extension")).get("id"))
    return {
        "telephony_session_id": optional(TelephonySessionId, as_text(value.get("telephonySessionId"))),
        "extension_id": optional(ExtensionId, extension),
        "party_id": optional(PartyId, as_text(value.get("partyId"))),
        "type": read_text(value.get("type")),
        "direction": read_text(value.get("direction"), widths.DIRECTION),
        "action": read_text(value.get("action"), widths.ACTION),
        "result": read_text(value.get("result"), widths.RESULT),
        "reason": read_text(value.get("reason")),
        "reason_description": read_text(value.get("reasonDescription")),
        "start_time": read_time(value.get("startTime")),
        "duration_seconds": read_seconds(value.get("duration")),
        "from_party": _read_party(value.get("from")),
        "to_party": _read_party(value.get("to")),
        "transport": read_text(value.get("transport")),
        "internal_type": read_text(value.get("internalType")),
        "recording": read_recording(value.get("recording")),
        "short_recording": short if isinstance(short, bool) else None,
        "message": _read_message(value.get("message")),
        "delegate_name": read_text(as_object(value.get("delegate")).get("name")),
        "transfer_target": _linked_session(value.get("transferTarget")),
        "transferee": _linked_session(value.get("transferee")),
    }


def _read_leg(value: Mapping[str, Any]) -> Leg:
    master = value.get("master")
    return Leg(
        leg_type=read_text(value.get("legType")),
        is_master=master if isinstance(master, bool) else None,
        **_call_fields(value),
    )


def _read_party(value: Any) -> Party:
    fields = as_object(value)
    if not fields:
        return NOBODY
    return Party(
        phone_number=as_text(fields.get("phoneNumber")),
        extension_number=as_text(fields.get("extensionNumber")),
        extension_id=optional(ExtensionId, as_text(fields.get("extensionId"))),
        name=read_text(fields.get("name")),
        location=read_text(fields.get("location")),
        device_id=as_text(as_object(fields.get("device")).get("id")),
        dialed_phone_number=as_text(fields.get("dialedPhoneNumber")),
    )


def _read_message(value: Any) -> Message | None:
    fields = as_object(value)
    message_id = as_text(fields.get("id"))
    if message_id is None:
        return None
    uri = fields.get("uri")
    mailbox = _MAILBOX_IN_URI.search(uri) if isinstance(uri, str) else None
    return Message(
        id=message_id,
        type=read_text(fields.get("type")),
        extension_id=optional(ExtensionId, mailbox[1] if mailbox else None),
    )


def _linked_session(value: Any) -> TelephonySessionId | None:
    return optional(TelephonySessionId, as_text(as_object(value).get("telephonySessionId")))


def _id_in_uri(value: Any) -> str | None:
    match = _RECORD_IN_URI.search(value) if isinstance(value, str) else None
    return as_text(match[1]) if match else None


def _short_id(value: Any) -> str | None:
    """Replace an id that is too long, or has characters that no id has, by its digest."""
    if isinstance(value, float) and value.is_integer():
        return as_text(int(value))
    if not isinstance(value, str) or not value:
        return None
    return f"sha256-{hashlib.sha256(value.encode('utf-8', 'replace')).hexdigest()}"
