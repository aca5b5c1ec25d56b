"""Lenient readers for the fields of a notification: any JSON value in, the wanted type or None out.

None of them raises. Does no input or output and reads no clock.

Facts used: ids are text or numbers, times end in `Z` or `+0000`, with or without a fraction (guides
"Telephony session notifications", "Detailed extension presence").
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from app.calls.evidence.facts import Endpoint
from app.ids import SessionId, TelephonySessionId, as_text, is_alias
from app.values import widths

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def as_object(value: Any) -> Mapping[str, Any]:
    """Return a JSON object, an empty one instead of anything else."""
    return value if isinstance(value, dict) else {}


def objects_in(value: Any) -> Iterator[Mapping[str, Any]]:
    """Yield the objects of a list."""
    return (item for item in value if isinstance(item, dict)) if isinstance(value, list) else iter(())


def as_line(value: Any) -> str | None:
    """Return one line of text that the database can store, None if nothing is left of it."""
    if isinstance(value, int) and not isinstance(value, bool):  # a bool is an int, too
        return as_text(value)
    if not isinstance(value, str):
        return None
    return _CONTROL.sub("", value).strip()[: widths.TEXT] or None


def as_phone_number(value: Any) -> str | None:
    """Return a phone number, cut to the width of its columns."""
    text = as_line(value)
    return text[: widths.PHONE_NUMBER] if text else None


def as_flag(value: Any) -> bool | None:
    """Return a boolean; other values do not count as one."""
    return value if isinstance(value, bool) else None


def as_count(value: Any) -> int | None:
    """Return a number from 0 that fits the int64 of the API description."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 0 <= value < 2**63 else None


def as_time(value: Any) -> datetime | None:
    """Return an ISO 8601 time in aware UTC; without a zone it is UTC. Years outside 2000-2099 are refused."""
    if not isinstance(value, str) or len(value) < len("2026-03-10T18:07"):
        return None
    try:
        when = datetime.fromisoformat(value.strip())
    except ValueError:
        return None
    if not 2000 <= when.year < 2100:
        return None
    return when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)


def session_ids(about: Mapping[str, Any]) -> tuple[TelephonySessionId | None, SessionId | None]:
    """Return both ids. Some senders put the `s-…` id into `sessionId`, and conferences have "0"."""
    telephony_session_id = as_text(about.get("telephonySessionId"))
    session_id = as_text(about.get("sessionId"))
    if session_id and session_id.startswith("s-"):
        telephony_session_id, session_id = telephony_session_id or session_id, None
    return (
        TelephonySessionId(telephony_session_id) if telephony_session_id else None,
        SessionId(session_id) if session_id and is_alias(session_id) else None,
    )


def as_endpoint(value: Any) -> Endpoint:
    """Return one side of a call, which is an object or only a phone number."""
    if isinstance(value, str):
        return Endpoint(as_phone_number(value))
    side = as_object(value)
    return Endpoint(
        as_phone_number(side.get("phoneNumber")) or as_phone_number(side.get("extensionNumber")),
        as_line(side.get("name")),
        as_text(side.get("extensionId")),
    )


def content_name(payload: Any) -> str:
    """Return a name for a delivery without `uuid`, made from its content: a repetition has the same name."""
    try:
        text = json.dumps(payload, sort_keys=True, default=str)
    except (TypeError, ValueError, RecursionError):
        text = "".join(_pieces(payload))
    return f"content-{hashlib.sha256(text.encode('utf-8', 'replace')).hexdigest()[:32]}"


def _pieces(payload: Any) -> Iterator[str]:
    """Yield text that differs for different payloads, without recursion: they may be nested deeply."""
    # `seen` also ends a payload that contains itself.
    rest = [payload]
    seen: set[int] = set()
    while rest:
        value = rest.pop()
        if id(value) in seen:
            continue
        if isinstance(value, dict | list | tuple):
            seen.add(id(value))
        if isinstance(value, dict):
            yield f"{{{len(value)}"
            for key in sorted(value, key=repr):
                rest += [value[key], key]
        elif isinstance(value, list | tuple):
            yield f"[{len(value)}"
            rest += value
        else:
            yield f",{hex(value) if isinstance(value, int) else value!r}"
