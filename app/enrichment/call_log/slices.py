"""How a range of time is read in the Call Log: slice by slice, each completely. Does no input or output.

The list filters by the *start* of a record, to the second, and lists the newest first (guide "Call log"). The
records of one call start seconds or minutes apart, one for each extension that took part, so a slice is
requested with a margin on both sides, and a call belongs to the slice in which its first record starts.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from app.calls.evidence.versions import end_of
from app.ids import is_alias
from app.ringcentral.models import CallRecord

FIRST_SPAN_SECONDS = 3600.0
SHORTEST_SPAN_SECONDS = 1.0
LONGEST_SPAN_SECONDS = 6 * 3600.0
_MOST_GROWTH = 4.0


@dataclass(frozen=True, slots=True)
class TimeSlice:
    """Calls that started at or after `begin` and before `end`."""

    begin: datetime
    end: datetime

    @property
    def seconds(self) -> float:
        return (self.end - self.begin).total_seconds()


def next_slice(
    from_at: datetime, to_at: datetime, cursor_at: datetime | None, span_seconds: float | None
) -> TimeSlice | None:
    """Return the next slice of a range that is read up to `cursor_at`; None when nothing is left."""
    begin = from_at if cursor_at is None else max(from_at, cursor_at)
    if begin >= to_at:
        return None
    return TimeSlice(begin, min(to_at, begin + timedelta(seconds=span_seconds or FIRST_SPAN_SECONDS)))


def next_span(read: TimeSlice, records: int, aim: int) -> float:
    """Return the length of the next slice, in seconds, that should have about `aim` records, given those of
    this one."""
    growth = min(_MOST_GROWTH, max(1 / _MOST_GROWTH, aim / max(1, records)))
    return min(LONGEST_SPAN_SECONDS, max(SHORTEST_SPAN_SECONDS, read.seconds * growth))


def shorter(
    read: TimeSlice, margin_seconds: float, oldest: datetime | None, most_pages: int
) -> TimeSlice | None:
    """Return a slice that fits into `most_pages`, given the start of the oldest record on the first page of
    this one.

    None when this one fits or cannot be cut. A quarter is left for variations of the traffic.
    """
    if oldest is None:
        return None
    page_seconds = (read.end - oldest).total_seconds() + margin_seconds
    room = page_seconds * most_pages * 0.75 - 2 * margin_seconds
    seconds = max(SHORTEST_SPAN_SECONDS, room)
    return TimeSlice(read.begin, read.begin + timedelta(seconds=seconds)) if seconds < read.seconds else None


def key_of(record: CallRecord) -> tuple[str | None, str | None] | None:
    """Return (`telephonySessionId`, `sessionId`) of the call of a record; None when it has neither."""
    session_id = record.session_id if is_alias(record.session_id) else None
    if record.telephony_session_id is not None:
        return record.telephony_session_id, session_id
    return (None, session_id) if session_id is not None else None


def sort_by_call(records: Iterable[CallRecord]) -> dict[tuple[str | None, str | None], list[CallRecord]]:
    """Group records by call, the call with the earliest start first."""
    calls: dict[tuple[str | None, str | None], list[CallRecord]] = {}
    for record in records:
        key = key_of(record)
        if key is not None:
            calls.setdefault(key, []).append(record)
    return dict(sorted(calls.items(), key=lambda item: (str(start_of(item[1])), str(item[0]))))


def start_of(records: Sequence[CallRecord]) -> datetime | None:
    """Return the earliest start of a call's records."""
    return min((record.start_time for record in records if record.start_time is not None), default=None)


def belonging_to(
    part: TimeSlice, calls: Mapping[tuple[str | None, str | None], list[CallRecord]]
) -> dict[tuple[str | None, str | None], list[CallRecord]]:
    """Return the calls that began in a slice.

    Starts are whole seconds, so a call on the border of two slices belongs to both, which is harmless.
    """
    begin = part.begin.replace(microsecond=0)
    return {
        key: records
        for key, records in calls.items()
        if (start := start_of(records)) is not None and begin <= start <= part.end
    }


def is_over(records: Sequence[CallRecord], before: datetime) -> bool:
    """Whether all records are finished ones of a call that ended before a moment."""
    end = end_of(records)
    return (
        end is not None
        and end <= before
        and not any(record.is_in_progress or record.is_deleted for record in records)
    )
