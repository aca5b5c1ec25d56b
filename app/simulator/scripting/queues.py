"""Scripts of call queues, menus and voicemail."""

from app.simulator.scripting.casting import Casting
from app.simulator.scripting.records import (
    INBOUND,
    QUEUE_GREETING_SECONDS,
    log_inbound,
    log_missed,
    log_queue_winner,
    queue_number,
)
from app.simulator.scripting.steps import answers, arrives, enters_queue, hang_up, rings_at


def ivr_then_agent(cast: Casting) -> None:
    """The menu answers and leaves without a reason in mid-call, then an agent takes over."""
    world, session = cast.world, cast.tape.session()
    caller = arrives(cast, session, world.main_number)
    menu = session.party(INBOUND, cast.caller, {"phoneNumber": world.main_number, "name": world.ivr.name})
    menu.turns(0.025, "Setup")
    menu.turns(0.180, "Answered")
    caller.turns(0.200, "Answered")
    leaves = 6.0
    menu.turns(leaves, "Disconnected")
    party = rings_at(cast, session, cast.agent, leaves + 0.018, world.main_number)
    answered = leaves + cast.ring
    answers(cast, party, answered)
    ended = hang_up(caller, party, answered + cast.talk)
    sound = cast.tape.keep_recording(party, answered, answered + cast.talk)
    log_inbound(cast, session, answered=answered, ended=ended, dialled=world.main_number, sound=sound)


def queue_answered(cast: Casting) -> None:
    """Two members of the queue ring, one answers; the record of the winner turns round at hang-up."""
    session, caller, greeting, (winner, loser) = enters_queue(cast)
    answered = QUEUE_GREETING_SECONDS + cast.ring
    answers(cast, winner, answered)
    greeting.turns(answered + 0.005, "Disconnected", "AgentAnswered")
    loser.turns(answered + 0.010, "Disconnected", "Pickup")
    ended = hang_up(caller, winner, answered + cast.talk)
    sound = cast.tape.keep_recording(winner, answered, answered + cast.talk)
    log_queue_winner(cast, session, answered, ended, sound)
    log_missed(
        cast,
        session,
        cast.colleague,
        rings=QUEUE_GREETING_SECONDS,
        ended=answered,
        dialled=queue_number(cast),
    )


def queue_abandoned(cast: Casting) -> None:
    """The customer hangs up while the members of the queue are still ringing."""
    session, caller, greeting, members = enters_queue(cast)
    gives_up = QUEUE_GREETING_SECONDS + cast.ring
    caller.turns(gives_up, "Disconnected")
    for ordinal, member in enumerate(members):
        member.turns(gives_up + 0.006 + 0.003 * ordinal, "Disconnected", "Cancelled", missed=True)
    greeting.turns(gives_up + 0.016, "Disconnected", "Cancelled")
    ended, dialled = gives_up + 0.016, queue_number(cast)
    log_missed(cast, session, cast.world.queue, rings=0.0, ended=ended, result="Abandoned")
    for extension in (cast.agent, cast.colleague):
        log_missed(cast, session, extension, rings=QUEUE_GREETING_SECONDS, ended=ended, dialled=dialled)


def voicemail(cast: Casting) -> None:
    """Nobody answers and the customer leaves a message."""
    session = cast.tape.session()
    caller = arrives(cast, session, cast.agent.direct_number)
    party = rings_at(cast, session, cast.agent, 0.022, cast.agent.direct_number)
    takes = cast.ring + 10.0
    party.turns(takes, "VoiceMail", missed=True)
    caller.turns(takes + 0.020, "Answered")
    leaves = takes + min(cast.talk, 40.0)
    party.turns(leaves, "Disconnected", "Voicemail")
    caller.turns(leaves + 0.011, "Disconnected")
    log_inbound(cast, session, answered=takes, ended=leaves + 0.011, result="Voicemail", message=True)
