"""Decides which changes of which calls an endpoint wants, and when a call is complete. No I/O."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from app.calls.model import ReadinessState, Stage
from app.push.endpoints.model import Filters

ERASED = "call.erased"
"""The change that every endpoint with this type gets, whatever its filters: it orders a deletion."""

_UNFINISHED = frozenset({Stage.LIVE, Stage.ENDED})


@dataclass(frozen=True, slots=True)
class CallTraits:
    """What filters ask of a call, as it is now. `readiness`: by part, as the API shows it."""

    stage: str
    direction: str | None = None
    internal: bool | None = None
    is_main: bool = True
    readiness: Mapping[str, Any] | None = None
    ended_at: datetime | None = None


def matches_type(patterns: Sequence[str], name: str) -> bool:
    """Whether a type of change is among these: types, words and `.*`, or `*`."""
    word = name.partition(".")[0]
    return any(pattern in ("*", name, f"{word}.*") for pattern in patterns)


def matches_call(filters: Filters, stage: str, traits: CallTraits) -> bool:
    """Whether a call that was in `stage` after its change passes the filters."""
    return (
        (not filters.stage or stage in filters.stage)
        and (filters.internal is None or filters.internal == (traits.internal is True))
        and (filters.main is None or filters.main == traits.is_main)
        and (filters.direction is None or filters.direction == traits.direction)
    )


def missing_parts(parts: Sequence[str], traits: CallTraits) -> list[str]:
    """Return those of the parts that are pending."""
    shown = traits.readiness or {}
    return [part for part in parts if shown.get(part, {}).get("state") == ReadinessState.PENDING]


def is_complete(parts: Sequence[str], traits: CallTraits) -> bool:
    """Whether a call is over, has a record, and none of the parts is pending."""
    return traits.stage not in _UNFINISHED and not missing_parts(parts, traits)


def may_become_complete(traits: CallTraits) -> bool:
    """Whether a call is one to wait for: it is over, and a record came or can still come."""
    return traits.stage not in (Stage.LIVE, Stage.ABSENT)
