"""Messages to try an endpoint with, one of each type: the examples of the catalogue. No I/O."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from app.calls.feed.catalogue import CHANGE_TYPES
from app.push.payloads.rendering import COMPLETE, render_thin
from app.values.times import time_text

CALL_ID = "call_01jp0v7s4v8x2m6c9q3t5r7w1e"
_SEQ, _VERSION = 4711, 4
_COMPLETED_BY = "call.reconciled"
_BY_NAME: Mapping[str, Mapping[str, Any]] = {one.name: one.example for one in CHANGE_TYPES}

NAMES = (*_BY_NAME, COMPLETE)
"""All types of messages."""


def example_change(name: str, cursor: str, at: datetime) -> dict[str, Any]:
    """Return a change of this type as the feed shows it; of `call.complete`, the change that completes it.

    Raises KeyError for an unknown type.
    """
    type_ = _COMPLETED_BY if name == COMPLETE else name
    return {
        "cursor": cursor,
        "seq": _SEQ,
        "type": type_,
        "version": _VERSION,
        "at": time_text(at),
        "data": dict(_BY_NAME[type_]),
        "callId": CALL_ID,
        "sessionId": "1229016182016",
        "telephonySessionId": "s-a0c14f2b77d1ez1928b3f4c10z5e6f70000",
    }


def render_example(name: str, cursor: str, at: datetime) -> bytes:
    """Return a test message: thin, and with `data.test`. Raises KeyError for an unknown type."""
    missing: list[str] | None = [] if name == COMPLETE else None
    return render_thin(name, example_change(name, cursor, at), missing, test=True)
