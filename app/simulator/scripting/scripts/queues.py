"""Scripts of call queues, menus and voicemail."""

from app.simulator.scripting.casting import Casting
from app.simulator.scripting.records import (
    INBOUND,
    QUEUE_GREETING_SECONDS,
    InboundCall,
    MissedCall,
    log_inbound,
    log_missed,
    log_queue_winner,
)
from app.simulator.scripting.steps import (
    add_caller,
    answer,
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
