"""The calls of the simulated account, found by id, session, time, record or recording. No I/O, no clock."""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from app.simulator.platform.views import (
    Revision,
    current_revision,
    message_ready_at,
    recording_ready_at,
    revisions,
    shown_until,
    whole_second,
)
from app.simulator.scripting.model import Record, Recording, ScriptedCall
from app.simulator.timing import Timing


@dataclass(frozen=True, slots=True)
class KnownRecording:
    """A kept recording with the record that names it."""

    recording: Recording
    record: Record


class CallStore:
    """All calls since the start or the last reset, and what clients deleted or read."""

    def __init__(self, timing: Timing) -> None:
        self.timing = timing
        self._calls: dict[str, ScriptedCall] = {}
        self._by_session: dict[str, ScriptedCall] = {}
        self._records: list[Record] = []
        self._recent: list[Record] = []
        self._by_record: dict[str, Record] = {}
        self._revisions: dict[str, list[Revision]] = {}
        self._recordings: dict[str, KnownRecording] = {}
        self._by_message: dict[str, Record] = {}
        self.deleted: set[str] = set()
        """Ids of records that are deleted from the call log."""
        self.purged: set[str] = set()
        """Ids of recordings that are deleted."""
        self.purged_messages: set[str] = set()
        """Ids of voicemails that are deleted."""
        self.served_active: dict[str, datetime] = {}
        """When Active Calls first served the final content of a record, by record id."""
        self.served_log: dict[str, datetime] = {}
        """When the call log first served the final content of a record, by record id."""

    def __iter__(self) -> Iterator[ScriptedCall]:
        return iter(self._calls.values())

    def __len__(self) -> int:
        return len(self._calls)

    def add(self, call: ScriptedCall) -> None:
        self._calls[call.id] = call
        for session in call.sessions:
            self._by_session[session.telephony_session_id] = call
        for record in call.records:
            # Calls with a delay are added before they start, so records are not added in order of start.
            insort(self._records, record, key=lambda known: known.started_at)
            self._recent.append(record)
            self._by_record[record.id] = record
            # Computed once: neither plan nor timing changes, and a sync reads the revisions of all records.
            self._revisions[record.id] = revisions(record, self.timing)
            if record.message_id is not None:
                self._by_message[record.message_id] = record
            for recording in record.recordings.kept:
                self._recordings[recording.id] = KnownRecording(recording, record)

    def find(self, name: str) -> ScriptedCall | None:
        """Find a call by its id, a `telephonySessionId` or a `sessionId`."""
        found = self._calls.get(name) or self._by_session.get(name)
        if found is None:
            by_number = (call for call in self if any(one.session_id == name for one in call.sessions))
            found = next(by_number, None)
        return found

    def call_of_session(self, telephony_session_id: str) -> ScriptedCall | None:
        return self._by_session.get(telephony_session_id)

    def recent_records(self, now: datetime) -> list[Record]:
        """Return the records that Active Calls may still show, and drop the others from the list."""
        self._recent = [record for record in self._recent if now < shown_until(record, self.timing)]
        return list(self._recent)

    def records_between(self, begin: datetime | None, end: datetime | None) -> list[Record]:
        """Return the records that started in this range of whole seconds, both ends inclusive."""

        def key(record: Record) -> datetime:
            return whole_second(record.started_at)

        first = 0 if begin is None else bisect_left(self._records, begin, key=key)
        last = len(self._records) if end is None else bisect_right(self._records, end, key=key)
        return self._records[first:last]

    def record(self, record_id: str) -> Record | None:
        return self._by_record.get(record_id)

    def revisions_of(self, record: Record) -> list[Revision]:
        """Return all revisions of a record in the call log, past and future, oldest first."""
        return self._revisions[record.id]

    def revision_at(self, record: Record, now: datetime) -> Revision | None:
        """Return the record's revision that the call log shows at this time."""
        return current_revision(self._revisions[record.id], now)

    def recording(self, recording_id: str) -> KnownRecording | None:
        """Return a recording that is not purged; it may not be ready yet."""
        return None if recording_id in self.purged else self._recordings.get(recording_id)

    def ready_recording(self, recording_id: str, now: datetime) -> KnownRecording | None:
        """Return a recording that can be fetched at this time."""
        known = self.recording(recording_id)
        ready_at = None if known is None else recording_ready_at(known.record, self.timing)
        return known if ready_at is not None and ready_at <= now else None

    def ready_message(self, message_id: str, now: datetime) -> Record | None:
        """Return the record of a voicemail that can be fetched at this time."""
        record = None if message_id in self.purged_messages else self._by_message.get(message_id)
        ready_at = None if record is None else message_ready_at(record, self.timing)
        return record if ready_at is not None and ready_at <= now else None

    def purge_messages(self, message_ids: Iterable[str] | None) -> int:
        """Delete these voicemails, or all of them if None; returns the number of purged ids."""
        self.purged_messages |= set(self._by_message if message_ids is None else message_ids)
        return len(self.purged_messages)

    def record_of(self, recording: Recording) -> Record:
        """Return the record that names a kept recording, purged or not."""
        return self._recordings[recording.id].record

    def purge_recordings(self, recording_ids: Iterable[str] | None) -> int:
        """Delete these recordings, or all of them if None; returns the number of purged ids."""
        self.purged |= set(self._recordings if recording_ids is None else recording_ids)
        return len(self.purged)
