"""Steps that many scripts share, as the telephony stream reports them. Times are script seconds. No I/O."""

from dataclasses import dataclass

from app.simulator.scripting.casting import Casting, event_side
from app.simulator.scripting.company import Extension
from app.simulator.scripting.model import AUTOMATIC
from app.simulator.scripting.records import INBOUND, OUTBOUND, QUEUE_GREETING_SECONDS
from app.simulator.scripting.timeline import (
    SHORTEST_KEPT_RECORDING_SECONDS,
    PartyTimeline,
    RecordExtras,
    SessionTimeline,
)

TOO_SHORT_SECONDS = SHORTEST_KEPT_RECORDING_SECONDS * 0.4
"""A talk time that leaves no recording."""


@dataclass(frozen=True, slots=True)
class AnsweredCall:
    """A call from outside that the agent has answered at the second `answered`."""

    session: SessionTimeline
    caller: PartyTimeline
    agent: PartyTimeline
    answered: float


@dataclass(frozen=True, slots=True)
class QueueCall:
    """A call from outside that rings at the members of the queue; `greeting` is the queue's own party."""

    session: SessionTimeline
    caller: PartyTimeline
    greeting: PartyTimeline
    members: tuple[PartyTimeline, PartyTimeline]


def add_caller(casting: Casting, session: SessionTimeline, dialled: str) -> PartyTimeline:
    """Add the customer's party, which is the first party of every call from outside."""
    caller = session.add_party(OUTBOUND, casting.caller, {"phoneNumber": dialled})
    caller.set_status(0.0, "Setup")
    return caller


def ring_extension(
    casting: Casting, session: SessionTimeline, extension: Extension, at: float, dialled: str
) -> PartyTimeline:
    """Add a party of the extension that starts to ring."""
    party = session.add_party(INBOUND, casting.caller, event_side(extension, dialled), extension)
    party.set_status(at, "Setup")
    party.set_status(at + 0.28, "Proceeding")
    return party


def answer(casting: Casting, party: PartyTimeline, at: float, *, recorded: bool | None = None) -> None:
    """Answer, and start the recording if the call is recorded."""
    if casting.recorded if recorded is None else recorded:
        casting.timeline.announce_recording(party)
    party.set_status(at, "Answered", recording=True)


def hang_up(first: PartyTimeline, second: PartyTimeline, at: float, apart: float = 0.012) -> float:
    """Disconnect both parties within milliseconds; returns the second of the last event."""
    first.set_status(at, "Disconnected", recording=False)
    second.set_status(at + apart, "Disconnected", recording=False)
    return at + apart


def start_answered_call(casting: Casting) -> AnsweredCall:
    """Start a call from outside that the agent answers."""
    session = casting.timeline.add_session()
    number = casting.agent.direct_number
    caller = add_caller(casting, session, number)
    party = ring_extension(casting, session, casting.agent, 0.022, number)
    answer(casting, party, casting.ring)
    caller.set_status(casting.ring + 0.021, "Answered")
    return AnsweredCall(session, caller, party, casting.ring)


def dial_customer(
    casting: Casting, session: SessionTimeline, at: float = 0.0
) -> tuple[PartyTimeline, PartyTimeline]:
    """Start a call of the agent to the customer; returns the agent's party and the customer's."""
    number = {"phoneNumber": casting.customer.number}
    agent = session.add_party(OUTBOUND, event_side(casting.agent), number, casting.agent)
    callee = session.add_party(INBOUND, {"phoneNumber": casting.agent.direct_number}, number)
    agent.set_status(at, "Setup")
    agent.set_status(at + 0.110, "Proceeding")
    callee.set_status(at + 0.140, "Proceeding")
    return agent, callee


def connect_customer(
    casting: Casting, agent: PartyTimeline, callee: PartyTimeline, *, recorded: bool | None = None
) -> None:
    """Let the customer answer the agent's call."""
    callee.set_status(casting.ring, "Answered")
    answer(casting, agent, casting.ring + 0.030, recorded=recorded)


def enter_queue(casting: Casting) -> QueueCall:
    """Start a call to the queue that rings at two members, the agent and the colleague."""
    queue, session = casting.company.queue, casting.timeline.add_session()
    caller = add_caller(casting, session, queue.direct_number)
    greeting = session.add_party(INBOUND, casting.caller, event_side(queue), queue)
    greeting.set_status(0.020, "Setup")
    caller.set_status(0.140, "Answered")
    info = {
        "primary": {"type": "QueueName", "value": queue.name},
        "additional": {"type": "CallerIdName", "value": casting.customer.name},
    }

    def ring(member: Extension, delay: float) -> PartyTimeline:
        extra = {"queueCall": True, "uiCallInfo": info}
        party = session.add_party(INBOUND, casting.caller, event_side(member), member, **extra)
        party.set_status(QUEUE_GREETING_SECONDS + delay, "Proceeding")
        return party

    return QueueCall(session, caller, greeting, (ring(casting.agent, 0.0), ring(casting.colleague, 0.002)))


def keep_recording(
    casting: Casting, party: PartyTimeline, begin: float, end: float, kind: str = AUTOMATIC
) -> RecordExtras:
    """End the party's recording; returns its part of the record."""
    return RecordExtras(recordings=casting.timeline.keep_recording(party, begin, end, kind))
