"""What became of a call, by its events. Pure."""

from app.calls.model import Outcome
from app.webhooks.folding.call_view import PartyView, _Cast, same
from app.webhooks.payloads.facts import Code

_FAILURES = frozenset(
    {
        "internalerror",
        "invalidnumber",
        "internationaldisabled",
        "destinationblocked",
        "notenoughfunds",
        "nosuchuser",
    }
)


def _outcome(cast: _Cast, answered: PartyView | None, *, over: bool) -> Outcome:
    if answered:
        return Outcome.ANSWERED
    if not over:
        return Outcome.IN_PROGRESS
    if any(same(moment.code, "FaxReceive") for party in cast.parties for moment in party.history):
        return Outcome.FAX
    if any(party.reached_voicemail for party in cast.called):
        return Outcome.VOICEMAIL
    return _unanswered(cast)


def _unanswered(cast: _Cast) -> Outcome:
    """Say why nobody answered. A lone goodbye, its beginning unseen, says nothing."""
    reasons = {party.end_reason.lower() for party in cast.parties if party.end_reason}
    if cast.direction == "Inbound" and (cast.queues or any(party.queue_call for party in cast.called)):
        return Outcome.ABANDONED
    unanswered = Outcome.MISSED if cast.direction == "Inbound" else Outcome.NO_ANSWER
    if reasons & {"noanswer", "timeout"} or any(party.missed_call for party in cast.called):
        return unanswered
    if "targetbusy" in reasons:
        return Outcome.BUSY
    if "rejected" in reasons:
        return Outcome.REJECTED
    if reasons & _FAILURES:
        return Outcome.FAILED
    if cast.menus:
        return Outcome.ABANDONED
    rang = any(party.first(Code.SETUP, Code.PROCEEDING) for party in cast.parties)
    picked_up = any(party.answered_at for party in cast.called or cast.parties)
    return unanswered if rang and not picked_up else Outcome.UNKNOWN
