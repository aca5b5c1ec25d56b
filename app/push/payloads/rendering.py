"""Makes the JSON of a message from a change and its call. No I/O, and nothing of it is stored.

    {"type": "call.final", "timestamp": "2026-03-10T18:09:22.951Z", "data": {"change": {…}, "call": {…}}}

`change` is the entry of `GET /v1/changes`, so a receiver can treat both in the same way.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from app.values.exact_json import write_json

LARGEST_BYTES = 20_000
"""A message with a call is smaller. The specification of Standard Webhooks recommends small payloads."""

COMPLETE = "call.complete"
"""The type of the one message of a call, for endpoints that receive each call once."""

TOO_LARGE, REMOVED = "too-large", "removed"
"""Why a call is left out: its size, or that it is not stored any more."""

Json = Mapping[str, Any]


def render_thin(kind: str, change: Json, missing: Sequence[str] | None = None, **more: Any) -> bytes:
    """Return a message without a call. `missing`: for `call.complete`, the parts that are pending."""
    return write_json(_message(kind, change, missing, more))


def render_call(kind: str, change: Json, call: Json | None, missing: Sequence[str] | None = None) -> bytes:
    """Return a message with the call; without it, and with the reason, if it is gone or too large."""
    if call is None:
        return render_thin(kind, change, missing, callOmitted=REMOVED)
    body = write_json(_message(kind, change, missing, {"call": call}))
    if len(body) < LARGEST_BYTES:
        return body
    return render_thin(kind, change, missing, callOmitted=TOO_LARGE)


def _message(kind: str, change: Json, missing: Sequence[str] | None, more: Json) -> dict[str, Any]:
    parts = {} if missing is None else {"missing": list(missing)}
    return {"type": kind, "timestamp": change["at"], "data": {"change": change, **parts, **more}}
