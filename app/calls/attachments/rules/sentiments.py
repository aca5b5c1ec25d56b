"""Who made a sentiment, and which one counts for a call. Pure.

A person's sentiment is never overwritten by a machine's: under one source, each has a place of its own. Of
all sentiments of a call one counts: a person's before a machine's, one about the whole call before one about
a party or a period, and among these the newest.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any

from app.values.times import time_text

_PEOPLE = frozenset({"agent", "person", "supervisor", "user"})
_SCOPES = ("call", "party", "period")


class Maker(StrEnum):
    """Who made a sentiment."""

    PERSON = "person"
    MACHINE = "machine"


def maker_of(source: str, stated: str | None = None) -> Maker:
    """Return who made a sentiment of this source, if the request does not state it.

    Sources such as `agent` and `agent:711000101` are people. Everything else is a machine: what nobody called
    a person's must not count as one.
    """
    if stated is not None:
        return Maker(stated)
    kind, _, _ = source.partition(":")
    return Maker.PERSON if kind.casefold() in _PEOPLE else Maker.MACHINE


def rank(sentiment: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return the key that sorts sentiments, as the API shows them, with the one that counts first."""
    scope = sentiment["scope"].get("type", "call")
    return (
        sentiment["madeBy"] != Maker.PERSON,
        _SCOPES.index(scope) if scope in _SCOPES else len(_SCOPES),
        -datetime.fromisoformat(sentiment["updatedAt"]).timestamp(),
        sentiment["source"],
    )


def choose(sentiments: Iterable[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """Return the sentiment that counts for the call, of all that the API shows; None if there is none."""
    return min(sentiments, key=rank, default=None)


def choose_label(rows: Iterable[Any]) -> str | None:
    """Return the label that counts, of rows with `source`, `made_by`, `scope`, `label` and `updated_at`."""
    shown = (
        {
            "source": row.source,
            "madeBy": row.made_by,
            "scope": row.scope,
            "label": row.label,
            "updatedAt": time_text(row.updated_at),
        }
        for row in rows
    )
    chosen = choose(shown)
    return None if chosen is None else str(chosen["label"])
