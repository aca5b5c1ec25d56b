"""Writes what becomes of a voicemail, to its rows and to the calls that name it. Runs under the ledger."""

from collections.abc import Collection, Sequence
from typing import Any

from app import metrics
from app.calls import store
from app.calls.ledger import Ledger
from app.calls.media import voicemails
from app.calls.media.rows import LONGEST_PROBLEM
from app.calls.media.voicemails import VoicemailRow, VoicemailState
from app.enrichment.records.named_voicemails import set_readiness
from app.enrichment.records.reasons import MissingReason
from app.enrichment.records.settling import finish

_EVENTS = {
    VoicemailState.PENDING: "voicemail.pending",
    VoicemailState.READY: "voicemail.ready",
    VoicemailState.EXPIRED: "voicemail.expired",
    VoicemailState.NONE: "voicemail.none",
    VoicemailState.NO_PERMISSION: "voicemail.refused",
}


async def make_ready(
    ledger: Ledger,
    voicemail_id: str,
    rows: Sequence[VoicemailRow],
    columns: dict[str, Any],
    *,
    archives: bool,
    problem: str | None = None,
) -> None:
    """Make a voicemail ready with what is known of it. `problem`: why its transcript is missing."""
    due_at = ledger.now if archives else None
    columns = columns | {"due_at": due_at, "attempts": 0, "problem": problem}
    shown = {"duration": columns["duration_seconds"], "transcriptStatus": columns["transcript_status"]}
    await _write(ledger, voicemail_id, rows, VoicemailState.READY, columns, shown)
    metrics.VOICEMAILS.labels(outcome="ready").inc()


async def show_pending(
    ledger: Ledger, voicemail_id: str, rows: Sequence[VoicemailRow], columns: dict[str, Any]
) -> None:
    """Store what is known of a voicemail that can be played, and whose transcript is in progress."""
    shown = {"duration": columns["duration_seconds"], "transcriptStatus": columns["transcript_status"]}
    await _write(ledger, voicemail_id, rows, VoicemailState.PENDING, columns, shown)


async def change_state(
    ledger: Ledger,
    voicemail_id: str,
    rows: Sequence[VoicemailRow],
    state: VoicemailState,
    problem: str | None,
    **values: Any,
) -> None:
    """Give the rows another state, with the reason; `values` are further columns."""
    problem = None if problem is None else problem[:LONGEST_PROBLEM]
    columns = {"due_at": None, "problem": problem} | values
    await _write(ledger, voicemail_id, rows, state, columns, {"reason": problem})
    outcome = {VoicemailState.EXPIRED: "expired", VoicemailState.NO_PERMISSION: "refused"}.get(state)
    if rows and outcome is not None:
        metrics.VOICEMAILS.labels(outcome=outcome).inc()


async def take_not_found(ledger: Ledger, voicemail_id: str, rows: Sequence[VoicemailRow]) -> None:
    """Note that RingCentral does not have the audio of a voicemail that was ready: it was deleted."""
    await change_state(ledger, voicemail_id, rows, VoicemailState.EXPIRED, MissingReason.GONE)


async def _write(
    ledger: Ledger,
    voicemail_id: str,
    rows: Sequence[VoicemailRow],
    state: VoicemailState,
    columns: dict[str, Any],
    shown: dict[str, Any],
) -> None:
    if not rows:
        return
    call_ids = [row.call_id for row in rows]
    columns = columns | {"state": state.value, "updated_at": ledger.now}
    await voicemails.change(ledger.db, ledger.account_id, voicemail_id, call_ids, **columns)
    await _update_calls(ledger, voicemail_id, call_ids, state, shown)


async def _update_calls(
    ledger: Ledger, voicemail_id: str, call_ids: Collection[str], state: VoicemailState, shown: dict[str, Any]
) -> None:
    """Show the new state on the calls that name the voicemail, and finish those that waited only for it."""
    rows = await voicemails.load_of_calls(ledger.db, ledger.account_id, call_ids)
    for call_id, call in (await store.load_by_ids(ledger.db, ledger.account_id, call_ids)).items():
        set_readiness(call, list(rows[call_id].values()), ledger.now)
        ledger.change(call, _EVENTS[state], voicemailId=voicemail_id, **shown)
        finish(ledger, call)
