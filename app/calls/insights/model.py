"""The insights of a call, as the API shows them. No I/O.

RingCentral has one object per recording (guide "Conversation insights"): its speakers, and under `insights` a
list per kind. A kind is present only if it was produced. `Highlights` is also spelled `HighLights`, `AIScore`
is a number in a string, and `Sentiment` is a word without a score or a confidence. There may be new kinds and
words.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from app.calls.attachments.rules.labels import Label, read_label
from app.values.times import time_text

Json = dict[str, Any]

SOURCE = "ringsense"
"""The source of RingCentral's own sentiment."""

KINDS: Mapping[str, str] = {
    "transcript": "transcript",
    "summary": "summary",
    "bulletedsummary": "bulletedSummary",
    "highlights": "highlights",
    "nextsteps": "nextSteps",
    "callnotes": "callNotes",
    "aiscore": "aiScore",
    "sentiment": "sentiment",
}
"""Our names of the known kinds, by RingCentral's names in lower case."""

_EARLIEST = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """The insights of one recording at one time. Times are aware UTC."""

    telephony_session_id: str | None
    recording_id: str | None
    last_modified_at: datetime | None
    raw: Mapping[str, Any]

    @property
    def source_id(self) -> str:
        """The id of the recording, or of the session, that the insights belong to."""
        return self.recording_id or self.telephony_session_id or ""


def is_newer(one: Version, other: Version) -> bool:
    """Whether `one` replaces `other`: it was changed later, or it has more kinds. Never true both ways."""
    return _weight(one) > _weight(other)


def _weight(version: Version) -> tuple[datetime, int, str]:
    text = json.dumps(version.raw, sort_keys=True, default=str)
    return (version.last_modified_at or _EARLIEST, len(_kinds(version.raw)), text)


@dataclass(frozen=True, slots=True)
class Mood:
    """The sentiment of a call: our label, and RingCentral's own words."""

    label: Label
    original: Any


def read_mood(raws: Iterable[Mapping[str, Any]]) -> Mood | None:
    """Return the sentiment of a call from all its recordings; None if no word matches a label.

    Positive and negative together are mixed; neutral counts only alone.
    """
    words = [word for raw in raws for item in _kinds(raw).get("sentiment", ()) if (word := _word(item))]
    labels = {label for word in words if (label := _label(word))}
    if not labels:
        return None
    if Label.MIXED in labels or {Label.POSITIVE, Label.NEGATIVE} <= labels:
        label = Label.MIXED
    else:
        label = next(iter(labels - {Label.NEUTRAL}), Label.NEUTRAL)
    return Mood(label, words[0] if len(words) == 1 else words)


def _label(word: str) -> Label | None:
    try:
        return read_label(word, None)
    except ValueError:
        return None


def show(version: Version, parties: Sequence[Mapping[str, Any]], fetched_at: datetime, source: str) -> Json:
    """Return the insights of one recording as the API shows them. Items have RingCentral's own fields."""
    raw = version.raw
    kinds = _kinds(raw)
    known = {ours: kinds.get(ours, []) for ours in KINDS.values() if ours not in {"aiScore", "sentiment"}}
    mood = read_mood([raw])
    return {
        "recordingId": version.recording_id,
        "telephonySessionId": version.telephony_session_id,
        "title": _text(raw.get("title")),
        "recordingStartTime": _text(raw.get("recordingStartTime")),
        "recordingDuration": _seconds(raw.get("recordingDurationMs")),
        "creationTime": _text(raw.get("creationTime")),
        "lastModifiedTime": time_text(version.last_modified_at),
        "fetchedAt": time_text(fetched_at),
        "source": source,
        "speakers": read_speakers(raw.get("speakerInfo"), parties),
        **known,
        "aiScore": next(
            (number for item in kinds.get("aiScore", ()) if (number := _number(item)) is not None), None
        ),
        "sentiment": mood.label.value if mood else None,
        "sentimentWords": [word for item in kinds.get("sentiment", ()) if (word := _word(item))],
        "otherInsights": {name: kinds[name] for name in sorted(kinds.keys() - set(KINDS.values()))},
    }


def read_speakers(listed: Any, parties: Sequence[Mapping[str, Any]]) -> list[Json]:
    """Return the speakers, each with its party of the call if exactly one matches."""
    speakers = [item for item in listed if isinstance(item, Mapping)] if isinstance(listed, list) else []
    return [
        {
            "speakerId": _text(item.get("speakerId")),
            "name": _text(item.get("name")),
            "extensionId": _text(item.get("extensionId")),
            "phoneNumber": _text(item.get("phoneNumber")),
            "partyId": _party_of(item, parties),
        }
        for item in speakers
    ]


def _party_of(speaker: Mapping[str, Any], parties: Sequence[Mapping[str, Any]]) -> str | None:
    """Find the speaker's party: by extension, then by number, then by its position in the session (`P-2`)."""
    extension_id, number = _text(speaker.get("extensionId")), _text(speaker.get("phoneNumber"))
    if extension_id:
        # A colleague may have several parties; the one that answered speaks.
        found = [party for party in parties if party.get("extensionId") == extension_id]
        return _only([party for party in found if party.get("answeredAt")] or found)
    if number:
        outside = [party for party in parties if not party.get("extensionId")]
        found = [party for party in outside if _own_side(party).get("phoneNumber") == number]
        if found:
            return _only(found)
    # Speaker ids look like party ids, or have only the last part of one.
    name = (_text(speaker.get("speakerId")) or "").casefold()
    place = name.rpartition("-")[2]
    by_name = [party for party in parties if str(party.get("id", "")).casefold() == name]
    by_place = [
        party
        for party in parties
        if place.isdigit()
        and str(party.get("id", "")).rpartition("-")[2] == place
        and not party.get("extensionId")
    ]
    return _only(by_name or by_place)


def _own_side(party: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a party's own side. The caller's party is Outbound, whatever the direction of the call."""
    side = party.get("from" if str(party.get("direction", "")).lower() == "outbound" else "to")
    return side if isinstance(side, Mapping) else {}


def _only(found: Sequence[Mapping[str, Any]]) -> str | None:
    return _text(found[0].get("id")) if len(found) == 1 else None


def _kinds(raw: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Return the kinds of insight: known kinds under our names, others under RingCentral's."""
    insights = raw.get("insights")
    if not isinstance(insights, Mapping):
        return {}
    found: dict[str, list[Any]] = {}
    for name, items in insights.items():
        ours = KINDS.get(str(name).casefold(), str(name))
        listed = items if isinstance(items, list) else [items]
        kept = [item for item in listed if isinstance(item, Mapping)] if ours in KINDS.values() else listed
        if kept:
            found.setdefault(ours, []).extend(kept)
    return found


def _word(item: Mapping[str, Any]) -> str | None:
    return _text(item.get("value"))


def _number(item: Mapping[str, Any]) -> float | None:
    try:
        number = float(str(item.get("value")))
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _seconds(milliseconds: Any) -> float | None:
    number = _number({"value": milliseconds})
    return None if number is None else number / 1000


def _text(value: Any) -> str | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value if isinstance(value, str) and value else None
