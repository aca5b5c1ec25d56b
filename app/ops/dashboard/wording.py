"""How the dashboard writes figures, durations and codes. No I/O."""

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TypedDict

from app.ops.states import MOST_COUNTED

NONE = "–"
_LONG, _LONGER = 8, 10
"""Characters from which a value is set smaller, so that it does not reach into its neighbour."""


class Figure(TypedDict):
    """A value, with a note below it.

    `tone` is the meaning of its colour, `size` is "", "long" or "longer".
    """

    value: str
    note: str
    tone: str
    size: str


def figure(value: str, note: str, tone: str = "") -> Figure:
    size = "longer" if len(value) >= _LONGER else "long" if len(value) >= _LONG else ""
    return {"value": value, "note": note, "tone": tone, "size": size}


def milliseconds(at: datetime) -> int:
    """Return a moment as the page computes with it: milliseconds since 1970."""
    return int(at.timestamp() * 1000)


def format_duration(seconds: float | None) -> str:
    """Write a duration the short way: `3.4 s`, `2 min 05 s`, `3 h 10 min`, `6 d 23 h`."""
    if seconds is None:
        return NONE
    if seconds < 99.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    if whole < 86_400:
        return f"{whole // 3600} h {whole % 3600 // 60:02} min"
    return f"{whole // 86_400} d {whole % 86_400 // 3600} h"


def format_ago(passed: timedelta) -> str:
    return f"{format_duration(max(0.0, passed.total_seconds()))} ago"


def format_count(number: int) -> str:
    return f"{MOST_COUNTED - 1:,}+" if number >= MOST_COUNTED else f"{number:,}"


def pluralize(number: int, word: str) -> str:
    return word if number == 1 else f"{word}s"


def is_or_are(number: int) -> str:
    return "is" if number == 1 else "are"


def join(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def lower_first(text: str) -> str:
    """Write a title as part of a sentence; names keep their capital."""
    return text if text.startswith("RingCentral") else text[:1].lower() + text[1:]


def sentence_of(code: str) -> str:
    """Write a code as words: `never-logged` becomes `Never logged`."""
    words = re.sub(r"[-_]+", " ", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", code)).strip().lower()
    return words[:1].upper() + words[1:] if words else "Unknown"
