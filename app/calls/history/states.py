"""A call at an earlier version: what its changes up to then say together. Pure.

The timeline keeps ids and words of each change, never a text, a name or a number. So an earlier version is
what followers of the feed could know of it, and no copy of the call.
"""

from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from app.values.times import time_text

Json = dict[str, Any]

_TOLD = {
    "direction": "direction",
    "outcome": "outcome",
    "endedAt": "endTime",
    "primaryRecordId": "primaryRecordId",
    "conversationId": "conversationId",
    "mainCallId": "mainCallId",
    "related": "related",
}
"""What `data` of a change of the call itself tells, and the name of the field."""

_MEDIA = {"recording": ("recordings", "recordingId"), "voicemail": ("voicemails", "voicemailId")}
_LISTED = {"note": ("notes", "noteId"), "link": ("crms", "crm")}


@dataclass(frozen=True, slots=True)
class PastChange:
    """A row of the timeline."""

    version: int
    type: str
    at: datetime
    data: Mapping[str, Any]


def states_of(changes: Iterable[PastChange]) -> Iterator[Json]:
    """Yield the call after each of its changes, which are in order, as `CallVersion` describes it."""
    state: Json = {
        **dict.fromkeys(["stage", *_TOLD.values(), "disposition"]),
        **{name: {} for name in ("recordings", "voicemails", "sentiments")},
        **{name: [] for name in ("insights", "notes", "crms")},
    }
    for change in changes:
        _apply(state, change)
        yield {
            "version": change.version,
            "at": time_text(change.at),
            "type": change.type,
            "keyId": change.data.get("keyId"),
            "fields": change.data.get("fields"),
            **deepcopy(state),
        }


def _apply(state: Json, change: PastChange) -> None:
    data = change.data
    state["stage"] = data.get("stage") or state["stage"]
    word, _, verb = change.type.partition(".")
    is_deleted = verb == "deleted"
    if word == "call":
        state |= {name: data[key] for key, name in _TOLD.items() if key in data}
    elif word in _MEDIA:
        name, key = _MEDIA[word]
        if media_id := data.get(key):
            state[name][media_id] = verb
    elif word in _LISTED:
        name, key = _LISTED[word]
        rest = [one for one in state[name] if one != data.get(key)]
        state[name] = rest if is_deleted else [*rest, data.get(key)]
    elif word == "insights":
        state["insights"] = sorted({*state["insights"], data.get("recordingId") or ""} - {""})
    elif word == "sentiment":
        state["sentiments"].pop(data.get("source"), None)
        if not is_deleted:
            state["sentiments"][data.get("source")] = data.get("label")
    elif word == "disposition":
        state["disposition"] = None if is_deleted else data.get("code")
