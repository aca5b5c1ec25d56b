"""Brings readings of records into calls: merged, summarised, with the stage that follows. Under the ledger."""

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from app import metrics
from app.calls import recordings, store
from app.calls.attachments.parking import join_parked
from app.calls.insights import store as insights_store
from app.calls.insights.availability import expect_insights, load_availability
from app.calls.ledger import Ledger
from app.calls.model import NO_SESSION, Call, Outcome, Source, Stage
from app.calls.related.links import Link
from app.calls.related.store import link_calls
from app.calls.store import DueCall, Recent
from app.db.engine import wake
from app.enrichment.records.linked_sessions import links_of_records
from app.enrichment.records.matching import CallKeys
from app.enrichment.records.merging import (
    RecordSummary,
    RecordVersion,
    brings_news,
    end_of,
    merge_versions,
    summarise,
)
from app.enrichment.records.named_recordings import take_named_recordings, take_settled
from app.ids import CallId, new_id
from app.ringcentral.models import BadRecord, CallRecord, read_call_record
from app.values.times import time_text
from app.work.wakeups import ENDS

_IDENTIFYING = frozenset({"phoneNumber", "extensionNumber", "extensionId"})
_END_TOLERANCE = timedelta(seconds=5)
"""Records count in whole seconds."""

_FUTURE = timedelta(hours=1)
"""How far after we first heard of a call its start may lie: clocks differ, but not by more."""

RECORDS_END = "recordsEnd"
"""Among a call's details: the latest end that its records told of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallLogPlan:
    """When a call is read in the Call Log, in seconds; see `Settings`."""

    first_after: float
    gap: float
    horizon: float
    settled_after: float
    """Two equal readings this far apart mean that nothing changes any more."""

    recording_after: float = 3600.0
    """From the end of a call to the look for a recording that its records have not settled by then: as long as they
    are read, a look of its own would take the requests that they need."""

    archives: bool = False
    """Whether recordings are copied once they can be heard."""

    page_size: int = 1000
    """Records that are asked for at a time."""

    insights_after: float | None = None
    """From the end of a recorded call to the look for its insights; None: nobody looks."""


def keys_of_call(call: Call | Recent | DueCall) -> CallKeys:
    """Say by what a call's records are recognised."""
    numbers = store.numbers_of(call.caller, call.callee) if isinstance(call, Call) else call.numbers
    return CallKeys(
        call_id=call.call_id,
        telephony_session_id=None if _is_nameless(call) else call.telephony_session_id,
        session_id=call.session_id,
        numbers=numbers,
        started_at=call.started_at,
    )


async def apply_records(
    ledger: Ledger,
    calls: Mapping[str, Call],
    found: Mapping[str, Sequence[CallRecord]],
    source: Source,
    fetched_at: datetime,
    plan: CallLogPlan,
) -> list[Call]:
    """Write what a source said of calls; return those that got their first record by it.

    `found` holds records by call id, as they were at `fetched_at` or later: the moment when they were asked for, since
    an answer may be long on its way. Calls whose records say nothing new stay as they are.
    """
    kept = await _load_versions(ledger, calls, found)
    heard = await recordings.load_of_calls(ledger.db, ledger.account_id, list(found))
    bootstrapped: list[Call] = []
    names: dict[str, Call] = {}
    links: dict[str, list[Link]] = {}
    rows: list[dict[str, Any]] = []
    recording_rows: list[dict[str, Any]] = []
    recorded: dict[str, Call] = {}
    outlook = None if plan.insights_after is None else await load_availability(ledger.db, ledger.account_id)
    taken = await _find_taken(ledger, calls, found)
    for call_id, records in found.items():
        call = calls[call_id]
        early = _is_early(call, fetched_at)
        news = merge_versions(
            kept[call_id], [RecordVersion(record, source, fetched_at, early) for record in records]
        )
        rows += [_row(call, reading) for reading in news.values()]
        standing = {**kept[call_id], **news}
        summary = _summarise(standing.values())
        if summary is None:
            continue
        mentioned = take_named_recordings(
            call,
            [reading.record for reading in standing.values()],
            heard[call_id],
            ledger.now,
            _recording_after(call, plan),
        )
        recording_rows += mentioned
        recorded |= {one.id: call for record in records for one in record.recordings}
        if plan.insights_after is not None and outlook is not None and summary.has_recording:
            expect_insights(call, outlook, plan.insights_after, ledger.now)
        has_news = bool(mentioned) or brings_news(news, kept[call_id])
        if take_record(ledger, call, summary, standing, source, has_news=has_news, plan=plan):
            bootstrapped.append(call)
        names |= _name(ledger, call, summary, records, taken)
        links[call_id] = links_of_records(call, [reading.record for reading in standing.values()])
    await ledger.flush()
    await store.save_records(ledger.db, rows)
    await recordings.save(ledger.db, recording_rows)
    await link_calls(ledger, links, calls, names)
    await join_parked(ledger, names)
    await insights_store.join(ledger, names, recorded)
    await settle_calls(ledger, [calls[call_id] for call_id in found], plan, fetched_at)
    return bootstrapped


async def store_versions(
    ledger: Ledger,
    calls: Mapping[str, Call],
    found: Mapping[str, Sequence[CallRecord]],
    source: Source,
    fetched_at: datetime,
) -> None:
    """Put readings of calls that go on aside, for when they are over: a feed does not show them twice.

    A record that ends after the call was last known to go on raises the question whether it does.
    """
    for call_id, records in found.items():
        _question(ledger, calls[call_id], records)
    kept = await _load_versions(ledger, calls, found)
    rows = [
        _row(calls[call_id], reading)
        for call_id, records in found.items()
        for reading in merge_versions(
            kept[call_id],
            [RecordVersion(record, source, fetched_at, is_provisional=True) for record in records],
        ).values()
    ]
    await store.save_records(ledger.db, rows)


def _question(ledger: Ledger, call: Call, records: Sequence[CallRecord]) -> None:
    end, known_at = end_of(records), call.state_known_at
    if end is None or end > ledger.now or (known_at is not None and end <= known_at):
        return
    if call.stage == Stage.LIVE and call.ask_at is None:
        call.ask_at = ledger.now
        ledger.keep(call)
        wake(ledger.db, ENDS)


def reapply_records(call: Call, rows: Iterable[Any]) -> None:
    """Say anew what the kept records of a call (rows of `call_records`) say of it."""
    summary = _summarise([reading for _, reading in _read_rows(call, rows)])
    if summary is not None:
        _copy(call, summary)


def open_unknown_call(
    ledger: Ledger, telephony_session_id: str, records: Sequence[CallRecord], source: Source
) -> Call:
    """Open a call that no event told us of; its records are applied by `apply_readings`."""
    earliest = min((record.start_time for record in records if record.start_time), default=ledger.now)
    started_at = earliest if earliest <= ledger.now + _FUTURE else ledger.now
    ended_at = max(
        (
            record.start_time + timedelta(seconds=record.duration_seconds or 0)
            for record in records
            if record.start_time
        ),
        default=ledger.now,
    )
    call = Call(
        account_id=ledger.account_id,
        call_id=CallId(new_id("call", ledger.now)),
        telephony_session_id=telephony_session_id,
        stage=Stage.ENDED,
        outcome=Outcome.UNKNOWN,
        started_at=started_at,
        ended_at=min(ended_at, ledger.now),
        source=source,
        created_at=ledger.now,
        updated_at=ledger.now,
    )
    call.ready("record", "pending", ledger.now)
    ledger.open(call, "call.ended", source=source.value, endedAt=time_text(call.ended_at or started_at))
    return call


def take_record(
    ledger: Ledger,
    call: Call,
    summary: RecordSummary,
    standing: Mapping[str, RecordVersion],
    source: Source,
    *,
    has_news: bool,
    plan: CallLogPlan,
) -> bool:
    """Bring the call to what its records say; say whether it got its first record by this."""
    is_first = call.stage in (Stage.ENDED, Stage.ABSENT)
    # Records that were put aside while the call went on are no news, and still the first that it is told of.
    if has_news or is_first:
        began = call.started_at
        _copy(call, summary)
        _correct_end(call, [reading.record for reading in standing.values()], ledger.now)
        if call.started_at != began:
            ledger.redate(call)
    if is_first:
        _bootstrap(ledger, call, summary, source, plan)
    elif has_news:
        ledger.change(call, "call.updated", source=source.value, primaryRecordId=summary.primary_id)
    if call.stage != Stage.LIVE and any(_is_truth(call, reading) for reading in standing.values()):
        _reconcile(ledger, call, standing)
    return is_first


def _is_truth(call: Call, reading: RecordVersion) -> bool:
    """Whether a reading is of the Call Log, Detailed, and from after the end: before that it is provisional."""
    return reading.is_detailed_log and not _is_early(call, reading.fetched_at)


def _correct_end(call: Call, records: Sequence[CallRecord], now: datetime) -> None:
    """Remember the latest end that records tell of, and take it where it counts."""
    end, known = end_of(records), _records_end(call)
    if end is None or end > now or call.ended_at is None or (known is not None and end <= known):
        return
    call.details = {**call.details, RECORDS_END: end.isoformat()}
    call.ended_at = end if call.ended_at == known else later_end(call, call.ended_at)


def later_end(call: Call, heard: datetime) -> datetime:
    """Return when a call was over: as its events tell, or as its records do where they go on for longer, since then
    the last events were lost. So it does not matter which of both are known first."""
    end = _records_end(call)
    return end if end is not None and heard + _END_TOLERANCE < end else heard


def _records_end(call: Call) -> datetime | None:
    told = call.details.get(RECORDS_END)
    return None if told is None else datetime.fromisoformat(told)


def _bootstrap(ledger: Ledger, call: Call, summary: RecordSummary, source: Source, plan: CallLogPlan) -> None:
    now = ledger.now
    call.bootstrapped_at = now
    call.bootstrapped_by = source
    call.absent_reason = None
    call.ready("record", "ready", now)
    call.ready("legs", "pending", now)
    call.reads = 0
    ended_at = call.ended_at or now
    call.read_at = max(now, ended_at + timedelta(seconds=plan.first_after))
    waited = max(0.0, (now - ended_at).total_seconds())
    metrics.RECORD_SECONDS.labels(source=source.value).observe(waited)
    ledger.move(
        call,
        Stage.BOOTSTRAPPED,
        "call.bootstrapped",
        source=source.value,
        seconds=round(waited, 3),
        outcome=summary.outcome.value,
    )


def _reconcile(ledger: Ledger, call: Call, standing: Mapping[str, RecordVersion]) -> None:
    """Note a Detailed reading of the Call Log, and since when it has not changed."""
    digest = _digest(standing)
    if call.stage == Stage.BOOTSTRAPPED:
        call.ready("legs", "ready", ledger.now)
        ledger.move(call, Stage.RECONCILED, "call.reconciled")
    if call.record_digest != digest:
        is_first = call.record_digest is None
        call.record_digest = digest
        fetched_at = max(reading.fetched_at for reading in standing.values())
        modified_at = _modified_at(call, standing) if is_first else None
        call.record_unchanged_since = min(fetched_at, modified_at or fetched_at)
        ledger.keep(call)


def _recording_after(call: Call, plan: CallLogPlan) -> timedelta:
    """How long after the end to look for a recording: one that a final call gets, which nobody reads again, at once."""
    return timedelta(seconds=0.0 if call.stage == Stage.FINAL else plan.recording_after)


async def settle_calls(ledger: Ledger, calls: Collection[Call], plan: CallLogPlan, seen_at: datetime) -> None:
    """Settle those of the calls, whose records were as they are at `seen_at`, that had stood for long enough then.

    Final ones too, for a recording that came late. A reconciled one that has changed after its last reading is read
    once more.
    """
    standing = [call for call in calls if _is_unsettled(call) and is_stable(call, plan, seen_at)]
    for call in calls:
        if call.stage == Stage.RECONCILED and call.read_at is None and not is_stable(call, plan, seen_at):
            call.read_at = ledger.now + timedelta(seconds=plan.settled_after)
            ledger.keep(call)
    awaited = [call.call_id for call in standing if recordings.is_awaited(call)]
    heard = await recordings.load_of_calls(ledger.db, ledger.account_id, awaited)
    rows = [row for call in standing for row in settle(ledger, call, heard.get(call.call_id, {}), plan)]
    await recordings.save(ledger.db, rows)


def settle(ledger: Ledger, call: Call, heard: Mapping[str, Any], plan: CallLogPlan) -> list[dict[str, Any]]:
    """Ask no more for a call whose records stand; return what that changes of its recordings.

    `heard` has the kept rows of its recordings by id, if it awaits any.
    """
    call.read_at = None
    rows = take_settled(call, heard, ledger.now, archives=plan.archives) if heard else []
    for row in rows:
        if row["state"] == recordings.State.READY:
            metrics.RECORDINGS.labels(outcome=recordings.State.READY.value).inc()
            ledger.change(call, "recording.ready", recordingId=row["recording_id"])
    finish(ledger, call)
    ledger.keep(call)
    return rows


def _is_unsettled(call: Call) -> bool:
    return call.stage == Stage.RECONCILED or (call.stage == Stage.FINAL and recordings.is_awaited(call))


def _modified_at(call: Call, standing: Mapping[str, RecordVersion]) -> datetime | None:
    """Return when RingCentral last changed a record of the call, after its end; None where it does not say so."""
    modified = [reading.record.last_modified_time for reading in standing.values()]
    latest = max((moment for moment in modified if moment is not None), default=None)
    if latest is None or None in modified or call.ended_at is None or latest < call.ended_at:
        return None
    return latest


def is_stable(call: Call, plan: CallLogPlan, seen_at: datetime) -> bool:
    """Whether the Detailed record, seen as it is at `seen_at`, had not changed for long enough then."""
    since = call.record_unchanged_since
    return since is not None and (seen_at - since).total_seconds() >= plan.settled_after


def finish(ledger: Ledger, call: Call, **data: Any) -> None:
    """Make a call with a record final that is not read any more, unless a part of it may still become ready."""
    is_awaited = recordings.is_awaited(call) or call.awaits(insights_store.PART)
    has_record = call.stage in (Stage.BOOTSTRAPPED, Stage.RECONCILED)
    if has_record and call.read_at is None and not is_awaited:
        ledger.move(call, Stage.FINAL, "call.final", **data)


def _summarise(readings: Collection[RecordVersion]) -> RecordSummary | None:
    provisional = {reading.record.id for reading in readings if reading.is_provisional}
    return summarise([reading.record for reading in readings], provisional)


def _is_early(call: Call, fetched_at: datetime) -> bool:
    """Whether a call was still going on when it was read: all that records say then is provisional."""
    return call.stage == Stage.LIVE or (call.ended_at is not None and fetched_at < call.ended_at)


def _complete(told: Mapping[str, Any] | None, said: Mapping[str, Any]) -> dict[str, Any] | None:
    """Add to a side of a call what events told of it and its record does not say, if they mean the same one."""
    told = told or {}
    differs = any(told.get(name, value) != value for name, value in said.items() if name in _IDENTIFYING)
    return (dict(said) if differs else {**told, **said}) or None


def _outcome(call: Call, summary: RecordSummary) -> Outcome:
    """Say how a call went: its records know, unless all that we may see of it is the missed one of somebody else than
    who answered (one user's Call Log has his own records only)."""
    is_answered = call.answered_at is not None and call.details.get("answeredByHuman") is True
    return Outcome.ANSWERED if summary.outcome is Outcome.MISSED and is_answered else summary.outcome


def _copy(call: Call, summary: RecordSummary) -> None:
    call.primary_record_id = summary.primary_id
    call.direction = summary.direction or call.direction
    call.action = summary.action
    call.result = summary.result
    call.outcome = _outcome(call, summary)
    call.caller = _complete(call.details.get("from"), summary.caller)
    call.callee = _complete(call.details.get("to"), summary.callee)
    call.external_number = summary.external_number or call.external_number
    if summary.started_at is not None and summary.started_at <= call.created_at + _FUTURE:
        call.started_at = summary.started_at
    call.duration_seconds = summary.duration_seconds
    call.has_recording = summary.has_recording


async def _find_taken(
    ledger: Ledger, calls: Mapping[str, Call], found: Mapping[str, Sequence[CallRecord]]
) -> set[str]:
    """Return which of the keys that records know for calls without one are those of calls already."""
    told = {
        key for call_id, records in found.items() if _is_nameless(calls[call_id]) for key in _keys_of(records)
    }
    return set(await store.load_by_sessions(ledger.db, ledger.account_id, told))


def _is_nameless(call: Call | Recent | DueCall) -> bool:
    return call.telephony_session_id.startswith(NO_SESSION)


def _keys_of(records: Iterable[CallRecord]) -> set[str]:
    return {str(record.telephony_session_id) for record in records if record.telephony_session_id is not None}


def _name(
    ledger: Ledger, call: Call, summary: RecordSummary, records: Iterable[CallRecord], taken: set[str]
) -> dict[str, Call]:
    """Give the call the names that its records know; return them for what waits under them.

    `taken` has keys of other calls, and gets the new one: a key names one call, and a second that claims it stays
    known by its `sessionId`.
    """
    if call.session_id is None and summary.session_ids:
        call.session_id = summary.session_ids[0]
        ledger.keep(call)
    keys = _keys_of(records)
    if _is_nameless(call) and len(keys) == 1 and not keys & taken:
        taken |= keys
        (call.telephony_session_id,) = keys
        ledger.keep(call)
    names = [*summary.session_ids, call.telephony_session_id]
    ledger.name(call, summary.session_ids)
    ledger.involve(call, summary.extension_ids, summary.numbers)
    return dict.fromkeys(names, call)


async def _load_versions(
    ledger: Ledger, calls: Mapping[str, Call], found: Mapping[str, object]
) -> dict[str, dict[str, RecordVersion]]:
    rows = await store.load_records(ledger.db, ledger.account_id, list(found))
    return {call_id: dict(_read_rows(calls[call_id], call_rows)) for call_id, call_rows in rows.items()}


def _read_rows(call: Call, rows: Iterable[Any]) -> Iterable[tuple[str, RecordVersion]]:
    for row in rows:
        record = read_call_record(row.raw)
        if not isinstance(record, BadRecord):
            early = _is_early(call, row.fetched_at)
            yield record.id, RecordVersion(record, Source(row.source), row.fetched_at, early)


def _row(call: Call, reading: RecordVersion) -> dict[str, Any]:
    return {
        "account_id": call.account_id,
        "call_id": call.call_id,
        "record_id": reading.record.id,
        "source": reading.source.value,
        "detailed": reading.record.is_detailed,
        "fetched_at": reading.fetched_at,
        "last_modified_at": reading.record.last_modified_time,
        "raw": dict(reading.record.raw),
    }


def _digest(standing: Mapping[str, RecordVersion]) -> str:
    # PostgreSQL gives an object's keys back in another order.
    parts = [json.dumps(dict(standing[key].record.raw), sort_keys=True).encode() for key in sorted(standing)]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()
