"""The attachments that the demo's CRM adds to a call, and when. No I/O."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

Json = dict[str, Any]
SOURCE = "demo-crm"
_DIALLED = frozenset({"outbound_answered", "outbound_busy", "outbound_no_answer"})


class When(StrEnum):
    """When an attachment is sent, relative to the call."""

    BEFORE = "before"
    """The CRM dials and attaches the reason; the service does not know the call yet."""
    DURING = "during"
    """The call is in progress and has no record."""
    AFTER = "after"
    """The call has its record."""


class NoteKind(StrEnum):
    NOTE = "note"
    SENTIMENT = "sentiment"
    DISPOSITION = "disposition"


@dataclass(frozen=True, slots=True)
class Attachment:
    """One attachment. `key` is the external id of a note or the source of a sentiment."""

    kind: NoteKind
    when: When
    key: str
    body: Json


def attachments_before(script: str, session_id: str) -> Sequence[Attachment]:
    """Return the attachments before the first event: a reason, for calls that the CRM dials."""
    if script not in _DIALLED:
        return ()
    return (_note(When.BEFORE, session_id, _pick(_REASONS, session_id)),)


def attachments_during(session_id: str) -> Sequence[Attachment]:
    """Return the attachments during the call: those of every second agent and of a live coach."""
    if _chance(session_id) % 2:
        return ()
    score = (_chance(session_id) % 13 - 4) / 10
    return (
        _note(When.DURING, session_id, _pick(_LIVE_NOTES, session_id)),
        _sentiment(When.DURING, "demo-live-coach", score),
    )


def attachments_after(session_id: str, outcome: str) -> Sequence[Attachment]:
    """Return the attachments after the record, which depend on the outcome of the call."""
    if outcome not in {"answered", "voicemail"}:
        body = {"code": "callback", "label": "Call back", "author": "Demo CRM"}
        return (Attachment(NoteKind.DISPOSITION, When.AFTER, "disposition", body),)
    score = (_chance(session_id) % 17 - 6) / 10
    mood = "positive" if score > 0.2 else "negative" if score < -0.2 else "neutral"
    return (
        _note(When.AFTER, session_id, _pick(_SUMMARIES[mood], session_id)),
        _sentiment(When.AFTER, "demo-listener", score),
    )


def is_attached(attachment: Attachment, call: Json) -> bool:
    """Whether a call of the API has the attachment exactly once, with the content that was sent."""
    if attachment.kind is NoteKind.DISPOSITION:
        return bool((call["disposition"] or {}).get("code") == attachment.body["code"])
    is_note = attachment.kind is NoteKind.NOTE
    listed, key, content = ("notes", "externalId", "text") if is_note else ("sentiments", "source", "score")
    found = [one[content] for one in call[listed] if one[key] == attachment.key]
    return found == [attachment.body[content]]


def _note(when: When, session_id: str, text: str) -> Attachment:
    key = f"{when}-{session_id}"
    return Attachment(NoteKind.NOTE, when, key, {"text": text, "source": SOURCE, "externalId": key})


def _sentiment(when: When, source: str, score: float) -> Attachment:
    return Attachment(NoteKind.SENTIMENT, when, source, {"score": score})


def _chance(text: str) -> int:
    """Return a number that is the same in every process, unlike `hash`."""
    return zlib.crc32(text.encode())


def _pick(texts: Sequence[str], session_id: str) -> str:
    return texts[_chance(session_id) // 31 % len(texts)]


_REASONS = (
    "Calling about the renewal of the tea subscription.",
    "Promised to call back about the broken caddy.",
    "Offer for the autumn blend, see the last mail.",
)
_LIVE_NOTES = (
    "Asks whether samples can come by Friday.",
    "Has two shops now, wants one invoice.",
    "Compares us with the importer down the road.",
)
_SUMMARIES = {
    "positive": (
        "Orders 40 tins of Assam and was glad to hear about the rebate.",
        "Wants a tasting for the whole team. Send three dates.",
    ),
    "neutral": ("New delivery address; confirm by mail.", "Asked for opening hours and the price list."),
    "negative": (
        "The last parcel came late and wet. Offered a replacement.",
        "Wants to cancel; the third wrong invoice in a row.",
    ),
}
