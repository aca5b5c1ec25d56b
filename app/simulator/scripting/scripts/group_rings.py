"""Scripts in which a call rings at several telephones, and one of them takes it."""

from app.simulator.scripting.casting import Casting, event_side
from app.simulator.scripting.records import INBOUND, InboundCall, MissedCall, log_inbound, log_missed
from app.simulator.scripting.steps import add_caller, answer, hang_up, keep_recording, ring_extension


def simultaneous_ring(casting: Casting) -> None:
    """Two telephones of the agent and one of a colleague ring at once, and the agent's second one answers."""
    # Each telephone is a party, two of them of one extension. The others leave like the members of a queue
    # who did not answer; the reason varies in RingCentral's published streams.
    session, agent, colleague = casting.timeline.add_session(), casting.agent, casting.colleague
    caller = add_caller(casting, session, agent.direct_number)
    to_agent = event_side(agent)
    desk, softphone = (
        session.add_party(INBOUND, casting.caller, to_agent | {"deviceId": device}, agent)
        for device in ("803750084020", "803750084021")
    )
    other = session.add_party(INBOUND, casting.caller, event_side(colleague, agent.direct_number), colleague)
    for ordinal, party in enumerate((desk, softphone, other)):
        party.set_status(0.022 + 0.002 * ordinal, "Setup")
        party.set_status(0.302 + 0.002 * ordinal, "Proceeding")
    answer(casting, softphone, casting.ring)
    caller.set_status(casting.ring + 0.021, "Answered")
    desk.set_status(casting.ring + 0.010, "Disconnected", "AgentAnswered")
    other.set_status(casting.ring + 0.012, "Disconnected", "Pickup")
    leaves = casting.ring + casting.talk
    ended = hang_up(softphone, caller, leaves)
    recording = keep_recording(casting, softphone, casting.ring, leaves)
    log_inbound(casting, session, InboundCall(answered=casting.ring, ended=ended), recording)
    missed = MissedCall(
        extension=colleague,
        rings=0.0,
        ended=casting.ring,
        dialled=agent.direct_number,
        result="Answered Elsewhere",
    )
    log_missed(casting, session, missed)


def pick_up(casting: Casting) -> None:
    """The agent's telephone rings, and a colleague of the same group picks up the call."""
    # Reason Pickup: guide "Telephony session notifications". That both records stay in the session is the
    # reading here; the pick-up from a session of one's own is `transfers.picked_up_elsewhere`.
    session, agent, colleague = casting.timeline.add_session(), casting.agent, casting.colleague
    number = agent.direct_number
    caller = add_caller(casting, session, number)
    party = ring_extension(casting, session, agent, 0.022, number)
    picked_up = casting.ring
    taker = session.add_party(INBOUND, casting.caller, event_side(colleague, number), colleague)
    taker.set_status(picked_up - 0.060, "Setup")
    answer(casting, taker, picked_up)
    party.set_status(picked_up + 0.008, "Disconnected", "Pickup")
    caller.set_status(picked_up + 0.021, "Answered")
    leaves = picked_up + casting.talk
    ended = hang_up(taker, caller, leaves)
    missed = MissedCall(extension=agent, rings=0.0, ended=picked_up, result="Answered Elsewhere")
    log_missed(casting, session, missed)
    call = InboundCall(
        extension=colleague,
        starts=picked_up - 0.060,
        answered=picked_up,
        ended=ended,
        dialled=number,
        action="Pickup",
    )
    log_inbound(casting, session, call, keep_recording(casting, taker, picked_up, leaves))
