"""Scripts in which RingCentral tries to reach a person elsewhere while the customer waits.

Beside the call's own record there is one of the attempt: Outbound, from the customer to the other number, its
action FindMe, FollowMe or Sip Forwarding (`CallLogRecord.action` of RingCentral's API description). Its
results Stopped, Busy and Unknown are those that RingCentral's own widgets hide (ringcentral-js-widgets,
call-log module). That the attempt has a record of its own is the reading here; the stream is not published
and has no party of the other number, which has no mailbox (guide "Telephony session notifications").
"""

from dataclasses import dataclass

from app.simulator.scripting.casting import Casting, unresolved_caller
from app.simulator.scripting.company import OUTSIDE_NUMBER
from app.simulator.scripting.model import Json
from app.simulator.scripting.records import (
    InboundCall,
    MissedCall,
    OutboundCall,
    log_inbound,
    log_missed,
    log_outbound,
)
from app.simulator.scripting.steps import add_caller, answer, hang_up, keep_recording, ring_extension
from app.simulator.scripting.timeline import SessionTimeline

TRIES_AFTER = 2.0
"""How long only the person's desk phone rings."""


@dataclass(frozen=True, slots=True)
class _Attempt:
    """How the platform reaches for somebody elsewhere, in a record's words."""

    action: str
    leg_type: str


_FIND_ME = _Attempt("FindMe", "FindMe")
_FOLLOW_ME = _Attempt("FollowMe", "FollowMe")
_SIP_FORWARDING = _Attempt("Sip Forwarding", "SipForwarding")


def find_me_missed(casting: Casting) -> None:
    """Nobody answers, neither at the desk nor at the mobile that FindMe rings until the customer hangs up."""
    _miss(casting, _FIND_ME, "Stopped")


def find_me_busy(casting: Casting) -> None:
    """Nobody answers at the desk, and the mobile that FindMe tries is busy."""
    _miss(casting, _FIND_ME, "Busy")


def find_me_answered(casting: Casting) -> None:
    """The agent answers on the mobile that FindMe rings; the attempt's record is longer than the call's."""
    _answer_elsewhere(casting, _FIND_ME)


def follow_me(casting: Casting) -> None:
    """The agent answers on the mobile to which FollowMe sends the call."""
    _answer_elsewhere(casting, _FOLLOW_ME)


def sip_forwarding(casting: Casting) -> None:
    """Nobody answers, and the forwarding to another telephone ends with a result that says nothing."""
    _miss(casting, _SIP_FORWARDING, "Unknown")


def _miss(casting: Casting, attempt: _Attempt, result: str) -> None:
    session, agent = casting.timeline.add_session(), casting.agent
    caller = add_caller(casting, session, agent.direct_number)
    party = ring_extension(casting, session, agent, 0.022, agent.direct_number)
    gives_up = TRIES_AFTER + casting.ring
    party.set_status(gives_up, "Disconnected", "NoAnswer", missed=True)
    ended = gives_up + 0.009
    caller.set_status(ended, "Disconnected")
    log_missed(casting, session, MissedCall(extension=agent, rings=0.0, ended=ended))
    # A busy line says so at once; the others ring until the customer gives up.
    stops = TRIES_AFTER + 1.2 if result == "Busy" else ended
    _log_attempt(casting, session, attempt, result, min(stops, ended))


def _answer_elsewhere(casting: Casting, attempt: _Attempt) -> None:
    session, agent = casting.timeline.add_session(), casting.agent
    caller = add_caller(casting, session, agent.direct_number)
    party = ring_extension(casting, session, agent, 0.022, agent.direct_number)
    answered = TRIES_AFTER + casting.ring
    answer(casting, party, answered)
    caller.set_status(answered + 0.021, "Answered")
    leaves = answered + casting.talk
    ended = hang_up(party, caller, leaves)
    recording = keep_recording(casting, party, answered, leaves)
    call = InboundCall(answered=answered, ended=ended, counted_from=answered)
    log_inbound(casting, session, call, recording)
    _log_attempt(casting, session, attempt, "Call connected", ended)


def _log_attempt(
    casting: Casting, session: SessionTimeline, attempt: _Attempt, result: str, ended: float
) -> None:
    mobile: Json = {"phoneNumber": casting.agent.mobile_number or OUTSIDE_NUMBER, "name": casting.agent.name}
    call = OutboundCall(
        starts=TRIES_AFTER,
        ended=ended,
        sender=unresolved_caller(casting.customer),
        receiver=mobile,
        transport="PSTN",
        result=result,
        action=attempt.action,
        leg_type=attempt.leg_type,
    )
    log_outbound(casting, session, call)
