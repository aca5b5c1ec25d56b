"""Reads one notification: its kind, the calls that it is about, and the facts that it states.

Takes parsed JSON of any shape and never raises: what cannot be used becomes `Ignored` with a reason. Does no
input or output and reads no clock.

Facts used: under an account filter, the event path is that of the extension where the party has one. So an
event is known by the shape of its path and never by the filter (published event streams); mobile push nests
the event in `pn_apns` (guide "Notifications").
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any

from app.calls.evidence.facts import EXTENSION_PARTY, Announced, Code, Endpoint, Fact, Peer, Stream
from app.ids import UNBOUND_ACCOUNT, AccountId, SessionId, TelephonySessionId, as_text
from app.values.storable import storable_json
from app.webhooks.payloads.fields import (
    as_count,
    as_endpoint,
    as_flag,
    as_line,
    as_object,
    as_phone_number,
    as_time,
    content_name,
    objects_in,
    session_ids,
)

MAX_CALLS = 100
"""Calls of one presence event that are read; RingCentral lists up to seven."""

MAX_PARTIES = 200
"""Parties of one session event that are read; RingCentral mostly sends one."""

MAX_RECORDINGS = 20
"""Recordings of one party that are read."""

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
    """What the intake needs before it responds. A missing `uuid` is made from the content."""

    uuid: str
    account_id: AccountId
    telephony_session_id: TelephonySessionId | None
    session_id: SessionId | None
    event: str | None
    sent_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class CallKey:
    """The call that a fact belongs to. Old presence events have no `telephonySessionId`.

    `session_id` is never "0". At least one of the two ids is set.
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
    """A change of one telephony session. `left_out` counts the parties beyond `MAX_PARTIES`."""

    uuid: str
    account_id: AccountId
    subscription_id: str | None
    calls: tuple[CallFacts, ...]
    left_out: int = 0


@dataclass(frozen=True, slots=True)
class PresenceEvent:
    """A change of an extension's presence, with its calls. `left_out` counts those beyond `MAX_CALLS`."""

    uuid: str
    account_id: AccountId
    subscription_id: str | None
    extension_id: str | None
    calls: tuple[CallFacts, ...]
    left_out: int = 0


@dataclass(frozen=True, slots=True)
class InsightsEvent:
    """New conversation insights of one recording. `body` is the insights record, made storable."""

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
    """Not used. `reason` is a stable word to count by, `text` a sentence for people."""

    reason: str
    text: str


Notification = TelephonyEvent | PresenceEvent | InsightsEvent | ReminderEvent | Ignored


@dataclass(frozen=True, slots=True)
class _Envelope:
    """A delivery without its wrapping."""

    uuid: str
    event: str | None
    path: str
    sent_at: datetime | None
    subscription_id: str | None
    account_id: AccountId
    body: Mapping[str, Any]
    received_at: datetime


def peek(payload: Any) -> Peek:
    """Return what a delivery is about. Fast, never raises, and agrees with `read_notification`."""
    if not isinstance(payload, dict):
        return Peek(content_name(payload), UNBOUND_ACCOUNT, None, None, None)
    outer = _unwrapped(payload)
    event = as_line(outer.get("event"))
    body = as_object(outer.get("body"))
    about = body if "activeCalls" not in body else next(objects_in(body.get("activeCalls")), body)
    telephony_session_id, session_id = session_ids(about)
    return Peek(
        uuid=as_text(outer.get("uuid")) or content_name(payload),
        account_id=_account_id(event, body),
        telephony_session_id=telephony_session_id or _telephony_id(body.get("sourceSessionId")),
        session_id=session_id,
        event=event,
        sent_at=as_time(outer.get("timestamp")),
    )


def read_notification(payload: Any, received_at: datetime) -> Notification:
    """Decode one delivery that arrived at `received_at` (aware UTC)."""
    if not isinstance(payload, dict):
        return Ignored("not-an-object", "A notification is a JSON object; this is not.")
    envelope = _open_envelope(payload, received_at)
    path, body = envelope.path, envelope.body
    if not body:
        return Ignored("no-body", "The notification has no body.")
    # Without a path, as in some push messages, the shape of the body decides.
    if _TELEPHONY.search(path) or (not path and "parties" in body):
        return _read_telephony(envelope)
    if _PRESENCE.search(path) or (not path and "activeCalls" in body):
        return _read_presence(envelope)
    if _INSIGHTS.search(path):
        return _read_insights(envelope)
    if _REMINDER.search(path):
        return _read_reminder(envelope)
    return Ignored("unknown-event", "No known event filter has this event path.")


def _open_envelope(payload: Mapping[str, Any], received_at: datetime) -> _Envelope:
    outer = _unwrapped(payload)
    event = as_line(outer.get("event"))
    body = as_object(outer.get("body"))
    return _Envelope(
        uuid=as_text(outer.get("uuid")) or content_name(payload),
        event=event,
        path=(event or "").partition("?")[0],
        sent_at=as_time(outer.get("timestamp")),
        subscription_id=as_text(outer.get("subscriptionId")),
        account_id=_account_id(event, body),
        body=body,
        received_at=received_at,
    )


def _read_telephony(envelope: _Envelope) -> TelephonyEvent | Ignored:
    body = envelope.body
    telephony_session_id, session_id = session_ids(body)
    if telephony_session_id is None and session_id is None:
        return Ignored("no-session", "The session event names no session.")
    parties = list(objects_in(body.get("parties")))
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
    telephony_session_id, session_id = session_ids(body)
    status = as_object(party.get("status"))
    ui = _shown_to_user(party)
    extension_id = as_text(party.get("extensionId")) or (_body_extension(envelope) if alone else None)
    direction = as_line(party.get("direction"))
    return Fact(
        source=Stream.TELEPHONY,
        uuid=envelope.uuid,
        part=part,
        received_at=envelope.received_at,
        event_time=as_time(body.get("eventTime")) or envelope.sent_at or envelope.received_at,
        party_id=as_text(party.get("id")) or _made_up_party(extension_id, direction),
        sequence=as_count(body.get("sequence")),
        session_id=session_id,
        telephony_session_id=telephony_session_id,
        origin=as_line(as_object(body.get("origin")).get("type")),
        account_id=as_text(party.get("accountId")) or as_text(body.get("accountId")),
        extension_id=extension_id,
        direction=direction,
        from_=as_endpoint(party.get("from")),
        to=as_endpoint(party.get("to")),
        code=as_line(status.get("code")),
        reason=as_line(status.get("reason")),
        peer=_peer(status.get("peerId")),
        park_id=as_text(as_object(party.get("park")).get("id")),
        queue_call=as_flag(party.get("queueCall")),
        missed_call=as_flag(party.get("missedCall")),
        conference_role=as_line(party.get("conferenceRole")),
        ring_out_role=as_line(party.get("ringOutRole")),
        park_data=as_line(status.get("parkData")),
        on_behalf_of=_on_behalf_of(party.get("onBehalfOf")),
        recordings=_recordings(party.get("recordings")),
        queue_name=ui.get("QueueName"),
        caller_name=ui.get("CallerIdName"),
    )


def _body_extension(envelope: _Envelope) -> str | None:
    """Return the extension id of the body if the path has the same.

    Only then it is the party's: otherwise it may be the subscriber's.
    """
    extension_id = as_text(envelope.body.get("extensionId"))
    in_path = _EXTENSION.search(envelope.path)
    return extension_id if in_path and in_path[1] == extension_id else None


def _made_up_party(extension_id: str | None, direction: str | None) -> str:
    return f"{EXTENSION_PARTY}{extension_id}" if extension_id else f"side:{direction or 'unknown'}"


def _read_presence(envelope: _Envelope) -> PresenceEvent | Ignored:
    in_path = _EXTENSION.search(envelope.path)
    extension_id = as_text(envelope.body.get("extensionId")) or (as_text(in_path[1]) if in_path else None)
    calls: list[CallFacts] = []
    left_out = 0
    for part, entry in enumerate(objects_in(envelope.body.get("activeCalls"))):
        telephony_session_id, session_id = session_ids(entry)
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
    telephony_session_id, session_id = session_ids(entry)
    inbound = (as_line(entry.get("direction")) or "").lower() == "inbound"
    this_side = Endpoint(extension_id=extension_id)
    from_ = Endpoint(as_phone_number(entry.get("from")), as_line(entry.get("fromName")))
    to = Endpoint(as_phone_number(entry.get("to")), as_line(entry.get("toName")))
    shown = _shown_to_user(entry)
    return Fact(
        source=Stream.PRESENCE,
        uuid=envelope.uuid,
        part=part,
        received_at=envelope.received_at,
        event_time=envelope.sent_at or envelope.received_at,
        party_id=as_text(entry.get("partyId")) or f"{EXTENSION_PARTY}{extension_id or 'unknown'}",
        sequence=as_count(envelope.body.get("sequence")),
        session_id=session_id,
        telephony_session_id=telephony_session_id,
        account_id=None,
        extension_id=extension_id,
        direction=as_line(entry.get("direction")),
        from_=from_ if inbound else from_.or_else(this_side),
        to=to.or_else(this_side) if inbound else to,
        code=_presence_code(entry),
        park_data=as_line(entry.get("parkData")),
        on_behalf_of=_on_behalf_of(entry.get("onBehalfOf")),
        queue_call=as_flag(entry.get("queueCall")),
        queue_name=shown.get("QueueName"),
        caller_name=shown.get("CallerIdName"),
        started_at=as_time(entry.get("startTime")),
    )


def _presence_code(entry: Mapping[str, Any]) -> str | None:
    """Translate a presence entry's state into that of the session stream.

    `NoCall` ends the call of this extension. Some payloads lack `terminationType`; only `intermediate`, which
    is deprecated, says that the call goes on.
    """
    status = as_line(entry.get("telephonyStatus"))
    if status == "NoCall":
        return None if entry.get("terminationType") == "intermediate" else Code.DISCONNECTED
    return _PRESENCE_CODES.get(status, status) if status else None


def _read_insights(envelope: _Envelope) -> InsightsEvent:
    body = envelope.body
    return InsightsEvent(
        uuid=envelope.uuid,
        account_id=envelope.account_id,
        telephony_session_id=_telephony_id(body.get("sourceSessionId")),
        recording_id=as_text(body.get("sourceRecordId")),
        last_modified_at=as_time(body.get("lastModifiedTime")),
        body=storable_json(body),
    )


def _read_reminder(envelope: _Envelope) -> ReminderEvent:
    body = envelope.body
    return ReminderEvent(
        uuid=envelope.uuid,
        account_id=envelope.account_id,
        subscription_id=as_text(body.get("id")) or envelope.subscription_id,
        status=as_line(body.get("status")),
        expires_at=as_time(body.get("expirationTime")),
        expires_in_seconds=as_count(body.get("expiresIn")),
    )


def _unwrapped(payload: Mapping[str, Any]) -> Mapping[str, Any]:
    nested = payload.get("pn_apns")
    return {**payload, **nested} if isinstance(nested, dict) else payload


def _account_id(event: str | None, body: Mapping[str, Any]) -> AccountId:
    """Return the account that the path names, unless it is `~`; else that of the body or its first party."""
    in_path = _ACCOUNT.search(event) if event else None
    found = as_text(in_path[1]) if in_path and in_path[1] != "~" else None
    if found is None:
        party = next(objects_in(body.get("parties")), {})
        found = as_text(body.get("accountId")) or as_text(party.get("accountId"))
    return AccountId(found) if found else UNBOUND_ACCOUNT


def _telephony_id(value: Any) -> TelephonySessionId | None:
    found = as_text(value)
    return TelephonySessionId(found) if found else None


def _peer(value: Any) -> Peer:
    linked = as_object(value)
    telephony_session_id, session_id = session_ids(linked)
    return Peer(session_id, telephony_session_id, as_text(linked.get("partyId")))


def _recordings(value: Any) -> tuple[Announced, ...]:
    announced = []
    for recording in islice(objects_in(value), MAX_RECORDINGS):
        recording_id = as_text(recording.get("id"))
        if recording_id:
            announced.append(Announced(recording_id, as_flag(recording.get("active"))))
    return tuple(announced)


def _on_behalf_of(value: Any) -> str | None:
    """Return for whom an assistant acts: an extension id or a name, or an object that has one."""
    named = as_object(value)
    return as_text(named.get("extensionId")) or as_line(named.get("name")) or as_line(value)


def _shown_to_user(party: Mapping[str, Any]) -> dict[str, str]:
    """Return the names that a phone shows, by type: QueueName, CallerIdName.

    Session events have them in `uiCallInfo`, presence in `callInfo`, one object or several.
    """
    info, entries = as_object(party.get("uiCallInfo")), party.get("callInfo")
    listed = objects_in(entries) if isinstance(entries, list) else (as_object(entries),)
    lines = [as_object(info.get("primary")), as_object(info.get("additional")), *islice(listed, 8)]
    lines += [as_object(as_object(entries).get(name)) for name in ("primary", "additional")]
    pairs = ((as_line(line.get("type")), as_line(line.get("value"))) for line in lines)
    return {kind: value for kind, value in pairs if kind and value}
