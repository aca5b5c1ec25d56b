"""Which records belong to which call. Does no input or output.

Active Calls has no filter for a session, and an unknown query parameter yields everything with status 200
(guide "Finding active calls"), so each record of a response is matched here:

1. by `telephonySessionId`, the key of a call;
2. by `sessionId`, where one of the two sides lacks the key and the id means exactly one wanted call
   ("0" means none: all conferences have it);
3. by both numbers and the start, where a call is known from a source without a usable id, and for a record
   without the key: the `sessionId` of a missed call's record can differ from that of its events (reports from
   the field).
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from app.ids import is_alias
from app.ringcentral.models import CallRecord
from app.values.phone_numbers import read_phone_number

START_TOLERANCE_SECONDS = 5.0
"""How far the starts of a call and of its record may differ: records count in whole seconds, and events begin
a little before them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallKeys:
    """What identifies a wanted call. `telephony_session_id` is None while only a `sessionId` is known."""

    call_id: str
    telephony_session_id: str | None
    session_id: str | None
    numbers: frozenset[str] = frozenset()
    """In any spelling."""

    region: str | None = None
    """The two-letter code of the country in which numbers without a `+` are read."""

    started_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Matching:
    """Records of wanted calls by call id, and of all others by `telephonySessionId`."""

    found: dict[str, list[CallRecord]] = field(default_factory=dict)
    unknown: dict[str, list[CallRecord]] = field(default_factory=dict)


def match_records(
    records: Iterable[CallRecord],
    wanted: Collection[CallKeys],
    start_tolerance_seconds: float = START_TOLERANCE_SECONDS,
) -> Matching:
    """Sort records by call. A record belongs to at most one call."""
    index = _Index(wanted, timedelta(seconds=start_tolerance_seconds))
    found: dict[str, list[CallRecord]] = defaultdict(list)
    unknown: dict[str, list[CallRecord]] = defaultdict(list)
    for record in records:
        call_id = index.find(record)
        if call_id is not None:
            found[call_id].append(record)
        elif record.telephony_session_id is not None:
            unknown[record.telephony_session_id].append(record)
    return Matching(dict(found), dict(unknown))


def finished_records(records: Sequence[CallRecord]) -> list[CallRecord]:
    """Return the records that are not In Progress, which is provisional in every field."""
    return [record for record in records if not record.is_in_progress]


class _Index:
    def __init__(self, wanted: Collection[CallKeys], tolerance: timedelta) -> None:
        self._tolerance = tolerance
        self._by_key = {call.telephony_session_id: call for call in wanted if call.telephony_session_id}
        self._by_session: dict[str, list[CallKeys]] = defaultdict(list)
        self._wanted = wanted
        self._nameless = [call for call in wanted if call.telephony_session_id is None]
        for call in wanted:
            if call.session_id is not None and is_alias(call.session_id):
                self._by_session[call.session_id].append(call)

    def find(self, record: CallRecord) -> str | None:
        key = record.telephony_session_id
        if key is not None and key in self._by_key:
            return self._by_key[key].call_id
        named = [
            call
            for call in self._by_session.get(record.session_id or "", ())
            if key is None or call.telephony_session_id is None
        ]
        if len(named) == 1:
            return named[0].call_id
        others = self._nameless if key is not None else self._wanted
        alike = [call for call in named or others if self._is_alike(record, call)]
        return alike[0].call_id if len(alike) == 1 else None

    def _is_alike(self, record: CallRecord, call: CallKeys) -> bool:
        if record.start_time is None or call.started_at is None or not call.numbers:
            return False
        numbers = _normal({record.from_party.phone_number, record.to_party.phone_number}, call.region)
        return (
            bool(numbers)
            and numbers <= _normal(call.numbers, call.region)
            and abs(record.start_time - call.started_at) <= self._tolerance
        )


def _normal(numbers: Iterable[str | None], region: str | None) -> set[str]:
    """Return numbers in their normal form: an event and a record may write the same number differently."""
    read = (read_phone_number(number, region) for number in numbers)
    return {number.normal for number in read if number is not None}
