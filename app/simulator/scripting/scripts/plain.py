"""Scripts of plain calls: a customer and one agent."""

from dataclasses import replace

from app.simulator.scripting.casting import Casting, event_side
from app.simulator.scripting.company import Customer
from app.simulator.scripting.model import NO_RECORDING, ON_DEMAND
from app.simulator.scripting.records import (
    INBOUND,
    OUTBOUND,
    InboundCall,
    MissedCall,
    OutboundCall,
    log_inbound,
    log_missed,
    log_outbound,
)
from app.simulator.scripting.steps import (
    TOO_SHORT_SECONDS,
    add_caller,
    connect_customer,
    dial_customer,
    hang_up,
    keep_recording,
    ring_extension,
    start_answered_call,
)
from app.simulator.scripting.timeline import SHORTEST_KEPT_RECORDING_SECONDS, RecordExtras


def play_inbound(casting: Casting, *, hold: bool = False, mentions_short: bool = True) -> None:
    """Plan a whole direct call from outside with its record and its recording, if any.

    `mentions_short`: the record states that a recording was too short.
    """
    call = start_answered_call(casting)
    ends = call.answered + casting.talk
    if hold:
        begin = call.answered + casting.talk * 0.3
        call.agent.set_status(begin, "Hold", recording=True)
        call.agent.set_status(begin + min(casting.hold, casting.talk * 0.4), "Answered", recording=True)
    ended = hang_up(call.agent, call.caller, ends)
    recordings = casting.timeline.keep_recording(call.agent, call.answered, ends)
    if not mentions_short:
        recordings = replace(recordings, too_short=False)
    extras = RecordExtras(recordings=recordings)
    log_inbound(casting, call.session, InboundCall(answered=call.answered, ended=ended), extras)


def inbound_direct(casting: Casting) -> None:
    """A customer calls a direct number and the agent answers."""
    play_inbound(casting)


def inbound_recorded_with_hold(casting: Casting) -> None:
    """A recorded call from outside that is put on hold once."""
    play_inbound(replace(casting, recorded=True), hold=True)


def inbound_missed(casting: Casting) -> None:
    """A customer hangs up while the agent's phone is still ringing."""
    session, agent = casting.timeline.add_session(), casting.agent
    caller = add_caller(casting, session, agent.direct_number)
    party = ring_extension(casting, session, agent, 0.022, agent.direct_number)
    party.set_status(casting.ring, "Disconnected", "Cancelled", missed=True)
    ended = casting.ring + 0.009
    caller.set_status(ended, "Disconnected")
    log_missed(casting, session, MissedCall(extension=agent, rings=0.0, ended=ended))


def outbound_answered(casting: Casting) -> None:
    """The agent calls a customer, who answers."""
    session = casting.timeline.add_session()
    agent, callee = dial_customer(casting, session)
    connect_customer(casting, agent, callee)
    ends = casting.ring + casting.talk
    ended = hang_up(callee, agent, ends, 0.015)
    recording = keep_recording(casting, agent, casting.ring, ends)
    log_outbound(casting, session, OutboundCall(ended=ended), recording)


def outbound_busy(casting: Casting) -> None:
    """The agent calls a customer whose line is busy."""
    session = casting.timeline.add_session()
    agent, callee = dial_customer(casting, session)
    callee.set_status(2.4, "Disconnected", "TargetBusy")
    agent.set_status(2.412, "Disconnected")
    log_outbound(casting, session, OutboundCall(ended=2.412, result="Busy"))


def outbound_no_answer(casting: Casting) -> None:
    """The agent calls a customer who does not answer."""
    session = casting.timeline.add_session()
    agent, callee = dial_customer(casting, session)
    gives_up = 2.0 * casting.ring + 8.0
    callee.set_status(gives_up, "Disconnected", "NoAnswer")
    agent.set_status(gives_up + 0.014, "Disconnected")
    log_outbound(casting, session, OutboundCall(ended=gives_up + 0.014, result="No Answer"))


def blocked(casting: Casting) -> None:
    """The agent dials a number abroad that the company's plan does not allow."""
    # The event's reason and the record's result are two words for the same refusal: `status.reason` of
    # RingCentral's guide "Telephony session notifications", `CallLogRecord.result` of its API description.
    session = casting.timeline.add_session()
    casting = replace(casting, customer=Customer("+442079460018", "London office", location=""))
    number = {"phoneNumber": casting.customer.number}
    agent = session.add_party(OUTBOUND, event_side(casting.agent), number, casting.agent)
    callee = session.add_party(INBOUND, {"phoneNumber": casting.agent.direct_number}, number)
    agent.set_status(0.0, "Setup")
    callee.set_status(0.140, "Setup")
    callee.set_status(0.420, "Disconnected", "DestinationBlocked")
    agent.set_status(0.435, "Disconnected")
    log_outbound(casting, session, OutboundCall(ended=0.435, result="International Disabled"))


def anonymous_caller(casting: Casting) -> None:
    """A customer who withholds the number calls, and the agent answers."""
    # Numbers may be words: `anonymous` in events and records (guide "Call log", developer community).
    play_inbound(replace(casting, customer=Customer("anonymous", "Anonymous", "Anonymous", location="")))


def short_call(casting: Casting) -> None:
    """A recorded call that ended too soon for its recording to be kept."""
    play_inbound(_cut_short(casting))


def _cut_short(casting: Casting) -> Casting:
    return replace(casting, recorded=True, talk=min(casting.talk, TOO_SHORT_SECONDS))


def first_seen_disconnected(casting: Casting) -> None:
    """The receiver was down: only the last event of the call arrives."""
    play_inbound(casting)


def events_lost(casting: Casting) -> None:
    """No event of the call is ever delivered; only the call log has it."""
    play_inbound(casting)


def test_call(casting: Casting) -> None:
    """A test call of the platform: events, but no conversation and no record."""
    session = casting.timeline.add_session("TestCall")
    caller = session.add_party(OUTBOUND, event_side(casting.agent), {"phoneNumber": "*1"}, casting.agent)
    caller.set_status(0.0, "Setup")
    caller.set_status(0.4, "Answered")
    caller.set_status(0.4 + min(casting.talk, 8.0), "Disconnected")


def short_call_untold(casting: Casting) -> None:
    """A recorded call that ended too soon; its record does not mention the announced recording."""
    play_inbound(_cut_short(casting), mentions_short=False)


def recorded_on_demand(casting: Casting) -> None:
    """The agent calls a customer and starts the recording during the call."""
    casting = replace(casting, recorded=False, talk=max(casting.talk, 2 * SHORTEST_KEPT_RECORDING_SECONDS))
    session = casting.timeline.add_session()
    agent, callee = dial_customer(casting, session)
    connect_customer(casting, agent, callee)
    begins, ends = casting.ring + casting.talk * 0.2, casting.ring + casting.talk
    casting.timeline.announce_recording(agent)
    agent.set_status(begins, "Answered", recording=True)
    ended = hang_up(callee, agent, ends, 0.015)
    recording = keep_recording(casting, agent, begins, ends, ON_DEMAND)
    log_outbound(casting, session, OutboundCall(ended=ended), recording)


def recorded_twice(casting: Casting) -> None:
    """The agent starts and stops the recording twice in one call: two recordings on demand."""
    casting = replace(casting, recorded=False, talk=max(casting.talk, 3 * SHORTEST_KEPT_RECORDING_SECONDS))
    call, timeline, recordings = start_answered_call(casting), casting.timeline, NO_RECORDING
    for begin, end in ((0.05, 0.45), (0.55, 0.95)):
        starts, stops = call.answered + casting.talk * begin, call.answered + casting.talk * end
        timeline.announce_recording(call.agent)
        call.agent.set_status(starts, "Answered", recording=True)
        call.agent.set_status(stops, "Answered", recording=False)
        recordings += timeline.keep_recording(call.agent, starts, stops, ON_DEMAND)
    ended = hang_up(call.agent, call.caller, call.answered + casting.talk)
    extras = RecordExtras(recordings=recordings)
    log_inbound(casting, call.session, InboundCall(answered=call.answered, ended=ended), extras)
