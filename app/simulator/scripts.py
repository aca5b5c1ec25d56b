"""Scripted calls: what the parties do, and what the call log makes of it. No I/O.

Each script is a function of its cast alone; with one seed, number and start time it always gives the same
call. The event sequences follow RingCentral's published streams: the caller's party comes first and is
Outbound whatever the direction of the call, parties are set up milliseconds after the one they replace, and
several parties disconnect within some 20 ms at the end.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime

from app.simulator.cast import Cast, Wishes, cast_for, inside, seen
from app.simulator.moves import answered_inbound, answers, arrives, dials, enters_queue, hang_up, rings_at
from app.simulator.paperwork import (
    INBOUND,
    OUTBOUND,
    QUEUE_GREETING_SECONDS,
    log_inbound,
    log_internal,
    log_missed,
    log_outbound,
    log_queue_winner,
    queue_number,
)
from app.simulator.plan import ON_DEMAND, SILENCE, ScriptedCall, Sound
from app.simulator.tape import SHORTEST_KEPT_RECORDING_SECONDS, PartyTape, SessionTape, Tape, without
from app.simulator.world import World

TOO_SHORT_SECONDS = SHORTEST_KEPT_RECORDING_SECONDS * 0.4
"""Talk that leaves no recording."""


def _inbound_to_the_end(cast: Cast, *, hold: bool = False, tells: bool = True) -> None:
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


def inbound_direct(cast: Cast) -> None:
    """A customer calls a direct number and the agent answers."""
    _inbound_to_the_end(cast)


def inbound_recorded_with_hold(cast: Cast) -> None:
    """A recorded call from outside that is put on hold once."""
    _inbound_to_the_end(replace(cast, recorded=True), hold=True)


def inbound_missed(cast: Cast) -> None:
    """A customer gives up while the agent's phone is still ringing."""
    session = cast.tape.session()
    caller = arrives(cast, session, cast.agent.direct_number)
    party = rings_at(cast, session, cast.agent, 0.022, cast.agent.direct_number)
    party.turns(cast.ring, "Disconnected", "Cancelled", missed=True)
    caller.turns(cast.ring + 0.009, "Disconnected")
    log_missed(cast, session, cast.agent, rings=0.0, ended=cast.ring + 0.009)


def ivr_then_agent(cast: Cast) -> None:
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


def outbound_answered(cast: Cast) -> None:
    """The agent calls a customer, who answers."""
    session = cast.tape.session()
    agent, callee = dials(cast, session)
    callee.turns(cast.ring, "Answered")
    answers(cast, agent, cast.ring + 0.030)
    ended = hang_up(callee, agent, cast.ring + cast.talk, 0.015)
    sound = cast.tape.keep_recording(agent, cast.ring, cast.ring + cast.talk)
    log_outbound(cast, session, ended=ended, result="Call connected", sound=sound)


def outbound_busy(cast: Cast) -> None:
    """The agent calls a customer whose line is busy."""
    session = cast.tape.session()
    agent, callee = dials(cast, session)
    callee.turns(2.4, "Disconnected", "TargetBusy")
    agent.turns(2.412, "Disconnected")
    log_outbound(cast, session, ended=2.412, result="Busy")


def outbound_no_answer(cast: Cast) -> None:
    """The agent calls a customer who does not answer."""
    session = cast.tape.session()
    agent, callee = dials(cast, session)
    gives_up = 2.0 * cast.ring + 8.0
    callee.turns(gives_up, "Disconnected", "NoAnswer")
    agent.turns(gives_up + 0.014, "Disconnected")
    log_outbound(cast, session, ended=gives_up + 0.014, result="No Answer")


def internal(cast: Cast) -> None:
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


def queue_answered(cast: Cast) -> None:
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


def queue_abandoned(cast: Cast) -> None:
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


def blind_transfer(cast: Cast) -> None:
    """The agent hands the customer to a colleague without asking; the call goes on."""
    _hand_over(cast, cast.talk / 2, cast.talk / 2)


def _hand_over(cast: Cast, first_talk: float, second_talk: float) -> None:
    session, caller, party, answered = answered_inbound(cast)
    hands_over = answered + first_talk
    party.turns(hands_over, "Disconnected", "BlindTransfer", recording=False)
    colleague = session.party(INBOUND, cast.caller, seen(cast.colleague), cast.colleague)
    colleague.turns(hands_over, "Proceeding")
    second_answer = hands_over + cast.ring
    answers(cast, colleague, second_answer)
    leaves = second_answer + second_talk
    ended = hang_up(colleague, caller, leaves, 0.015)
    log_inbound(
        cast,
        session,
        answered=answered,
        ended=hands_over,
        sound=cast.tape.keep_recording(party, answered, hands_over),
    )
    log_inbound(
        cast,
        session,
        agent=cast.colleague,
        starts=hands_over,
        answered=second_answer,
        ended=ended,
        dialled=cast.agent.direct_number,
        sound=cast.tape.keep_recording(colleague, second_answer, leaves),
    )


def warm_transfer(cast: Cast) -> None:
    """The agent asks a colleague in a second session, then joins the two; the talk goes on there."""
    tape = cast.tape
    session, caller, party, answered = answered_inbound(cast)
    asks = answered + cast.talk * 0.4
    joins = asks + cast.ring + cast.hold
    party.turns(asks, "Hold", recording=True)
    second = tape.session(starts=asks + 0.05)
    asking = second.party(OUTBOUND, seen(cast.agent), {"phoneNumber": cast.colleague.number}, cast.agent)
    asked = second.party(INBOUND, seen(cast.agent, cast.agent.number), seen(cast.colleague), cast.colleague)
    asking.turns(asks + 0.05, "Setup")
    asked.turns(asks + 0.07, "Proceeding")
    asked.turns(asks + cast.ring, "Answered")
    asking.turns(asks + cast.ring + 0.020, "Answered")
    joined = second.party(OUTBOUND, cast.caller, seen(cast.colleague))
    party.turns(joins, "Gone", "AttendedTransfer", peer=asked, recording=False)
    caller.turns(joins + 0.004, "Gone", "AttendedTransfer", peer=joined)
    joined.turns(joins + 0.006, "Answered")
    asking.turns(joins + 0.010, "Gone", "AttendedTransfer", peer=caller)
    ended = hang_up(asked, joined, joins + cast.talk * 0.6)
    log_inbound(
        cast,
        session,
        answered=answered,
        ended=joins,
        target=second,
        sound=tape.keep_recording(party, answered, joins),
    )
    log_internal(
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
    session, caller, party, answered = answered_inbound(cast)
    parks = answered + cast.talk / 2
    caller.turns(parks, "Parked")
    party.turns(parks + 0.008, "Disconnected", "CallPark", recording=False)
    picks_up = parks + 15.0 + cast.hold
    _is_picked_up(cast, session, caller, party, answered, parks, picks_up)


def park_revived(cast: Cast) -> None:
    """All parties leave when the call is parked, and 50 seconds later it lives again."""
    session, caller, party, answered = answered_inbound(cast)
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
    colleague = session.party(INBOUND, cast.caller, seen(cast.colleague), cast.colleague)
    colleague.turns(picks_up, "Setup")
    answers(cast, colleague, picks_up + 0.060)
    caller.turns(picks_up + 0.080, "Answered")
    leaves = picks_up + 0.060 + cast.talk / 2
    ended = hang_up(caller, colleague, leaves)
    log_inbound(
        cast,
        session,
        answered=answered,
        ended=ended,
        sound=cast.tape.keep_recording(party, answered, parks),
    )
    log_inbound(
        cast,
        session,
        agent=cast.colleague,
        starts=picks_up,
        answered=picks_up + 0.060,
        ended=ended,
        dialled=cast.agent.direct_number,
        sound=cast.tape.keep_recording(colleague, picks_up + 0.060, leaves),
    )


def voicemail(cast: Cast) -> None:
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


def conference(cast: Cast) -> None:
    """The agent's call is merged into a conference, whose session calls itself "0"."""
    tape, session = cast.tape, cast.tape.session()
    agent, callee = dials(cast, session)
    callee.turns(cast.ring, "Answered")
    answers(cast, agent, cast.ring + 0.030, recorded=False)
    merges = cast.ring + cast.talk * 0.3
    room = tape.session("Conference", starts=merges, session_id="0")
    to_room = {"phoneNumber": "conference"}
    host = room.party(OUTBOUND, seen(cast.agent), to_room, cast.agent, conferenceRole="Host")
    guest = room.party(INBOUND, cast.caller, to_room, conferenceRole="Participant")
    third = room.party(INBOUND, seen(cast.colleague), to_room, cast.colleague, conferenceRole="Participant")
    host.turns(merges, "Setup")
    host.turns(merges + 0.040, "Answered")
    agent.turns(merges + 0.100, "Gone", "Conference", peer=host)
    callee.turns(merges + 0.104, "Gone", "Conference", peer=guest)
    guest.turns(merges + 0.110, "Answered")
    third.turns(merges + 2.0, "Proceeding")
    third.turns(merges + 4.0, "Answered")
    ends = merges + 4.0 + cast.talk * 0.7
    third.turns(ends, "Disconnected")
    ended = hang_up(guest, host, ends + 0.4)
    log_outbound(cast, session, ended=merges + 0.104, result="Call connected")
    log_outbound(
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
    own = first.party(INBOUND, number, seen(cast.agent), cast.agent)
    own.turns(0.0, "Setup")
    own.turns(0.210, "Proceeding")
    own.turns(3.0, "Answered")
    other_own = second.party(OUTBOUND, seen(cast.agent), number, cast.agent)
    callee = second.party(INBOUND, {"phoneNumber": cast.agent.direct_number}, number)
    other_own.turns(3.050, "Setup")
    callee.turns(3.120, "Proceeding")
    answered = 3.0 + cast.ring
    callee.turns(answered, "Answered")
    answers(cast, other_own, answered + 0.030)
    hangs_up = answered + cast.talk
    own.turns(hangs_up, "Disconnected")
    ended = hang_up(other_own, callee, hangs_up + 0.010)
    log_outbound(
        cast,
        first,
        ended=hangs_up,
        result="Call connected",
        receiver=inside(cast.agent),
        action="RingOut Web",
        leg_type="RingOutWebToSubscriber",
    )
    log_outbound(
        cast,
        second,
        ended=ended,
        result="Call connected",
        action="RingOut Web",
        leg_type="RingOutWebToCaller",
        sound=tape.keep_recording(other_own, answered, hangs_up),
    )


def own_number(cast: Cast) -> None:
    """Somebody calls their own number: two records under one `sessionId`, of one extension."""
    session = cast.tape.session()
    caller = session.party(OUTBOUND, seen(cast.agent), {"phoneNumber": cast.agent.direct_number}, cast.agent)
    called = session.party(INBOUND, seen(cast.agent), seen(cast.agent), cast.agent)
    caller.turns(0.0, "Setup")
    called.turns(0.020, "Setup")
    called.turns(0.200, "VoiceMail")
    caller.turns(0.230, "Answered")
    ended = hang_up(caller, called, 0.2 + min(cast.talk, 25.0))
    log_internal(cast, session, cast.agent, cast.agent, starts=0.0, ended=ended)


def short_call(cast: Cast) -> None:
    """A recorded call that was over too soon for its recording to be kept."""
    _inbound_to_the_end(_cut_short(cast))


def _cut_short(cast: Cast) -> Cast:
    return replace(cast, recorded=True, talk=min(cast.talk, TOO_SHORT_SECONDS))


def first_seen_disconnected(cast: Cast) -> None:
    """The listener was down: all that it hears of the call is its last event."""
    _inbound_to_the_end(cast)


def events_lost(cast: Cast) -> None:
    """No event of the call is ever delivered; only the call log knows it."""
    _inbound_to_the_end(cast)


def test_call(cast: Cast) -> None:
    """A test call of the platform: events, but nobody's conversation and no record."""
    session = cast.tape.session("TestCall")
    caller = session.party(OUTBOUND, seen(cast.agent), {"phoneNumber": "*1"}, cast.agent)
    caller.turns(0.0, "Setup")
    caller.turns(0.4, "Answered")
    caller.turns(0.4 + min(cast.talk, 8.0), "Disconnected")


def picked_up_elsewhere(cast: Cast) -> None:
    """The agent parks the customer, and a colleague picks the call up from a session of his own."""
    tape = cast.tape
    session, caller, party, answered = answered_inbound(cast)
    parks = answered + cast.talk / 2
    caller.turns(parks, "Parked")
    party.turns(parks + 0.008, "Disconnected", "CallPark", recording=False)
    dials_in = parks + 8.0
    second = tape.session(starts=dials_in)
    colleague = second.party(OUTBOUND, seen(cast.colleague), {"phoneNumber": "*801"}, cast.colleague)
    joined = second.party(INBOUND, cast.caller, cast.caller)
    colleague.turns(dials_in, "Setup")
    picks_up = dials_in + 1.0
    joined.turns(picks_up, "Setup")
    caller.turns(picks_up + 0.004, "Gone", "Pickup", peer=joined)
    joined.turns(picks_up + 0.010, "Answered")
    colleague.turns(picks_up + 0.030, "Answered")
    ended = hang_up(joined, colleague, picks_up + cast.talk / 2)
    log_inbound(
        cast,
        session,
        answered=answered,
        ended=picks_up + 0.004,
        sound=tape.keep_recording(party, answered, parks),
    )
    log_outbound(
        cast,
        second,
        starts=dials_in,
        ended=ended,
        agent=cast.colleague,
        result="Call connected",
        action="Pickup",
        leg_type="Pickup",
    )


def supervised(cast: Cast) -> None:
    """A colleague listens in: his own session says where he has gone to."""
    tape = cast.tape
    session, caller, party, answered = answered_inbound(cast)
    listens = answered + cast.talk * 0.2
    second = tape.session(starts=listens)
    own = second.party(OUTBOUND, seen(cast.colleague), {"phoneNumber": "*80"}, cast.colleague)
    listener = session.party(INBOUND, seen(cast.colleague), seen(cast.agent), cast.colleague)
    own.turns(listens, "Setup")
    own.turns(listens + 0.4, "Answered")
    listener.turns(listens + 1.0, "Setup")
    listener.turns(listens + 1.1, "Answered")
    own.turns(listens + 1.2, "Gone", "Supervising", peer=listener)
    listener.turns(answered + cast.talk * 0.8, "Disconnected")
    ended = hang_up(party, caller, answered + cast.talk)
    sound = tape.keep_recording(party, answered, answered + cast.talk)
    log_inbound(cast, session, answered=answered, ended=ended, sound=sound)
    log_outbound(
        cast,
        second,
        starts=listens,
        ended=listens + 1.2,
        agent=cast.colleague,
        result="Call connected",
        receiver=inside(cast.agent),
        action="Monitoring",
        leg_type="Monitoring",
    )


def short_call_untold(cast: Cast) -> None:
    """A recorded call that was over too soon, whose record does not say what became of the announced recording."""
    _inbound_to_the_end(_cut_short(cast), tells=False)


def recorded_on_demand(cast: Cast) -> None:
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


def recorded_twice(cast: Cast) -> None:
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


def transferred_soon(cast: Cast) -> None:
    """A recorded call is handed on at once: only the colleague's part is long enough for a recording."""
    talk = max(cast.talk, 1.5 * SHORTEST_KEPT_RECORDING_SECONDS)
    _hand_over(replace(cast, recorded=True), TOO_SHORT_SECONDS, talk)


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
    tape = Tape(world, start, speed, seed, number)
    script(cast_for(tape, world, wishes))
    call = tape.finish(name)
    kept = _EVENTS_THAT_ARRIVE.get(name)
    return call if kept is None else without(call, kept)
