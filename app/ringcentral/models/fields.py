"""Single fields of RingCentral's JSON, read leniently. Pure: a value that cannot be used is None, nothing
raises.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

from app.ids import AccountId
from app.values.storable import MAX_INTEGER, is_storable_time, storable_text

T = TypeVar("T")

MAX_TEXT = 4096
"""Longest text that is kept of one field; `raw` has all of it."""

_ACCOUNT_IN_URI = re.compile(r"/account/([0-9]{1,32})(?:[/?]|$)")


def read_time(value: Any) -> datetime | None:
    """Read an ISO 8601 time as aware UTC: `Z`, `+0000` or `+00:00`, with or without a fraction.

    A time without a zone is UTC. A date alone is not a time, nor is one outside the range in which the
    databases can compute.
    """
    if not isinstance(value, str) or "T" not in value or len(value) > 64:
        return None
    try:
        moment = datetime.fromisoformat(value)
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return moment if is_storable_time(moment) else None


def read_text(value: Any, longest: int = MAX_TEXT) -> str | None:
    """Read non-empty text, cut to `longest` characters."""
    return storable_text(value, longest) if isinstance(value, str) and value else None


def read_address(value: Any) -> str | None:
    """Read an address. One that is too long is None: a cut one would lead elsewhere."""
    return read_text(value) if isinstance(value, str) and len(value) <= MAX_TEXT else None


def read_seconds(value: Any) -> float | None:
    """Read a duration, a number or its text, from 0 to the largest value of an integer column."""
    seconds = read_lifetime(value)
    return seconds if seconds is not None and seconds <= MAX_INTEGER else None


def read_lifetime(value: Any) -> float | None:
    """Read how long something lasts: a finite number or its text, from 0 up."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        seconds = float(value)
    except (ValueError, OverflowError):
        return None
    return seconds if 0 <= seconds < math.inf else None


def read_count(value: Any) -> int | None:
    """Read a whole number from 0 up, or its text."""
    number = read_seconds(value)
    return None if number is None else int(number)


def account_in_uri(value: Any) -> AccountId | None:
    """Return the account id in an address; None for `~`."""
    match = _ACCOUNT_IN_URI.search(value) if isinstance(value, str) else None
    return AccountId(match[1]) if match else None


def optional(kind: Callable[[str], T], value: str | None) -> T | None:
    return None if value is None else kind(value)


def as_object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def as_objects(value: Any) -> Sequence[Mapping[str, Any]]:
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


def as_texts(value: Any) -> tuple[str, ...]:
    return tuple(item for item in value if isinstance(item, str)) if isinstance(value, list) else ()
