"""Which reading of a record stands, which record is the call, what the call is by its records. No I/O.

A record is replaced as a whole, never field by field: while a call goes on its direction, action, parties
and legs are provisional and turn over at the hang-up (published Active Calls answers). The Call Log is the
better witness than Active Calls, Detailed better than Simple, the later reading better than the earlier; and any
that was made after the end better than all from before it, which may look finished and are not (reports from the
field: Stopped, or Accepted with a second of duration, of calls that go on).
"""

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from app.calls.model import Outcome, Source
from app.calls.outcomes import is_connected, read_outcome
from app.ids import is_alias
from app.ringcentral.models import CallRecord, Party

_EARLIEST = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class RecordVersion:
    """A record as one source showed it at one moment; `is_provisional` when that was before the end of the call."""

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
    """What a call is by its records. `None` where they do not say."""

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
    """Those that name a call: the "0" of conferences does not."""
    extension_ids: tuple[str, ...]
    numbers: tuple[str, ...]


def merge_versions(
    kept: Mapping[str, RecordVersion], fresh: Iterable[RecordVersion]
) -> dict[str, RecordVersion]:
    """Return the readings that replace what is kept, by record id: also those that only confirm it later.

    Idempotent: merging what was merged changes nothing. The order of `fresh` does not matter, nor in how many
    steps it comes; that is why a confirmation has to be kept too. `tells_news` says which ones say more.
    """
    standing = dict(kept)
    for reading in fresh:
        present = standing.get(reading.record.id)
        if present is None or _replaces(reading, present):
            standing[reading.record.id] = reading
    return {key: reading for key, reading in standing.items() if reading is not kept.get(key)}


def brings_news(replaced: Mapping[str, RecordVersion], kept: Mapping[str, RecordVersion]) -> bool:
    """Whether what was replaced says anything that was not kept before."""
    return any(_says_more(reading, kept.get(key)) for key, reading in replaced.items())


def _replaces(new: RecordVersion, old: RecordVersion) -> bool:
    if new.record.is_in_progress != old.record.is_in_progress:
        return old.record.is_in_progress
    return _weight(new) > _weight(old)


def _weight(reading: RecordVersion) -> tuple[int, datetime, datetime, str]:
    modified = reading.record.last_modified_time or _EARLIEST
    return (reading.rank, modified, reading.fetched_at, repr(sorted(reading.record.raw.items(), key=str)))


def _says_more(reading: RecordVersion, old: RecordVersion | None) -> bool:
    return old is None or (reading.record.raw, reading.source) != (old.record.raw, old.source)


def primary_of(records: Sequence[CallRecord], provisional: Container[str] = frozenset()) -> CallRecord | None:
    """Choose the record that stands for the call: connected before others, then with a recording, then the
    longest, then any other before a missed one, then the earliest, then the caller's; among equals the smallest
    id, so that the choice does not depend on order. Those with ids in `provisional` come last.

    A queue's call that was given up is Abandoned in the record of the queue and Missed in those of its members,
    all of no length and often of the same second: Missed speaks of a phone, Abandoned of the call.

    Records in progress and deleted ones are not candidates.
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
    """Say what the call is; None while no record is an answer. Those with ids in `provisional` were read before
    its end."""
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
    """Say what became of the call: what its primary record says, but for calls from one extension to another.

    Of these there are two records, and the caller's is connected as soon as anything answers, a voicemail box too
    (the caller's party is Answered then as well, guide "Telephony session notifications"): the called side's says
    whether a person did. Nobody answers a call to himself: who calls his own number hears his voicemail box.
    """
    told = read_outcome(primary.result)
    if told is not Outcome.ANSWERED:
        return told
    if _is_same(primary.from_party, primary.to_party):
        return Outcome.VOICEMAIL
    other_side = primary_of([record for record in records if _is_other_side(primary, record)])
    return read_outcome(other_side.result) if other_side else told


def _is_other_side(calling: CallRecord, record: CallRecord) -> bool:
    """Whether this is the record of the one called in the very call that `calling` is the caller's record of."""
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
    """Return one side of a call as the API shows it, without what is not known."""
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
    """Return when a call was over by its records, to a second."""
    ends = [
        record.start_time + timedelta(seconds=record.duration_seconds or 0.0)
        for record in records
        if record.start_time is not None
    ]
    return max(ends, default=None)
