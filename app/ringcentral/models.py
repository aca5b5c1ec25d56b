"""What RingCentral's JSON means to us, read leniently. Does no input or output.

Every field may be missing, ids come as numbers or as text, enumerations grow, times come in several
spellings (API description 1.0.46, guides "Call log" and "Creating webhooks"). So nothing here refuses a value
that can be lived without: unknown words pass through, what cannot be read is None, and `raw` keeps the object
as it came. What cannot be lived without is named: a call record has an id, a subscription has an id. What is read fits its column:
texts are cut to `app.values.widths`, numbers and times outside of the range of `app.values.storable` are None.

`read_…` functions take one decoded JSON value; they raise nothing.
"""

import hashlib
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

from app.ids import AccountId, ExtensionId, PartyId, RecordId, SessionId, TelephonySessionId, as_text
from app.values import widths
from app.values.storable import MAX_INTEGER, is_storable_time, storable_text

T = TypeVar("T")

IN_PROGRESS = "in progress"
MAX_TEXT = 4096
"""Longest text that is kept of a field of RingCentral's; `raw` has the whole."""

MOST_LEGS = 1000
"""Legs of one record that are read; `raw` has the rest."""

_SENDABLE = re.compile(r"[\x21-\x7e]+")
_ACCOUNT_IN_URI = re.compile(r"/account/([0-9]{1,32})(?:[/?]|$)")
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

    `content_uri` is data from outside: only `RingCentralClient.stream_recording` may follow it.
    `content_type` and `duration_seconds` are known to the recording resource alone.
    """

    id: str
    type: str | None = None
    content_uri: str | None = None
    content_type: str | None = None
    duration_seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """The voicemail or fax that a record links to."""

    id: str
    type: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CallFields:
    """What records and legs have in common.

    `result`, `action`, `direction` and their like are RingCentral's words, untouched. `start_time` is aware
    UTC in whole seconds, `duration_seconds` is None while the call goes on.
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
    """One leg of a record. `is_master` is None in old records, where the first leg is meant."""

    leg_type: str | None = None
    is_master: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRecord(CallFields):
    """One row of the call log, or of Active Calls, which has the same shape.

    `legs` is None when the answer carried none (the Simple view), not when there were zero of them.
    """

    id: RecordId
    session_id: SessionId | None = None
    last_modified_time: datetime | None = None
    is_deleted: bool = False
    legs: tuple[Leg, ...] | None = None
    raw: Mapping[str, Any]

    @property
    def is_in_progress(self) -> bool:
        """Whether the call still goes on by this record; a record without a result is no answer either."""
        return self.result is None or self.result.strip().casefold() == IN_PROGRESS

    @property
    def is_detailed(self) -> bool:
        return self.legs is not None

    @property
    def recordings(self) -> tuple[Recording, ...]:
        """Recordings of the record and its legs, each once: they repeat each other with the same id."""
        found = (part.recording for part in (self, *(self.legs or ())))
        return tuple({recording.id: recording for recording in found if recording}.values())


@dataclass(frozen=True, slots=True)
class BadRecord:
    """Something in a list of records that is no record; its neighbours are not harmed."""

    raw: Any
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordsPage:
    """One page of Active Calls or of the call log, in RingCentral's order (newest start first).

    `page` and `per_page` are what the answer says, which need not be what was asked. `has_next` is the presence
    of `nextPage` and nothing else: `lastPage` misleads. `account_id` is read from the answer's addresses.
    What it says was so at `sent_at`, when it was asked for, or later.
    """

    sent_at: datetime

    records: tuple[CallRecord, ...] = ()
    bad: tuple[BadRecord, ...] = ()
    page: int | None = None
    per_page: int | None = None
    has_next: bool = False
    account_id: AccountId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordsSync:
    """One answer of a sync: records that are new or changed, and the `token` to go on from.

    Store the token when the records are stored, not before; an old one may be used again. `has_newer` is what
    extract sync says, of the other kind it is False. What it says was so at `sent_at`, when it was asked for, or later.
    """

    sent_at: datetime

    records: tuple[CallRecord, ...] = ()
    bad: tuple[BadRecord, ...] = ()
    token: str
    has_newer: bool = False
    account_id: AccountId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkItem:
    """What a bulk read says of one id: the record, or the status (404: unknown as yet) and why there is none.

    It was so at `sent_at`, when it was asked for, or later.
    """

    id: RecordId
    sent_at: datetime
    status: int | None = None
    record: CallRecord | None = None
    why: str | None = None

    @property
    def is_missing(self) -> bool:
        return self.status == 404


@dataclass(frozen=True, slots=True, kw_only=True)
class DisabledFilter:
    """An event filter that the user may not have; the subscription works without it."""

    filter: str
    reason: str | None = None
    message: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """A subscription as RingCentral has it now. `event_filters` come with `~` expanded to real ids.

    `expiration_time` decides about its life, whatever lifetime was asked for. The verification token is never
    told back.
    """

    id: str
    status: str | None = None
    event_filters: tuple[str, ...] = ()
    disabled_filters: tuple[DisabledFilter, ...] = ()
    address: str | None = None
    transport_type: str | None = None
    creation_time: datetime | None = None
    expiration_time: datetime | None = None
    expires_in_seconds: float | None = None
    blacklisted_at: datetime | None = None
    blacklisted_reason: str | None = None
    raw: Mapping[str, Any]

    @property
    def is_active(self) -> bool:
        return (self.status or "").casefold() == "active"

    @property
    def is_webhook(self) -> bool:
        return (self.transport_type or "").casefold() == "webhook"


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """An answer of the token endpoint. Secrets do not show in its repr."""

    access_token: str
    expires_in_seconds: float
    scopes: frozenset[str] = frozenset()
    owner_id: ExtensionId | None = None
    refresh_token: str | None = None
    refresh_expires_in_seconds: float | None = None

    def __repr__(self) -> str:
        return f"Token(owner_id={self.owner_id!r}, expires_in_seconds={self.expires_in_seconds})"


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionParty:
    """A party of a telephony session that still exists."""

    id: PartyId | None = None
    extension_id: ExtensionId | None = None
    direction: str | None = None
    status_code: str | None = None
    status_reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TelephonySession:
    """A telephony session as the Call Control API reads it; it has no `sessionId` there."""

    id: TelephonySessionId
    creation_time: datetime | None = None
    parties: tuple[SessionParty, ...] = ()
    raw: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Insights:
    """What conversation analysis says of one recording; `raw` has it.

    Of a telephone call, `session_id` is the `telephonySessionId` and `recording_id` the recording's id. At
    least one of the two is there.
    """

    session_id: TelephonySessionId | None = None
    recording_id: str | None = None
    last_modified_time: datetime | None = None
    raw: Mapping[str, Any]


def read_call_record(value: Any) -> CallRecord | BadRecord:
    """Read one record; without an id of its own or in its `uri` it is a BadRecord."""
    if not isinstance(value, Mapping):
        return BadRecord(value, "not an object")
    record_id = as_text(value.get("id")) or _id_in_uri(value.get("uri")) or _short_id(value.get("id"))
    if record_id is None:
        return BadRecord(value, "no id")
    legs = value.get("legs")
    return CallRecord(
        id=RecordId(record_id),
        session_id=_optional(SessionId, as_text(value.get("sessionId"))),
        last_modified_time=read_time(value.get("lastModifiedTime")),
        is_deleted=value.get("deleted") is True,
        legs=tuple(map(_read_leg, _objects(legs)[:MOST_LEGS])) if isinstance(legs, list) else None,
        raw=value,
        **_call_fields(value),
    )


def read_recording(value: Any) -> Recording | None:
    """Read a recording; without an id there is none."""
    fields = _object(value)
    recording_id = as_text(fields.get("id"))
    if recording_id is None:
        return None
    return Recording(
        id=recording_id,
        type=read_text(fields.get("type"), widths.RECORDING_TYPE),
        content_uri=_read_address(fields.get("contentUri")),
        content_type=read_text(fields.get("contentType"), widths.CONTENT_TYPE),
        duration_seconds=read_seconds(fields.get("duration")),
    )


def read_subscription(value: Any) -> Subscription | None:
    """Read a subscription; without an id there is none."""
    fields = _object(value)
    subscription_id = as_text(fields.get("id"))
    if subscription_id is None:
        return None
    delivery, blacklisted = _object(fields.get("deliveryMode")), _object(fields.get("blacklistedData"))
    return Subscription(
        id=subscription_id,
        status=read_text(fields.get("status"), widths.SUBSCRIPTION_STATUS),
        event_filters=_texts(fields.get("eventFilters")),
        disabled_filters=_disabled_filters(fields.get("disabledFilters")),
        address=read_text(delivery.get("address")),
        transport_type=read_text(delivery.get("transportType")),
        creation_time=read_time(fields.get("creationTime")),
        expiration_time=read_time(fields.get("expirationTime")),
        expires_in_seconds=read_seconds(fields.get("expiresIn")),
        blacklisted_at=read_time(blacklisted.get("blacklistedAt")),
        blacklisted_reason=read_text(blacklisted.get("reason")),
        raw=fields,
    )


def read_token(value: Any) -> Token | None:
    """Read a token; one that no header can carry, or that says no lifetime, is none."""
    fields = _object(value)
    access_token, lifetime = fields.get("access_token"), read_lifetime(fields.get("expires_in"))
    if not isinstance(access_token, str) or not _SENDABLE.fullmatch(access_token) or not lifetime:
        return None
    refresh_token = fields.get("refresh_token")
    may_refresh = isinstance(refresh_token, str) and _SENDABLE.fullmatch(refresh_token) is not None
    return Token(
        access_token=access_token,
        expires_in_seconds=lifetime,
        scopes=frozenset((read_text(fields.get("scope")) or "").split()),
        owner_id=_optional(ExtensionId, as_text(fields.get("owner_id"))),
        refresh_token=refresh_token if may_refresh else None,
        refresh_expires_in_seconds=read_lifetime(fields.get("refresh_token_expires_in")),
    )


def read_session(value: Any) -> TelephonySession | None:
    """Read a telephony session, flat as it comes or wrapped in `session` as its schema says."""
    fields = _object(value)
    inner = fields.get("session")
    fields = inner if isinstance(inner, Mapping) else fields
    session_id = as_text(fields.get("id"))
    if session_id is None:
        return None
    return TelephonySession(
        id=TelephonySessionId(session_id),
        creation_time=read_time(fields.get("creationTime")),
        parties=tuple(map(_read_session_party, _objects(fields.get("parties")))),
        raw=fields,
    )


def read_insights(value: Any) -> Insights | None:
    """Read the insights of one recording; those of nothing that can be named are none."""
    fields = _object(value)
    session_id = _optional(TelephonySessionId, as_text(fields.get("sourceSessionId")))
    recording_id = as_text(fields.get("sourceRecordId"))
    if session_id is None and recording_id is None:
        return None
    return Insights(
        session_id=session_id,
        recording_id=recording_id,
        last_modified_time=read_time(fields.get("lastModifiedTime")),
        raw=fields,
    )


def read_time(value: Any) -> datetime | None:
    """Read an ISO 8601 time as aware UTC: `Z`, `+0000` or `+00:00`, with and without a fraction.

    A time without a zone is UTC; a date alone is no time, nor is one that the databases could not compute with.
    """
    if not isinstance(value, str) or "T" not in value or len(value) > 64:
        return None
    try:
        moment = datetime.fromisoformat(value)
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return moment if is_storable_time(moment) else None


def read_text(value: Any, longest: int = MAX_TEXT) -> str | None:
    """Read text that is worth showing: not empty, at most `longest` characters of it."""
    return storable_text(value, longest) if isinstance(value, str) and value else None


def read_seconds(value: Any) -> float | None:
    """Read a duration: a number, or text that is one, from 0 to what a whole number in the database can hold."""
    seconds = read_lifetime(value)
    return seconds if seconds is not None and seconds <= MAX_INTEGER else None


def read_lifetime(value: Any) -> float | None:
    """Read how long something lasts: a finite number, or text that is one, from 0 up."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        seconds = float(value)
    except (ValueError, OverflowError):
        return None
    return seconds if 0 <= seconds < math.inf else None


def read_count(value: Any) -> int | None:
    """Read a whole number from 0 up, also if it was written as text."""
    number = read_seconds(value)
    return None if number is None else int(number)


def account_in_uri(value: Any) -> AccountId | None:
    """Return the account that an address names; `~` names none."""
    match = _ACCOUNT_IN_URI.search(value) if isinstance(value, str) else None
    return AccountId(match[1]) if match else None


def _call_fields(value: Mapping[str, Any]) -> dict[str, Any]:
    short = value.get("shortRecording")
    extension = as_text(_object(value.get("extension")).get("id"))
    return {
        "telephony_session_id": _optional(TelephonySessionId, as_text(value.get("telephonySessionId"))),
        "extension_id": _optional(ExtensionId, extension),
        "party_id": _optional(PartyId, as_text(value.get("partyId"))),
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
        "delegate_name": read_text(_object(value.get("delegate")).get("name")),
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
    fields = _object(value)
    if not fields:
        return NOBODY
    return Party(
        phone_number=as_text(fields.get("phoneNumber")),
        extension_number=as_text(fields.get("extensionNumber")),
        extension_id=_optional(ExtensionId, as_text(fields.get("extensionId"))),
        name=read_text(fields.get("name")),
        location=read_text(fields.get("location")),
        device_id=as_text(_object(fields.get("device")).get("id")),
        dialed_phone_number=as_text(fields.get("dialedPhoneNumber")),
    )


def _read_message(value: Any) -> Message | None:
    fields = _object(value)
    message_id = as_text(fields.get("id"))
    return Message(id=message_id, type=read_text(fields.get("type"))) if message_id else None


def _read_session_party(value: Mapping[str, Any]) -> SessionParty:
    owner, status = _object(value.get("owner")), _object(value.get("status"))
    extension = as_text(value.get("extensionId")) or as_text(owner.get("extensionId"))
    return SessionParty(
        id=_optional(PartyId, as_text(value.get("id"))),
        extension_id=_optional(ExtensionId, extension),
        direction=read_text(value.get("direction")),
        status_code=read_text(status.get("code")),
        status_reason=read_text(status.get("reason")),
    )


def _disabled_filters(value: Any) -> tuple[DisabledFilter, ...]:
    return tuple(
        DisabledFilter(
            filter=read_text(item.get("filter")) or "?",
            reason=read_text(item.get("reason")),
            message=read_text(item.get("message")),
        )
        for item in _objects(value)
    )


def _linked_session(value: Any) -> TelephonySessionId | None:
    return _optional(TelephonySessionId, as_text(_object(value).get("telephonySessionId")))


def _id_in_uri(value: Any) -> str | None:
    match = _RECORD_IN_URI.search(value) if isinstance(value, str) else None
    return as_text(match[1]) if match else None


def _short_id(value: Any) -> str | None:
    """Name what has an id that is too long, or has characters that no id has, by its digest."""
    if isinstance(value, float) and value.is_integer():
        return as_text(int(value))
    if not isinstance(value, str) or not value:
        return None
    return f"sha256-{hashlib.sha256(value.encode('utf-8', 'replace')).hexdigest()}"


def _read_address(value: Any) -> str | None:
    """Read an address; one that is too long is none, since part of it would lead elsewhere."""
    return read_text(value) if isinstance(value, str) and len(value) <= MAX_TEXT else None


def _optional(kind: Callable[[str], T], value: str | None) -> T | None:
    return None if value is None else kind(value)


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _objects(value: Any) -> Sequence[Mapping[str, Any]]:
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(item for item in value if isinstance(item, str)) if isinstance(value, list) else ()
