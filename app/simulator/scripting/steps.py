"""What parties do again and again in scripted calls, as the telephony stream tells it. No I/O."""

from app.simulator.scripting.casting import Casting, seen
from app.simulator.scripting.company import Extension
from app.simulator.scripting.records import INBOUND, OUTBOUND, QUEUE_GREETING_SECONDS
from app.simulator.scripting.timeline import SHORTEST_KEPT_RECORDING_SECONDS, PartyTimeline, SessionTimeline


def arrives(cast: Casting, session: SessionTimeline, dialled: str) -> PartyTimeline:
    """The customer's party is set up; it stays the first one of every call from outside."""
    caller = session.party(OUTBOUND, cast.caller, {"phoneNumber": dialled})
    caller.turns(0.0, "Setup")
    return caller


def rings_at(
    cast: Casting, session: SessionTimeline, extension: Extension, at: float, dialled: str
) -> PartyTimeline:
    """A party for the extension is set up and rings."""
    party = session.party(INBOUND, cast.caller, seen(extension, dialled), extension)
    party.turns(at, "Setup")
    party.turns(at + 0.28, "Proceeding")
    return party


def answers(cast: Casting, party: PartyTimeline, at: float, *, recorded: bool | None = None) -> None:
    """The party answers, and its recording starts if the call is recorded."""
    if cast.recorded if recorded is None else recorded:
        cast.tape.announce_recording(party)
    party.turns(at, "Answered", recording=True)


def hang_up(first: PartyTimeline, second: PartyTimeline, at: float, apart: float = 0.012) -> float:
    """Both parties leave within milliseconds; returns the second of the last event."""
    first.turns(at, "Disconnected", recording=False)
    second.turns(at + apart, "Disconnected", recording=False)
    return at + apart


def answered_inbound(
    cast: Casting, dialled: str | None = None
) -> tuple[SessionTimeline, PartyTimeline, PartyTimeline, float]:
    """Start a call from outside that the agent answers: session, caller, agent's party, answering second."""
    session = cast.tape.session()
    number = dialled or cast.agent.direct_number
    caller = arrives(cast, session, number)
    party = rings_at(cast, session, cast.agent, 0.022, number)
    answers(cast, party, cast.ring)
    caller.turns(cast.ring + 0.021, "Answered")
    return session, caller, party, cast.ring


def dials(cast: Casting, session: SessionTimeline, at: float = 0.0) -> tuple[PartyTimeline, PartyTimeline]:
    """The agent dials the customer; returns the agent's party and the customer's."""
    number = {"phoneNumber": cast.customer.number}
    agent = session.party(OUTBOUND, seen(cast.agent), number, cast.agent)
    callee = session.party(INBOUND, {"phoneNumber": cast.agent.direct_number}, number)
    agent.turns(at, "Setup")
    agent.turns(at + 0.110, "Proceeding")
    callee.turns(at + 0.140, "Proceeding")
    return agent, callee


def enters_queue(cast: Casting) -> tuple[SessionTimeline, PartyTimeline, PartyTimeline, list[PartyTimeline]]:
    """The customer enters the queue and two members ring: session, caller, queue's party, members."""
    queue, session = cast.world.queue, cast.tape.session()
    caller = arrives(cast, session, queue.direct_number)
    greeting = session.party(INBOUND, cast.caller, seen(queue), queue)
    greeting.turns(0.020, "Setup")
    caller.turns(0.140, "Answered")
    shown = {
        "primary": {"type": "QueueName", "value": queue.name},
        "additional": {"type": "CallerIdName", "value": cast.customer.name},
    }
    members = []
    for ordinal, member in enumerate((cast.agent, cast.colleague)):
        party = session.party(INBOUND, cast.caller, seen(member), member, queueCall=True, uiCallInfo=shown)
        party.turns(QUEUE_GREETING_SECONDS + 0.002 * ordinal, "Proceeding")
        members.append(party)
    return session, caller, greeting, members


TOO_SHORT_SECONDS = SHORTEST_KEPT_RECORDING_SECONDS * 0.4
"""Talk that leaves no recording."""
