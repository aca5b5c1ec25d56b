"""Scripts of call queues, of a menu that answers, and of voicemail."""

from app.simulator.scripting.casting import Casting, event_side
from app.simulator.scripting.records import (
    INBOUND,
    QUEUE_GREETING_SECONDS,
    InboundCall,
    MissedCall,
    OutboundCall,
    log_inbound,
    log_missed,
    log_outbound,
    log_queue_winner,
)
from app.simulator.scripting.steps import (
    add_caller,
    answer,
    dial_customer,
    enter_queue,
    hang_up,
    keep_recording,
    ring_extension,
)
from app.simulator.scripting.timeline import RecordExtras


def ivr_then_agent(casting: Casting) -> None:
    """The menu answers and leaves without a reason during the call, then an agent takes over."""
    company, session = casting.company, casting.timeline.add_session()
    number = company.main_number
    caller = add_caller(casting, session, number)
    menu = session.add_party(INBOUND, casting.caller, {"phoneNumber": number, "name": company.ivr.name})
    menu.set_status(0.025, "Setup")
    menu.set_status(0.180, "Answered")
    caller.set_status(0.200, "Answered")
    leaves = 6.0
    menu.set_status(leaves, "Disconnected")
    party = ring_extension(casting, session, casting.agent, leaves + 0.018, number)
    answered = leaves + casting.ring
    answer(casting, party, answered)
    ended = hang_up(caller, party, answered + casting.talk)
    recording = keep_recording(casting, party, answered, answered + casting.talk)
    log_inbound(casting, session, InboundCall(answered=answered, ended=ended, dialled=number), recording)


def queue_answered(casting: Casting) -> None:
    """Two members of the queue ring and one answers; the direction of their record turns at hang-up."""
    call = enter_queue(casting)
    winner, loser = call.members
    answered = QUEUE_GREETING_SECONDS + casting.ring
    answer(casting, winner, answered)
    call.greeting.set_status(answered + 0.005, "Disconnected", "AgentAnswered")
    loser.set_status(answered + 0.010, "Disconnected", "Pickup")
    ended = hang_up(call.caller, winner, answered + casting.talk)
    recordings = casting.timeline.keep_recording(winner, answered, answered + casting.talk)
    log_queue_winner(casting, call.session, answered, ended, recordings)
    missed = MissedCall(
        extension=casting.colleague,
        rings=QUEUE_GREETING_SECONDS,
        ended=answered,
        dialled=casting.company.queue.direct_number,
    )
    log_missed(casting, call.session, missed)


def queue_abandoned(casting: Casting) -> None:
    """The customer hangs up while the members of the queue are still ringing."""
    call, queue = enter_queue(casting), casting.company.queue
    gives_up = QUEUE_GREETING_SECONDS + casting.ring
    call.caller.set_status(gives_up, "Disconnected")
    for ordinal, member in enumerate(call.members):
        member.set_status(gives_up + 0.006 + 0.003 * ordinal, "Disconnected", "Cancelled", missed=True)
    ended = gives_up + 0.016
    call.greeting.set_status(ended, "Disconnected", "Cancelled")
    abandoned = MissedCall(extension=queue, rings=0.0, ended=ended, result="Abandoned")
    log_missed(casting, call.session, abandoned)
    for extension in (casting.agent, casting.colleague):
        missed = MissedCall(
            extension=extension, rings=QUEUE_GREETING_SECONDS, ended=ended, dialled=queue.direct_number
        )
        log_missed(casting, call.session, missed)


def voicemail(casting: Casting) -> None:
    """Nobody answers and the customer leaves a message."""
    session = casting.timeline.add_session()
    caller = add_caller(casting, session, casting.agent.direct_number)
    party = ring_extension(casting, session, casting.agent, 0.022, casting.agent.direct_number)
    diverted = casting.ring + 10.0
    party.set_status(diverted, "VoiceMail", missed=True)
    caller.set_status(diverted + 0.020, "Answered")
    leaves = diverted + min(casting.talk, 40.0)
    party.set_status(leaves, "Disconnected", "Voicemail")
    caller.set_status(leaves + 0.011, "Disconnected")
    call = InboundCall(answered=diverted, ended=leaves + 0.011, result="Voicemail")
    log_inbound(casting, session, call, RecordExtras(has_message=True))


def queue_voicemail(casting: Casting) -> None:
    """No member of the queue answers, and the customer leaves a message in the queue's box."""
    # The queue's own party turns to VoiceMail, as an extension's does (guide "Telephony session
    # notifications"); the whole stream is not published.
    call, queue = enter_queue(casting), casting.company.queue
    diverted = QUEUE_GREETING_SECONDS + casting.ring + 10.0
    for ordinal, member in enumerate(call.members):
        member.set_status(diverted - 0.02 + 0.003 * ordinal, "Disconnected", "NoAnswer", missed=True)
    call.greeting.set_status(diverted, "VoiceMail", missed=True)
    leaves = diverted + min(casting.talk, 40.0)
    call.greeting.set_status(leaves, "Disconnected", "Voicemail")
    ended = leaves + 0.011
    call.caller.set_status(ended, "Disconnected")
    message = InboundCall(extension=queue, answered=diverted, ended=ended, result="Voicemail")
    log_inbound(casting, call.session, message, RecordExtras(has_message=True))
    for extension in (casting.agent, casting.colleague):
        missed = MissedCall(
            extension=extension,
            rings=QUEUE_GREETING_SECONDS,
            ended=diverted,
            dialled=queue.direct_number,
        )
        log_missed(casting, call.session, missed)


def call_back(casting: Casting) -> None:
    """The customer asks the queue to be called back and hangs up; later the agent calls them."""
    # Result `Callback requested`: `CallLogRecord.result` of RingCentral's API description. Neither its stream
    # nor the record of the later call is published: here it is an ordinary call of the agent, in a session of
    # its own, with action Call Return.
    queue, session = casting.company.queue, casting.timeline.add_session()
    caller = add_caller(casting, session, queue.direct_number)
    greeting = session.add_party(INBOUND, casting.caller, event_side(queue), queue)
    greeting.set_status(0.020, "Setup")
    caller.set_status(0.140, "Answered")
    hangs_up = QUEUE_GREETING_SECONDS + 5.0
    greeting.set_status(hangs_up, "Disconnected")
    ended = hangs_up + 0.012
    caller.set_status(ended, "Disconnected")
    request = MissedCall(extension=queue, rings=0.0, ended=ended, result="Callback requested")
    log_missed(casting, session, request)
    dials = hangs_up + 20.0
    second = casting.timeline.add_session(starts=dials)
    agent, callee = dial_customer(casting, second, at=dials)
    answered = dials + casting.ring
    callee.set_status(answered, "Answered")
    answer(casting, agent, answered + 0.030)
    leaves = answered + casting.talk
    over = hang_up(callee, agent, leaves, 0.015)
    recording = keep_recording(casting, agent, answered, leaves)
    returned = OutboundCall(starts=dials, ended=over, action="Call Return", leg_type="CallBack")
    log_outbound(casting, second, returned, recording)
