"""How a phone number or an id can be spelled in a text, so that it is found and taken out. No I/O.

People write numbers with spaces, hyphens, dots, slashes and brackets, with or without the calling code. A
match begins and ends where the digits do, so a number is not found within a longer one.
"""

import re
from dataclasses import dataclass
from typing import Any

from app.values.phone_numbers import calling_code, split_e164

ERASED = "[erased]"
"""Stands where a number was taken out of a text."""

SEPARATORS = (" ", "-", ".", "(", ")", "/", "[", "]", "_", "~", "\u00a0", "\u2011", "\\u00a0", "\\u2011")
"""What may stand between the digits of a number; the last two as JSON escapes them."""

_BETWEEN = f"(?:{'|'.join(re.escape(one) for one in SEPARATORS)}){{0,3}}"
_SHORTEST_NATIONAL = 9
"""Digits. Shorter national numbers look like ids, so they count in the account's own country alone."""


@dataclass(frozen=True, slots=True)
class Spelling:
    """What a value looks like in texts. `needle`: the digits that every spelling has without separators."""

    needle: str
    pattern: re.Pattern[str]

    def is_in(self, value: Any) -> bool:
        """Whether a text, or any text or whole number of a JSON value, has it."""
        return any(self.pattern.search(text) for text in _texts(value))

    def taken_out(self, value: Any) -> Any:
        """Return a JSON value with `ERASED` in its place."""
        match value:
            case str():
                return self.pattern.sub(ERASED, value)
            case bool() | None:
                return value
            case int():
                return ERASED if self.pattern.search(str(value)) else value
            case list() | tuple():
                return [self.taken_out(one) for one in value]
            case dict():
                return {self.taken_out(name): self.taken_out(one) for name, one in value.items()}
        return value


def spelling_of_number(e164: str, region: str | None) -> Spelling:
    """Return how a number is spelled in texts of an account in this region."""
    code, national = split_e164(e164)
    digits = _BETWEEN.join(national)
    trunk = f"(?:\\(?0\\)?{_BETWEEN})?"
    with_code = f"(?:(?:\\+|00|011){_BETWEEN})?{_BETWEEN.join(code)}{_BETWEEN}{trunk}{digits}"
    readings = [with_code]
    is_home = code != "" and calling_code(region) == code
    if is_home or len(national) >= _SHORTEST_NATIONAL:
        readings.append(trunk + digits)
    return Spelling(national, re.compile(f"(?<![0-9])(?:{'|'.join(readings)})(?![0-9])"))


def spelling_of_id(text: str) -> Spelling:
    """Return how an id of digits appears in texts."""
    return Spelling(text, re.compile(f"(?<![0-9]){re.escape(text)}(?![0-9])"))


def _texts(value: Any) -> "list[str]":
    match value:
        case str():
            return [value]
        case bytes() | memoryview():
            return [bytes(value).decode("utf-8", "replace")]
        case bool() | None:
            return []
        case int():
            return [str(value)]
        case list() | tuple():
            return [text for one in value for text in _texts(one)]
        case dict():
            return [text for name, one in value.items() for text in (str(name), *_texts(one))]
    return []
