"""Scripted calls: what the parties do, and what the call log makes of it. No I/O.

Each script is a function of its cast alone; with one seed, number and start time it always gives the same
call. The event sequences follow RingCentral's published streams: the caller's party comes first and is
Outbound whatever the direction of the call, parties are set up milliseconds after the one they replace, and
several parties disconnect within some 20 ms at the end.
"""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from app.simulator.plan import IN_PROGRESS, Face, Json, Leg, Recording, ScriptedCall
from app.simulator.tape import SHORTEST_KEPT_RECORDING_SECONDS, PartyTape, SessionTape, Tape, without
from app.simulator.world import Customer, Extension, World

INBOUND = "Inbound"
OUTBOUND = "Outbound"
PHONE_CALL = "Phone Call"
VOIP_CALL = "VoIP Call"


@dataclass(frozen=True, slots=True)
class Wishes:
    """What whoever starts a call may choose; None leaves it to chance.

    Seconds are those of the unscaled world. `agent`, `colleague` and `customer` are numbers: a short
    number, a direct number or an extension id for the first two.
    """

    talk_seconds: float | None = None
    ring_seconds: float | None = None
    hold_seconds: float | None = None
    agent: str | None = None
    colleague: str | None = None
    customer: str | None = None
    recorded: bool | None = None


@dataclass(frozen=True, slots=True)
class Cast:
    """Who plays, and for how long."""

    tape: Tape
    world: World
    agent: Extension
    colleague: Extension
    customer: Customer
    ring: float
    talk: float
    hold: float
    recorded: bool

    @property
    def caller(self) -> Json:
        """The customer as the telephony stream names them."""
        return {"phoneNumber": self.customer.number, "name": self.customer.name}


class UnknownNumberError(ValueError):
    """No extension of the company has the number that was asked for."""


def cast_for(tape: Tape, world: World, wishes: Wishes) -> Cast:
    """Fill the roles. The draws are the same whatever was wished, so that one wish changes one thing."""
    rng = tape.rng
    first, second = rng.sample(
        [person for person in world.people if not person.name.endswith("Service")], k=2
    )
    agent = _extension(world, wishes.agent) or first
    colleague = _extension(world, wishes.colleague) or (second if second.id != agent.id else first)
    ring, talk, hold = rng.uniform(2.0, 12.0), draw_talk(rng), rng.uniform(5.0, 20.0)
    customer, recorded = rng.choice(world.customers), rng.random() < 0.6
    if wishes.customer is not None:
        customer = next(
            (known for known in world.customers if known.number == wishes.customer),
            Customer(wishes.customer, wishes.customer),
        )
    tape.knows(customer.number, customer.name)
    return Cast(
        tape,
        world,
        agent,
        colleague,
        customer,
        ring if wishes.ring_seconds is None else wishes.ring_seconds,
        talk if wishes.talk_seconds is None else wishes.talk_seconds,
        hold if wishes.hold_seconds is None else wishes.hold_seconds,
        recorded if wishes.recorded is None else wishes.recorded,
    )


def draw_talk(rng: random.Random, median: float = 60.0) -> float:
    """Draw a talk time: many short ones, few long ones, between a quarter and six times the median."""
    return min(max(rng.lognormvariate(0.0, 0.8) * median, median / 4), median * 6)


def _extension(world: World, number: str | None) -> Extension | None:
    if number is None:
        return None
    found = world.find(number)
    if found is None:
        raise UnknownNumberError(number)
    return found


# How the two sides appear in events and in records


def _seen(extension: Extension, number: str | None = None) -> Json:
    """An extension as a side of an event's party."""
    return {
        "phoneNumber": number or extension.direct_number,
        "name": extension.name,
        "extensionId": extension.id,
    }


def _logged(extension: Extension, number: str | None = None) -> Json:
    """An extension as a side of a record."""
    return {
        "phoneNumber": number or extension.direct_number,
        "name": extension.name,
        "location": extension.location,
    }


def _inside(extension: Extension) -> Json:
    """An extension as a side of an internal call or of a leg to its phone."""
    return {
        "name": extension.name,
        "extensionNumber": extension.number,
        "extensionId": extension.id,
        "device": {"id": f"8037500{extension.id[-5:]}"},
    }


def _raw_caller(customer: Customer) -> Json:
    """A customer as the log first knows them: by the public network's caller id."""
    return {"phoneNumber": customer.number, "name": customer.caller_id, "location": customer.location}


def _at(cast: Cast, second: float, face: Face, extension: Extension, leg_type: str, transport: str) -> Leg:
    return Leg(cast.tape.moment(second), face, extension.id, leg_type, transport)


# Records that many scripts share


def _log_inbound(
    cast: Cast,
    session: SessionTape,
    *,
    answered: float,
    ended: float,
    agent: Extension | None = None,
    dialled: str | None = None,
    starts: float = 0.0,
    result: str = "Accepted",
    recording: Recording | None = None,
    short_recording: bool = False,
    message: bool = False,
    target: SessionTape | None = None,
) -> None:
    """Plan the record of a call from outside that somebody (or a voicemail box) took."""
    agent = agent or cast.agent
    sides = (_raw_caller(cast.customer), _logged(agent, dialled))
    lasts, talks = cast.tape.lasting(starts, ended), cast.tape.lasting(answered, ended)

    def master(current: str, duration: int | None) -> Leg:
        face = Face(INBOUND, PHONE_CALL, current, *sides, duration)
        return Leg(cast.tape.moment(starts), face, agent.id, "Accept", "PSTN", master=True)

    def to_phone(current: str, duration: int | None) -> Leg:
        face = Face(OUTBOUND, VOIP_CALL, current, _inside(agent), _logged(agent), duration, "Accepted")
        return _at(cast, answered, face, agent, "PstnToSip", "VoIP")

    ringing = Face(INBOUND, PHONE_CALL, IN_PROGRESS, *sides)
    cast.tape.record(
        session,
        agent,
        [
            (starts, ringing, [master(IN_PROGRESS, None)]),
            (answered, ringing, [master(IN_PROGRESS, None), to_phone(IN_PROGRESS, None)]),
            (
                ended,
                Face(INBOUND, PHONE_CALL, result, *sides, lasts),
                [master(result, lasts), to_phone(result, talks)],
            ),
        ],
        recording=recording,
        short_recording=short_recording,
        message=message,
        target=target,
    )


def _log_missed(
    cast: Cast,
    session: SessionTape,
    extension: Extension,
    *,
    rings: float,
    ended: float,
    result: str = "Missed",
    dialled: str | None = None,
) -> None:
    """Plan the record of an extension that rang in vain: duration 0."""
    sides = (_raw_caller(cast.customer), _logged(extension, dialled))

    def stage(at: float, current: str, duration: int | None) -> tuple[float, Face, list[Leg]]:
        face = Face(INBOUND, PHONE_CALL, current, *sides, duration)
        leg = Leg(cast.tape.moment(rings), face, extension.id, "Accept", "PSTN", master=True)
        return at, face, [leg]

    cast.tape.record(session, extension, [stage(rings, IN_PROGRESS, None), stage(ended, result, 0)])


def _log_outbound(
    cast: Cast,
    session: SessionTape,
    *,
    ended: float,
    result: str,
    receiver: Json | None = None,
    starts: float = 0.0,
    agent: Extension | None = None,
    action: str = VOIP_CALL,
    leg_type: str = "SipToPstnUnmetered",
    recording: Recording | None = None,
    target: SessionTape | None = None,
) -> None:
    """Plan the record of a call that one of ours made."""
    agent = agent or cast.agent
    sides = (_logged(agent), receiver or _raw_caller(cast.customer))
    transport = "VoIP" if receiver is not None else "PSTN"

    def stage(at: float, current: str, duration: int | None) -> tuple[float, Face, list[Leg]]:
        face = Face(OUTBOUND, action, current, *sides, duration)
        leg = Leg(cast.tape.moment(starts), face, agent.id, leg_type, transport, master=True)
        return at, face, [leg]

    cast.tape.record(
        session,
        agent,
        [
            stage(starts, IN_PROGRESS, None),
            stage(ended, result, cast.tape.lasting(starts, ended)),
        ],
        recording=recording,
        target=target,
    )


def _log_internal(
    cast: Cast,
    session: SessionTape,
    caller: Extension,
    called: Extension,
    *,
    starts: float,
    ended: float,
    target: SessionTape | None = None,
    transferee: SessionTape | None = None,
) -> None:
    """Plan the two records of a call between extensions, one for each side."""
    sides = (_inside(caller), _inside(called))
    lasts = cast.tape.lasting(starts, ended)

    def stages(direction: str, final: str, leg_type: str) -> list[tuple[float, Face, list[Leg]]]:
        owner = caller if direction == OUTBOUND else called
        out: list[tuple[float, Face, list[Leg]]] = []
        for at, result, duration in ((starts, IN_PROGRESS, None), (ended, final, lasts)):
            face = Face(direction, VOIP_CALL, result, *sides, duration)
            leg = Leg(cast.tape.moment(starts), face, owner.id, leg_type, "VoIP", master=True)
            out.append((at, face, [leg]))
        return out

    cast.tape.record(
        session, caller, stages(OUTBOUND, "Call connected", "ExtensionToExtension"), target=target
    )
    cast.tape.record(session, called, stages(INBOUND, "Accepted", "Accept"), transferee=transferee)


# Events that many scripts share


def _arrives(cast: Cast, session: SessionTape, dialled: str) -> PartyTape:
    """The customer's party is set up; it stays the first one of every call from outside."""
    caller = session.party(OUTBOUND, cast.caller, {"phoneNumber": dialled})
    caller.turns(0.0, "Setup")
    return caller


def _rings(cast: Cast, session: SessionTape, extension: Extension, at: float, dialled: str) -> PartyTape:
    """A party for the extension is set up and rings."""
    party = session.party(INBOUND, cast.caller, _seen(extension, dialled), extension)
    party.turns(at, "Setup")
    party.turns(at + 0.28, "Proceeding")
    return party


def _answers(cast: Cast, party: PartyTape, at: float, *, recorded: bool | None = None) -> None:
    """The party answers, and its recording starts if the call is recorded."""
    if cast.recorded if recorded is None else recorded:
        cast.tape.announce_recording(party)
    party.turns(at, "Answered", recording=True)


def _hang_up(first: PartyTape, second: PartyTape, at: float, apart: float = 0.012) -> float:
    """Both parties leave within milliseconds; returns the second of the last event."""
    first.turns(at, "Disconnected", recording=False)
    second.turns(at + apart, "Disconnected", recording=False)
    return at + apart


def _answered_inbound(
    cast: Cast, dialled: str | None = None
) -> tuple[SessionTape, PartyTape, PartyTape, float]:
    """Start a call from outside that the agent answers: session, caller, agent's party, answering second."""
    session = cast.tape.session()
    number = dialled or cast.agent.direct_number
    caller = _arrives(cast, session, number)
    party = _rings(cast, session, cast.agent, 0.022, number)
    _answers(cast, party, cast.ring)
    caller.turns(cast.ring + 0.021, "Answered")
    return session, caller, party, cast.ring


def _inbound_to_the_end(cast: Cast, *, hold: bool = False) -> None:
    """A whole direct call from outside with its record and, where recorded, its recording."""
    session, caller, party, answered = _answered_inbound(cast)
    if hold:
        begin = answered + cast.talk * 0.3
        party.turns(begin, "Hold", recording=True)
        party.turns(begin + min(cast.hold, cast.talk * 0.4), "Answered", recording=True)
    ended = _hang_up(party, caller, answered + cast.talk)
    recording = cast.tape.keep_recording(party, answered, answered + cast.talk)
    too_short = party.recording_id is not None and recording is None
    _log_inbound(
        cast, session, answered=answered, ended=ended, recording=recording, short_recording=too_short
    )


# The scripts


def inbound_direct(cast: Cast) -> None:
    """A customer calls a direct number and the agent answers."""
    _inbound_to_the_end(cast)


def inbound_recorded_with_hold(cast: Cast) -> None:
    """A recorded call from outside that is put on hold once."""
    _inbound_to_the_end(_with(cast, recorded=True), hold=True)


def inbound_missed(cast: Cast) -> None:
    """A customer gives up while the agent's phone is still ringing."""
    session = cast.tape.session()
    caller = _arrives(cast, session, cast.agent.direct_number)
    party = _rings(cast, session, cast.agent, 0.022, cast.agent.direct_number)
    party.turns(cast.ring, "Disconnected", "Cancelled", missed=True)
    caller.turns(cast.ring + 0.009, "Disconnected")
    _log_missed(cast, session, cast.agent, rings=0.0, ended=cast.ring + 0.009)


def ivr_then_agent(cast: Cast) -> None:
    """The menu answers and leaves without a reason in mid-call, then an agent takes over."""
    world, session = cast.world, cast.tape.session()
    caller = _arrives(cast, session, world.main_number)
    menu = session.party(INBOUND, cast.caller, {"phoneNumber": world.main_number, "name": world.ivr.name})
    menu.turns(0.025, "Setup")
    menu.turns(0.180, "Answered")
    caller.turns(0.200, "Answered")
    leaves = 6.0
    menu.turns(leaves, "Disconnected")
    party = _rings(cast, session, cast.agent, leaves + 0.018, world.main_number)
    answered = leaves + cast.ring
    _answers(cast, party, answered)
    ended = _hang_up(caller, party, answered + cast.talk)
    recording = cast.tape.keep_recording(party, answered, answered + cast.talk)
    _log_inbound(
        cast, session, answered=answered, ended=ended, dialled=world.main_number, recording=recording
    )


def _dials(cast: Cast, session: SessionTape, at: float = 0.0) -> tuple[PartyTape, PartyTape]:
    """The agent dials the customer; returns the agent's party and the customer's."""
    number = {"phoneNumber": cast.customer.number}
    agent = session.party(OUTBOUND, _seen(cast.agent), number, cast.agent)
    callee = session.party(INBOUND, {"phoneNumber": cast.agent.direct_number}, number)
    agent.turns(at, "Setup")
    agent.turns(at + 0.110, "Proceeding")
    callee.turns(at + 0.140, "Proceeding")
    return agent, callee


def outbound_answered(cast: Cast) -> None:
    """The agent calls a customer, who answers."""
    session = cast.tape.session()
    agent, callee = _dials(cast, session)
    callee.turns(cast.ring, "Answered")
    _answers(cast, agent, cast.ring + 0.030)
    ended = _hang_up(callee, agent, cast.ring + cast.talk, 0.015)
    recording = cast.tape.keep_recording(agent, cast.ring, cast.ring + cast.talk)
    _log_outbound(cast, session, ended=ended, result="Call connected", recording=recording)


def outbound_busy(cast: Cast) -> None:
    """The agent calls a customer whose line is busy."""
    session = cast.tape.session()
    agent, callee = _dials(cast, session)
    callee.turns(2.4, "Disconnected", "TargetBusy")
    agent.turns(2.412, "Disconnected")
    _log_outbound(cast, session, ended=2.412, result="Busy")


def outbound_no_answer(cast: Cast) -> None:
    """The agent calls a customer who does not answer."""
    session = cast.tape.session()
    agent, callee = _dials(cast, session)
    gives_up = 2.0 * cast.ring + 8.0
    callee.turns(gives_up, "Disconnected", "NoAnswer")
    agent.turns(gives_up + 0.014, "Disconnected")
    _log_outbound(cast, session, ended=gives_up + 0.014, result="No Answer")


def internal(cast: Cast) -> None:
    """One extension calls another; the caller's party is Answered before the colleague really answers."""
    session = cast.tape.session()
    caller = session.party(OUTBOUND, _seen(cast.agent), {"phoneNumber": cast.colleague.number}, cast.agent)
    called = session.party(
        INBOUND, _seen(cast.agent, cast.agent.number), _seen(cast.colleague), cast.colleague
    )
    caller.turns(0.0, "Setup")
    called.turns(0.020, "Setup")
    called.turns(0.300, "Proceeding")
    caller.turns(min(0.9, cast.ring / 2), "Answered")
    called.turns(cast.ring, "Answered")
    ended = _hang_up(caller, called, cast.ring + cast.talk)
    _log_internal(cast, session, cast.agent, cast.colleague, starts=0.0, ended=ended)


def _enters_queue(cast: Cast) -> tuple[SessionTape, PartyTape, PartyTape, list[PartyTape]]:
    """The customer enters the queue and two members ring: session, caller, queue's party, members."""
    queue, session = cast.world.queue, cast.tape.session()
    caller = _arrives(cast, session, queue.direct_number)
    greeting = session.party(INBOUND, cast.caller, _seen(queue), queue)
    greeting.turns(0.020, "Setup")
    caller.turns(0.140, "Answered")
    shown = {
        "primary": {"type": "QueueName", "value": queue.name},
        "additional": {"type": "CallerIdName", "value": cast.customer.name},
    }
    members = []
    for ordinal, member in enumerate((cast.agent, cast.colleague)):
        party = session.party(INBOUND, cast.caller, _seen(member), member, queueCall=True, uiCallInfo=shown)
        party.turns(_QUEUE_GREETING + 0.002 * ordinal, "Proceeding")
        members.append(party)
    return session, caller, greeting, members


_QUEUE_GREETING = 3.4


def queue_answered(cast: Cast) -> None:
    """Two members of the queue ring, one answers; the record of the winner turns round at hang-up."""
    session, caller, greeting, (winner, loser) = _enters_queue(cast)
    answered = _QUEUE_GREETING + cast.ring
    _answers(cast, winner, answered)
    greeting.turns(answered + 0.005, "Disconnected", "AgentAnswered")
    loser.turns(answered + 0.010, "Disconnected", "Pickup")
    ended = _hang_up(caller, winner, answered + cast.talk)
    recording = cast.tape.keep_recording(winner, answered, answered + cast.talk)
    _log_queue_winner(cast, session, answered, ended, recording)
    _log_missed(
        cast, session, cast.colleague, rings=_QUEUE_GREETING, ended=answered, dialled=_queue_number(cast)
    )


def _queue_number(cast: Cast) -> str:
    return cast.world.queue.direct_number


def _log_queue_winner(
    cast: Cast, session: SessionTape, answered: float, ended: float, recording: Recording | None
) -> None:
    """While the call goes on the record looks like a call of the agent to themselves."""
    agent, queue, customer = cast.agent, cast.world.queue, cast.customer
    lasts, talks = cast.tape.lasting(0.0, ended), cast.tape.lasting(answered, ended)
    to_self = (_inside(agent), _inside(agent))
    ringing = Face(OUTBOUND, VOIP_CALL, IN_PROGRESS, *to_self)
    talking = Face(OUTBOUND, VOIP_CALL, IN_PROGRESS, *to_self, None, "Accepted")
    caller = {
        "phoneNumber": customer.number,
        "name": f"{queue.name} - {customer.caller_id}",
        "location": customer.location,
    }
    over = Face(INBOUND, PHONE_CALL, "Accepted", caller, _logged(queue), lasts)
    to_phone = Face(OUTBOUND, VOIP_CALL, "Accepted", _inside(agent), _logged(agent), talks, "Accepted")

    def leg(second: float, face: Face, leg_type: str, transport: str, master: bool) -> Leg:
        return Leg(cast.tape.moment(second), face, agent.id, leg_type, transport, master)

    cast.tape.record(
        session,
        agent,
        [
            (_QUEUE_GREETING, ringing, [leg(_QUEUE_GREETING, ringing, "PstnToSip", "VoIP", True)]),
            (answered, talking, [leg(_QUEUE_GREETING, talking, "PstnToSip", "VoIP", True)]),
            (
                ended,
                over,
                [
                    leg(0.0, over, "Accept", "PSTN", True),
                    leg(answered, to_phone, "PstnToSip", "VoIP", False),
                ],
            ),
        ],
        recording=recording,
    )


def queue_abandoned(cast: Cast) -> None:
    """The customer hangs up while the members of the queue are still ringing."""
    session, caller, greeting, members = _enters_queue(cast)
    gives_up = _QUEUE_GREETING + cast.ring
    caller.turns(gives_up, "Disconnected")
    for ordinal, member in enumerate(members):
        member.turns(gives_up + 0.006 + 0.003 * ordinal, "Disconnected", "Cancelled", missed=True)
    greeting.turns(gives_up + 0.016, "Disconnected", "Cancelled")
    ended, dialled = gives_up + 0.016, _queue_number(cast)
    _log_missed(cast, session, cast.world.queue, rings=0.0, ended=ended, result="Abandoned")
    for extension in (cast.agent, cast.colleague):
        _log_missed(cast, session, extension, rings=_QUEUE_GREETING, ended=ended, dialled=dialled)


def blind_transfer(cast: Cast) -> None:
    """The agent hands the customer to a colleague without asking; the call goes on."""
    session, caller, party, answered = _answered_inbound(cast)
    hands_over = answered + cast.talk / 2
    party.turns(hands_over, "Disconnected", "BlindTransfer", recording=False)
    colleague = session.party(INBOUND, cast.caller, _seen(cast.colleague), cast.colleague)
    colleague.turns(hands_over, "Proceeding")
    second_answer = hands_over + cast.ring
    _answers(cast, colleague, second_answer)
    ended = _hang_up(colleague, caller, second_answer + cast.talk / 2, 0.015)
    _log_inbound(
        cast,
        session,
        answered=answered,
        ended=hands_over,
        recording=cast.tape.keep_recording(party, answered, hands_over),
    )
    _log_inbound(
        cast,
        session,
        agent=cast.colleague,
        starts=hands_over,
        answered=second_answer,
        ended=ended,
        dialled=cast.agent.direct_number,
        recording=cast.tape.keep_recording(colleague, second_answer, ended),
    )


def warm_transfer(cast: Cast) -> None:
    """The agent asks a colleague in a second session, then joins the two; the talk goes on there."""
    tape = cast.tape
    session, caller, party, answered = _answered_inbound(cast)
    asks = answered + cast.talk * 0.4
    joins = asks + cast.ring + cast.hold
    party.turns(asks, "Hold", recording=True)
    second = tape.session(starts=asks + 0.05)
    asking = second.party(OUTBOUND, _seen(cast.agent), {"phoneNumber": cast.colleague.number}, cast.agent)
    asked = second.party(INBOUND, _seen(cast.agent, cast.agent.number), _seen(cast.colleague), cast.colleague)
    asking.turns(asks + 0.05, "Setup")
    asked.turns(asks + 0.07, "Proceeding")
    asked.turns(asks + cast.ring, "Answered")
    asking.turns(asks + cast.ring + 0.020, "Answered")
    joined = second.party(OUTBOUND, cast.caller, _seen(cast.colleague))
    party.turns(joins, "Gone", "AttendedTransfer", peer=asked, recording=False)
    caller.turns(joins + 0.004, "Gone", "AttendedTransfer", peer=joined)
    joined.turns(joins + 0.006, "Answered")
    asking.turns(joins + 0.010, "Gone", "AttendedTransfer", peer=caller)
    ended = _hang_up(asked, joined, joins + cast.talk * 0.6)
    _log_inbound(
        cast,
        session,
        answered=answered,
        ended=joins,
        target=second,
        recording=tape.keep_recording(party, answered, joins),
    )
    _log_internal(
        cast,
        second,
        cast.agent,
        cast.colleague,
        starts=asks + 0.05,
        ended=ended,
        target=session,
        transferee=session,
    )


def park_and_pickup(cast: Cast) -> None:
    """The agent parks the customer, a colleague picks the call up half a minute later."""
    session, caller, party, answered = _answered_inbound(cast)
    parks = answered + cast.talk / 2
    caller.turns(parks, "Parked")
    party.turns(parks + 0.008, "Disconnected", "CallPark", recording=False)
    picks_up = parks + 15.0 + cast.hold
    _is_picked_up(cast, session, caller, party, answered, parks, picks_up)


def park_revived(cast: Cast) -> None:
    """All parties leave when the call is parked, and 50 seconds later it lives again."""
    session, caller, party, answered = _answered_inbound(cast)
    parks = answered + cast.talk / 2
    party.turns(parks, "Disconnected", "CallPark", recording=False)
    caller.turns(parks + 0.011, "Disconnected", "CallPark")
    _is_picked_up(cast, session, caller, party, answered, parks, parks + 50.0)


def _is_picked_up(
    cast: Cast,
    session: SessionTape,
    caller: PartyTape,
    party: PartyTape,
    answered: float,
    parks: float,
    picks_up: float,
) -> None:
    colleague = session.party(INBOUND, cast.caller, _seen(cast.colleague), cast.colleague)
    colleague.turns(picks_up, "Setup")
    _answers(cast, colleague, picks_up + 0.060)
    caller.turns(picks_up + 0.080, "Answered")
    ended = _hang_up(caller, colleague, picks_up + 0.060 + cast.talk / 2)
    _log_inbound(
        cast,
        session,
        answered=answered,
        ended=ended,
        recording=cast.tape.keep_recording(party, answered, parks),
    )
    _log_inbound(
        cast,
        session,
        agent=cast.colleague,
        starts=picks_up,
        answered=picks_up + 0.060,
        ended=ended,
        dialled=cast.agent.direct_number,
        recording=cast.tape.keep_recording(colleague, picks_up, ended),
    )


def voicemail(cast: Cast) -> None:
    """Nobody answers and the customer leaves a message."""
    session = cast.tape.session()
    caller = _arrives(cast, session, cast.agent.direct_number)
    party = _rings(cast, session, cast.agent, 0.022, cast.agent.direct_number)
    takes = cast.ring + 10.0
    party.turns(takes, "VoiceMail", missed=True)
    caller.turns(takes + 0.020, "Answered")
    leaves = takes + min(cast.talk, 40.0)
    party.turns(leaves, "Disconnected", "Voicemail")
    caller.turns(leaves + 0.011, "Disconnected")
    _log_inbound(cast, session, answered=takes, ended=leaves + 0.011, result="Voicemail", message=True)


def conference(cast: Cast) -> None:
    """The agent's call is merged into a conference, whose session calls itself "0"."""
    tape, session = cast.tape, cast.tape.session()
    agent, callee = _dials(cast, session)
    callee.turns(cast.ring, "Answered")
    _answers(cast, agent, cast.ring + 0.030, recorded=False)
    merges = cast.ring + cast.talk * 0.3
    room = tape.session("Conference", starts=merges, session_id="0")
    to_room = {"phoneNumber": "conference"}
    host = room.party(OUTBOUND, _seen(cast.agent), to_room, cast.agent, conferenceRole="Host")
    guest = room.party(INBOUND, cast.caller, to_room, conferenceRole="Participant")
    third = room.party(INBOUND, _seen(cast.colleague), to_room, cast.colleague, conferenceRole="Participant")
    host.turns(merges, "Setup")
    host.turns(merges + 0.040, "Answered")
    agent.turns(merges + 0.100, "Gone", "Conference", peer=host)
    callee.turns(merges + 0.104, "Gone", "Conference", peer=guest)
    guest.turns(merges + 0.110, "Answered")
    third.turns(merges + 2.0, "Proceeding")
    third.turns(merges + 4.0, "Answered")
    ends = merges + 4.0 + cast.talk * 0.7
    third.turns(ends, "Disconnected")
    ended = _hang_up(guest, host, ends + 0.4)
    _log_outbound(cast, session, ended=merges + 0.104, result="Call connected")
    _log_outbound(
        cast,
        room,
        starts=merges,
        ended=ended,
        result="Call connected",
        receiver={"phoneNumber": "conference"},
        action="Conference Call",
        leg_type="ConferenceCall",
    )


def ringout(cast: Cast) -> None:
    """The platform calls the agent first and then the customer: two sessions, two close `sessionId`s."""
    tape = cast.tape
    first, second = tape.session("RingOut"), tape.session("RingOut")
    number = {"phoneNumber": cast.customer.number}
    own = first.party(INBOUND, number, _seen(cast.agent), cast.agent)
    own.turns(0.0, "Setup")
    own.turns(0.210, "Proceeding")
    own.turns(3.0, "Answered")
    other_own = second.party(OUTBOUND, _seen(cast.agent), number, cast.agent)
    callee = second.party(INBOUND, {"phoneNumber": cast.agent.direct_number}, number)
    other_own.turns(3.050, "Setup")
    callee.turns(3.120, "Proceeding")
    answered = 3.0 + cast.ring
    callee.turns(answered, "Answered")
    _answers(cast, other_own, answered + 0.030)
    hangs_up = answered + cast.talk
    own.turns(hangs_up, "Disconnected")
    ended = _hang_up(other_own, callee, hangs_up + 0.010)
    _log_outbound(
        cast,
        first,
        ended=hangs_up,
        result="Call connected",
        receiver=_inside(cast.agent),
        action="RingOut Web",
        leg_type="RingOutWebToSubscriber",
    )
    _log_outbound(
        cast,
        second,
        ended=ended,
        result="Call connected",
        action="RingOut Web",
        leg_type="RingOutWebToCaller",
        recording=tape.keep_recording(other_own, answered, hangs_up),
    )


def own_number(cast: Cast) -> None:
    """Somebody calls their own number: two records under one `sessionId`, of one extension."""
    session = cast.tape.session()
    caller = session.party(OUTBOUND, _seen(cast.agent), {"phoneNumber": cast.agent.direct_number}, cast.agent)
    called = session.party(INBOUND, _seen(cast.agent), _seen(cast.agent), cast.agent)
    caller.turns(0.0, "Setup")
    called.turns(0.020, "Setup")
    called.turns(0.200, "VoiceMail")
    caller.turns(0.230, "Answered")
    ended = _hang_up(caller, called, 0.2 + min(cast.talk, 25.0))
    _log_internal(cast, session, cast.agent, cast.agent, starts=0.0, ended=ended)


def short_call(cast: Cast) -> None:
    """A recorded call that was over too soon for its recording to be kept."""
    talk = min(cast.talk, SHORTEST_KEPT_RECORDING_SECONDS * 0.4)
    _inbound_to_the_end(_with(cast, recorded=True, talk=talk))


def first_seen_disconnected(cast: Cast) -> None:
    """The listener was down: all that it hears of the call is its last event."""
    _inbound_to_the_end(cast)


def events_lost(cast: Cast) -> None:
    """No event of the call is ever delivered; only the call log knows it."""
    _inbound_to_the_end(cast)


def test_call(cast: Cast) -> None:
    """A test call of the platform: events, but nobody's conversation and no record."""
    session = cast.tape.session("TestCall")
    caller = session.party(OUTBOUND, _seen(cast.agent), {"phoneNumber": "*1"}, cast.agent)
    caller.turns(0.0, "Setup")
    caller.turns(0.4, "Answered")
    caller.turns(0.4 + min(cast.talk, 8.0), "Disconnected")


def _with(cast: Cast, *, recorded: bool, talk: float | None = None) -> Cast:
    return Cast(
        cast.tape,
        cast.world,
        cast.agent,
        cast.colleague,
        cast.customer,
        cast.ring,
        cast.talk if talk is None else talk,
        cast.hold,
        recorded,
    )


Script = Callable[[Cast], None]

SCRIPTS: Mapping[str, Script] = {
    script.__name__: script
    for script in (
        inbound_direct,
        inbound_recorded_with_hold,
        inbound_missed,
        ivr_then_agent,
        outbound_answered,
        outbound_busy,
        outbound_no_answer,
        internal,
        queue_answered,
        queue_abandoned,
        blind_transfer,
        warm_transfer,
        park_and_pickup,
        park_revived,
        voicemail,
        conference,
        ringout,
        own_number,
        short_call,
        first_seen_disconnected,
        events_lost,
        test_call,
    )
}

_EVENTS_THAT_ARRIVE = {"first_seen_disconnected": 1, "events_lost": 0}


def describe(name: str) -> str:
    """Return the script's sentence, as its author wrote it."""
    return (SCRIPTS[name].__doc__ or "").strip()


def play(
    name: str, *, world: World, start: datetime, speed: float, seed: int, number: int, wishes: Wishes
) -> ScriptedCall:
    """Plan the call. `number` is its ordinal in this run; raises KeyError for an unknown script."""
    script = SCRIPTS[name]
    tape = Tape(world, start, speed, seed, number)
    script(cast_for(tape, world, wishes))
    call = tape.finish(name)
    kept = _EVENTS_THAT_ARRIVE.get(name)
    return call if kept is None else without(call, kept)
