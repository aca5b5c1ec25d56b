"""Which version of a record counts, which record is primary, and what they say of the call together. No I/O.

A record is replaced as a whole, never field by field: while a call goes on, its direction, action, parties
and legs are provisional and change at the hang-up (published Active Calls responses). The Call Log counts
more than Active Calls, Detailed more than Simple, a later version more than an earlier one. Any version from
after the end counts more than all from before it, which may look finished and are not (reports from the
field: Stopped, or Accepted with a second of duration, of calls that go on).
"""

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from app.calls.evidence.outcomes import is_connected, read_outcome
from app.calls.model import Outcome, Source
from app.ids import is_alias
from app.ringcentral.models import CallRecord, Party

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


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordSummary:
    """What the records say of a call. `None` where they say nothing."""

    primary_id: str
    direction: str | None
    action: str | None
    result: str | None
    outcome: Outcome
    caller: dict[str, Any]
    callee: dict[str, Any]
    external_number: str | None
    started_at: datetime | None
    duration_seconds: int | None
    has_recording: bool
    session_ids: tuple[str, ...]
    """Without the "0" of conferences, which names no call."""

    extension_ids: tuple[str, ...]
    numbers: tuple[str, ...]


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


def primary_of(records: Sequence[CallRecord], provisional: Container[str] = frozenset()) -> CallRecord | None:
    """Choose the primary record: connected before others, then with a recording, then the longest, then any
    other before a missed one, then the earliest, then the caller's. The smallest id breaks ties, so that the
    choice does not depend on order. Records with ids in `provisional` come last. In Progress and deleted ones
    are not candidates.

    A queue call that the caller abandons is Abandoned in the record of the queue and Missed in those of its
    members, all with no duration and often in the same second: Missed is about a phone, Abandoned about the
    call.
    """
    candidates = [record for record in records if not record.is_in_progress and not record.is_deleted]
    return min(candidates, key=lambda record: (record.id in provisional, *_preference(record)), default=None)


def _preference(record: CallRecord) -> tuple[bool, bool, float, bool, datetime, bool, str]:
    return (
        not is_connected(record.result),
        not record.recordings,
        -(record.duration_seconds or 0.0),
        read_outcome(record.result) is Outcome.MISSED,
        record.start_time or _EARLIEST,
        (record.direction or "").casefold() != "outbound",
        record.id,
    )


def summarise(
    records: Sequence[CallRecord], provisional: Container[str] = frozenset()
) -> RecordSummary | None:
    """Summarise a call's records; None while none is finished. Those with ids in `provisional` are from
    before its end."""
    primary = primary_of(records, provisional)
    if primary is None:
        return None
    is_inbound = (primary.direction or "").casefold() == "inbound"
    outside = primary.from_party if is_inbound else primary.to_party
    return RecordSummary(
        primary_id=primary.id,
        direction=primary.direction,
        action=primary.action,
        result=primary.result,
        outcome=outcome_of(primary, records),
        caller=read_side(primary.from_party),
        callee=read_side(primary.to_party),
        external_number=outside.phone_number,
        started_at=min((record.start_time for record in records if record.start_time), default=None),
        duration_seconds=None if primary.duration_seconds is None else round(primary.duration_seconds),
        has_recording=any(record.recordings for record in records),
        session_ids=_distinct(record.session_id for record in records if is_alias(record.session_id)),
        extension_ids=_distinct(extension_id for record in records for extension_id in _extensions(record)),
        numbers=_distinct(
            party.phone_number for record in records for party in (record.from_party, record.to_party)
        ),
    )


def outcome_of(primary: CallRecord, records: Sequence[CallRecord]) -> Outcome:
    """Return the outcome of the call: that of its primary record, except for calls between two extensions.

    Such a call has two records. The caller's is connected as soon as anything answers, even voicemail (the
    caller's party is Answered then as well, guide "Telephony session notifications"); the called side's says
    whether a person did. A user who calls his own number always reaches his voicemail.
    """
    outcome = read_outcome(primary.result)
    if outcome is not Outcome.ANSWERED:
        return outcome
    if _is_same(primary.from_party, primary.to_party):
        return Outcome.VOICEMAIL
    other_side = primary_of([record for record in records if _is_other_side(primary, record)])
    return read_outcome(other_side.result) if other_side else outcome


def _is_other_side(calling: CallRecord, record: CallRecord) -> bool:
    """Whether this is the called side's record of the call whose caller's record is `calling`."""
    directions = ((calling.direction or "").casefold(), (record.direction or "").casefold())
    return (
        directions == ("outbound", "inbound")
        and _is_same(calling.from_party, record.from_party)
        and _is_same(calling.to_party, record.to_party)
    )


def _is_same(one: Party, other: Party) -> bool:
    return any(
        name is not None and name == same
        for name, same in (
            (one.extension_id, other.extension_id),
            (one.extension_number, other.extension_number),
            (one.phone_number, other.phone_number),
        )
    )


def _extensions(record: CallRecord) -> Iterable[str | None]:
    yield record.extension_id
    yield record.from_party.extension_id
    yield record.to_party.extension_id
    for leg in record.legs or ():
        yield leg.extension_id


def read_side(party: Party) -> dict[str, Any]:
    """Return one side of a call as the API shows it: phoneNumber, extensionNumber, extensionId, name,
    location; only those that are known."""
    fields = {
        "phoneNumber": party.phone_number,
        "extensionNumber": party.extension_number,
        "extensionId": party.extension_id,
        "name": party.name,
        "location": party.location,
    }
    return {name: value for name, value in fields.items() if value is not None}


def _distinct(values: Iterable[str | None]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(value for value in values if value))


def end_of(records: Iterable[CallRecord]) -> datetime | None:
    """Return when a call ended by its records, to the second; None if no record has a start."""
    ends = [
        record.start_time + timedelta(seconds=record.duration_seconds or 0.0)
        for record in records
        if record.start_time is not None
    ]
    return max(ends, default=None)
