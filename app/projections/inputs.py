"""The inputs about a call that mappings use, and what is doubtful about them. Pure.

They are derived from the call as the API shows it, with the notes of its conversation, so a projection never
says anything that these do not: `from` and `to`, who owns it, how long it lasted.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, tzinfo
from enum import StrEnum
from typing import Any, Literal
from uuid import UUID, uuid5

from app.calls.model import Outcome, Stage
from app.projections.mappings.model import IN_A_MENU, IN_A_QUEUE
from app.projections.rendering.notes import notes_of
from app.projections.rendering.texts import one_line

Json = Mapping[str, Any]
DurationOf = Literal["call", "talk"]

_GUIDS = UUID("6f0b6a52-3a2c-5a0e-9d0b-6f3c1e8a7d41")
"""The namespace of the GUIDs of calls. Changing it would create every call again."""

UNANSWERED = frozenset(
    {Outcome.MISSED, Outcome.ABANDONED, Outcome.BUSY, Outcome.NO_ANSWER, Outcome.REJECTED, Outcome.BLOCKED,
     Outcome.FAILED}
)  # fmt: skip
"""Outcomes of calls that nobody answered, neither a person nor a voicemail box."""

_TITLES: Mapping[str, tuple[str, str]] = {
    Outcome.MISSED: ("Missed call from", "Unanswered call to"),
    Outcome.VOICEMAIL: ("Voicemail from", "Call to"),
    Outcome.ABANDONED: ("Abandoned call from", "Unanswered call to"),
    Outcome.BUSY: ("Missed call from", "Unanswered call to"),
    Outcome.NO_ANSWER: ("Missed call from", "Unanswered call to"),
    Outcome.REJECTED: ("Rejected call from", "Unanswered call to"),
    Outcome.BLOCKED: ("Blocked call from", "Blocked call to"),
    Outcome.FAILED: ("Failed call from", "Failed call to"),
}
"""The beginning of a title: inbound, outbound."""


class WarningCode(StrEnum):
    """What is doubtful about a projection, or left out of it."""

    OWNER_UNKNOWN = "owner-unknown"
    OWNER_ASSUMED = "owner-assumed"
    CONTACT_UNKNOWN = "contact-unknown"
    DURATION_ESTIMATED = "duration-estimated"
    DURATION_ROUNDED = "duration-rounded"
    TIME_ZONE_UNKNOWN = "time-zone-unknown"
    SHORTENED = "shortened"
    VALUE_LEFT_OUT = "value-left-out"
    NOTES_LEFT_OUT = "notes-left-out"
    RECORDING_LEFT_OUT = "recording-left-out"
    NO_RECORD = "no-record"
    MAY_CHANGE = "may-change"


_NO_CONTACT = (WarningCode.CONTACT_UNKNOWN, "Contact unknown: the call shows no outside number")


@dataclass(frozen=True, slots=True)
class Context:
    """What a projection needs beside the call.

    `zone_known`: the zone was given, or is the owner's. `linked_crm`: the name of the links that count as
    written, if it is not that of the CRM.
    """

    zone: tzinfo
    zone_known: bool = True
    duration_of: DurationOf = "call"
    recording_url: str | None = None
    app_id: str | None = None
    linked_crm: str | None = None


@dataclass(frozen=True, slots=True)
class Inputs:
    """Inputs by the names of `INPUT_TYPES`, None if unknown; and doubts by the input that they are about."""

    values: Mapping[str, Any]
    doubts: Mapping[str, tuple[WarningCode, str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose call it is; `person` is an item of `agents`."""

    person: Json | None
    doubt: tuple[WarningCode, str] | None


def derive_inputs(call: Json, context: Context) -> Inputs:
    """Return the inputs about a call, an object as `views` makes it."""
    owner = owner_of(call)
    person = owner.person or {}
    outside = _outside(call)
    number = call["externalNumber"]
    name = one_line(outside.get("name") or "") or None
    duration, doubt = _duration(call, context.duration_of)
    start = datetime.fromisoformat(call["startTime"])
    doubts = {
        "ownerEmail": owner.doubt,
        "duration": doubt,
        "externalNumber": None if number else _NO_CONTACT,
    }
    values = {
        "callId": call["id"],
        "guid": str(uuid5(_GUIDS, call["id"])),
        "accountId": call["accountId"],
        "sessionId": call["sessionId"],
        "title": _title(call, name or number or "an unknown number"),
        "notes": notes_of(call, Outcome(call["outcome"]).words, context.recording_url),
        **_choices(call),
        "disposition": _disposition(call),
        "startTime": start,
        "answerTime": _time(call["answerTime"]),
        "endTime": _end(call, start),
        "duration": duration,
        "talkSeconds": call["talkSeconds"],
        "holdSeconds": call["holdSeconds"],
        "fromNumber": _number(call["from"], number if call["direction"] == "Inbound" else None),
        "toNumber": _number(call["to"], number if call["direction"] == "Outbound" else None),
        "externalNumber": number,
        "externalName": name,
        "ownerEmail": person.get("email"),
        "ownerName": person.get("name"),
        "ownerExtensionId": person.get("extensionId"),
        "queueName": one_line(call["queueName"] or "") or None,
        "leftVoicemail": call["outcome"] == Outcome.VOICEMAIL,
        "recordingUrl": context.recording_url,
        "appId": context.app_id,
    }
    return Inputs(values, {key: doubt for key, doubt in doubts.items() if doubt is not None})


def owner_of(call: Json) -> Owner:
    """Return whose call it is: the agent, or else the only person whose phone rang."""
    person = call["agent"]
    rang = [one for one in call["agents"] if one["role"] == "rang"]
    if person is None and len(rang) == 1:
        (person,) = rang
    if person is None:
        return Owner(None, (WarningCode.OWNER_UNKNOWN, "Owner unknown: nobody of the company answered"))
    who = _who(person)
    if not person.get("email"):
        return Owner(person, (WarningCode.OWNER_UNKNOWN, f"Owner unknown: {who} has no e-mail"))
    if call["agent"] is None:
        assumed = f"Nobody answered: {who} is the only person whose phone rang"
        return Owner(person, (WarningCode.OWNER_ASSUMED, assumed))
    return Owner(person, None)


def _who(person: Json) -> str:
    if number := person.get("extensionNumber"):
        return f"extension {number}"
    return str(person.get("name") or person.get("extensionId") or "a person without an extension")


def _outside(call: Json) -> Json:
    return call["to" if call["direction"] == "Outbound" else "from"] or {}


def _number(side: Json | None, known: str | None) -> str | None:
    """Return the number of a side in E.164, or else its extension."""
    side = side or {}
    number = side.get("phoneNumber")
    if isinstance(number, str) and number.startswith("+"):
        return number
    return known or side.get("extensionNumber")


def _choices(call: Json) -> dict[str, str | None]:
    direction, outcome = call["direction"], call["outcome"]
    known = direction if direction in ("Inbound", "Outbound") else None
    is_missed = known == "Inbound" and (outcome in UNANSWERED or outcome == Outcome.VOICEMAIL)
    place = IN_A_QUEUE if call["queueName"] else IN_A_MENU
    return {
        "direction": known,
        "directionOrMissed": "Missed" if is_missed else known,
        "directionOrInternal": "Internal" if call["internal"] else known,
        "outcome": outcome,
        "outcomeAndPlace": place if outcome == Outcome.ABANDONED else outcome,
    }


def _disposition(call: Json) -> str:
    chosen = call["disposition"] or {}
    return one_line(chosen.get("label") or chosen.get("code") or "") or Outcome(call["outcome"]).words


def _title(call: Json, whom: str) -> str:
    inbound, outbound = _TITLES.get(call["outcome"], ("Call from", "Call to"))
    words = {"Inbound": inbound, "Outbound": outbound}
    return f"{words.get(call['direction'], 'Call with')} {whom}"


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _end(call: Json, start: datetime) -> datetime | None:
    end = _time(call["endTime"])
    if end is None and call["duration"] is not None:
        end = start + timedelta(seconds=call["duration"])
    # The clock of an event can be behind that of another.
    return None if end is None else max(start, end)


def _duration(call: Json, of: DurationOf) -> tuple[float | None, tuple[WarningCode, str] | None]:
    """Return the seconds that the CRM is to count as a conversation; docs/projections.md has the rule."""
    if call["outcome"] in UNANSWERED:
        return 0, None
    why = ""
    if of == "talk":
        if call["talkSeconds"] is not None:
            return call["talkSeconds"], None
        why = "Talk time is unknown: this is the duration of the whole call"
    seconds = call["duration"]
    if seconds is None and call["endTime"] and call["stage"] != Stage.LIVE:
        start, end = datetime.fromisoformat(call["startTime"]), datetime.fromisoformat(call["endTime"])
        seconds = max(0.0, (end - start).total_seconds())
        why = "There is no record yet: the duration is measured from events"
    return seconds, (WarningCode.DURATION_ESTIMATED, why) if why and seconds is not None else None
