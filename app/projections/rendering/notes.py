"""What is written about a call in a CRM: a summary, the notes, the transcript of a voicemail. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any

from app.calls.attachments.rules.sentiments import rank
from app.projections.rendering.formats import minutes_and_seconds
from app.projections.rendering.texts import Block, one_line
from app.values.rich_text import html_of_markdown, tidy

Json = Mapping[str, Any]

_ROLES = {
    "answered": "Answered by",
    "placed": "Placed by",
    "rang": "Rang at",
    "transferredFrom": "Transferred by",
    "transferredTo": "Transferred to",
    "supervised": "Supervised by",
}


def notes_of(call: Json, outcome: str, recording_url: str | None) -> tuple[Block, ...]:
    """Return the blocks of the text about a call. Nothing in it depends on when it was asked for."""
    blocks = [Block("", "\n".join(_summary(call, outcome, recording_url)))]
    blocks += [_note(note) for note in call["notes"]]
    transcript = tidy((call["voicemail"] or {}).get("transcript") or "")
    if transcript:
        blocks.append(Block("Voicemail", transcript))
    return tuple(blocks)


def has_words(call: Json) -> bool:
    """Whether somebody said or wrote something about the call."""
    return bool(call["notes"] or (call["voicemail"] or {}).get("transcript"))


def _summary(call: Json, outcome: str, recording_url: str | None) -> Iterator[str]:
    yield f"{call['direction']} call: {outcome.lower()}" if call["direction"] else f"Call: {outcome.lower()}"
    for person in call["agents"]:
        yield f"{_ROLES.get(person['role'], 'With')} {_name(person)}"
    if call["queueName"]:
        yield f"Queue: {one_line(call['queueName'])}"
    times = {"Talk": "talkSeconds", "Ringing": "ringSeconds", "Hold": "holdSeconds"}
    known = [f"{word} {minutes_and_seconds(call[name])}" for word, name in times.items() if call[name]]
    if known:
        yield ", ".join(known)
    if call["transferredTo"]:
        yield f"Transferred to {one_line(call['transferredTo'])}"
    disposition = call["disposition"]
    if disposition:
        yield f"Disposition: {one_line(disposition['label'] or disposition['code'])}"
    for sentiment in sorted(call["sentiments"], key=rank):
        yield f"Sentiment: {one_line(sentiment['label'])} ({one_line(sentiment['source'])})"
    if recording_url:
        yield f"Recording: {recording_url}"
    # Before the notes, which may be cut: where a CRM has no field for the id, it is found here.
    yield f"Call id: {call['id']}"


def _name(person: Json) -> str:
    name, number = one_line(person.get("name") or ""), person.get("extensionNumber")
    if name and number:
        return f"{name} (extension {number})"
    return name or (f"extension {number}" if number else "somebody unknown")


def _note(note: Json) -> Block:
    author = one_line((note["author"] or {}).get("name") or "")
    heading = one_line(note["title"] or "") or "Note"
    if author:
        heading += f", by {author}"
    if note.get("fromLinkedCall"):
        heading += " (linked call)"
    return Block(heading, tidy(note["plainText"]), _html_of_note(note))


def _html_of_note(note: Json) -> str:
    """Return the sanitised HTML of a note that was written with markup, as it was stored."""
    if note["format"] == "html":
        return str(note["text"])
    return html_of_markdown(note["text"]) if note["format"] == "markdown" else ""
