"""Scripted calls: what the parties do, and what the call log makes of it. No I/O.

Each script is a function of its cast alone; with one seed, number and start time it always gives the same
call. The event sequences follow RingCentral's published streams: the caller's party comes first and is
Outbound whatever the direction of the call, parties are set up milliseconds after the one they replace, and
several parties disconnect within some 20 ms at the end.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime

from app.simulator.scripting.casting import Casting, Wishes, casting_for, seen
from app.simulator.scripting.company import World
from app.simulator.scripting.model import ON_DEMAND, SILENCE, ScriptedCall, Sound
from app.simulator.scripting.multi_party import conference, own_number, ringout, supervised
from app.simulator.scripting.queues import ivr_then_agent, queue_abandoned, queue_answered, voicemail
from app.simulator.scripting.records import (
    INBOUND,
    OUTBOUND,
    log_inbound,
    log_internal,
    log_missed,
    log_outbound,
)
from app.simulator.scripting.steps import (
    TOO_SHORT_SECONDS,
    answered_inbound,
    answers,
    arrives,
    dials,
    hang_up,
    rings_at,
)
from app.simulator.scripting.timeline import (
    SHORTEST_KEPT_RECORDING_SECONDS,
    Timeline,
    without,
)
from app.simulator.scripting.transfers import (
    blind_transfer,
    park_and_pickup,
    park_revived,
    picked_up_elsewhere,
    transferred_soon,
    warm_transfer,
)


def _inbound_to_the_end(cast: Casting, *, hold: bool = False, tells: bool = True) -> None:
    """A whole direct call from outside with its record and, where recorded, its recording.

    `tells`: the record says of a recording that it was too short.
    """
    session, caller, party, answered = answered_inbound(cast)
    if hold:
        begin = answered + cast.talk * 0.3
        party.turns(begin, "Hold", recording=True)
        party.turns(begin + min(cast.hold, cast.talk * 0.4), "Answered", recording=True)
    ended = hang_up(party, caller, answered + cast.talk)
    sound = cast.tape.keep_recording(party, answered, answered + cast.talk)
    log_inbound(cast, session, answered=answered, ended=ended, sound=sound if tells else Sound(sound.kept))


def inbound_direct(cast: Casting) -> None:
    """A customer calls a direct number and the agent answers."""
    _inbound_to_the_end(cast)


def inbound_recorded_with_hold(cast: Casting) -> None:
    """A recorded call from outside that is put on hold once."""
    _inbound_to_the_end(replace(cast, recorded=True), hold=True)


def inbound_missed(cast: Casting) -> None:
    """A customer gives up while the agent's phone is still ringing."""
    session = cast.tape.session()
    caller = arrives(cast, session, cast.agent.direct_number)
    party = rings_at(cast, session, cast.agent, 0.022, cast.agent.direct_number)
    party.turns(cast.ring, "Disconnected", "Cancelled", missed=True)
    caller.turns(cast.ring + 0.009, "Disconnected")
    log_missed(cast, session, cast.agent, rings=0.0, ended=cast.ring + 0.009)


def outbound_answered(cast: Casting) -> None:
    """The agent calls a customer, who answers."""
    session = cast.tape.session()
    agent, callee = dials(cast, session)
    callee.turns(cast.ring, "Answered")
    answers(cast, agent, cast.ring + 0.030)
    ended = hang_up(callee, agent, cast.ring + cast.talk, 0.015)
    sound = cast.tape.keep_recording(agent, cast.ring, cast.ring + cast.talk)
    log_outbound(cast, session, ended=ended, result="Call connected", sound=sound)


def outbound_busy(cast: Casting) -> None:
    """The agent calls a customer whose line is busy."""
    session = cast.tape.session()
    agent, callee = dials(cast, session)
    callee.turns(2.4, "Disconnected", "TargetBusy")
    agent.turns(2.412, "Disconnected")
    log_outbound(cast, session, ended=2.412, result="Busy")


def outbound_no_answer(cast: Casting) -> None:
    """The agent calls a customer who does not answer."""
    session = cast.tape.session()
    agent, callee = dials(cast, session)
    gives_up = 2.0 * cast.ring + 8.0
    callee.turns(gives_up, "Disconnected", "NoAnswer")
    agent.turns(gives_up + 0.014, "Disconnected")
    log_outbound(cast, session, ended=gives_up + 0.014, result="No Answer")


def internal(cast: Casting) -> None:
    """One extension calls another; the caller's party is Answered before the colleague really answers."""
    session = cast.tape.session()
    caller = session.party(OUTBOUND, seen(cast.agent), {"phoneNumber": cast.colleague.number}, cast.agent)
    called = session.party(INBOUND, seen(cast.agent, cast.agent.number), seen(cast.colleague), cast.colleague)
    caller.turns(0.0, "Setup")
    called.turns(0.020, "Setup")
    called.turns(0.300, "Proceeding")
    caller.turns(min(0.9, cast.ring / 2), "Answered")
    called.turns(cast.ring, "Answered")
    ended = hang_up(caller, called, cast.ring + cast.talk)
    log_internal(cast, session, cast.agent, cast.colleague, starts=0.0, ended=ended)


def short_call(cast: Casting) -> None:
    """A recorded call that was over too soon for its recording to be kept."""
    _inbound_to_the_end(_cut_short(cast))


def _cut_short(cast: Casting) -> Casting:
    return replace(cast, recorded=True, talk=min(cast.talk, TOO_SHORT_SECONDS))


def first_seen_disconnected(cast: Casting) -> None:
    """The listener was down: all that it hears of the call is its last event."""
    _inbound_to_the_end(cast)


def events_lost(cast: Casting) -> None:
    """No event of the call is ever delivered; only the call log knows it."""
    _inbound_to_the_end(cast)


def test_call(cast: Casting) -> None:
    """A test call of the platform: events, but nobody's conversation and no record."""
    session = cast.tape.session("TestCall")
    caller = session.party(OUTBOUND, seen(cast.agent), {"phoneNumber": "*1"}, cast.agent)
    caller.turns(0.0, "Setup")
    caller.turns(0.4, "Answered")
    caller.turns(0.4 + min(cast.talk, 8.0), "Disconnected")


def short_call_untold(cast: Casting) -> None:
    """A recorded call that was over too soon, whose record does not say what became of the announced recording."""
    _inbound_to_the_end(_cut_short(cast), tells=False)


def recorded_on_demand(cast: Casting) -> None:
    """The agent calls a customer and starts the recording in mid-call."""
    cast = replace(cast, recorded=False, talk=max(cast.talk, 2 * SHORTEST_KEPT_RECORDING_SECONDS))
    session = cast.tape.session()
    agent, callee = dials(cast, session)
    callee.turns(cast.ring, "Answered")
    answers(cast, agent, cast.ring + 0.030)
    begins, leaves = cast.ring + cast.talk * 0.2, cast.ring + cast.talk
    cast.tape.announce_recording(agent)
    agent.turns(begins, "Answered", recording=True)
    ended = hang_up(callee, agent, leaves, 0.015)
    sound = cast.tape.keep_recording(agent, begins, leaves, ON_DEMAND)
    log_outbound(cast, session, ended=ended, result="Call connected", sound=sound)


def recorded_twice(cast: Casting) -> None:
    """The agent starts and stops the recording twice in one call: two recordings on demand."""
    cast = replace(cast, recorded=False, talk=max(cast.talk, 3 * SHORTEST_KEPT_RECORDING_SECONDS))
    session, caller, party, answered = answered_inbound(cast)
    sound = SILENCE
    for begin, end in ((0.05, 0.45), (0.55, 0.95)):
        starts, stops = answered + cast.talk * begin, answered + cast.talk * end
        cast.tape.announce_recording(party)
        party.turns(starts, "Answered", recording=True)
        party.turns(stops, "Answered", recording=False)
        sound += cast.tape.keep_recording(party, starts, stops, ON_DEMAND)
    ended = hang_up(party, caller, answered + cast.talk)
    log_inbound(cast, session, answered=answered, ended=ended, sound=sound)


Script = Callable[[Casting], None]

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
        picked_up_elsewhere,
        supervised,
        short_call_untold,
        recorded_on_demand,
        recorded_twice,
        transferred_soon,
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
    tape = Timeline(world, start, speed, seed, number)
    script(casting_for(tape, world, wishes))
    call = tape.finish(name)
    kept = _EVENTS_THAT_ARRIVE.get(name)
    return call if kept is None else without(call, kept)
