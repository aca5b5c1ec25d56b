"""JSON of our own API, kept exactly: finds what cannot be kept, packs what databases would change, writes
responses.

Python's decoder is lenient: it keeps the last of two values with one name, accepts NaN, and rounds long
numbers. Our API rejects such values before anything is stored, because returning something else than was sent
is worse than a rejection. Databases change numbers in JSON: SQLite stores a bare number as one of its own
(1.0 becomes 1, and 18446744073709551617 a double), PostgreSQL's JSONB has no -0.0 and writes 1e300 as 301
digits. No I/O.
"""

import json
import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from pydantic_core import PydanticSerializationError, from_json, to_json

from app.values.storable import MAX_INTEGER_DIGITS, storable_json

MAX_LEVELS = 64
"""Nested arrays and objects of a body. No field needs many, and encoders refuse to write hundreds."""

_DEEPEST_WRITTEN = 200
_PACKED = "$json"

Path = tuple[str | int, ...]

_NUL = "A text cannot contain the NUL character (U+0000)"
_HALF = "A text cannot contain half a surrogate pair (U+D800 to U+DFFF)"
_NOT_FINITE = "A number must be finite"
_TOO_LONG = f"An integer has at most {MAX_INTEGER_DIGITS} digits; send longer ones as text"
_INEXACT = "This number has more digits than a double can hold; send it as text to keep all of them"
_TOO_DEEP = f"A body has at most {MAX_LEVELS} levels of arrays and objects"


@dataclass(frozen=True, slots=True)
class Fault:
    """One value that cannot be kept, and where it is."""

    path: Path
    detail: str


class _Refused:
    """Replaces a number that cannot be kept in the decoded body."""

    def __init__(self, detail: str) -> None:
        self.detail = detail


class _Rounded(float):
    """A number that lost digits when it was decoded."""


class _Object(dict[str, Any]):
    """An object, and the names that occur in it more than once."""

    repeated: tuple[str, ...] = ()


def find_faults(body: bytes, exact: Collection[str] = (), most: int = 10) -> list[Fault]:
    """Return the values in a JSON body that cannot be kept, at most `most`; none if the body is not JSON.

    Fields named in `exact` keep the sender's value as it came: there, a number that would be rounded is a
    fault as well.
    """
    try:
        value = json.loads(
            body,
            object_pairs_hook=_read_object,
            parse_constant=lambda _: _Refused(_NOT_FINITE),
            parse_float=_read_float,
            parse_int=_read_int,
        )
    except (ValueError, RecursionError):
        return []
    found = []
    for fault in _walk(value, frozenset(exact)):
        found.append(fault)
        if len(found) == most:
            break
    return found


def find_text_fault(text: str) -> str | None:
    """Return why a text cannot be stored; None if it can."""
    if "\0" in text:
        return _NUL
    return _HALF if any("\ud800" <= character <= "\udfff" for character in text) else None


def pack(value: Any) -> Any:
    """Return JSON with the same meaning that no database changes: the value itself, or its text inside an
    object.
    """
    if _is_changed(value, is_bare=True):
        return {_PACKED: json.dumps(value)}
    return value


def unpack(stored: Any) -> Any:
    """Return what was packed. What was stored before packing existed is returned unchanged."""
    if isinstance(stored, dict) and stored.keys() == {_PACKED} and isinstance(stored[_PACKED], str):
        try:
            return json.loads(stored[_PACKED])
        except ValueError:
            return stored
    return stored


def is_same(one: Any, other: Any) -> bool:
    """Whether two JSON values are the same, type by type: 1, 1.0 and true differ, and so do 0.0 and -0.0."""
    if isinstance(one, dict | list | float | int) and isinstance(other, dict | list | float | int):
        return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    return bool(one == other)


def read_json(text: str | bytes) -> Any:
    """Return the value of stored JSON: as `json.loads`, but in half the time."""
    try:
        return from_json(text)
    except ValueError:
        # Half a surrogate pair, or hundreds of levels: an earlier version stored these.
        return json.loads(text)


def write_json(value: Any) -> bytes:
    """Write a response. Values that an earlier version should not have stored do not make it fail: numbers
    that are not finite become null, half surrogate pairs U+FFFD, levels beyond the deepest null.
    """
    try:
        return to_json(value, inf_nan_mode="null")
    except PydanticSerializationError:
        return to_json(storable_json(_cut(value, _DEEPEST_WRITTEN)), inf_nan_mode="null")


def _cut(value: Any, levels: int) -> Any:
    if not isinstance(value, dict | list):
        return value
    if not levels:
        return None
    if isinstance(value, list):
        return [_cut(item, levels - 1) for item in value]
    return {name: _cut(item, levels - 1) for name, item in value.items()}


def _is_changed(value: Any, *, is_bare: bool = False) -> bool:
    """Whether a database would return another value, or the value would look packed."""
    if isinstance(value, bool):
        return False
    if isinstance(value, int):
        return is_bare
    if isinstance(value, float):
        text = repr(value)
        return is_bare or "e" in text or text.startswith("-0.0")
    if isinstance(value, list):
        return any(_is_changed(item) for item in value)
    if isinstance(value, dict):
        return _PACKED in value or any(_is_changed(item) for item in value.values())
    return False


def _walk(value: Any, exact: frozenset[str]) -> Iterator[Fault]:
    """Yield the faults of a decoded body, in its order. Not recursive, since a body can be nested very
    deeply.
    """
    waiting: list[tuple[Path, Any]] = [((), value)]
    while waiting:
        path, here = waiting.pop()
        if len(path) >= MAX_LEVELS and isinstance(here, dict | list):
            yield Fault((), _TOO_DEEP)
            return
        if isinstance(here, _Object):
            for name in here.repeated:
                yield Fault((*path, name), "This name comes more than once in one object")
            for name in here:
                if fault := _text_fault(name):
                    yield Fault(path, f"{fault}, and a name of this object does")
            waiting.extend(((*path, name), item) for name, item in reversed(here.items()))
        elif isinstance(here, list):
            waiting.extend(((*path, index), here[index]) for index in reversed(range(len(here))))
        elif fault := _value_fault(here, is_exact=bool(path) and path[0] in exact):
            yield Fault(path, fault)


def _value_fault(value: Any, *, is_exact: bool) -> str | None:
    if isinstance(value, _Refused):
        return value.detail
    if isinstance(value, _Rounded):
        return _INEXACT if is_exact else None
    return _text_fault(value) if isinstance(value, str) else None


def _text_fault(text: str) -> str | None:
    # Nearly every text can be encoded, and encoding is much faster than checking each character.
    try:
        return _NUL if b"\0" in text.encode() else None
    except UnicodeEncodeError:
        return find_text_fault(text)


def _read_object(pairs: list[tuple[str, Any]]) -> _Object:
    read = _Object(pairs)
    if len(read) < len(pairs):
        seen: set[str] = set()
        read.repeated = tuple(
            dict.fromkeys(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        )
    return read


def _read_int(digits: str) -> int | _Refused:
    return int(digits) if len(digits.lstrip("-")) <= MAX_INTEGER_DIGITS else _Refused(_TOO_LONG)


def _read_float(text: str) -> float | _Refused:
    number = float(text)
    if not math.isfinite(number):
        return _Refused(_NOT_FINITE)
    return number if _is_exact(text, number) else _Rounded(number)


def _is_exact(text: str, number: float) -> bool:
    """Whether a double preserves the digits that were sent; `1.50` and `15e-1` are the same number."""
    try:
        return Decimal(text) == Decimal(repr(number))
    except InvalidOperation:  # an exponent with more digits than a decimal can have
        return False
