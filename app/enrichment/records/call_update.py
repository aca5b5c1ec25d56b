"""Opens one call or updates it from its records: fields, end and stage. Runs under the ledger."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from app import metrics
from app.calls.derivation.fields import LATEST_START, derive_fields, extension_ids, phone_numbers
from app.calls.evidence.parties import read_stored
from app.calls.evidence.versions import RecordVersion, end_of
from app.calls.ledger import Ledger
from app.calls.model import RECORDS_END, Call, Outcome, Source, Stage
from app.calls.stored_records import is_early
from app.db.engine import wake
from app.enrichment.records.plan import CallLogPlan
from app.ids import CallId, new_id
from app.ringcentral.models import CallRecord
from app.values.times import time_text
from app.work.wakeups import ENDS

_END_TOLERANCE = timedelta(seconds=5)
"""Records count in whole seconds."""


def open_unknown_call(
    ledger: Ledger, telephony_session_id: str, records: Sequence[CallRecord], source: Source
) -> Call:
    """Open a call that no event announced. `apply_records` applies its records afterwards."""
    earliest = min((record.start_time for record in records if record.start_time), default=ledger.now)
    started_at = earliest if earliest <= ledger.now + LATEST_START else ledger.now
    ended_at = min(end_of(records) or ledger.now, ledger.now)
    call = Call(
        account_id=ledger.account_id,
        call_id=CallId(new_id("call", ledger.now)),
        telephony_session_id=telephony_session_id,
        stage=Stage.ENDED,
        outcome=Outcome.UNKNOWN,
        started_at=started_at,
        ended_at=ended_at,
        source=source,
        created_at=ledger.now,
        updated_at=ledger.now,
    )
    call.ready("record", "pending", ledger.now)
    ledger.open(call, "call.ended", source=source.value, endedAt=time_text(ended_at))
    return call


def ask_if_over(ledger: Ledger, call: Call, records: Sequence[CallRecord]) -> None:
    """Ask RingCentral whether a call is over if a record ends after it was last known to be live."""
    end, known_at = end_of(records), call.state_known_at
    if end is None or end > ledger.now or (known_at is not None and end <= known_at):
        return
    if call.stage == Stage.LIVE and call.ask_at is None:
        call.ask_at = ledger.now
        ledger.keep(call)
        wake(ledger.db, ENDS)


def update_call(
    ledger: Ledger,
    call: Call,
    versions: Mapping[str, RecordVersion],
    source: Source,
    *,
    has_news: bool,
    plan: CallLogPlan,
) -> bool:
    """Update the call from its records, the current version of each by id; return whether these are its
    first."""
    is_first = call.stage in (Stage.ENDED, Stage.ABSENT)
    # Records that were stored while the call went on are no news, but they have not been applied to it yet.
    if has_news or is_first:
        previous_start = call.started_at
        view = read_stored(call.facts)
        derived = derive_fields(call, view, versions.values(), ledger.company)
        current = versions.values()
        ledger.involve(call, extension_ids(view, current), phone_numbers(derived, view, current))
        _correct_end(call, [version.record for version in versions.values()], ledger.now)
        if call.started_at != previous_start:
            ledger.redate(call)
    if is_first:
        _bootstrap(ledger, call, source, plan)
    elif has_news:
        ledger.change(call, "call.updated", source=source.value, primaryRecordId=call.primary_record_id)
    # A Detailed record of the Call Log settles a call only if it was read after the end.
    is_reconciling = any(
        version.is_detailed_log and not is_early(call, version.fetched_at) for version in versions.values()
    )
    if call.stage != Stage.LIVE and is_reconciling:
        _reconcile(ledger, call, versions)
    return is_first


def later_end(call: Call, ended_at: datetime) -> datetime:
    """Return when a call ended: as its events say, or as its records say if they go on for longer.

    In that case the last events were lost. The result does not depend on which of both is known first.
    """
    end = _records_end(call)
    return end if end is not None and ended_at + _END_TOLERANCE < end else ended_at


def _correct_end(call: Call, records: Sequence[CallRecord], now: datetime) -> None:
    """Store the latest end that records give, and use it if events gave an earlier one."""
    end, known = end_of(records), _records_end(call)
    if end is None or end > now or call.ended_at is None or (known is not None and end <= known):
        return
    call.details = {**call.details, RECORDS_END: end.isoformat()}
    call.ended_at = end if call.ended_at == known else later_end(call, call.ended_at)


def _records_end(call: Call) -> datetime | None:
    stored = call.details.get(RECORDS_END)
    return None if stored is None else datetime.fromisoformat(stored)


def _bootstrap(ledger: Ledger, call: Call, source: Source, plan: CallLogPlan) -> None:
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
        outcome=call.outcome,
    )


def _reconcile(ledger: Ledger, call: Call, versions: Mapping[str, RecordVersion]) -> None:
    """Note that the call has a Detailed record of the Call Log, and since when it has not changed."""
    digest = _digest(versions)
    if call.stage == Stage.BOOTSTRAPPED:
        call.ready("legs", "ready", ledger.now)
        ledger.move(call, Stage.RECONCILED, "call.reconciled")
    if call.record_digest != digest:
        is_first = call.record_digest is None
        call.record_digest = digest
        fetched_at = max(version.fetched_at for version in versions.values())
        modified_at = _modified_at(call, versions) if is_first else None
        call.record_unchanged_since = min(fetched_at, modified_at or fetched_at)
        ledger.keep(call)


def _modified_at(call: Call, versions: Mapping[str, RecordVersion]) -> datetime | None:
    """Return when RingCentral last changed a record of the call; None if unknown or before its end."""
    modified = [version.record.last_modified_time for version in versions.values()]
    latest = max((moment for moment in modified if moment is not None), default=None)
    if latest is None or None in modified or call.ended_at is None or latest < call.ended_at:
        return None
    return latest


def _digest(versions: Mapping[str, RecordVersion]) -> str:
    # Keys are sorted because PostgreSQL returns those of an object in another order.
    parts = [json.dumps(dict(versions[key].record.raw), sort_keys=True).encode() for key in sorted(versions)]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()
