"""Moves a call between stages as its events say: live, ended, live again, absent."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from app.calls.derivation.fields import outcome_of_events
from app.calls.evidence.call_view import CallView
from app.calls.ledger import Ledger
from app.calls.model import Call, Stage
from app.db.engine import wake
from app.enrichment.records.call_update import later_end
from app.values.times import time_text
from app.webhooks.folding.ending import EndingAt, Live, NotACall, Over, judge_end
from app.work.wakeups import ENDS, POLLS


@dataclass(frozen=True, slots=True, kw_only=True)
class EndRules:
    """What the end decision waits for, in seconds; see `Settings`."""

    quiet: float
    handover: float
    stale: float
    window: float
    first_reading: float = 60.0
    """From an end that has moved to the Call Log read that shows it."""

    kept: float | None = None
    """How long after its end a call is kept. Late events do not open one that was removed; None: no limit."""

    def may_open(self, now: datetime, event_times: Iterable[datetime]) -> bool:
        """Whether events at these times may open a call: an older one may have been removed."""
        if self.kept is None:
            return True
        return max(event_times, default=now) >= now - timedelta(seconds=self.kept)


def judge(ledger: Ledger, call: Call, view: CallView, rules: EndRules) -> None:
    """Update the stage of a call from what its events say about its end."""
    match judge_end(view, ledger.now, rules.quiet, rules.handover, rules.stale):
        case NotACall(reason=reason):
            call.end_check_at = None
            if call.stage in (Stage.LIVE, Stage.ENDED):
                close_absent(ledger, call, reason)
        case Live(recheck_at=recheck_at, why=why):
            # RingCentral may have said that the call is over. Only events from after that moment revive it.
            is_over = call.stage == Stage.ENDED and not has_news(call, view)
            may_go_on = call.stage in (Stage.LIVE, Stage.ENDED) and not is_over
            call.end_check_at = recheck_at if may_go_on else None
            if call.stage == Stage.ENDED and may_go_on:
                _revive(ledger, call, why)
        case EndingAt(check_at=check_at):
            call.end_check_at = check_at
            wake(ledger.db, ENDS)
        case Over(ended_at=ended_at, reason=reason):
            call.end_check_at = None
            end(ledger, call, view, ended_at, reason, rules)


def has_news(call: Call, view: CallView) -> bool:
    """Whether an event is later than the moment at which RingCentral said that the call was over."""
    known_at = call.state_known_at
    return known_at is None or any(party.last_at > known_at for party in view.parties)


def end(ledger: Ledger, call: Call, view: CallView, ended_at: datetime, reason: str, rules: EndRules) -> None:
    """Record that a call is over. Idempotent; a later end moves the window."""
    # An end in our future comes from a difference of clocks: the window cannot open before the end is known.
    ended_at = later_end(call, min(ended_at, ledger.now))
    if call.ended_at == ended_at and call.stage != Stage.LIVE:
        return
    is_later = call.ended_at is None or ended_at > call.ended_at
    call.ended_at = ended_at
    call.window_closes_at = ended_at + timedelta(seconds=rules.window)
    if call.stage in (Stage.LIVE, Stage.ENDED):
        call.read_at = call.window_closes_at
    elif is_later:
        _read_again(ledger, call, ended_at + timedelta(seconds=rules.first_reading))
    wake(ledger.db, POLLS)
    call.ask_at = None
    if call.stage != Stage.LIVE:
        ledger.change(call, "call.updated", source="webhook", endedAt=time_text(ended_at))
        return
    call.outcome = outcome_of_events(view, ledger.company).value
    call.end_known_at = ledger.now
    call.reads = call.looks = 0
    call.last_missed_at = None
    ledger.move(
        call, Stage.ENDED, "call.ended", reason=reason, endedAt=time_text(ended_at), outcome=call.outcome
    )


def close_absent(ledger: Ledger, call: Call, reason: str) -> None:
    """Close a call for which no record will come."""
    call.absent_reason = reason
    call.read_at = call.end_check_at = call.window_closes_at = None
    call.ready("record", "none", ledger.now)
    ledger.move(call, Stage.ABSENT, "call.absent", reason=reason)


def _read_again(ledger: Ledger, call: Call, at: datetime) -> None:
    """Let the records of a call count as stable only from a read that is still to come.

    What they said before the true end does not count, nor what they still say right after it. The change feed
    may have nothing more to show of the call by then.
    """
    call.record_digest = None
    call.reads = 0
    call.read_at = call.record_unchanged_since = max(ledger.now, at)


def _revive(ledger: Ledger, call: Call, why: str) -> None:
    call.ended_at = call.end_known_at = call.window_closes_at = call.read_at = None
    ledger.move(call, Stage.LIVE, "call.revived", reason=why)
