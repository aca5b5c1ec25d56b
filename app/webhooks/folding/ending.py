"""When a call is over.

There is no "call ended" event. Parties leave one by one, menus and queues in the middle of a call, and a
transfer looks like an end until the next party appears. So a call is over when nobody is left, no hand-over
is pending, and it has been quiet for a while. Does no input or output and reads no clock.

Facts used: successive endings of a call come 4-20 ms apart, a following party is set up 0-30 ms after the one
it replaces, and deliveries may overtake each other (published event streams); in an inbound call the caller's
own party leaving is a strong sign of the end (guide "Call states").
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from heapq import nlargest
from itertools import islice

from app.calls.evidence.call_view import CallView
from app.calls.evidence.facts import Code
from app.calls.evidence.party_view import PartyView, same

_NEVER = datetime.max.replace(tzinfo=UTC)

STALE_SECONDS = 4 * 3600.0
"""A call in progress without news for this long may have ended unnoticed."""

NO_CUSTOMER_CALLS = {
    "greetingsrecording": "greetings-recording",
    "verificationcall": "verification-call",
    "testcall": "test-call",
}
"""Session origins that are not conversations."""

_MOVES = frozenset({
    "blindtransfer", "rcctransfer", "dtmftransfer", "callerinputredirect", "callredirected", "callswitch",
    "callflip", "takeover", "callpark", "parklocation",
})  # fmt: skip
"""Reasons of a party that sent the call on: another party has to follow."""

_TAKEN_ELSEWHERE = frozenset({"agentanswered", "pickup", "callfinished"})
"""Reasons of a party that another one answered for."""

_GONE_TO_STAY = frozenset({"supervising", "pickup"})
"""Reasons with which a party is Gone while the call goes on."""

_PARKING = frozenset({"callpark", "parklocation"})

ALL_LEFT = "all-parties-left"
NOT_TAKEN = "hand-over-not-taken"
FAR_SIDE_LEFT = "far-side-left"


@dataclass(frozen=True, slots=True)
class Live:
    """Going on. `why` goes to the timeline if the call had ended before: it was revived.

    If no event comes until `recheck_at`, ask RingCentral for the session: its 404 is the end. A moment in the
    past means to ask now.
    """

    recheck_at: datetime
    why: str


@dataclass(frozen=True, slots=True)
class EndingAt:
    """Seems over: judge again at `check_at`, or later if there is news. An ended call stays ended."""

    check_at: datetime
    why: str


@dataclass(frozen=True, slots=True)
class Over:
    """Over since `ended_at`, by RingCentral's clock."""

    ended_at: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class NotACall:
    """A session without a record: a test, a verification, the recording of a greeting."""

    reason: str


Verdict = Live | EndingAt | Over | NotACall


def judge_end(
    view: CallView,
    now: datetime,
    quiet_seconds: float,
    handover_seconds: float,
    stale_seconds: float = STALE_SECONDS,
) -> Verdict:
    """Decide whether the call is over at `now`.

    Quiet is counted from the arrival of the last news. Where another party may still follow, or where a
    party's goodbye must have been lost, `handover_seconds` are added.
    """
    origin = NO_CUSTOMER_CALLS.get((view.origin or "").lower())
    if origin:
        return NotACall(origin)
    if view.last_news_at is None:
        return Live(now + timedelta(seconds=stale_seconds), "nothing-known")
    reason = _reason_to_end(view)
    if reason is None:
        return Live(view.last_news_at + timedelta(seconds=stale_seconds), _why_alive(view))
    patience = quiet_seconds if reason == ALL_LEFT else quiet_seconds + handover_seconds
    check_at = view.last_news_at + timedelta(seconds=patience)
    if now < check_at:
        return EndingAt(check_at, reason)
    return Over(view.last_terminal_at or view.last_news_at, reason)


def _reason_to_end(view: CallView) -> str | None:
    if view.last_terminal_at is None:
        return None
    parties = _Parties(view)
    remaining = [party for party in view.alive if not _left_in_park(party, parties)]
    if remaining:
        return FAR_SIDE_LEFT if _only_remnants(remaining, view) else None
    pending = any(_is_pending(party, parties) for party in view.parties)
    return NOT_TAKEN if pending else ALL_LEFT


def _why_alive(view: CallView) -> str:
    """Return what keeps the call going, as a word for the timeline."""
    ended = [party for party in view.parties if party.terminal]
    later = max((party.first_at for party in view.alive), default=None)
    for party in ended:
        if later and party.ended_at and later >= party.ended_at and _hands_over(party):
            return "picked-up-from-park" if (party.end_reason or "").lower() in _PARKING else "handed-over"
    return "parties-alive" if view.alive else "nobody-left-yet"


# Hand-overs


def _hands_over(party: PartyView) -> bool:
    """Whether the way in which the party left means that the call goes on without it."""
    reason = (party.end_reason or "").lower()
    if party.known is Code.GONE:
        return reason in _GONE_TO_STAY
    return party.terminal and (reason in _MOVES or reason in _TAKEN_ELSEWHERE)


def _is_pending(party: PartyView, parties: "_Parties") -> bool:
    """Whether the party handed the call on, nobody has taken it so far, and somebody still can.

    Nobody can once the far side has left. After a move it must have left later than the move: it may drop out
    and come back while it is parked. Where another party answered, any goodbye counts.
    """
    if not _hands_over(party) or party.ended_at is None:
        return False
    far_side = parties.far_side(party)
    if parties.could_take(party.ended_at, (party, far_side)):
        return False
    if far_side is None or not _has_left(far_side) or far_side.ended_at is None:
        return True
    moved = (party.end_reason or "").lower() in _MOVES
    return moved and far_side.ended_at < party.ended_at


def _left_in_park(party: PartyView, parties: "_Parties") -> bool:
    """Whether the party is parked and the other side, which waited for it, has hung up."""
    far_side = parties.far_side(party)
    return (
        party.known is Code.PARKED
        and far_side is not None
        and _has_left(far_side)
        and far_side.ended_at is not None
        and far_side.ended_at >= party.history[-1].at
    )


def _has_left(party: PartyView) -> bool:
    return party.terminal and not _hands_over(party)


class _Parties:
    """The parties of a call, arranged so that a question about one of them does not visit all others."""

    def __init__(self, view: CallView) -> None:
        self._caller = view.caller
        # Of each kind as many as a question can exclude, and one more.
        self._first = view.parties[:2]
        self._outside = list(islice((party for party in view.parties if party.extension_id is None), 2))
        self._longest = nlargest(3, view.parties, key=lambda party: party.ended_at or _NEVER)
        self._latest = nlargest(3, view.parties, key=lambda party: party.first_at)

    def far_side(self, party: PartyView) -> PartyView | None:
        """Return the party that this one talks with: the customer's side where there is one."""
        caller = self._caller if self._caller is not party else None
        if caller is not None and caller.extension_id is None:
            return caller
        outside = next((other for other in self._outside if other is not party), None)
        return outside or caller or next((other for other in self._first if other is not party), None)

    def could_take(self, at: datetime, excluded: tuple[PartyView | None, ...]) -> bool:
        """Whether another party was there at that moment or came later."""
        return any(
            other.first_at >= at or (other.ended_at or _NEVER) > at
            for other in (*self._longest, *self._latest)
            if all(other is not one for one in excluded)
        )


# Lost goodbyes


def _only_remnants(remaining: Sequence[PartyView], view: CallView) -> bool:
    """Whether the parties that seem alive have nobody left to talk with: their last event was lost.

    False in a conference and while two of them are connected, since they may be talking with each other; and
    when an event named any of them after the other side had hung up.
    """
    talking = [party for party in remaining if party.known in (Code.ANSWERED, Code.HOLD)]
    if len(talking) > 1 or _is_conference(view):
        return False
    leaver = _who_hung_up(remaining, view)
    return leaver is not None and all(_silent_since(party, leaver.ended_at) for party in remaining)


def _who_hung_up(remaining: Sequence[PartyView], view: CallView) -> PartyView | None:
    """Return the party without which the call cannot go on, if it has hung up.

    That is the caller, and in an outbound call also the outside party that had answered. An unanswered
    attempt may still continue to voicemail or to the next party, and while an outside caller is alive, so is
    the call.
    """
    caller = view.caller
    if caller and caller.known is Code.DISCONNECTED and _has_left(caller):
        return caller
    roles = view.roles
    if (
        roles.direction != "Outbound"
        or roles.is_listed_internal()
        or len(remaining) > 1
        or not remaining[0].extension_id
    ):
        return None
    outside = [party for party in view.parties if not party.extension_id]
    answered = [p for p in outside if p.answered_at and p.known is Code.DISCONNECTED and _has_left(p)]
    return answered[0] if len(outside) == 1 and answered else None


def _silent_since(party: PartyView, at: datetime | None) -> bool:
    return at is not None and party.last_at <= at


def _is_conference(view: CallView) -> bool:
    return same(view.origin, "Conference") or any(party.conference_role for party in view.parties)
