"""Phone numbers as RingCentral shows them, read into one normal form. Pure."""

import re
from dataclasses import dataclass
from enum import StrEnum


class NumberKind(StrEnum):
    """What a raw number is."""

    FULL = "full"
    """A telephone number; `e164` has it."""

    EXTENSION = "extension"
    """A short number inside the company."""

    SERVICE = "service"
    """A star code, a park location, `conference`, or an emergency or service number of the region."""

    WITHHELD = "withheld"
    """`anonymous` and its like: somebody outside the company, whose number is not shown."""

    UNREADABLE = "unreadable"
    """Anything else, masked numbers included."""


@dataclass(frozen=True, slots=True)
class PhoneNumber:
    """A number as it came, and what it means.

    `e164` is set for FULL only. `extension` is the short number, of EXTENSION and of `…*102`.
    """

    raw: str
    kind: NumberKind
    e164: str | None = None
    extension: str | None = None


_WITHHELD = frozenset({"anonymous", "restricted", "unavailable", "unknown", "private", "blocked", "withheld"})


def read_phone_number(raw: str | None, region: str | None = None) -> PhoneNumber | None:
    """Read a number of any spelling; None without one. `region` is a two-letter country code."""
    text = (raw or "").strip()
    if not text:
        return None
    if text.casefold() in _WITHHELD:
        return PhoneNumber(text, NumberKind.WITHHELD)
    if text.startswith("*") or text.casefold() == "conference":
        return PhoneNumber(text, NumberKind.SERVICE)
    main, _, extension = text.partition("*")
    digits = re.sub(r"[^\d]", "", main)
    if re.search(r"[A-Za-z]", text) or not digits:
        return PhoneNumber(text, NumberKind.UNREADABLE)
    if text.startswith("+") or len(digits) >= 10:
        full = digits if text.startswith("+") or len(digits) > 10 else f"1{digits}"
        return PhoneNumber(text, NumberKind.FULL, f"+{full}", extension or None)
    return PhoneNumber(text, NumberKind.EXTENSION, None, digits)
