"""How a call went, by its events: its outcome, and how long it rang, was talked in and was on hold. Pure."""

from collections import deque
from collections.abc import Iterable

from app.calls.evidence.call_view import PartyView, Span, join_spans, same, total_seconds
from app.calls.evidence.facts import Code
from app.calls.evidence.roles import Roles
from app.calls.model import Outcome

_FAILURES = frozenset({
    "internalerror", "invalidnumber", "internationaldisabled", "destinationblocked", "notenoughfunds",
    "nosuchuser",
})  # fmt: skip


def outcome_of(roles: Roles, answered: PartyView | None, *, over: bool) -> Outcome:
    if answered:
        return Outcome.ANSWERED
    if not over:
        return Outcome.IN_PROGRESS
    if any(same(moment.code, "FaxReceive") for party in roles.parties for moment in party.history):
        return Outcome.FAX
    if any(party.reached_voicemail for party in roles.called):
        return Outcome.VOICEMAIL
    return _unanswered(roles)


def _unanswered(roles: Roles) -> Outcome:
    """Return why nobody answered. A lone goodbye, whose beginning was not seen, gives no reason."""
    reasons = {party.end_reason.lower() for party in roles.parties if party.end_reason}
    if roles.direction == "Inbound" and (roles.queues or any(party.queue_call for party in roles.called)):
        return Outcome.ABANDONED
    unanswered = Outcome.MISSED if roles.direction == "Inbound" else Outcome.NO_ANSWER
    if reasons & {"noanswer", "timeout"} or any(party.missed_call for party in roles.called):
        return unanswered
    if "targetbusy" in reasons:
        return Outcome.BUSY
    if "rejected" in reasons:
        return Outcome.REJECTED
    if reasons & _FAILURES:
        return Outcome.FAILED
    if roles.menus:
        return Outcome.ABANDONED
    rang = any(party.first(Code.SETUP, Code.PROCEEDING) for party in roles.parties)
    picked_up = any(party.answered_at for party in roles.called or roles.parties)
    return unanswered if rang and not picked_up else Outcome.UNKNOWN


def ring_seconds(roles: Roles, answered: PartyView | None) -> float | None:
    """Return how long people's phones rang before somebody answered; None if none was seen ringing."""
    machines = roles.queues | roles.menus
    rang = [span for party in roles.called if party.id not in machines for span in party.ringing()]
    until = answered.answered_at if answered else None
    if until:
        rang = [(start, min(end, until)) for start, end in rang if start < until]
    return total_seconds(rang) if rang else None


def talk_and_hold_seconds(roles: Roles, answered: PartyView | None) -> tuple[float, float]:
    """Return how long people talked, without the time on hold, and how long the call was on hold."""
    talking = list(roles.humans()) or ([answered] if answered else [])
    talk = [span for party in talking for span in party.spans(Code.ANSWERED)]
    hold = [span for party in roles.parties for span in party.spans(Code.HOLD)]
    return total_seconds(_without(talk, hold)), total_seconds(hold)


def _without(spans: Iterable[Span], cuts: Iterable[Span]) -> list[Span]:
    """Return the spans with the cuts taken out."""
    left: list[Span] = []
    taken = deque(join_spans(cuts))
    for start, end in join_spans(spans):
        while taken and taken[0][0] < end:
            cut_start, cut_end = taken[0]
            if start < cut_start:
                left.append((start, cut_start))
            start = max(start, cut_end)
            if cut_end > end:
                break  # the next span is cut as well
            taken.popleft()
        if start < end:
            left.append((start, end))
    return left
