"""Which version of a record counts. No I/O.

A record is replaced as a whole, never field by field: while a call goes on, its direction, action, parties
and legs are provisional and change at the hang-up (published Active Calls responses). The Call Log counts
more than Active Calls, Detailed more than Simple, a later version more than an earlier one. Any version from
after the end counts more than all from before it, which may look finished and are not (reports from the
field: Stopped, or Accepted with a second of duration, of calls that go on).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from app.calls.model import Source
from app.ringcentral.models import CallRecord

_EARLIEST = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class RecordVersion:
    """A record as one source showed it at one moment; `is_provisional` if that was before the end of the
    call."""

    record: CallRecord
    source: Source
    fetched_at: datetime
    is_provisional: bool = False

    @property
    def rank(self) -> int:
        return 2 * (self.source is Source.CALL_LOG) + self.record.is_detailed - 4 * self.is_provisional

    @property
    def is_detailed_log(self) -> bool:
        return self.source is Source.CALL_LOG and self.record.is_detailed


def merge_versions(
    kept: Mapping[str, RecordVersion], fresh: Iterable[RecordVersion]
) -> dict[str, RecordVersion]:
    """Return the versions that replace what is kept, by record id, including later ones that only confirm it.

    Idempotent. Neither the order of `fresh` nor the number of calls in which it arrives matters; that is why
    confirmations are kept too. `brings_news` tells which versions say more.
    """
    current = dict(kept)
    for version in fresh:
        present = current.get(version.record.id)
        if present is None or _replaces(version, present):
            current[version.record.id] = version
    return {key: version for key, version in current.items() if version is not kept.get(key)}


def brings_news(replaced: Mapping[str, RecordVersion], kept: Mapping[str, RecordVersion]) -> bool:
    """Whether any of the versions that replace what is kept says something new."""
    return any(_says_more(version, kept.get(key)) for key, version in replaced.items())


def _replaces(new: RecordVersion, old: RecordVersion) -> bool:
    if new.record.is_in_progress != old.record.is_in_progress:
        return old.record.is_in_progress
    return _weight(new) > _weight(old)


def _weight(version: RecordVersion) -> tuple[int, datetime, datetime, str]:
    modified = version.record.last_modified_time or _EARLIEST
    return (version.rank, modified, version.fetched_at, repr(sorted(version.record.raw.items(), key=str)))


def _says_more(version: RecordVersion, old: RecordVersion | None) -> bool:
    return old is None or (version.record.raw, version.source) != (old.record.raw, old.source)


def end_of(records: Iterable[CallRecord]) -> datetime | None:
    """Return when a call ended by its records, to the second; None if no record has a start."""
    ends = [
        record.start_time + timedelta(seconds=record.duration_seconds or 0.0)
        for record in records
        if record.start_time is not None
    ]
    return max(ends, default=None)
