"""How long a call takes to become bootstrapped, reconciled and final when all that asks RingCentral shares
one bucket.

    python -m bench.reconciliation [--json] [--quick]

In virtual time, one bucket of 10 requests in sliding 60 s. The decisions are the service's own: the poll
planner, the bucket's priorities, which calls a reading takes along and when it comes again, how records merge
and when a call is final, when recordings are looked for, how ranges are swept, all with the default settings.
Only the database is left out: what it would hold is in memory.

The simulated RingCentral:

- A call becomes visible in Active Calls 3-10 s after its end (triangular, mode 5 s) and leaves 120 s after
  it; the
  service is told of the end 3.1 s late. Its record is in the Call Log after 15-30 s; 2 % come after 2-5 min.
  One in five
  is changed once more, 10 s to 5 min later.
- Calls last 3 min in the mean (exponential). Four in five are answered, and half of these recorded; events
  announce
  the recording. It can be heard 8-60 s after the end, before that its metadata are 404. Half of the records
  name it
  from the first, half when it is ready.
- The Call Log lists ended calls by start, the newest first, pages of 1000; the feed of changes (extract
  sync), where
  the tenant has it, up to 250 in the order of their last change, 1000 where it is asked to go on from a date.
  Way `feed` is a tenant with it, `window` one without.
  A request takes 0.2 s. One answer of Active Calls shows all calls (one page).

Times count from the hang-up. A call counts if it ended in the measured part: after a quarter of an hour of
warming up, and ten minutes before the end; one that has not come so far by the end counts as infinitely late.
"""

from __future__ import annotations

import argparse
import heapq
import json
import math
import random
import sys
import time
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any, Final, TypeVar, cast

from rich.console import Console
from rich.table import Table
from sqlalchemy.ext.asyncio import AsyncConnection

from app.calls.evidence.matching import finished_records, match_records
from app.calls.evidence.records import primary_of
from app.calls.evidence.versions import RecordVersion, merge_versions
from app.calls.ledger import Ledger
from app.calls.media.recordings import OPEN, PART, RecordingRow, State, is_awaited, readiness_of
from app.calls.model import Call, Source, Stage
from app.enrichment.call_log.due_requests import LONGEST_TURN_SECONDS, MOST_PAGES
from app.enrichment.call_log.extract_sync import MOST_REQUESTS
from app.enrichment.call_log.reader import MOST_DUE
from app.enrichment.call_log.reading_plan import (
    ByRecords,
    ByWindow,
    Due,
    as_due,
    may_be_named,
    needs_another_way,
    next_read,
    plan_read,
    seconds_per_page,
)
from app.enrichment.call_log.slices import next_slice, next_span, shorter, start_of
from app.enrichment.recordings.recording_plan import RecordingPlan
from app.enrichment.records.call_names import keys_of_call
from app.enrichment.records.call_update import update_call
from app.enrichment.records.named_recordings import take_named_recordings
from app.enrichment.records.plan import CallLogPlan
from app.enrichment.records.settling import finish, is_stable, settle
from app.enrichment.rules import call_log_plan, recording_plan, sweep_rules
from app.enrichment.sweeps.slice_reader import PAGES_PER_SLICE
from app.enrichment.sweeps.state import LONG_PASS_EVERY, SweepRules
from app.ids import AccountId, CallId
from app.rate_limits import bucket as budget
from app.ringcentral.models import BadRecord, CallRecord, RecordsPage, read_call_record
from app.ringcentral.ports import Priority
from app.ringcentral.protocol.paging import wants_next_page
from app.settings import Settings
from bench import planner
from bench.planner import ROUND_TRIP_SECONDS, SLIDING_SECONDS, START, TOLD_AFTER_SECONDS, WINDOW_SECONDS

T = TypeVar("T")

RATES: Final = (1.0, 10.0, 60.0, 300.0)
SEARCHED_RATES: Final = (5.0, 10.0, 20.0, 30.0, 60.0, 100.0, 200.0, 300.0, 450.0, 600.0, 1000.0)
SEEDS: Final = (21, 22, 23)
PAGE_SIZE: Final = 1000
FEED_SIZE, FEED_SIZE_BY_DATE = 250, 1000
WARM_UP_SECONDS: Final = 900.0
TAIL_SECONDS: Final = 600.0

MEAN_CALL_SECONDS: Final = 180.0
LOG_DELAY_SECONDS: Final = (15.0, 30.0)
STRAGGLERS, STRAGGLER_SECONDS = 0.02, (120.0, 300.0)
CORRECTED, CORRECTION_SECONDS = 0.2, (10.0, 300.0)
ANSWERED, RECORDED, NAMED_AT_ONCE = 0.8, 0.5, 0.5
MEDIA_SECONDS: Final = (8.0, 60.0)

READER_BEAT_SECONDS, KEEPER_BEAT_SECONDS = 1.0, 2.0
KEEPER_AT_ONCE: Final = 20
FEED_DEADLINE_SECONDS: Final = 30.0
LONGEST_WAIT_SECONDS: Final = 60.0
"""For a free slot, where a request names no deadline."""

SAMPLE_SECONDS: Final = 10.0
LATE_SECONDS: Final = 600.0
"""Later than this after the hang-up, a call counts as late."""

TABLE_WIDTH: Final = 150
ACCOUNT: Final = AccountId("908070001")
STAGES: Final = (Stage.BOOTSTRAPPED, Stage.RECONCILED, Stage.FINAL)
WAYS: Final = ("feed", "window")
"""With a tenant that has extract sync, and without."""

PILES: Final = (Stage.RECONCILED, Stage.FINAL)
"""Stages that calls must not pile up before."""

KINDS: Final = ("poll", "reading", "recording", "sweep")


@dataclass(frozen=True, slots=True)
class Plans:
    """The service's constants that are measured; the defaults are those of the settings."""

    reading: CallLogPlan = field(default_factory=lambda: call_log_plan(Settings()))
    recording: RecordingPlan = field(default_factory=lambda: recording_plan(Settings()))
    sweeps: SweepRules = field(default_factory=lambda: sweep_rules(Settings()))
    batch: int = MOST_DUE


@dataclass(frozen=True, slots=True)
class Truth:
    """One call as RingCentral knows it. Seconds since the start; `versions` of its record, each from a moment
    on."""

    number: int
    began: float
    ended: float
    provisional: CallRecord
    versions: tuple[tuple[float, CallRecord], ...]
    recording_id: str | None = None
    ready: float = math.inf

    def record_at(self, at: float) -> CallRecord | None:
        """What the Call Log shows at a moment."""
        return next((record for since, record in reversed(self.versions) if since <= at), None)


def draw_truths(calls: Sequence[planner.Call], seed: int) -> list[Truth]:
    """Give each call a start, a record with its changes, and perhaps a recording."""
    chance = random.Random(f"{seed}/truth")
    return [_draw_truth(number, call, chance) for number, call in enumerate(calls)]


def _draw_truth(number: int, call: planner.Call, chance: random.Random) -> Truth:
    began = call.ended - chance.expovariate(1.0 / MEAN_CALL_SECONDS)
    delay = STRAGGLER_SECONDS if chance.random() < STRAGGLERS else LOG_DELAY_SECONDS
    logged = call.ended + chance.uniform(*delay)
    changes = {logged}
    if chance.random() < CORRECTED:
        changes.add(logged + chance.uniform(*CORRECTION_SECONDS))
    is_answered = chance.random() < ANSWERED
    is_recorded = is_answered and chance.random() < RECORDED
    ready = call.ended + chance.uniform(*MEDIA_SECONDS) if is_recorded else math.inf
    named = logged if chance.random() < NAMED_AT_ONCE else max(logged, ready)
    if is_recorded:
        changes.add(named)
    recording_id = f"30{number:08d}" if is_recorded else None

    def record(modified: float, *, is_detailed: bool = True) -> CallRecord:
        raw: dict[str, Any] = {
            "id": f"QX{number:08d}",
            "sessionId": str(1_229_000_000_000 + number),
            "telephonySessionId": f"s-{number:010d}",
            "type": "Voice",
            "direction": "Inbound",
            "action": "Phone Call",
            "result": "Accepted" if is_answered else "Missed",
            "startTime": _text(began, "seconds"),
            "duration": round(call.ended - began) if is_answered else 0,
            "lastModifiedTime": _text(modified, "milliseconds"),
            "from": {"phoneNumber": "+15550179001"},
            "to": {"phoneNumber": "+15550100101", "extensionNumber": "101"},
        }
        if is_detailed:
            raw["legs"] = []
            if recording_id is not None and modified >= named:
                address = f"https://media.example/recording/{recording_id}/content"
                raw["recording"] = {"id": recording_id, "type": "Automatic", "contentUri": address}
        read = read_call_record(raw)
        assert not isinstance(read, BadRecord)
        return read

    versions = tuple((moment, record(moment)) for moment in sorted(changes))
    provisional = record(call.visible, is_detailed=False)
    return Truth(number, began, call.ended, provisional, versions, recording_id, ready)


class CallLog:
    """The Call Log's lists, as they stand at a moment."""

    def __init__(self, truths: Sequence[Truth]) -> None:
        self._by_start = sorted(truths, key=lambda truth: truth.began)
        self._starts = [math.floor(truth.began) for truth in self._by_start]
        self._by_session = {str(truth.versions[0][1].session_id): truth for truth in truths}
        self._by_id = {str(truth.versions[0][1].id): truth for truth in truths}
        self._changes = sorted((at, truth.number) for truth in truths for at, _ in truth.versions)
        self._truths = truths

    def page(self, date_from: datetime, date_to: datetime, number: int, at: float) -> RecordsPage:
        """One page of the calls that started between the two, the newest first."""
        first = bisect_left(self._starts, math.floor(_seconds(date_from)))
        last = bisect_right(self._starts, math.floor(_seconds(date_to)))
        begun = (truth.record_at(at) for truth in reversed(self._by_start[first:last]))
        there = [record for record in begun if record is not None]
        skipped = (number - 1) * PAGE_SIZE
        return RecordsPage(
            sent_at=_moment(at - ROUND_TRIP_SECONDS / 2.0),
            records=tuple(there[skipped : skipped + PAGE_SIZE]),
            page=number,
            per_page=PAGE_SIZE,
            has_next=len(there) > skipped + PAGE_SIZE,
        )

    def of_session(self, session_id: str, at: float) -> list[CallRecord]:
        record = self._by_session[session_id].record_at(at)
        return [] if record is None else [record]

    def of_ids(self, record_ids: Iterable[str], at: float) -> list[CallRecord]:
        records = (self._by_id[record_id].record_at(at) for record_id in record_ids)
        return [record for record in records if record is not None]

    def changes(self, since: float, at: float, most: int) -> tuple[list[CallRecord], float, bool]:
        """What has changed since a moment, in the order of the last change; until when that is; whether there
        is more."""
        records: list[CallRecord] = []
        for place in range(bisect_right(self._changes, (since, sys.maxsize)), len(self._changes)):
            changed, number = self._changes[place]
            if changed > at:
                break
            if len(records) == most:
                return records, since, True
            truth = self._truths[number]
            if changed == max(moment for moment, _ in truth.versions if moment <= at):
                record = truth.record_at(at)
                assert record is not None
                records.append(record)
            since = changed
        return records, since, False


class NoSlotInTimeError(Exception):
    """The bucket has nothing before the deadline; `until` says when to ask again."""

    def __init__(self, until: float) -> None:
        super().__init__(until)
        self.until = until


Steps = Generator[float, None, T]
"""Background work as a process: it yields the moment at which it wants to go on."""


class Service(planner.Aftercall):
    """The poller of the planner's bench, with the Call Log's reader, the keeper of recordings and the sweeper
    beside it.

    Each is the loop of its namesake in `app.enrichment`, reduced to its decisions.
    """

    def __init__(
        self, calls: Sequence[planner.Call], truths: Sequence[Truth], plans: Plans, *, has_feed: bool
    ) -> None:
        super().__init__(calls, with_log=False)
        self.truths = truths
        self.call_log = CallLog(truths)
        self.plans = plans
        self.has_feed = has_feed
        self.page_seconds: float | None = None
        self.fed_until = 0.0
        self.feed_size = FEED_SIZE
        self.read_not_before = 0.0
        self.now = 0.0
        self.known: dict[str, Call] = {}
        self.readings: dict[str, dict[str, RecordVersion]] = {}
        self.recordings: dict[str, RecordingRow] = {}
        self.agenda: list[tuple[float, str]] = []
        self.looks: list[tuple[float, str]] = []
        self.reached: dict[Stage, dict[str, float]] = {stage: {} for stage in STAGES}
        self.requests: Counter[str] = Counter()
        self.vain_looks = 0
        self.ready_too_early = 0
        self.backlog: list[tuple[float, int, int]] = []
        self._processes: list[tuple[float, int, Steps[None]]] = []

    def play(self, seconds: float) -> None:
        """Let everything run until a moment."""
        for number, process in enumerate((self._read(), self._keep(), self._sweep(), self._sample())):
            heapq.heappush(self._processes, (0.0, number, process))
        told = 0
        while True:
            tells = self.calls[told].ended + TOLD_AFTER_SECONDS if told < len(self.calls) else math.inf
            replies = self.asking[0] + ROUND_TRIP_SECONDS if self.asking else math.inf
            plans = math.inf if self.asking else self.plan_at
            self.now = min(tells, replies, plans, self._processes[0][0])
            if self.now > seconds:
                return
            if self.now == tells:
                self._end(told)
                self._hear(told, self.now)
                told += 1
            elif self.now == replies:
                self._take_answer(self.now)
            elif self.now == plans:
                self._plan(self.now)
            else:
                _, number, process = heapq.heappop(self._processes)
                heapq.heappush(self._processes, (max(next(process), self.now), number, process))

    def _end(self, number: int) -> None:
        """Note the end of a call, as the folding of events does."""
        truth = self.truths[number]
        record = truth.provisional
        call = Call(
            account_id=ACCOUNT,
            call_id=CallId(str(number)),
            telephony_session_id=str(record.telephony_session_id),
            session_id=record.session_id,
            stage=Stage.ENDED,
            started_at=_moment(truth.began),
            ended_at=_moment(truth.ended),
            read_at=_moment(truth.ended + WINDOW_SECONDS),
            details={"recordingIds": [truth.recording_id]} if truth.recording_id else {},
            created_at=_moment(self.now),
            updated_at=_moment(self.now),
        )
        self.known[call.call_id] = call
        self.readings[call.call_id] = {}
        self._remember(call)

    def _ask(self, now: float, user: int) -> None:
        before = self.outcome.requests
        super()._ask(now, user)
        self.requests["poll"] += self.outcome.requests - before

    def _take_answer(self, now: float) -> None:
        before = set(self.waiting)
        super()._take_answer(now)
        found = {str(number): [self.truths[number].provisional] for number in before - set(self.waiting)}
        self._apply(found, Source.ACTIVE_CALLS)

    def _request(self, kind: str, priority: Priority, deadline: float | None = None) -> Steps[float]:
        """Wait for a slot, send, settle; return when the server was reached. Raises NoSlotInTimeError."""
        deadline = self.now + LONGEST_WAIT_SECONDS if deadline is None else deadline
        while True:
            verdict = budget.admit(
                self.buckets[0], priority, _moment(self.now), self.limits, polls_waiting=bool(self.waiting)
            )
            self.buckets[0] = verdict.state
            if isinstance(verdict, budget.Granted):
                break
            until = _seconds(verdict.until)
            if until > deadline:
                raise NoSlotInTimeError(until)
            yield max(until, self.now + 0.01)
        self.requests[kind] += 1
        sent = self.now
        yield sent + ROUND_TRIP_SECONDS
        arrived = sent + ROUND_TRIP_SECONDS / 2.0
        self._settle(0, verdict.token, arrived, self.now)
        return arrived

    def _asked_at(self) -> datetime:
        """Return when the request left whose answer has just come."""
        return _moment(self.now - ROUND_TRIP_SECONDS)

    # The Call Log's reader

    def _read(self) -> Steps[None]:
        while True:
            due = self._due() if self.now >= self.read_not_before else []
            if not due:
                yield self.now + READER_BEAT_SECONDS
                continue
            try:
                yield from self._read_due(due)
            except NoSlotInTimeError as refused:
                yield refused.until

    def _due(self) -> list[Call]:
        """Return the calls that are due, longest due first."""
        due: dict[str, Call] = {}
        entries: list[tuple[float, str]] = []
        while self.agenda and self.agenda[0][0] <= self.now and len(due) < self.plans.batch:
            at, call_id = heapq.heappop(self.agenda)
            call = self.known[call_id]
            if call.read_at is not None and _seconds(call.read_at) == at and call_id not in due:
                due[call_id] = call
                entries.append((at, call_id))
        for entry in entries:
            heapq.heappush(self.agenda, entry)
        return list(due.values())

    def _read_due(self, due: Sequence[Call]) -> Steps[None]:
        left, has_more = list(due), len(due) == self.plans.batch
        if self.has_feed:
            left, is_complete = yield from self._take_feed(due)
            has_more = not is_complete
        if left:
            asked = yield from self._ask_log(left)
            has_more = has_more or asked < len(left)
        if not has_more:
            self.read_not_before = self.now + self.plans.reading.gap

    def _ask_log(self, due: Sequence[Call]) -> Steps[int]:
        request = plan_read(self._load_due(due), self.page_seconds)
        left: dict[str, Call] = {call.call_id: call for call in due}
        if isinstance(request, ByWindow):
            deadline = self.now + LONGEST_TURN_SECONDS
            for number in range(1, MOST_PAGES + 1):
                arrived = yield from self._request("reading", Priority.RECONCILE, deadline)
                page = self.call_log.page(request.date_from, request.date_to, number, arrived)
                if number == 1:
                    self.page_seconds = seconds_per_page(page, self.page_seconds)
                self._write(left, page.records)
                if not wants_next_page(number, page, set()):
                    break
        else:
            arrived = yield from self._request("reading", Priority.RECONCILE)
            if isinstance(request, ByRecords):
                self._write(left, self.call_log.of_ids(request.record_ids, arrived))
            else:
                self._write(left, self.call_log.of_session(request.session_id, arrived))
        spoken_for = [left[call_id] for call_id in request.call_ids if call_id in left]
        for call in spoken_for:
            self._plan_reading(call)
        return len(due) - len(left) + len(spoken_for)

    def _write(self, left: dict[str, Call], records: Iterable[CallRecord]) -> None:
        """Bring in what was read; take the calls that it answered out of those that are due."""
        sought = [keys_of_call(call) for call in left.values()]
        matching = match_records(records, sought)
        found = {
            call_id: final for call_id, rows in matching.found.items() if (final := finished_records(rows))
        }
        self._apply(found, Source.CALL_LOG)
        for call_id in found:
            self._plan_reading(left.pop(call_id))
        self._bring_in(record for rows in matching.unknown.values() for record in rows)

    def _load_due(self, due: Sequence[Call]) -> list[Due]:
        now = _moment(self.now)
        named = [call for call in due if may_be_named(call, now)]
        record_ids = {call.call_id: list(self.readings[call.call_id]) for call in named}
        return [as_due(call, now, record_ids.get(call.call_id, ())) for call in due]

    def _take_feed(self, due: Sequence[Call]) -> Steps[tuple[list[Call], bool]]:
        """Read the feed; return those of the calls that are due that have to be asked for in another way, and
        whether the feed was read to its end."""
        read, is_complete = yield from self._read_feed("reading")
        left: list[Call] = []
        for call in due:
            if call.call_id in read:
                self._plan_reading(call)
            elif is_complete and needs_another_way(call):
                left.append(call)
            elif is_complete:
                self._settle_call(call)
                self._plan_reading(call)
        return left, is_complete

    def _settle_call(self, call: Call) -> None:
        """Settle a call whose records were just seen, if they have stood for long enough."""
        ledger, plan = self._ledger(), self.plans.reading
        if call.stage != Stage.RECONCILED or not is_stable(call, plan, self._asked_at()):
            return
        recording_id = self.truths[int(call.call_id)].recording_id
        row = self.recordings.get(recording_id or "")
        known = {} if row is None or not is_awaited(call) else {row.recording_id: row}
        for changed in settle(ledger, call, known, plan):
            self._keep_recording(changed)

    def _keep_recording(self, row: RecordingRow) -> None:
        if row.state == State.READY and self.truths[int(row.call_id)].ready > self.now:
            self.ready_too_early += 1
        self.recordings[row.recording_id] = row
        self._remember_look(row.recording_id)

    def _read_feed(self, kind: str) -> Steps[tuple[frozenset[str], bool]]:
        """Bring in what has changed; return whose records came, and whether that was all."""
        read: set[str] = set()
        for _ in range(MOST_REQUESTS):
            deadline = self.now + FEED_DEADLINE_SECONDS
            arrived = yield from self._request(kind, Priority.RECONCILE, deadline)
            records, self.fed_until, has_newer = self.call_log.changes(
                self.fed_until, arrived, self.feed_size
            )
            self.feed_size = FEED_SIZE_BY_DATE if has_newer else FEED_SIZE
            read |= self._bring_in(records)
            if not has_newer:
                break
        return frozenset(read), not has_newer

    def _plan_reading(self, call: Call) -> None:
        """Plan the next reading of a call, or close it, as the reader does after each."""
        call.reads += 1
        if call.stage in (Stage.FINAL, Stage.ABSENT):
            call.read_at = None
        else:
            call.read_at = next_read(call, self.plans.reading, _moment(self.now), self._asked_at())
            if call.read_at is None and call.stage == Stage.RECONCILED:
                finish(self._ledger(), call)
        self._remember(call)

    # What records say

    def _apply(self, found: dict[str, list[CallRecord]], source: Source) -> None:
        """Bring records into calls, by call id: what `apply_readings` does, without a database."""
        ledger, plan = self._ledger(), self.plans.reading
        for call_id, records in found.items():
            call, kept = self.known[call_id], self.readings[call_id]
            news = merge_versions(
                kept, [RecordVersion(record, source, self._asked_at()) for record in records]
            )
            kept |= news
            standing = [reading.record for reading in kept.values()]
            if primary_of(kept.values()) is None:
                continue
            mentioned = self._mention(call, standing, ledger.now)
            update_call(ledger, call, kept, source, has_news=bool(news or mentioned), plan=plan)
            self._settle_call(call)
            self.waiting.pop(int(call_id), None)
            self._remember(call)

    def _mention(self, call: Call, records: Sequence[CallRecord], now: datetime) -> bool:
        """Keep what records say of recordings; say whether it was news."""
        recording_id = self.truths[int(call.call_id)].recording_id
        row = self.recordings.get(recording_id or "")
        known = {} if row is None else {row.recording_id: row}
        first_after = timedelta(seconds=self.plans.reading.recording_after)
        rows = take_named_recordings(call, records, known, now, first_after)
        for changed in rows:
            self._keep_recording(changed)
        return bool(rows)

    # The keeper of recordings

    def _keep(self) -> Steps[None]:
        while True:
            pause = KEEPER_BEAT_SECONDS
            for _ in range(KEEPER_AT_ONCE):
                recording_id = self._due_recording()
                if recording_id is None:
                    break
                row = self.recordings[recording_id]
                try:
                    arrived = yield from self._request("recording", Priority.METADATA, deadline=self.now)
                except NoSlotInTimeError as refused:
                    self.recordings[recording_id] = replace(row, due_at=_moment(refused.until))
                    self._remember_look(recording_id)
                    pause = min(pause, refused.until - self.now)
                    break
                self._look(row, arrived)
            yield self.now + pause

    def _due_recording(self) -> str | None:
        while self.looks and self.looks[0][0] <= self.now:
            at, recording_id = heapq.heappop(self.looks)
            due_at = self.recordings[recording_id].due_at
            if due_at is not None and _seconds(due_at) == at:
                return recording_id
        return None

    def _look(self, row: RecordingRow, arrived: float) -> None:
        """Take the answer of one look."""
        call = self.known[row.call_id]
        if self.truths[int(row.call_id)].ready <= arrived:
            row = replace(row, state=State.READY, due_at=None)
        else:
            self.vain_looks += 1
            attempts = row.attempts + 1
            gap = self.plans.recording.next_gap(attempts)
            due_at = None if gap is None else _moment(self.now + gap)
            state = State.EXPIRED if gap is None else row.state
            row = replace(row, attempts=attempts, due_at=due_at, state=state)
        self.recordings[row.recording_id] = row
        self._remember_look(row.recording_id)
        call.ready(PART, readiness_of([row.state]), _moment(self.now))
        finish(self._ledger(), call)
        self._remember(call)

    # The regular sweep

    def _sweep(self) -> Steps[None]:
        rules, passes, span = self.plans.sweeps, 0, cast("float | None", None)
        begin, end = _moment(0.0), _moment(rules.interval)
        while True:
            yield _seconds(end)
            cursor = None
            if self.has_feed and (not passes or passes % LONG_PASS_EVERY):
                try:
                    yield from self._read_feed("sweep")
                    cursor = end
                except NoSlotInTimeError as refused:
                    yield refused.until
            while (part := next_slice(begin, end, cursor, span)) is not None:
                try:
                    part, records = yield from self._read_slice(part)
                except NoSlotInTimeError as refused:
                    yield refused.until
                    continue
                self._bring_in(records)
                cursor = part.end
                span = next_span(part, len(records), PAGES_PER_SLICE * PAGE_SIZE // 2)
                yield self.now + rules.spacing
            passes += 1
            back = rules.lookback if passes % LONG_PASS_EVERY == 0 else rules.overlap
            due_at = _moment(self.now + rules.interval)
            begin, end = max(START, min(end, due_at) - timedelta(seconds=back)), due_at

    def _read_slice(self, part: Any) -> Steps[tuple[Any, list[CallRecord]]]:
        margin = timedelta(seconds=self.plans.sweeps.margin)
        while True:
            arrived = yield from self._request("sweep", Priority.RECONCILE)
            first = self.call_log.page(part.begin - margin, part.end + margin, 1, arrived).records
            less = None
            if len(first) == PAGE_SIZE:
                less = shorter(part, self.plans.sweeps.margin, start_of(first), PAGES_PER_SLICE)
            if less is None:
                break
            part = less
        records = list(first)
        for number in range(2, PAGES_PER_SLICE + 1):
            if len(records) < (number - 1) * PAGE_SIZE:
                break
            arrived = yield from self._request("sweep", Priority.RECONCILE)
            records += self.call_log.page(part.begin - margin, part.end + margin, number, arrived).records
        return part, records

    def _bring_in(self, records: Iterable[CallRecord]) -> frozenset[str]:
        """Read known calls that are over; return their ids."""
        found = {str(int(record.id.removeprefix("QX"))): [record] for record in records}
        known = {call_id: rows for call_id, rows in found.items() if call_id in self.known}
        self._apply(known, Source.CALL_LOG)
        return frozenset(known)

    # Accounts of it all

    def _sample(self) -> Steps[None]:
        """Count now and then how many calls are on their way."""
        while True:
            ended = len(self.known)
            behind = [ended - len(self.reached[stage]) for stage in (Stage.RECONCILED, Stage.FINAL)]
            self.backlog.append((self.now, behind[0], behind[1]))
            yield self.now + SAMPLE_SECONDS

    def _remember(self, call: Call) -> None:
        """Note the stage and the due time of a call that may have changed."""
        for stage in STAGES:
            if call.reached(stage):
                self.reached[stage].setdefault(call.call_id, self.now)
        if call.read_at is not None:
            heapq.heappush(self.agenda, (_seconds(call.read_at), call.call_id))

    def _remember_look(self, recording_id: str) -> None:
        row = self.recordings[recording_id]
        if row.due_at is not None and row.state in OPEN:
            heapq.heappush(self.looks, (_seconds(row.due_at), recording_id))

    def _ledger(self) -> Ledger:
        """A ledger that collects and is never written."""
        return Ledger(cast("AsyncConnection", None), ACCOUNT, _moment(self.now), 0)


def minutes_for(rate: float, *, quick: bool) -> float:
    """Warming up, some hundred calls (thousands at high rates), and the tail."""
    calls, least = (100.0, 20.0) if quick else (400.0, 40.0)
    return (WARM_UP_SECONDS + TAIL_SECONDS) / 60.0 + max(least, math.ceil(calls / rate))


def measure(rate: float, way: str, seeds: Sequence[int], *, quick: bool) -> dict[str, Any]:
    """One line of the table: all seeds together."""
    minutes = minutes_for(rate, quick=quick)
    return {"way": way} | summarise_runs(rate, minutes, [play(rate, way, minutes, seed) for seed in seeds])


def play(rate: float, way: str, minutes: float, seed: int) -> Service:
    """Play one history."""
    calls = planner.draw_calls(rate, "steady", minutes, seed)
    service = Service(calls, draw_truths(calls, seed), Plans(), has_feed=way == "feed")
    service.play(minutes * 60.0)
    return service


def summarise_runs(rate: float, minutes: float, services: Sequence[Service]) -> dict[str, Any]:
    """Say what came out of several histories of one rate."""
    first, last = WARM_UP_SECONDS, minutes * 60.0 - TAIL_SECONDS
    measured = [
        (service, truth) for service in services for truth in service.truths if first <= truth.ended < last
    ]
    excess = sorted(value for service in services for value in service.outcome.excess)
    calls = sum(len(service.truths) for service in services)
    sent = sum((service.requests for service in services), Counter[str]())
    backlog = _growth([service.backlog for service in services], first, minutes * 60.0)
    return {
        "rate": rate,
        "minutes": minutes,
        "calls": len(measured),
        **{stage.value: _delays(measured, stage) for stage in STAGES},
        "recordedFinal": _delays([item for item in measured if item[1].recording_id], Stage.FINAL),
        "staleFinals": _rounded(_stale_share(measured)),
        "excess": {"mean": _rounded(math.fsum(excess) / len(excess)), "p99": _quantile(excess, 0.99)},
        "lost": sum(service.outcome.lost for service in services),
        "refused429": sum(service.outcome.refused for service in services),
        "requestsPerMinute": _rounded(sum(sent.values()) / minutes / len(services)),
        "requestsPerCall": {name: _rounded(sent[name] / calls) for name in KINDS}
        | {"all": _rounded(sum(sent.values()) / calls)},
        "vainLooks": sum(service.vain_looks for service in services),
        "readyTooEarly": sum(service.ready_too_early for service in services),
        "backlog": backlog,
    }


def _delays(measured: Sequence[tuple[Service, Truth]], stage: Stage) -> dict[str, float | None]:
    """Seconds from hang-up to a stage; None: not reached by the end."""
    delays = sorted(
        service.reached[stage].get(str(truth.number), math.inf) - truth.ended for service, truth in measured
    )
    found = (_quantile(delays, share) for share in (0.5, 0.99))
    late = sum(1 for delay in delays if delay > LATE_SECONDS)
    p50, p99 = (value if value < math.inf else None for value in found)
    return {"p50": p50, "p99": p99, "lateShare": _rounded(late / max(1, len(delays)))}


def _stale_share(measured: Sequence[tuple[Service, Truth]]) -> float:
    """Share of the final calls whose record we keep is not the Call Log's last one, at the end."""
    finals = [item for item in measured if str(item[1].number) in item[0].reached[Stage.FINAL]]
    stale = sum(1 for service, truth in finals if not _has_last_version(service, truth))
    return stale / max(1, len(finals))


def _has_last_version(service: Service, truth: Truth) -> bool:
    last = truth.record_at(service.backlog[-1][0])
    kept = service.readings[str(truth.number)].values()
    return last is None or any(reading.record.raw == last.raw for reading in kept)


def _growth(
    samples: Sequence[Sequence[tuple[float, int, int]]], first: float, last: float
) -> dict[str, dict[str, Any]]:
    """Calls on their way to a stage: the mean of the second fifth of the measured time, and of the last.

    Chance alone lets the number swing by its root; beyond three of them, and a tenth, it has grown.
    """
    fifth = (last - first) / 5.0
    grown: dict[str, dict[str, Any]] = {}
    for place, stage in ((1, Stage.RECONCILED), (2, Stage.FINAL)):
        means = []
        for start in (first + fifth, last - fifth):
            counts = [
                sample[place] for run in samples for sample in run if start <= sample[0] < start + fifth
            ]
            means.append(math.fsum(counts) / max(1, len(counts)))
        middle, end = means
        allowed = middle * 1.1 + 3.0 * math.sqrt(max(1.0, middle))
        grown[stage.value] = {"middle": _rounded(middle), "end": _rounded(end), "grows": end > allowed}
    return grown


def run_all(*, quick: bool, rates: Sequence[float] = RATES) -> dict[str, Any]:
    """Measure everything; the dictionary that `--json` prints."""
    started = time.perf_counter()
    seeds = SEEDS[:1] if quick else SEEDS
    lines = [measure(rate, way, seeds, quick=quick) for way in WAYS for rate in rates]
    searched = [] if quick else search_highest(lines)
    return {
        "quick": quick,
        "seeds": list(seeds),
        "limit": {"requests": planner.LIMIT, "windowSeconds": SLIDING_SECONDS},
        "lines": lines,
        "searched": searched,
        "goals": judge(lines),
        "tookSeconds": _rounded(time.perf_counter() - started),
    }


def search_highest(lines: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Say for ever higher rates whether what is on its way to a stage grows, until calls to reconcile do.

    One seed each, where a rate is not measured already.
    """
    known = {(line["way"], line["rate"]): line for line in lines}
    searched: list[dict[str, Any]] = []
    for way in WAYS:
        for rate in SEARCHED_RATES:
            line = known.get((way, rate)) or measure(rate, way, SEEDS[:1], quick=True)
            kept_up = {stage.value: not line["backlog"][stage.value]["grows"] for stage in PILES}
            late, excess = line["final"]["lateShare"], line["excess"]["mean"]
            searched.append({"way": way, "rate": rate, **kept_up, "late": late, "excessMean": excess})
            if not kept_up[Stage.RECONCILED.value]:
                break
    return searched


def judge(lines: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The goals, each with the worst value measured for it."""
    rare = [line["excess"]["mean"] for line in lines if line["rate"] <= 1]
    often = [line for line in lines if line["rate"] > 1]
    goals: list[tuple[str, float, float]] = [
        ("polls, 1 call/min: mean excess s", max(rare, default=0.0), 1.44),
        ("polls, above: mean excess s", max((line["excess"]["mean"] for line in often), default=0.0), 3.72),
        ("polls, above: p99 excess s", max((line["excess"]["p99"] for line in often), default=0.0), 8.4),
        ("calls lost from the window", sum(line["lost"] for line in lines), 0),
        ("requests answered 429", sum(line["refused429"] for line in lines), 0),
        ("rates at which calls to reconcile pile up", _piling(lines, Stage.RECONCILED), 0),
        ("rates at which calls to become final pile up", _piling(lines, Stage.FINAL), 0),
        ("rates at which a call costs more requests than at a lower one", _dearer(lines), 0),
    ]
    return [
        {"goal": name, "atMost": most, "measured": measured, "met": measured <= most}
        for name, measured, most in goals
    ]


def _piling(lines: Sequence[dict[str, Any]], stage: Stage) -> int:
    return sum(1 for line in lines if line["backlog"][stage.value]["grows"])


def _dearer(lines: Sequence[dict[str, Any]]) -> int:
    alike = [(low, high) for low, high in pairwise(lines) if low["way"] == high["way"]]
    return sum(1 for low, high in alike if high["requestsPerCall"]["all"] >= low["requestsPerCall"]["all"])


def show(results: dict[str, Any], console: Console) -> None:
    """Print the tables for people."""
    console.print(_delay_table(results["lines"]))
    console.print(_request_table(results["lines"]))
    if results["searched"]:
        console.print(_searched_table(results["searched"]))
    goals = Table(title="Goals")
    for name in ("goal", "at most", "measured", "met"):
        goals.add_column(name, justify="left" if name == "goal" else "right")
    for goal in results["goals"]:
        goals.add_row(
            goal["goal"], f"{goal['atMost']:g}", _shown(goal["measured"]), "yes" if goal["met"] else "NO"
        )
    console.print(goals)
    console.print(f"Seeds {results['seeds']}; took {results['tookSeconds']:.0f} s.")


def _delay_table(lines: Sequence[dict[str, Any]]) -> Table:
    table = Table(title="From hang-up, seconds: median / p99 (virtual time)")
    columns = (
        "way",
        "calls/min",
        "calls",
        *(stage.value for stage in STAGES),
        "final, recorded",
        "final late",
    )
    for name in (*columns, "stale", "to reconcile", "to finish"):
        table.add_column(name, justify="right")
    for line in lines:
        table.add_row(
            line["way"],
            f"{line['rate']:g}",
            str(line["calls"]),
            *(_both(line[stage.value]) for stage in STAGES),
            _both(line["recordedFinal"]),
            f"{line['final']['lateShare']:.1%}",
            f"{line['staleFinals']:.1%}",
            *(_course(line["backlog"][stage.value]) for stage in PILES),
        )
    return table


def _request_table(lines: Sequence[dict[str, Any]]) -> Table:
    table = Table(title="Polls' excess in seconds; requests, those of each kind per call")
    columns = ("way", "calls/min", "excess mean", "p99", "lost", "429", "requests/min")
    for name in (*columns, *(f"{kind}s" for kind in KINDS), "all", "vain looks", "ready too early"):
        table.add_column(name, justify="right")
    for line in lines:
        table.add_row(
            line["way"],
            f"{line['rate']:g}",
            _shown(line["excess"]["mean"]),
            _shown(line["excess"]["p99"]),
            str(line["lost"]),
            str(line["refused429"]),
            _shown(line["requestsPerMinute"]),
            *(f"{line['requestsPerCall'][kind]:.3f}" for kind in (*KINDS, "all")),
            str(line["vainLooks"]),
            str(line["readyTooEarly"]),
        )
    return table


def _searched_table(searched: Sequence[dict[str, Any]]) -> Table:
    table = Table(title="Which rates are kept up with")
    for name in ("way", "calls/min", "reconciled", "final", "final late", "polls' mean excess"):
        table.add_column(name, justify="right")
    for line in searched:
        kept_up = ("yes" if line[stage.value] else "NO" for stage in PILES)
        table.add_row(
            line["way"], f"{line['rate']:g}", *kept_up, f"{line['late']:.1%}", _shown(line["excessMean"])
        )
    return table


def _both(delays: dict[str, Any]) -> str:
    shown = ("never" if delays[key] is None else f"{delays[key]:.0f}" for key in ("p50", "p99"))
    return " / ".join(shown)


def _course(backlog: dict[str, Any]) -> str:
    grows = " grows" if backlog["grows"] else ""
    return f"{backlog['middle']:.0f} > {backlog['end']:.0f}{grows}"


def main() -> int:
    """Run as a command; 1 when a goal is not met, which in virtual time no noise can bring about."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.reconciliation", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--json", action="store_true", help="print figures for programs")
    parser.add_argument("--quick", action="store_true", help="one seed, fewer minutes, no search")
    arguments = parser.parse_args()
    results = run_all(quick=arguments.quick)
    if arguments.json:
        print(json.dumps(results, indent=2))
    else:
        console = Console()
        console.width = max(console.width, TABLE_WIDTH)
        show(results, console)
    return 0 if all(goal["met"] for goal in results["goals"]) else 1


def _moment(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def _seconds(moment: datetime) -> float:
    return (moment - START).total_seconds()


def _text(seconds: float, timespec: str) -> str:
    return _moment(seconds).isoformat(timespec=timespec).replace("+00:00", "Z")


def _rounded(value: float) -> float:
    return round(value, 3)


def _quantile(ordered: Sequence[float], share: float) -> float:
    return _rounded(ordered[min(len(ordered) - 1, int(share * len(ordered)))]) if ordered else math.inf


def _shown(value: float) -> str:
    return f"{value:.2f}"


if __name__ == "__main__":
    sys.exit(main())
