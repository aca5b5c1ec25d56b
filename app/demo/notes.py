"""What the demo's CRM attaches to which call, and when. No I/O."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

Json = dict[str, Any]
SOURCE = "demo-crm"
_DIALLED = frozenset({"outbound_answered", "outbound_busy", "outbound_no_answer"})


class When(StrEnum):
    """When something is attached, in the life of a call."""

    BEFORE = "before"
    """The CRM has dialled and writes down why; nobody else has heard of the call."""
    DURING = "during"
    """The call goes on; there is no record yet."""
    AFTER = "after"
    """The record is there."""


class NoteKind(StrEnum):
    NOTE = "note"
    SENTIMENT = "sentiment"
    DISPOSITION = "disposition"


@dataclass(frozen=True, slots=True)
class Piece:
    """One thing to attach. `key` names it among its kind: a note's external id, a sentiment's source."""

    kind: NoteKind
    when: When
    key: str
    body: Json


def pieces_before(script: str, session_id: str) -> Sequence[Piece]:
    """Return what is written before the call's first event: calls that the CRM itself dials have a reason."""
    if script not in _DIALLED:
        return ()
    return (_note(When.BEFORE, session_id, _pick(_REASONS, session_id)),)


def pieces_during(session_id: str) -> Sequence[Piece]:
    """Return what is written while the call goes on: every second agent types, and a coach listens in."""
    if _chance(session_id) % 2:
        return ()
    score = (_chance(session_id) % 13 - 4) / 10
    return (
        _note(When.DURING, session_id, _pick(_JOTTINGS, session_id)),
        _sentiment(When.DURING, "demo-live-coach", score),
    )


def pieces_after(session_id: str, outcome: str) -> Sequence[Piece]:
    """Return what is written once the record is there; it depends on what became of the call."""
    if outcome not in {"answered", "voicemail"}:
        body = {"code": "callback", "label": "Call back", "author": "Demo CRM"}
        return (Piece(NoteKind.DISPOSITION, When.AFTER, "disposition", body),)
    score = (_chance(session_id) % 17 - 6) / 10
    mood = "positive" if score > 0.2 else "negative" if score < -0.2 else "neutral"
    return (
        _note(When.AFTER, session_id, _pick(_SUMMARIES[mood], session_id)),
        _sentiment(When.AFTER, "demo-listener", score),
    )


def is_attached(piece: Piece, call: Json) -> bool:
    """Whether a call, as the API shows it, has the piece with the content that was sent."""
    if piece.kind is NoteKind.NOTE:
        return [note["text"] for note in call["notes"] if note["externalId"] == piece.key] == [
            piece.body["text"]
        ]
    if piece.kind is NoteKind.SENTIMENT:
        return [one["score"] for one in call["sentiments"] if one["source"] == piece.key] == [
            piece.body["score"]
        ]
    return bool((call["disposition"] or {}).get("code") == piece.body["code"])


def _note(when: When, session_id: str, text: str) -> Piece:
    key = f"{when}-{session_id}"
    return Piece(NoteKind.NOTE, when, key, {"text": text, "source": SOURCE, "externalId": key})


def _sentiment(when: When, source: str, score: float) -> Piece:
    return Piece(NoteKind.SENTIMENT, when, source, {"score": score})


def _chance(text: str) -> int:
    """The same for the same text in every process, unlike `hash`."""
    return zlib.crc32(text.encode())


def _pick(texts: Sequence[str], session_id: str) -> str:
    return texts[_chance(session_id) // 31 % len(texts)]


_REASONS = (
    "Calling about the renewal of the tea subscription.",
    "Promised to call back about the broken caddy.",
    "Offer for the autumn blend, see the last mail.",
)
_JOTTINGS = (
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
