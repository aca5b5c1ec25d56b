"""Reading one notification: what kind it is, which calls it is about, and the facts it tells.

Takes parsed JSON of any shape and never raises: what cannot be used becomes `Ignored` with a reason.
Does no input or output and reads no clock.

Facts used: the event path under an account filter is the extension's where the party has one, so an event
is known by the shape of its path and never by the filter (published event streams); ids are text or
numbers, times end in `Z` or `+0000`, with or without a fraction (guides "Telephony session notifications",
"Detailed extension presence"); mobile push nests the event in `pn_apns` (guide "Notifications").
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from app.ids import UNBOUND_ACCOUNT, AccountId, SessionId, TelephonySessionId, as_text, is_alias
from app.values import widths
from app.values.storable import storable_json
from app.webhooks.payloads.facts import EXTENSION_PARTY, Announced, Code, Endpoint, Fact, Peer, Source

MAX_CALLS = 100
"""Calls of one presence event that are read; RingCentral lists up to seven."""

MAX_PARTIES = 200
"""Parties of one session event that are read; RingCentral mostly sends one."""

MAX_RECORDINGS = 20
"""Recordings of one party that are read."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_ACCOUNT = re.compile(r"/accounts?/([^/?]+)")
_EXTENSION = re.compile(r"/extension/([^/?]+)")
_TELEPHONY = re.compile(r"/account/[^/]+(/extension/[^/]+)?/telephony/sessions(/|$)")
_PRESENCE = re.compile(r"/extension/[^/]+/presence(/|$)")
_INSIGHTS = re.compile(r"/domains/[^/]+/insights(/|$)")
_REMINDER = re.compile(r"/subscription(/|$)")

_PRESENCE_CODES = {
    "Ringing": Code.PROCEEDING,
    "CallConnected": Code.ANSWERED,
    "OnHold": Code.HOLD,
    "ParkedCall": Code.PARKED,
}


@dataclass(frozen=True, slots=True)
class Peek:
    """What the intake needs before it answers. `uuid` is never empty: without one, the content names it."""

    uuid: str
    account_id: AccountId
    telephony_session_id: TelephonySessionId | None
    session_id: SessionId | None
    event: str | None


@dataclass(frozen=True, slots=True)
class CallKey:
    """Which call a fact belongs to. Old presence events know no `telephonySessionId`.

    `session_id` is never "0". At least one of the two ids is there.
    """

    account_id: AccountId
    telephony_session_id: TelephonySessionId | None
    session_id: SessionId | None


@dataclass(frozen=True, slots=True)
class CallFacts:
    """What one notification says about one call."""

    key: CallKey
    facts: tuple[Fact, ...]


@dataclass(frozen=True, slots=True)
class TelephonyEvent:
    """A change of a telephony session; always about one call. `left_out` counts the parties past `MAX_PARTIES`."""

    uuid: str
    account_id: AccountId
    subscription_id: str | None
    calls: tuple[CallFacts, ...]
    left_out: int = 0


@dataclass(frozen=True, slots=True)
class PresenceEvent:
    """A change of an extension's presence; lists up to seven of its calls. `left_out` counts those past `MAX_CALLS`."""

    uuid: str
    account_id: AccountId
    subscription_id: str | None
    extension_id: str | None
    calls: tuple[CallFacts, ...]
    left_out: int = 0


@dataclass(frozen=True, slots=True)
class InsightsEvent:
    """Conversation insights of one recording are there; `body` is the insights record, made storable."""

    uuid: str
    account_id: AccountId
    telephony_session_id: TelephonySessionId | None
    recording_id: str | None
    last_modified_at: datetime | None
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ReminderEvent:
    """A subscription is about to expire. The body repeats its fields, each of them optional."""

    uuid: str
    account_id: AccountId
    subscription_id: str | None
    status: str | None
    expires_at: datetime | None
    expires_in_seconds: int | None


@dataclass(frozen=True, slots=True)
class Ignored:
    """Nothing for us. `reason` is a stable word to count by, `text` a sentence for people."""

    reason: str
    text: str


Notification = TelephonyEvent | PresenceEvent | InsightsEvent | ReminderEvent | Ignored


@dataclass(frozen=True, slots=True)
class _Envelope:
    """A delivery with its wrappings off."""

    uuid: str
    event: str | None
    path: str
    sent_at: datetime | None
    subscription_id: str | None
    account_id: AccountId
    body: Mapping[str, Any]
    received_at: datetime


def peek(payload: Any) -> Peek:
    """Say in a few look-ups what a delivery is about. Total, and agrees with `read_notification`."""
    if not isinstance(payload, dict):
        return Peek(_digest(payload), UNBOUND_ACCOUNT, None, None, None)
    outer = _unwrapped(payload)
    event = _text(outer.get("event"))
    body = _mapping(outer.get("body"))
    about = body if "activeCalls" not in body else next(_mappings(body.get("activeCalls")), body)
    telephony_session_id, session_id = _session_ids(about)
    return Peek(
        uuid=_id(outer.get("uuid")) or _digest(payload),
        account_id=_account_id(event, body),
        telephony_session_id=telephony_session_id or _telephony_id(body.get("sourceSessionId")),
        session_id=session_id,
        event=event,
    )


def read_notification(payload: Any, received_at: datetime) -> Notification:
    """Decode one delivery that arrived at `received_at` (aware UTC)."""
    if not isinstance(payload, dict):
        return Ignored("not-an-object", "A notification is a JSON object; this is something else.")
    envelope = _open_envelope(payload, received_at)
    path, body = envelope.path, envelope.body
    if not body:
        return Ignored("no-body", "The notification has no body.")
    if _TELEPHONY.search(path) or (not path and "parties" in body):
        return _read_telephony(envelope)
    if _PRESENCE.search(path) or (not path and "activeCalls" in body):
        return _read_presence(envelope)
    if _INSIGHTS.search(path):
        return _read_insights(envelope)
    if _REMINDER.search(path):
        return _read_reminder(envelope)
    return Ignored("unknown-event", "No filter that we know of leads to this event path.")


def _open_envelope(payload: Mapping[str, Any], received_at: datetime) -> _Envelope:
    outer = _unwrapped(payload)
    event = _text(outer.get("event"))
    body = _mapping(outer.get("body"))
    return _Envelope(
        uuid=_id(outer.get("uuid")) or _digest(payload),
        event=event,
        path=(event or "").partition("?")[0],
        sent_at=_time(outer.get("timestamp")),
        subscription_id=_id(outer.get("subscriptionId")),
        account_id=_account_id(event, body),
        body=body,
        received_at=received_at,
    )


def _read_telephony(envelope: _Envelope) -> TelephonyEvent | Ignored:
    body = envelope.body
    telephony_session_id, session_id = _session_ids(body)
    if telephony_session_id is None and session_id is None:
        return Ignored("no-session", "The session event names no session.")
    parties = list(_mappings(body.get("parties")))
    alone = len(parties) == 1
    read = parties[:MAX_PARTIES]
    facts = tuple(_telephony_fact(envelope, party, part, alone=alone) for part, party in enumerate(read))
    if not facts:
        return Ignored("no-parties", "The session event names no party.")
    key = CallKey(envelope.account_id, telephony_session_id, session_id)
    return TelephonyEvent(
        envelope.uuid,
        envelope.account_id,
        envelope.subscription_id,
        (CallFacts(key, facts),),
        len(parties) - len(read),
    )


def _telephony_fact(envelope: _Envelope, party: Mapping[str, Any], part: int, *, alone: bool) -> Fact:
    body = envelope.body
    telephony_session_id, session_id = _session_ids(body)
    status = _mapping(party.get("status"))
    ui = _shown_to_user(party)
    extension_id = _id(party.get("extensionId")) or (_body_extension(envelope) if alone else None)
    direction = _text(party.get("direction"))
    return Fact(
        source=Source.TELEPHONY,
        uuid=envelope.uuid,
        part=part,
        received_at=envelope.received_at,
        event_time=_time(body.get("eventTime")) or envelope.sent_at or envelope.received_at,
        party_id=_id(party.get("id")) or _made_up_party(extension_id, direction),
        sequence=_whole(body.get("sequence")),
        session_id=session_id,
        telephony_session_id=telephony_session_id,
        origin=_text(_mapping(body.get("origin")).get("type")),
        account_id=_id(party.get("accountId")) or _id(body.get("accountId")),
        extension_id=extension_id,
        direction=direction,
        from_=_endpoint(party.get("from")),
        to=_endpoint(party.get("to")),
        code=_text(status.get("code")),
        reason=_text(status.get("reason")),
        peer=_peer(status.get("peerId")),
        park_id=_id(_mapping(party.get("park")).get("id")),
        queue_call=_flag(party.get("queueCall")),
        missed_call=_flag(party.get("missedCall")),
        conference_role=_text(party.get("conferenceRole")),
        recordings=_recordings(party.get("recordings")),
        queue_name=ui.get("QueueName"),
        caller_name=ui.get("CallerIdName"),
    )


def _body_extension(envelope: _Envelope) -> str | None:
    """Return the extension id of the body if the path says the same.

    It then is the party's; alone it may as well be the subscriber's.
    """
    extension_id = _id(envelope.body.get("extensionId"))
    in_path = _EXTENSION.search(envelope.path)
    return extension_id if in_path and in_path[1] == extension_id else None


def _made_up_party(extension_id: str | None, direction: str | None) -> str:
    return f"{EXTENSION_PARTY}{extension_id}" if extension_id else f"side:{direction or 'unknown'}"


def _read_presence(envelope: _Envelope) -> PresenceEvent | Ignored:
    in_path = _EXTENSION.search(envelope.path)
    extension_id = _id(envelope.body.get("extensionId")) or (_id(in_path[1]) if in_path else None)
    calls: list[CallFacts] = []
    left_out = 0
    for part, entry in enumerate(_mappings(envelope.body.get("activeCalls"))):
        telephony_session_id, session_id = _session_ids(entry)
        if len(calls) == MAX_CALLS:
            left_out += 1
        elif telephony_session_id or session_id:
            key = CallKey(envelope.account_id, telephony_session_id, session_id)
            calls.append(CallFacts(key, (_presence_fact(envelope, entry, part, extension_id),)))
    if not calls:
        return Ignored("presence-without-calls", "The presence event lists no call.")
    return PresenceEvent(
        envelope.uuid, envelope.account_id, envelope.subscription_id, extension_id, tuple(calls), left_out
    )


def _presence_fact(
    envelope: _Envelope, entry: Mapping[str, Any], part: int, extension_id: str | None
) -> Fact:
    telephony_session_id, session_id = _session_ids(entry)
    inbound = (_text(entry.get("direction")) or "").lower() == "inbound"
    this_side = Endpoint(extension_id=extension_id)
    from_ = Endpoint(_number(entry.get("from")), _text(entry.get("fromName")))
    to = Endpoint(_number(entry.get("to")), _text(entry.get("toName")))
    return Fact(
        source=Source.PRESENCE,
        uuid=envelope.uuid,
        part=part,
        received_at=envelope.received_at,
        event_time=envelope.sent_at or envelope.received_at,
        party_id=_id(entry.get("partyId")) or f"{EXTENSION_PARTY}{extension_id or 'unknown'}",
        sequence=_whole(envelope.body.get("sequence")),
        session_id=session_id,
        telephony_session_id=telephony_session_id,
        account_id=None,
        extension_id=extension_id,
        direction=_text(entry.get("direction")),
        from_=from_ if inbound else from_.or_else(this_side),
        to=to.or_else(this_side) if inbound else to,
        code=_presence_code(entry),
        started_at=_time(entry.get("startTime")),
    )


def _presence_code(entry: Mapping[str, Any]) -> str | None:
    """Say a presence entry's state in the words of the session stream.

    `NoCall` ends the call of this extension only together with `terminationType` final.
    """
    status = _text(entry.get("telephonyStatus"))
    if status == "NoCall":
        return Code.DISCONNECTED if entry.get("terminationType") == "final" else None
    return _PRESENCE_CODES.get(status, status) if status else None


def _read_insights(envelope: _Envelope) -> InsightsEvent:
    body = envelope.body
    return InsightsEvent(
        uuid=envelope.uuid,
        account_id=envelope.account_id,
        telephony_session_id=_telephony_id(body.get("sourceSessionId")),
        recording_id=_id(body.get("sourceRecordId")),
        last_modified_at=_time(body.get("lastModifiedTime")),
        body=storable_json(body),
    )


def _read_reminder(envelope: _Envelope) -> ReminderEvent:
    body = envelope.body
    return ReminderEvent(
        uuid=envelope.uuid,
        account_id=envelope.account_id,
        subscription_id=_id(body.get("id")) or envelope.subscription_id,
        status=_text(body.get("status")),
        expires_at=_time(body.get("expirationTime")),
        expires_in_seconds=_whole(body.get("expiresIn")),
    )


def _unwrapped(payload: Mapping[str, Any]) -> Mapping[str, Any]:
    nested = payload.get("pn_apns")
    return {**payload, **nested} if isinstance(nested, dict) else payload


def _account_id(event: str | None, body: Mapping[str, Any]) -> AccountId:
    """Find the account: in the path, where it stands expanded, else in the body or its first party."""
    in_path = _ACCOUNT.search(event) if event else None
    found = _id(in_path[1]) if in_path and in_path[1] != "~" else None
    if found is None:
        party = next(_mappings(body.get("parties")), {})
        found = _id(body.get("accountId")) or _id(party.get("accountId"))
    return AccountId(found) if found else UNBOUND_ACCOUNT


def _session_ids(about: Mapping[str, Any]) -> tuple[TelephonySessionId | None, SessionId | None]:
    """Return both ids; some senders put the `s-…` id into `sessionId`, and conferences say "0"."""
    telephony_session_id = _id(about.get("telephonySessionId"))
    session_id = _id(about.get("sessionId"))
    if session_id and session_id.startswith("s-"):
        telephony_session_id, session_id = telephony_session_id or session_id, None
    return (
        TelephonySessionId(telephony_session_id) if telephony_session_id else None,
        SessionId(session_id) if session_id and is_alias(session_id) else None,
    )


def _telephony_id(value: Any) -> TelephonySessionId | None:
    found = _id(value)
    return TelephonySessionId(found) if found else None


def _endpoint(value: Any) -> Endpoint:
    if isinstance(value, str):
        return Endpoint(_number(value))
    side = _mapping(value)
    return Endpoint(
        _number(side.get("phoneNumber")) or _number(side.get("extensionNumber")),
        _text(side.get("name")),
        _id(side.get("extensionId")),
    )


def _peer(value: Any) -> Peer:
    linked = _mapping(value)
    telephony_session_id, session_id = _session_ids(linked)
    return Peer(session_id, telephony_session_id, _id(linked.get("partyId")))


def _recordings(value: Any) -> tuple[Announced, ...]:
    announced = []
    for recording in islice(_mappings(value), MAX_RECORDINGS):
        recording_id = _id(recording.get("id"))
        if recording_id:
            announced.append(Announced(recording_id, _flag(recording.get("active"))))
    return tuple(announced)


def _shown_to_user(party: Mapping[str, Any]) -> dict[str, str]:
    info = _mapping(party.get("uiCallInfo"))
    lines = (_mapping(info.get("primary")), _mapping(info.get("additional")))
    pairs = ((_text(line.get("type")), _text(line.get("value"))) for line in lines)
    return {kind: value for kind, value in pairs if kind and value}


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _mappings(value: Any) -> Iterator[Mapping[str, Any]]:
    return (item for item in value if isinstance(item, dict)) if isinstance(value, list) else iter(())


def _id(value: Any) -> str | None:
    return as_text(value)


def _text(value: Any) -> str | None:
    """Return text that a database can hold, None if nothing is left of it."""
    if isinstance(value, int) and not isinstance(value, bool):
        return as_text(value)
    if not isinstance(value, str):
        return None
    return _CONTROL.sub("", value).strip()[: widths.TEXT] or None


def _number(value: Any) -> str | None:
    """Return a phone number, cut to what its columns take."""
    text = _text(value)
    return text[: widths.PHONE_NUMBER] if text else None


def _flag(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def _whole(value: Any) -> int | None:
    """Return a count that fits the int64 of the API description."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 0 <= value < 2**63 else None


def _time(value: Any) -> datetime | None:
    """Read an ISO 8601 time leniently; without a zone it is UTC. Outlandish years are no times."""
    if not isinstance(value, str) or len(value) < len("2026-03-10T18:07"):
        return None
    try:
        when = datetime.fromisoformat(value.strip())
    except ValueError:
        return None
    if not 2000 <= when.year < 2100:
        return None
    return when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)


def _digest(payload: Any) -> str:
    """Name a delivery without `uuid` by its content, so that a repetition has the same name."""
    try:
        text = json.dumps(payload, sort_keys=True, default=str)
    except (TypeError, ValueError, RecursionError):
        text = "".join(_pieces(payload))
    return f"content-{hashlib.sha256(text.encode('utf-8', 'replace')).hexdigest()[:32]}"


def _pieces(payload: Any) -> Iterator[str]:
    """Yield text that differs for different payloads, however deep they are nested."""
    rest = [payload]
    seen: set[int] = set()
    while rest:
        value = rest.pop()
        if id(value) in seen:
            continue
        if isinstance(value, dict | list | tuple):
            seen.add(id(value))
        if isinstance(value, dict):
            yield f"{{{len(value)}"
            for key in sorted(value, key=repr):
                rest += [value[key], key]
        elif isinstance(value, list | tuple):
            yield f"[{len(value)}"
            rest += value
        else:
            yield f",{hex(value) if isinstance(value, int) else value!r}"
