"""Scripts in which a call is handed on."""

from dataclasses import replace

from app.simulator.scripting.casting import Casting, seen
from app.simulator.scripting.records import INBOUND, OUTBOUND, log_inbound, log_internal, log_outbound
from app.simulator.scripting.steps import TOO_SHORT_SECONDS, answered_inbound, answers, hang_up
from app.simulator.scripting.timeline import SHORTEST_KEPT_RECORDING_SECONDS, PartyTimeline, SessionTimeline


def blind_transfer(cast: Casting) -> None:
    """The agent hands the customer to a colleague without asking; the call goes on."""
    _hand_over(cast, cast.talk / 2, cast.talk / 2)


def _hand_over(cast: Casting, first_talk: float, second_talk: float) -> None:
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


def warm_transfer(cast: Casting) -> None:
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


def park_and_pickup(cast: Casting) -> None:
    """The agent parks the customer, a colleague picks the call up half a minute later."""
    session, caller, party, answered = answered_inbound(cast)
    parks = answered + cast.talk / 2
    caller.turns(parks, "Parked")
    party.turns(parks + 0.008, "Disconnected", "CallPark", recording=False)
    picks_up = parks + 15.0 + cast.hold
    _is_picked_up(cast, session, caller, party, answered, parks, picks_up)


def park_revived(cast: Casting) -> None:
    """All parties leave when the call is parked, and 50 seconds later it lives again."""
    session, caller, party, answered = answered_inbound(cast)
    parks = answered + cast.talk / 2
    party.turns(parks, "Disconnected", "CallPark", recording=False)
    caller.turns(parks + 0.011, "Disconnected", "CallPark")
    _is_picked_up(cast, session, caller, party, answered, parks, parks + 50.0)


def _is_picked_up(
    cast: Casting,
    session: SessionTimeline,
    caller: PartyTimeline,
    party: PartyTimeline,
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


def picked_up_elsewhere(cast: Casting) -> None:
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


def transferred_soon(cast: Casting) -> None:
    """A recorded call is handed on at once: only the colleague's part is long enough for a recording."""
    talk = max(cast.talk, 1.5 * SHORTEST_KEPT_RECORDING_SECONDS)
    _hand_over(replace(cast, recorded=True), TOO_SHORT_SECONDS, talk)
