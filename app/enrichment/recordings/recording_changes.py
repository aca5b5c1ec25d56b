"""Writes what becomes of a recording, to its rows and to the calls that name it. Runs under the ledger."""

from collections.abc import Collection, Sequence
from datetime import timedelta
from typing import Any

from app import metrics
from app.calls import store
from app.calls.ledger import Ledger
from app.calls.media import recordings
from app.calls.media.recordings import NOT_THERE, PART, RecordingRow, State, readiness_of
from app.calls.media.rows import LONGEST_PROBLEM
from app.enrichment.records.reasons import MissingReason
from app.enrichment.records.settling import finish
from app.ringcentral.models import Recording

_CERTAINLY_READY = timedelta(hours=3)


def metadata_columns(found: Recording) -> dict[str, Any]:
    """Return the metadata of a recording as columns of its rows; what is not known stays as it is."""
    columns = {
        "content_type": found.content_type,
        "duration_seconds": found.duration_seconds,
        "content_uri": found.content_uri,
    }
    return {name: value for name, value in columns.items() if value is not None}


async def make_ready(
    ledger: Ledger, recording_id: str, rows: Sequence[RecordingRow], found: Recording, *, archives: bool
) -> bool:
    """Store the metadata, and make the recording ready for the calls where it was not. Return whether there
    were any."""
    db, account_id = ledger.db, ledger.account_id
    await recordings.change(db, account_id, recording_id, **metadata_columns(found), updated_at=ledger.now)
    call_ids = [row.call_id for row in rows if row.state is not State.READY]
    if not call_ids:
        return False
    due_at = ledger.now if archives else None
    state = State.READY.value
    await recordings.change(
        db, account_id, recording_id, call_ids, state=state, attempts=0, due_at=due_at, problem=None
    )
    await _update_calls(ledger, recording_id, call_ids, State.READY, duration=found.duration_seconds)
    metrics.RECORDINGS.labels(outcome=state).inc()
    return True


async def change_state(
    ledger: Ledger,
    recording_id: str,
    rows: Sequence[RecordingRow],
    state: State,
    problem: str,
    **values: Any,
) -> None:
    """Give the rows a state other than ready, with the reason; `values` are further columns."""
    if not rows:
        return
    problem, call_ids = problem[:LONGEST_PROBLEM], [row.call_id for row in rows]
    columns = {"due_at": None, "problem": problem, "updated_at": ledger.now} | values
    await recordings.change(
        ledger.db, ledger.account_id, recording_id, call_ids, state=state.value, **columns
    )
    await _update_calls(ledger, recording_id, call_ids, state, reason=problem)
    metrics.RECORDINGS.labels(outcome=state.value).inc()


async def take_not_found(ledger: Ledger, recording_id: str, rows: Sequence[RecordingRow]) -> State:
    """Note that RingCentral does not have a recording that counted as ready; return its new state.

    It is gone if its audio or metadata were seen before, or if it is hours old. Otherwise its record named it
    too early, and it is requested again as if the record had not.
    """
    is_old = any(ledger.now - row.created_at > _CERTAINLY_READY for row in rows)
    if is_old or any(row.content_type is not None for row in rows):
        await change_state(ledger, recording_id, rows, State.EXPIRED, MissingReason.GONE)
        return State.EXPIRED
    await change_state(ledger, recording_id, rows, State.PENDING, NOT_THERE, due_at=ledger.now, attempts=0)
    return State.PENDING


async def _update_calls(
    ledger: Ledger, recording_id: str, call_ids: Collection[str], state: State, **data: Any
) -> None:
    """Show the new state on the calls that name the recording, and finish those that waited only for it."""
    rows = await recordings.load_of_calls(ledger.db, ledger.account_id, call_ids)
    for call_id, call in (await store.load_by_ids(ledger.db, ledger.account_id, call_ids)).items():
        call.ready(PART, readiness_of(row.state for row in rows[call_id].values()), ledger.now)
        ledger.change(call, f"recording.{state.value}", recordingId=recording_id, **data)
        finish(ledger, call)
