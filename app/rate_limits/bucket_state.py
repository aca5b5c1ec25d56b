"""The state of a rate bucket, and its stored form. Pure.

`bucket` decides with it. What is read back is bounded, whatever is stored: see `BucketState.from_json`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Self, TypeGuard

from app.ringcentral.ports import Priority
from app.ringcentral.wire import LARGEST_LIMIT, LONGEST_WINDOW_SECONDS, SHORTEST_WINDOW_SECONDS

MOST_SLOTS: Final = 1_000
"""Requests of one window that a bucket tracks, and so the largest limit that is used. State and computing
time grow with this, not with what a header says.
"""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_MOST_TOKENS: Final = 2**53
_LATEST: Final = (datetime(2200, 1, 1, tzinfo=UTC) - _EPOCH) // _MICROSECOND


_NUMBERS: Final[Mapping[Priority, int]] = {
    Priority.POLL: 4,
    Priority.RECONCILE: 3,
    Priority.METADATA: 2,
    Priority.CONTENT: 1,
}
"""Priorities as they are stored. The numbers are older than `Priority`: rows of earlier versions contain
them.
"""

_PRIORITIES: Final = {number: priority for priority, number in _NUMBERS.items()}


@dataclass(frozen=True, slots=True)
class RequestSlot:
    """One request that the server counts or may count. `done_at` is None until its response has come."""

    token: int
    priority: Priority
    sent_at: datetime
    done_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Want:
    """A kind of request that was refused: since when it has waited, and until when it is assumed to wait."""

    priority: Priority
    since: datetime
    until: datetime


@dataclass(frozen=True, slots=True)
class BucketState:
    """The bucket. A new one is `BucketState()`.

    `limit` and `window_seconds` are what headers have said, None until they do. `penalty_until` is the end of
    the last penalty in a response; `silent_until` adds what unanswered requests may have caused.
    `penalty_since` is when it began.
    """

    slots: tuple[RequestSlot, ...] = ()
    wants: tuple[Want, ...] = ()
    penalty_until: datetime | None = None
    limit: int | None = None
    window_seconds: float | None = None
    last_token: int = 0
    penalty_since: datetime | None = None

    def to_json(self) -> dict[str, Any]:
        """Return compact JSON: times are microseconds since 1970, empty parts are left out."""
        stored: dict[str, Any] = {"n": self.last_token}
        if self.slots:
            stored["s"] = [
                [slot.token, _NUMBERS[slot.priority], _to_stored(slot.sent_at), _to_stored(slot.done_at)]
                for slot in self.slots
            ]
        if self.wants:
            stored["w"] = [
                [_NUMBERS[want.priority], _to_stored(want.since), _to_stored(want.until)]
                for want in self.wants
            ]
        if self.penalty_until is not None:
            stored["p"] = _to_stored(self.penalty_until)
        if self.penalty_since is not None:
            stored["q"] = _to_stored(self.penalty_since)
        if self.limit is not None:
            stored["l"] = self.limit
        if self.window_seconds is not None:
            stored["d"] = self.window_seconds
        return stored

    @classmethod
    def from_json(cls, stored: Any) -> Self:
        """Read what `to_json` wrote; an empty object is a new bucket.

        What cannot be right is left out, so that a bucket that an earlier version filled with it recovers.
        """
        fields: Mapping[str, Any] = stored if isinstance(stored, Mapping) else {}
        limit, window = fields.get("l"), fields.get("d")
        slots = [slot for row in _rows(fields.get("s")) if (slot := _read_slot(row)) is not None]
        wants = [want for row in _rows(fields.get("w")) if (want := _read_want(row)) is not None]
        return cls(
            slots=tuple(slots[-MOST_SLOTS:]),
            wants=tuple({want.priority: want for want in wants}.values()),
            penalty_until=_read_moment(fields.get("p")),
            penalty_since=_read_moment(fields.get("q")),
            limit=limit if _is_whole(limit) and 1 <= limit <= LARGEST_LIMIT else None,
            window_seconds=float(window) if _is_window(window) else None,
            last_token=_token(fields.get("n", 0)) or max((slot.token for slot in slots), default=0),
        )


def _to_stored(moment: datetime | None) -> int | None:
    return None if moment is None else (moment - _EPOCH) // _MICROSECOND


def _read_moment(stored: Any) -> datetime | None:
    return _EPOCH + stored * _MICROSECOND if _is_whole(stored) and 0 <= stored < _LATEST else None


def _read_slot(row: Sequence[Any]) -> RequestSlot | None:
    if len(row) != 4 or not _is_whole(row[0]) or (sent_at := _read_moment(row[2])) is None:
        return None
    return RequestSlot(_token(row[0]), _read_priority(row[1]), sent_at, _read_moment(row[3]))


def _read_want(row: Sequence[Any]) -> Want | None:
    if len(row) != 3 or (priority := _read_priority(row[0])) is Priority.POLL:
        return None
    since, until = _read_moment(row[1]), _read_moment(row[2])
    return None if since is None or until is None else Want(priority, since, until)


def _read_priority(stored: Any) -> Priority:
    return _PRIORITIES.get(stored, Priority.POLL) if _is_whole(stored) else Priority.POLL


def _rows(stored: Any) -> list[Sequence[Any]]:
    return [row for row in stored if isinstance(row, list)] if isinstance(stored, list) else []


def _token(stored: Any) -> int:
    return stored if _is_whole(stored) and 0 <= stored < _MOST_TOKENS else 0


def _is_whole(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_window(value: Any) -> TypeGuard[float]:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and SHORTEST_WINDOW_SECONDS <= value <= LONGEST_WINDOW_SECONDS
