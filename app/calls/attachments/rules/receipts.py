"""Whether a write changes an attachment. Pure.

A repeated request changes nothing, and so does one that differs only in when its objects were written: a
connector that sends the receipt of a write again, with the time of the repetition, has nothing new to say.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from app.values.exact_json import is_same

_TIME = "at"
_DERIVED = frozenset({"plain_text"})


def is_unchanged(stored: Mapping[Any, Any], content: Mapping[str, Any]) -> bool:
    """Whether the columns of an attachment already say what a write would make them say."""
    return all(
        _says_the_same(stored[column], value) if column == "objects" else is_same(stored[column], value)
        for column, value in content.items()
        if column not in _DERIVED
    )


def _says_the_same(stored: Sequence[Mapping[str, Any]], sent: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the objects of a link are the stored ones. A time where there was none is new."""
    return len(stored) == len(sent) and all(
        is_same(_without_time(old), _without_time(new)) and not (_TIME in new and _TIME not in old)
        for old, new in zip(stored, sent, strict=True)
    )


def _without_time(one: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in one.items() if name != _TIME}
