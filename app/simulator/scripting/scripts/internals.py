"""Scripts of calls inside the company, and of the company's own numbers."""

from dataclasses import replace

from app.simulator.scripting.casting import Casting, event_side
from app.simulator.scripting.company import OUTSIDE_NUMBER, Customer
from app.simulator.scripting.records import (
    INBOUND,
    OUTBOUND,
    InternalCall,
    OutboundCall,
    log_internal,
    log_outbound,
)
from app.simulator.scripting.scripts.plain import play_inbound
from app.simulator.scripting.steps import hang_up
from app.simulator.scripting.timeline import PartyTimeline, RecordExtras, SessionTimeline


def _call_colleague(casting: Casting) -> tuple[SessionTimeline, PartyTimeline, PartyTimeline]:
    """Start a call of the agent to the colleague, whose telephone rings."""
    session, agent, colleague = casting.timeline.add_session(), casting.agent, casting.colleague
    caller = session.add_party(OUTBOUND, event_side(agent), {"phoneNumber": colleague.number}, agent)
    called = session.add_party(INBOUND, event_side(agent, agent.number), event_side(colleague), colleague)
    caller.set_status(0.0, "Setup")
    called.set_status(0.020, "Setup")
    called.set_status(0.300, "Proceeding")
    return session, caller, called


def internal(casting: Casting) -> None:
    """One extension calls another; the caller's party is Answered before the colleague really answers."""
    session, caller, called = _call_colleague(casting)
    caller.set_status(min(0.9, casting.ring / 2), "Answered")
    called.set_status(casting.ring, "Answered")
    ended = hang_up(caller, called, casting.ring + casting.talk)
    call = InternalCall(caller=casting.agent, called=casting.colleague, starts=0.0, ended=ended)
    log_internal(casting, session, call)


def internal_missed(casting: Casting) -> None:
    """One extension calls another and hangs up before the colleague answers."""
    session, caller, called = _call_colleague(casting)
    ended = max(casting.ring, 0.5)
    called.set_status(ended, "Disconnected", "Cancelled", missed=True)
    caller.set_status(ended + 0.009, "Disconnected")
    call = InternalCall(
        caller=casting.agent,
        called=casting.colleague,
        starts=0.0,
        ended=ended + 0.009,
        results=("No Answer", "Missed"),
        is_answered=False,
    )
    log_internal(casting, session, call)


def internal_voicemail(casting: Casting) -> None:
    """One extension calls another and leaves a message, since the colleague does not answer."""
    session, caller, called = _call_colleague(casting)
    diverted = casting.ring + 10.0
    called.set_status(diverted, "VoiceMail", missed=True)
    # The caller's record is connected as soon as anything answers, voicemail too.
    caller.set_status(diverted + 0.020, "Answered")
    leaves = diverted + min(casting.talk, 40.0)
    called.set_status(leaves, "Disconnected", "Voicemail")
    caller.set_status(leaves + 0.011, "Disconnected")
    call = InternalCall(
        caller=casting.agent,
        called=casting.colleague,
        starts=0.0,
        ended=leaves + 0.011,
        results=("Call connected", "Voicemail"),
    )
    log_internal(casting, session, call, called=RecordExtras(has_message=True))


def internal_transferred_outside(casting: Casting) -> None:
    """One extension calls another, who transfers the caller to a number outside the company."""
    # Action Transfer: `CallLogRecord.action` of RingCentral's API description. The stream is that of a blind
    # transfer, with the outside number as the party that follows.
    session, caller, called = _call_colleague(casting)
    caller.set_status(min(0.9, casting.ring / 2), "Answered")
    called.set_status(casting.ring, "Answered")
    transferred = casting.ring + casting.talk / 2
    called.set_status(transferred, "Disconnected", "BlindTransfer")
    outside = {"phoneNumber": OUTSIDE_NUMBER}
    target = session.add_party(INBOUND, event_side(casting.agent), outside)
    target.set_status(transferred, "Proceeding")
    target.set_status(transferred + casting.ring, "Answered")
    leaves = transferred + casting.ring + casting.talk / 2
    ended = hang_up(target, caller, leaves, 0.015)
    call = InternalCall(caller=casting.agent, called=casting.colleague, starts=0.0, ended=ended)
    log_internal(casting, session, call)
    transfer = OutboundCall(
        extension=casting.colleague,
        starts=transferred,
        ended=ended,
        receiver=outside,
        transport="PSTN",
        action="Transfer",
        leg_type="TransferCall",
    )
    log_outbound(casting, session, transfer)


def own_number(casting: Casting) -> None:
    """An extension calls its own number: two records of one extension under one `sessionId`."""
    session, agent = casting.timeline.add_session(), casting.agent
    caller = session.add_party(OUTBOUND, event_side(agent), {"phoneNumber": agent.direct_number}, agent)
    called = session.add_party(INBOUND, event_side(agent), event_side(agent), agent)
    caller.set_status(0.0, "Setup")
    called.set_status(0.020, "Setup")
    called.set_status(0.200, "VoiceMail")
    caller.set_status(0.230, "Answered")
    ended = hang_up(caller, called, 0.2 + min(casting.talk, 25.0))
    log_internal(casting, session, InternalCall(caller=agent, called=agent, starts=0.0, ended=ended))


def own_main_number(casting: Casting) -> None:
    """One extension calls another, and both sides show the company's main number."""
    # Extensions without a direct number call and are called under the main number; only the extension ids say
    # that this is no call to oneself.
    session, agent, colleague = casting.timeline.add_session(), casting.agent, casting.colleague
    main = casting.company.main_number
    caller = session.add_party(OUTBOUND, event_side(agent, main), {"phoneNumber": main}, agent)
    called = session.add_party(INBOUND, event_side(agent, main), event_side(colleague, main), colleague)
    caller.set_status(0.0, "Setup")
    called.set_status(0.020, "Setup")
    called.set_status(0.300, "Proceeding")
    caller.set_status(min(0.9, casting.ring / 2), "Answered")
    called.set_status(casting.ring, "Answered")
    ended = hang_up(caller, called, casting.ring + casting.talk)
    sides = tuple(
        {"phoneNumber": main, "name": one.name, "extensionId": one.id} for one in (agent, colleague)
    )
    call = InternalCall(caller=agent, called=colleague, starts=0.0, ended=ended, sides=(sides[0], sides[1]))
    log_internal(casting, session, call)


def same_number_inbound(casting: Casting) -> None:
    """A call from outside whose caller id equals the number that was dialled, and the agent answers."""
    # A caller id can be any number; some carriers and some fraudulent callers show the called one.
    caller = Customer(casting.agent.direct_number, "WIRELESS CALLER", location="")
    play_inbound(replace(casting, customer=caller))
