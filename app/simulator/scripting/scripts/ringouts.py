"""Scripts of RingOut as one session.

RingCentral published a session of 2024 in this form: origin RingOut, both parties Inbound, with the roles
Initiator and Target in `ringOutRole`. How it looks in the call log is not published: here it is one record of
the initiator with a leg to each of the two telephones. RingOut as two sessions is `multi_party.ringout`.
"""

from app.simulator.scripting.casting import Casting, event_side, internal_side, record_side, unresolved_caller
from app.simulator.scripting.model import IN_PROGRESS, CallSummary, Leg
from app.simulator.scripting.records import INBOUND, OUTBOUND
from app.simulator.scripting.steps import answer, keep_recording
from app.simulator.scripting.timeline import NO_EXTRAS, PartyTimeline, RecordExtras, SessionTimeline

INITIATOR_ANSWERS = 3.0
ACTION = "RingOut Web"


def ringout_one_session(casting: Casting) -> None:
    """The platform calls the agent and then the customer in one session, and both answer."""
    session, initiator, target = _ring_out(casting)
    answered = INITIATOR_ANSWERS + 0.12 + casting.ring
    target.set_status(answered, "Answered")
    # Recorded is the conversation, not the wait of the initiator.
    answer(casting, initiator, answered + 0.030)
    leaves = answered + casting.talk
    initiator.set_status(leaves, "Disconnected", recording=False)
    target.set_status(leaves + 0.010, "Disconnected", recording=False)
    recording = keep_recording(casting, initiator, answered, leaves)
    _log(casting, session, "Call connected", leaves + 0.010, recording)


def ringout_one_session_unanswered(casting: Casting) -> None:
    """The platform calls the agent, who answers, and then the customer, who does not."""
    session, initiator, target = _ring_out(casting)
    gives_up = INITIATOR_ANSWERS + 0.12 + casting.ring
    target.set_status(gives_up, "Disconnected", "NoAnswer")
    initiator.set_status(gives_up + 0.010, "Disconnected")
    _log(casting, session, "No Answer", gives_up + 0.010)


def _ring_out(casting: Casting) -> tuple[SessionTimeline, PartyTimeline, PartyTimeline]:
    session, agent = casting.timeline.add_session("RingOut"), casting.agent
    customer = {"phoneNumber": casting.customer.number}
    initiator = session.add_party(INBOUND, customer, event_side(agent), agent, ringOutRole="Initiator")
    target = session.add_party(INBOUND, {"phoneNumber": agent.direct_number}, customer, ringOutRole="Target")
    initiator.set_status(0.0, "Setup")
    initiator.set_status(0.210, "Proceeding")
    initiator.set_status(INITIATOR_ANSWERS, "Answered")
    target.set_status(INITIATOR_ANSWERS + 0.05, "Setup")
    target.set_status(INITIATOR_ANSWERS + 0.12, "Proceeding")
    return session, initiator, target


def _log(
    casting: Casting, session: SessionTimeline, result: str, ended: float, extras: RecordExtras = NO_EXTRAS
) -> None:
    timeline, agent = casting.timeline, casting.agent
    sides = (record_side(agent), unresolved_caller(casting.customer))
    lasts, theirs_lasts = timeline.duration(0.0, ended), timeline.duration(INITIATOR_ANSWERS, ended)

    def legs(to_agent: str, to_customer: str, durations: tuple[int, int] | tuple[None, None]) -> list[Leg]:
        own_sides = (record_side(agent), internal_side(agent))
        own = CallSummary(OUTBOUND, ACTION, to_agent, *own_sides, durations[0])
        theirs = CallSummary(OUTBOUND, ACTION, to_customer, *sides, durations[1])
        rings = timeline.moment(INITIATOR_ANSWERS)
        return [
            Leg(timeline.moment(0.0), own, agent.id, "RingOutWebToSubscriber", "VoIP"),
            Leg(rings, theirs, agent.id, "RingOutWebToCaller", "PSTN", master=True),
        ]

    ringing = CallSummary(OUTBOUND, ACTION, IN_PROGRESS, *sides)
    final = CallSummary(OUTBOUND, ACTION, result, *sides, lasts)
    timeline.add_record(
        session,
        agent,
        [
            (0.0, ringing, legs(IN_PROGRESS, IN_PROGRESS, (None, None))),
            (ended, final, legs("Call connected", result, (lasts, theirs_lasts))),
        ],
        extras,
    )
