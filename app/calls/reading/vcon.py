"""A call as a vCon (draft-ietf-vcon-vcon-core-03, syntax 0.4.0). Pure.

Parties are the two sides and the people of the company; dialogs are the recordings and the voicemail, by
reference; analyses are insights and sentiments; attachments are notes, and the call's own ids and outcome.
The draft asks for a hash beside each reference. RingCentral has none, so there is none.
"""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID, uuid5

from app.calls.model import Outcome

MEDIA_TYPE = "application/vcon+json"

Json = dict[str, Any]

_CALLS = UUID("b1f6f7a4-6a53-5c0f-9a0e-3d6b5c2f8e17")
"""The namespace of the ids. Changing it would make every vCon another one."""

_DISPOSITIONS: Mapping[str, str] = {
    Outcome.MISSED: "no-answer",
    Outcome.NO_ANSWER: "no-answer",
    Outcome.ABANDONED: "hung-up",
    Outcome.BUSY: "busy",
    Outcome.REJECTED: "no-answer",
    Outcome.BLOCKED: "failed",
    Outcome.FAILED: "failed",
    Outcome.VOICEMAIL: "voicemail-no-message",
}
"""Why nobody talked, in the words of the draft."""

_OF_THE_CALL = (
    "id", "accountId", "sessionId", "telephonySessionId", "version", "stage", "direction", "internal",
    "outcome", "result", "externalNumber", "queueName", "conversation", "startTime", "answerTime", "endTime",
    "duration", "talkSeconds", "disposition", "links",
)  # fmt: skip

_OF_A_SENTIMENT = ("label", "score", "confidence")


def vcon_of(call: Json, insights: Sequence[Json], public_url: str | None) -> Json:
    """Return the vCon of a call and its insights, both as the API shows them.

    Each version of a call is a vCon of its own. `public_url`: of this service; only an address with https can
    be referred to.
    """
    parties, sides = _parties(call)
    base = public_url.rstrip("/") if public_url and public_url.startswith("https://") else None
    dialogs, recorded = _dialogs(call, sides, base)
    service = len(parties)
    attachments = [_attachment(note, service) for note in call["notes"]]
    attachments.append(
        {
            "purpose": "call",
            "start": call["updatedAt"],
            "party": service,
            "dialog": 0,
            "mediatype": "application/json",
            "encoding": "json",
            "body": {name: call[name] for name in _OF_THE_CALL},
        }
    )
    return {
        "vcon": "0.4.0",
        "uuid": str(uuid5(_CALLS, f"{call['id']}:{call['version']}")),
        "created_at": call["updatedAt"],
        "subject": _subject(call),
        "parties": [*parties, {"name": "Aftercall", "type": "bot"}],
        "dialog": dialogs,
        "analysis": [*_of_insights(insights, recorded), *_of_sentiments(call), *_of_voicemail(call, dialogs)],
        "attachments": attachments,
    }


def _subject(call: Json) -> str:
    side = call["to"] if call["direction"] == "Outbound" else call["from"]
    whom = (side or {}).get("name") or call["externalNumber"] or "an unknown number"
    return f"Call {'to' if call['direction'] == 'Outbound' else 'from'} {whom}"


def _parties(call: Json) -> tuple[list[Json], list[int]]:
    """Return the parties, and the places of the caller and of those who were called or took part."""
    found: list[Json] = []
    places: dict[str, int] = {}
    agents = {one["extensionId"]: one for one in call["agents"] if one["extensionId"]}
    for side in (call["from"], call["to"]):
        agent = agents.get((side or {}).get("extensionId"), {})
        found.append(_party(side or {}, agent))
        if agent:
            places[agent["extensionId"]] = len(found) - 1
    found += [_party({}, agent) for agent in call["agents"] if agent["extensionId"] not in places]
    return found, list(range(len(found)))


def _party(side: Json, agent: Json) -> Json:
    number = side.get("phoneNumber") or ""
    shown = {
        "tel": number if number.startswith("+") else None,
        "name": agent.get("name") or side.get("name"),
        "mailto": agent.get("email"),
        "type": "person" if agent else None,
    }
    return {name: value for name, value in shown.items() if value}


def _dialogs(call: Json, sides: list[int], base: str | None) -> tuple[list[Json], dict[str, int]]:
    """Return the dialogs, of which there is at least one, and the place of each recording."""
    shared = {"start": call["answerTime"] or call["startTime"], "parties": sides}
    voicemail = call["voicemail"]
    media = [(one, shared) for one in call["recordings"]]
    if voicemail is not None:
        media.append((voicemail, shared | {"parties": 0}))
    found = [_recording(one, shown, base) for one, shown in media]
    places = {one["id"]: place for place, one in enumerate(call["recordings"])}
    if not found and call["outcome"] in _DISPOSITIONS:
        start = {"start": call["startTime"], "parties": sides}
        found.append({"type": "incomplete", **start, "disposition": _DISPOSITIONS[call["outcome"]]})
    elif not found:
        duration = {} if call["duration"] is None else {"duration": call["duration"]}
        found.append({"type": "recording", **shared, **duration})
    return found, places


def _recording(media: Json, shared: Json, base: str | None) -> Json:
    shown = {"type": "recording", **shared}
    if media["duration"] is not None:
        shown["duration"] = media["duration"]
    if media["contentType"]:
        shown["mediatype"] = media["contentType"]
    if base is not None and media["contentUrl"]:
        shown["url"] = f"{base}{media['contentUrl']}"
    return shown


def _of_insights(insights: Sequence[Json], recorded: Mapping[str, int]) -> list[Json]:
    return [
        _analysis(kind, "RingCentral", one[name], recorded.get(one["recordingId"] or ""))
        for one in insights
        for kind, name in (("transcript", "transcript"), ("summary", "summary"), ("report", "nextSteps"))
        if one[name]
    ]


def _of_sentiments(call: Json) -> list[Json]:
    return [
        _analysis(
            "sentiment", one["source"], {key: one[key] for key in ("label", "score", "confidence")}, None
        )
        for one in call["sentiments"]
    ]


def _of_voicemail(call: Json, dialogs: Sequence[Json]) -> list[Json]:
    transcript = (call["voicemail"] or {}).get("transcript")
    if not transcript:
        return []
    return [_analysis("transcript", "RingCentral", {"text": transcript}, len(dialogs) - 1)]


def _analysis(kind: str, vendor: str, body: Any, dialog: int | None) -> Json:
    return {
        "type": kind,
        "dialog": 0 if dialog is None else dialog,
        "vendor": vendor,
        "mediatype": "application/json",
        "encoding": "json",
        "body": body,
    }


def _attachment(note: Json, party: int) -> Json:
    is_html = note["format"] == "html"
    return {
        "purpose": "note",
        "start": note["createdAt"],
        "party": party,
        "dialog": 0,
        "mediatype": "text/html" if is_html else "text/plain",
        "encoding": "none",
        "body": note["text"],
    }
