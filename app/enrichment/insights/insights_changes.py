"""Writes what a request for insights resulted in. Runs under the ledger."""

from datetime import datetime

from app.calls.insights.model import Version
from app.calls.insights.store import BY_READING, PART, InsightsArrival, take
from app.calls.ledger import Ledger
from app.calls.model import Call
from app.enrichment.insights.due_insights import find_others_waiting
from app.enrichment.insights.results import Found, GivenUp, Missing, Refused, Result, Retry
from app.enrichment.records.reasons import MissingReason
from app.enrichment.records.settling import finish
from app.ringcentral.models import Insights


async def apply_result(ledger: Ledger, call: Call, result: Result, analysed_at: datetime) -> None:
    """Write the result to the call. `analysed_at` is when its insights should be there."""
    match result:
        case Found(items=items):
            call.insights_at = None
            ledger.keep(call)
            arrivals = [_arrival(item, ledger.now) for item in items]
            changed = await take(ledger, arrivals, {call.call_id: call})
            for one in {one.call_id: one for one in (call, *changed)}.values():
                finish(ledger, one)
        case Missing() if ledger.now < analysed_at:
            call.insights_at = analysed_at
            ledger.keep(call)
        case Missing():
            give_up(ledger, call, MissingReason.NOT_ANALYSED)
        case Retry(at=at):
            call.insights_at = at
            ledger.keep(call)
        case GivenUp(reason=reason) | Refused(reason=reason, whole_account=False):
            give_up(ledger, call, reason)
        case Refused(reason=reason):
            for one in (call, *await find_others_waiting(ledger, call)):
                give_up(ledger, one, reason)


def give_up(ledger: Ledger, call: Call, reason: str) -> None:
    """Stop requesting insights of a call that has none. An event may still bring some."""
    call.insights_at = None
    ledger.keep(call)
    if call.awaits(PART):
        call.ready(PART, "none", ledger.now, reason)
        ledger.change(call, "call.updated", source=BY_READING, reason=reason)
    finish(ledger, call)


def _arrival(item: Insights, at: datetime) -> InsightsArrival:
    version = Version(
        telephony_session_id=item.session_id,
        recording_id=item.recording_id,
        last_modified_at=item.last_modified_time,
        raw=item.raw,
    )
    return InsightsArrival(version, BY_READING, at)
