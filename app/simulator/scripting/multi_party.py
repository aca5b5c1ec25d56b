"""Scripts with more than two parties, and calls that RingCentral places itself."""

from app.simulator.scripting.casting import Casting, inside, seen
from app.simulator.scripting.records import INBOUND, OUTBOUND, log_inbound, log_internal, log_outbound
from app.simulator.scripting.steps import answered_inbound, answers, dials, hang_up


def conference(cast: Casting) -> None:
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


def ringout(cast: Casting) -> None:
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


def own_number(cast: Casting) -> None:
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


def supervised(cast: Casting) -> None:
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
