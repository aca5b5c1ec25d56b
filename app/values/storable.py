"""What both databases can store, and how values from outside are converted to it.

One rule for every entry: webhooks, RingCentral's responses and our own API. PostgreSQL rejects NUL and lone
surrogates in text, integers beyond their column and text beyond its length. Neither database has NaN or
infinite numbers in JSON. SQLite accepts some of these, so one place decides what the databases treat
differently.

RingCentral's data is repaired (`decode_json`, `storable_text`, `storable_json`): an odd value must not cost
the call that it came with. Data of our own API is rejected instead: `find_unstorable` names what is wrong.
"""

import json
import math
import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

MAX_INTEGER = 2**31 - 1
"""Largest value of an `Integer` column."""

MAX_INTEGER_DIGITS = 128
"""Longest integer read from JSON; RingCentral's ids have about 20 digits."""

EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
LATEST = datetime(2100, 1, 1, tzinfo=UTC)
"""Times from outside lie between these, so that durations can be added to and subtracted from them, in SQL
too.
"""

MAX_DEPTH = 100
"""Deepest nesting of JSON that is kept. Deeper values become null: they would exhaust the stack of code that
walks them.
"""

REPLACEMENT = "\ufffd"

_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_TOKEN = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)|[\[\]{}]', re.DOTALL)
_EXACT_FLOATS = 1e16
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_ESCAPES_TO_CHECK = re.compile(r"\\u(?:0000|[dD][89a-fA-F])")


class BadJson(ValueError):
    """A body that is not JSON, or not of the requested shape."""


def decode_json(body: bytes) -> Any:
    """Decode JSON into a value that both databases can store.

    NaN, infinite numbers and integers of more than `MAX_INTEGER_DIGITS` digits become None. NUL, lone
    surrogates and bytes that are not UTF-8 become U+FFFD: one damaged name must not cost a whole page. A byte
    order mark is skipped. Values nested deeper than `MAX_DEPTH` become None. Raises BadJson.
    """
    text = body.decode("utf-8-sig", "replace")
    if _may_be_deep(body):
        text = _without_depths(text)
    try:
        value = json.loads(text, parse_constant=_no_constant, parse_float=_finite, parse_int=_bounded)
        # Only escapes can introduce these characters: the decoder rejects raw control characters, and the
        # bytes of surrogates are not UTF-8.
        return storable_json(value) if _ESCAPES_TO_CHECK.search(text) else value
    except (ValueError, RecursionError) as error:
        raise BadJson("the body is not JSON") from error


def storable_text(value: str, longest: int | None = None) -> str:
    """Return text with NUL and lone surrogates replaced by U+FFFD, cut to `longest` characters."""
    return _UNSTORABLE.sub(REPLACEMENT, value)[:longest]


def storable_json(value: Any) -> Any:
    """Return decoded JSON with every text made storable, keys included, and unstorable numbers replaced by
    None.
    """
    if isinstance(value, str):
        return storable_text(value)
    if isinstance(value, list | tuple):
        return [storable_json(item) for item in value]
    if isinstance(value, dict):
        return {storable_json(key): storable_json(item) for key, item in value.items()}
    if isinstance(value, float):
        return _plain(value)
    return None if find_unstorable(value) else value


def _plain(value: float) -> float | int | None:
    """Return a number that both databases return as it was stored; None if there is none.

    PostgreSQL keeps neither exponents nor the sign of zero: it returns large floats as integers.
    """
    if not math.isfinite(value) or abs(value) >= 10**MAX_INTEGER_DIGITS:
        return None
    return int(Decimal(repr(value))) if abs(value) >= _EXACT_FLOATS else value + 0.0


def find_unstorable(value: Any) -> str | None:
    """Return in a few words what in a decoded JSON value cannot be stored; None if all of it can."""
    if isinstance(value, str):
        return "a NUL character or half of a surrogate pair" if _UNSTORABLE.search(value) else None
    if isinstance(value, float):
        return None if math.isfinite(value) else "a number that is not finite"
    if isinstance(value, int):
        return None if abs(value) < 10**MAX_INTEGER_DIGITS else "an integer that is too long"
    if isinstance(value, dict):
        value = [*value.keys(), *value.values()]
    if isinstance(value, list | tuple):
        return next((found for item in value if (found := find_unstorable(item))), None)
    return None


def is_storable_time(moment: datetime) -> bool:
    """Whether an aware time lies in the range that is kept."""
    return EARLIEST <= moment < LATEST


def _may_be_deep(body: bytes) -> bool:
    """Whether JSON may be nested deeper than `MAX_DEPTH`; brackets within strings can make it look so.

    Removes one level of empty brackets at a time, which costs little for flat JSON.
    """
    brackets = body.translate(None, _NOT_BRACKETS)
    for _ in range(MAX_DEPTH):
        fewer = brackets.replace(b"[]", b"").replace(b"{}", b"")
        if not fewer:
            return False
        if len(fewer) == len(brackets):
            return True
        brackets = fewer
    return True


def _without_depths(text: str) -> str:
    """Return JSON text with null for each value nested deeper than `MAX_DEPTH`."""
    parts: list[str] = []
    depth = kept_from = 0
    for token in _TOKEN.finditer(text):
        mark = token[0][0]
        if mark in "[{":
            depth += 1
            if depth == MAX_DEPTH + 1:
                parts += [text[kept_from : token.start()], "null"]
        elif mark in "]}":
            if depth == MAX_DEPTH + 1:
                kept_from = token.end()
            depth -= 1
    if depth != 0:
        raise BadJson("the brackets do not match")
    parts.append(text[kept_from:])
    return "".join(parts)


def _no_constant(name: str) -> None:
    """Read NaN and Infinity, which are not JSON, as None."""


def _finite(text: str) -> float | int | None:
    return _plain(float(text))


def _bounded(text: str) -> int | None:
    return int(text) if len(text) <= MAX_INTEGER_DIGITS else None
