"""Scripts with more than two parties, and calls that RingCentral places itself."""

from app.simulator.scripting.casting import Casting, event_side, internal_side
from app.simulator.scripting.records import (
    INBOUND,
    OUTBOUND,
    InboundCall,
    OutboundCall,
    log_inbound,
    log_outbound,
)
from app.simulator.scripting.steps import (
    answer,
    connect_customer,
    dial_customer,
    hang_up,
    keep_recording,
    start_answered_call,
)


def conference(casting: Casting) -> None:
    """The agent's call is merged into a conference, whose session has the id "0"."""
    session = casting.timeline.add_session()
    agent, callee = dial_customer(casting, session)
    connect_customer(casting, agent, callee, recorded=False)
    merges = casting.ring + casting.talk * 0.3
    room = casting.timeline.add_session("Conference", starts=merges, session_id="0")
    to_room = {"phoneNumber": "conference"}
    host = room.add_party(OUTBOUND, event_side(casting.agent), to_room, casting.agent, conferenceRole="Host")
    guest = room.add_party(INBOUND, casting.caller, to_room, conferenceRole="Participant")
    third = room.add_party(
        INBOUND, event_side(casting.colleague), to_room, casting.colleague, conferenceRole="Participant"
    )
    host.set_status(merges, "Setup")
    host.set_status(merges + 0.040, "Answered")
    agent.set_status(merges + 0.100, "Gone", "Conference", peer=host)
    callee.set_status(merges + 0.104, "Gone", "Conference", peer=guest)
    guest.set_status(merges + 0.110, "Answered")
    third.set_status(merges + 2.0, "Proceeding")
    third.set_status(merges + 4.0, "Answered")
    ends = merges + 4.0 + casting.talk * 0.7
    third.set_status(ends, "Disconnected")
    ended = hang_up(guest, host, ends + 0.4)
    # Only the host has records of the conference, one for each of the two sessions.
    log_outbound(casting, session, OutboundCall(ended=merges + 0.104))
    conference_call = OutboundCall(
        starts=merges, ended=ended, receiver=to_room, action="Conference Call", leg_type="ConferenceCall"
    )
    log_outbound(casting, room, conference_call)


def ringout(casting: Casting) -> None:
    """The platform calls the agent first and then the customer: two sessions with close `sessionId`s."""
    timeline = casting.timeline
    # Added together, so that their numeric ids are close, as those of real RingOut calls.
    first, second = timeline.add_session("RingOut"), timeline.add_session("RingOut")
    number = {"phoneNumber": casting.customer.number}
    own = first.add_party(INBOUND, number, event_side(casting.agent), casting.agent)
    own.set_status(0.0, "Setup")
    own.set_status(0.210, "Proceeding")
    own.set_status(3.0, "Answered")
    other_own = second.add_party(OUTBOUND, event_side(casting.agent), number, casting.agent)
    callee = second.add_party(INBOUND, {"phoneNumber": casting.agent.direct_number}, number)
    other_own.set_status(3.050, "Setup")
    callee.set_status(3.120, "Proceeding")
    answered = 3.0 + casting.ring
    callee.set_status(answered, "Answered")
    answer(casting, other_own, answered + 0.030)
    hangs_up = answered + casting.talk
    own.set_status(hangs_up, "Disconnected")
    ended = hang_up(other_own, callee, hangs_up + 0.010)
    to_agent = OutboundCall(
        ended=hangs_up,
        receiver=internal_side(casting.agent),
        action="RingOut Web",
        leg_type="RingOutWebToSubscriber",
    )
    log_outbound(casting, first, to_agent)
    to_customer = OutboundCall(ended=ended, action="RingOut Web", leg_type="RingOutWebToCaller")
    log_outbound(casting, second, to_customer, keep_recording(casting, other_own, answered, hangs_up))


def supervised(casting: Casting) -> None:
    """A colleague monitors the call; their own session names the session that they joined."""
    call = start_answered_call(casting)
    listens = call.answered + casting.talk * 0.2
    second = casting.timeline.add_session(starts=listens)
    colleague = event_side(casting.colleague)
    own = second.add_party(OUTBOUND, colleague, {"phoneNumber": "*80"}, casting.colleague)
    listener = call.session.add_party(INBOUND, colleague, event_side(casting.agent), casting.colleague)
    own.set_status(listens, "Setup")
    own.set_status(listens + 0.4, "Answered")
    listener.set_status(listens + 1.0, "Setup")
    listener.set_status(listens + 1.1, "Answered")
    own.set_status(listens + 1.2, "Gone", "Supervising", peer=listener)
    leaves = call.answered + casting.talk
    listener.set_status(call.answered + casting.talk * 0.8, "Disconnected")
    ended = hang_up(call.agent, call.caller, leaves)
    log_inbound(
        casting,
        call.session,
        InboundCall(answered=call.answered, ended=ended),
        keep_recording(casting, call.agent, call.answered, leaves),
    )
    monitoring = OutboundCall(
        extension=casting.colleague,
        starts=listens,
        ended=listens + 1.2,
        receiver=internal_side(casting.agent),
        action="Monitoring",
        leg_type="Monitoring",
    )
    log_outbound(casting, second, monitoring)
