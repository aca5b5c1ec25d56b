"""Settles calls whose records do not change any more: they become final. Runs under the ledger."""

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Any

from app import metrics
from app.calls.insights.store import PART as INSIGHTS
from app.calls.ledger import Ledger
from app.calls.media import recordings
from app.calls.media.recordings import RecordingRow, State
from app.calls.media.voicemails import PART as VOICEMAIL
from app.calls.model import Call, Stage
from app.enrichment.records.named_recordings import settle_recordings
from app.enrichment.records.named_voicemails import stop_waiting_for_name
from app.enrichment.records.plan import CallLogPlan


def is_stable(call: Call, plan: CallLogPlan, seen_at: datetime) -> bool:
    """Whether the Detailed record, known as of `seen_at`, had not changed for long enough by then."""
    since = call.record_unchanged_since
    return since is not None and (seen_at - since).total_seconds() >= plan.settled_after


def awaits_parts(call: Call) -> bool:
    """Whether a recording, the voicemail or insights of the call may still become ready."""
    return recordings.is_awaited(call) or call.awaits(VOICEMAIL) or call.awaits(INSIGHTS)


def finish(ledger: Ledger, call: Call, **data: Any) -> None:
    """Make a call final that has a record and is not read any more, unless one of its parts may still become
    ready."""
    has_record = call.stage in (Stage.BOOTSTRAPPED, Stage.RECONCILED)
    if not has_record or call.read_at is not None:
        return
    stop_waiting_for_name(call, ledger.now)
    ledger.keep(call)
    if not awaits_parts(call):
        ledger.move(call, Stage.FINAL, "call.final", **data)


async def settle_calls(ledger: Ledger, calls: Collection[Call], plan: CallLogPlan, seen_at: datetime) -> None:
    """Settle the calls whose records, known as of `seen_at`, are stable.

    That includes final calls with a late recording. A reconciled call that has changed after its last planned
    read is read once more.
    """
    settled: list[Call] = []
    for call in calls:
        is_final = call.stage == Stage.FINAL and recordings.is_awaited(call)
        if is_stable(call, plan, seen_at):
            settled += [call] if is_final or call.stage == Stage.RECONCILED else []
        elif call.stage == Stage.RECONCILED and call.read_at is None:
            call.read_at = ledger.now + timedelta(seconds=plan.settled_after)
            ledger.keep(call)
    awaited = [call.call_id for call in settled if recordings.is_awaited(call)]
    known = await recordings.load_of_calls(ledger.db, ledger.account_id, awaited)
    rows = [row for call in settled for row in settle(ledger, call, known.get(call.call_id, {}), plan)]
    await recordings.save(ledger.db, rows)


def settle(
    ledger: Ledger, call: Call, known: Mapping[str, RecordingRow], plan: CallLogPlan
) -> list[RecordingRow]:
    """Stop reading a call whose records are stable; return the rows of its recordings that this changes.

    `known` has the stored rows of its recordings by id, if it awaits any.
    """
    call.read_at = None
    rows = settle_recordings(call, known, ledger.now, archives=plan.archives) if known else []
    for row in rows:
        if row.state is State.READY:
            metrics.RECORDINGS.labels(outcome=State.READY.value).inc()
            ledger.change(call, "recording.ready", recordingId=row.recording_id)
    finish(ledger, call)
    ledger.keep(call)
    return rows
