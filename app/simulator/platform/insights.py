"""The conversation insights of recorded calls, as RingSense shows them. No I/O.

As with the real product, kept recordings are analysed about half an hour after their end (guide "Conversation
insights"). If the account takes notes, a second version with more insights follows the first.
"""

import random
from collections.abc import Sequence
from datetime import datetime

from app.simulator.platform.calls import CallStore
from app.simulator.platform.views import iso
from app.simulator.scripting.model import Json, Record, Recording, ScriptedCall
from app.simulator.timing import Timing

DOMAIN = "pbx"
KINDS = (
    "Transcript",
    "Summary",
    "BulletedSummary",
    "Highlights",
    "NextSteps",
    "AIScore",
    "CallNotes",
    "Sentiment",
)
_NOTE_KINDS = frozenset({"BulletedSummary", "CallNotes", "NextSteps"})
_STORIES = (
    ("an invoice", "Send the invoice", "Positive", 8),
    ("a delivery date", "Confirm the date", "Neutral", 6),
    ("a broken teapot", "Replace the teapot", "Negative", 3),
)


def analysed_at(record: Record, recording: Recording, timing: Timing, *, notes: bool) -> list[datetime]:
    """Return when each version of a recording's insights appears, in order."""
    first = record.after(recording.ended_at, timing.insights_delay)
    return [first, record.after(first, timing.insights_notes_delay)] if notes else [first]


def show_insights(
    call: ScriptedCall, recording: Recording, versions: Sequence[datetime], now: datetime, platform: str
) -> Json | None:
    """Return the insights of a recording at this time, or None before the first version."""
    reached = [moment for moment in versions if moment <= now]
    if not reached:
        return None
    speakers = _speakers(call, recording)
    whole = _write(recording, speakers)
    is_first_of_two = len(versions) == 2 and len(reached) == 1
    insights = {name: whole[name] for name in KINDS if not (is_first_of_two and name in _NOTE_KINDS)}
    return {
        "title": " and ".join(str(speaker["name"]) for speaker in speakers),
        "domain": DOMAIN,
        "sourceSessionId": recording.telephony_session_id,
        "sourceRecordId": recording.id,
        "callDirection": _direction(call, recording),
        "ownerExtensionId": recording.extension_id,
        "recordingDurationMs": round(recording.seconds * 1000),
        "recordingStartTime": iso(recording.started_at),
        "creationTime": iso(reached[0]),
        "lastModifiedTime": iso(reached[-1]),
        "rsRecordUri": f"{platform}/ringsense/records/{recording.id}",
        "speakerInfo": speakers,
        "insights": insights,
    }


def only_kinds(shown: Json, kinds: Sequence[str]) -> Json:
    """Keep the requested kinds only; a request that names none gets all kinds."""
    if not kinds:
        return shown
    insights = {name: value for name, value in shown["insights"].items() if name in kinds}
    return shown | {"insights": insights}


def find_insights(
    store: CallStore, recording_id: str, now: datetime, platform: str, *, notes: bool
) -> Json | None:
    """Return the insights of a recording, None if it is unknown, purged or not analysed yet."""
    known = store.recording(recording_id)
    if known is None:
        return None
    versions = analysed_at(known.record, known.recording, store.timing, notes=notes)
    call = store.call_of_session(known.recording.telephony_session_id)
    return None if call is None else show_insights(call, known.recording, versions, now, platform)


def _speakers(call: ScriptedCall, recording: Recording) -> list[Json]:
    """Return the party that was recorded and the first party on the other side."""
    parties: dict[str, Json] = {}
    for event in call.events:
        if event.session.telephony_session_id == recording.telephony_session_id:
            parties.setdefault(event.party["id"], event.party)
    # Of several parties of the extension the last one was recorded, for example after a park.
    own = [one for one in parties.values() if one.get("extensionId") == recording.extension_id]
    others = [one for one in parties.values() if one.get("extensionId") != recording.extension_id]
    outside = [one for one in others if "extensionId" not in one] or others
    return [_speaker(party) for party in (*own[-1:], *outside[:1])]


def _speaker(party: Json) -> Json:
    side = party["from" if party["direction"] == "Outbound" else "to"]
    extension_id = party.get("extensionId")
    shown: Json = {
        "speakerId": f"P-{party['id'].rpartition('-')[2]}",
        "name": side.get("name") or side.get("phoneNumber", "Unknown"),
        "accountId": party["accountId"] if extension_id else None,
        "extensionId": extension_id,
    }
    return shown if extension_id else shown | {"phoneNumber": side.get("phoneNumber")}


def _direction(call: ScriptedCall, recording: Recording) -> str:
    own = [event.party for event in call.events if event.extension_id == recording.extension_id]
    return "Outbound" if own and own[0]["direction"] == "Outbound" else "Inbound"


def _write(recording: Recording, speakers: Sequence[Json]) -> Json:
    """Invent the content of a conversation; the same recording always has the same content."""
    about, step, sentiment, score = random.Random(recording.id).choice(_STORIES)
    ours, theirs = speakers[0]["speakerId"], speakers[-1]["speakerId"]
    end = round(recording.seconds, 1)
    turn = round(recording.seconds / 4, 1)
    return {
        "Transcript": [
            {"speakerId": ours, "text": "Good morning, Northwind Tea.", "start": 0.2, "end": turn},
            {"speakerId": theirs, "text": f"I am calling about {about}.", "start": turn, "end": end},
        ],
        "Summary": [{"value": f"The customer asked about {about}.", "start": 0, "end": end}],
        "BulletedSummary": [{"value": f"Asked about {about}", "section": "Topics"}],
        "Highlights": [{"speakerId": theirs, "value": about, "start": turn, "end": end}],
        "NextSteps": [{"value": step}],
        "AIScore": [{"value": str(score)}],
        "CallNotes": [{"value": f"Called about {about}."}],
        "Sentiment": [{"value": sentiment}],
    }
