"""Scripts in which a call is transferred, parked or picked up."""

from dataclasses import replace

from app.simulator.scripting.casting import Casting, event_side
from app.simulator.scripting.company import OUTSIDE_NUMBER
from app.simulator.scripting.model import Json
from app.simulator.scripting.records import (
    INBOUND,
    OUTBOUND,
    InboundCall,
    InternalCall,
    OutboundCall,
    log_inbound,
    log_internal,
    log_outbound,
)
from app.simulator.scripting.steps import (
    TOO_SHORT_SECONDS,
    AnsweredCall,
    answer,
    hang_up,
    keep_recording,
    start_answered_call,
)
from app.simulator.scripting.timeline import SHORTEST_KEPT_RECORDING_SECONDS, RecordExtras

PARK_LOCATION = "*801"


def blind_transfer(casting: Casting) -> None:
    """The agent transfers the customer to a colleague without consulting them; the call continues."""
    _transfer(casting, casting.talk / 2, casting.talk / 2)


def _transfer(casting: Casting, first_talk: float, second_talk: float) -> None:
    call = start_answered_call(casting)
    transferred = call.answered + first_talk
    # The agent's party leaves first; until the colleague answers, only the customer is connected.
    call.agent.set_status(transferred, "Disconnected", "BlindTransfer", recording=False)
    colleague = call.session.add_party(
        INBOUND, casting.caller, event_side(casting.colleague), casting.colleague
    )
    colleague.set_status(transferred, "Proceeding")
    answered = transferred + casting.ring
    answer(casting, colleague, answered)
    leaves = answered + second_talk
    ended = hang_up(colleague, call.caller, leaves, 0.015)
    log_inbound(
        casting,
        call.session,
        InboundCall(answered=call.answered, ended=transferred),
        keep_recording(casting, call.agent, call.answered, transferred),
    )
    log_inbound(
        casting,
        call.session,
        InboundCall(
            extension=casting.colleague,
            starts=transferred,
            answered=answered,
            ended=ended,
            dialled=casting.agent.direct_number,
        ),
        keep_recording(casting, colleague, answered, leaves),
    )


def warm_transfer(casting: Casting) -> None:
    """The agent consults a colleague in a second session, then joins the two; the call continues there."""
    _consult_and_join(casting)


def _consult_and_join(casting: Casting, sides: tuple[Json, Json] | None = None) -> None:
    """Play a warm transfer. `sides` are those of the consultation's records, if not of two phones."""
    call = start_answered_call(casting)
    asks = call.answered + casting.talk * 0.4
    joins = asks + casting.ring + casting.hold
    call.agent.set_status(asks, "Hold", recording=True)
    agent, colleague = casting.agent, casting.colleague
    second = casting.timeline.add_session(starts=asks + 0.05)
    asking = second.add_party(OUTBOUND, event_side(agent), {"phoneNumber": colleague.number}, agent)
    asked = second.add_party(INBOUND, event_side(agent, agent.number), event_side(colleague), colleague)
    asking.set_status(asks + 0.05, "Setup")
    asked.set_status(asks + 0.07, "Proceeding")
    asked.set_status(asks + casting.ring, "Answered")
    asking.set_status(asks + casting.ring + 0.020, "Answered")
    # The customer's party in the second session exists before the three old parties name it as their peer.
    joined = second.add_party(OUTBOUND, casting.caller, event_side(colleague))
    call.agent.set_status(joins, "Gone", "AttendedTransfer", peer=asked, recording=False)
    call.caller.set_status(joins + 0.004, "Gone", "AttendedTransfer", peer=joined)
    joined.set_status(joins + 0.006, "Answered")
    asking.set_status(joins + 0.010, "Gone", "AttendedTransfer", peer=call.caller)
    ended = hang_up(asked, joined, joins + casting.talk * 0.6)
    recording = keep_recording(casting, call.agent, call.answered, joins)
    log_inbound(
        casting,
        call.session,
        InboundCall(answered=call.answered, ended=joins),
        replace(recording, transfer_target=second),
    )
    log_internal(
        casting,
        second,
        InternalCall(caller=agent, called=colleague, starts=asks + 0.05, ended=ended, sides=sides),
        callers=RecordExtras(transfer_target=call.session),
        called=RecordExtras(transferee=call.session),
    )


def park_and_pickup(casting: Casting) -> None:
    """The agent parks the customer, and a colleague picks up the call half a minute later."""
    call = start_answered_call(casting)
    parked = call.answered + casting.talk / 2
    call.caller.set_status(parked, "Parked")
    call.agent.set_status(parked + 0.008, "Disconnected", "CallPark", recording=False)
    _pick_up(casting, call, parked, parked + 15.0 + casting.hold)


def park_revived(casting: Casting) -> None:
    """All parties leave when the call is parked, and 50 seconds later it is picked up."""
    call = start_answered_call(casting)
    parked = call.answered + casting.talk / 2
    # For 50 seconds every party has left, which looks like the end of the call.
    call.agent.set_status(parked, "Disconnected", "CallPark", recording=False)
    call.caller.set_status(parked + 0.011, "Disconnected", "CallPark")
    _pick_up(casting, call, parked, parked + 50.0)


def _pick_up(casting: Casting, call: AnsweredCall, parked: float, picked_up: float) -> None:
    colleague = call.session.add_party(
        INBOUND, casting.caller, event_side(casting.colleague), casting.colleague
    )
    colleague.set_status(picked_up, "Setup")
    answered = picked_up + 0.060
    answer(casting, colleague, answered)
    # The customer keeps the same party through the park.
    call.caller.set_status(picked_up + 0.080, "Answered")
    leaves = answered + casting.talk / 2
    ended = hang_up(call.caller, colleague, leaves)
    log_inbound(
        casting,
        call.session,
        InboundCall(answered=call.answered, ended=ended),
        keep_recording(casting, call.agent, call.answered, parked),
    )
    log_inbound(
        casting,
        call.session,
        InboundCall(
            extension=casting.colleague,
            starts=picked_up,
            answered=answered,
            ended=ended,
            dialled=casting.agent.direct_number,
        ),
        keep_recording(casting, colleague, answered, leaves),
    )


def picked_up_elsewhere(casting: Casting) -> None:
    """The agent parks the customer, and a colleague picks up the call from a session of their own."""
    call = start_answered_call(casting)
    parked = call.answered + casting.talk / 2
    call.caller.set_status(parked, "Parked")
    call.agent.set_status(parked + 0.008, "Disconnected", "CallPark", recording=False)
    dials_in = parked + 8.0
    second = casting.timeline.add_session(starts=dials_in)
    colleague = second.add_party(
        OUTBOUND, event_side(casting.colleague), {"phoneNumber": PARK_LOCATION}, casting.colleague
    )
    joined = second.add_party(INBOUND, casting.caller, casting.caller)
    colleague.set_status(dials_in, "Setup")
    picked_up = dials_in + 1.0
    joined.set_status(picked_up, "Setup")
    call.caller.set_status(picked_up + 0.004, "Gone", "Pickup", peer=joined)
    joined.set_status(picked_up + 0.010, "Answered")
    colleague.set_status(picked_up + 0.030, "Answered")
    ended = hang_up(joined, colleague, picked_up + casting.talk / 2)
    log_inbound(
        casting,
        call.session,
        InboundCall(answered=call.answered, ended=picked_up + 0.004),
        keep_recording(casting, call.agent, call.answered, parked),
    )
    log_outbound(
        casting,
        second,
        OutboundCall(
            extension=casting.colleague, starts=dials_in, ended=ended, action="Pickup", leg_type="Pickup"
        ),
    )


def transferred_soon(casting: Casting) -> None:
    """A recorded call is transferred at once: only the colleague's part is long enough for a recording."""
    talk = max(casting.talk, 1.5 * SHORTEST_KEPT_RECORDING_SECONDS)
    _transfer(replace(casting, recorded=True), TOO_SHORT_SECONDS, talk)


def transferred_outside(casting: Casting) -> None:
    """The agent transfers the customer to a number outside the company, and somebody answers there."""
    # The outside number is a party without an extension, as in RingCentral's published account streams; the
    # transfer's record is Outbound with action Transfer (`CallLogRecord.action` of the API description).
    call, outside = start_answered_call(casting), {"phoneNumber": OUTSIDE_NUMBER}
    transferred = call.answered + casting.talk / 3
    call.agent.set_status(transferred, "Disconnected", "BlindTransfer", recording=False)
    target = call.session.add_party(INBOUND, casting.caller, outside)
    target.set_status(transferred, "Proceeding")
    answered = transferred + casting.ring
    target.set_status(answered, "Answered")
    ended = hang_up(target, call.caller, answered + casting.talk * 2 / 3, 0.015)
    log_inbound(
        casting,
        call.session,
        InboundCall(answered=call.answered, ended=transferred),
        keep_recording(casting, call.agent, call.answered, transferred),
    )
    transfer = OutboundCall(
        starts=transferred,
        ended=ended,
        receiver=outside,
        transport="PSTN",
        action="Transfer",
        leg_type="TransferCall",
    )
    log_outbound(casting, call.session, transfer)


def transfer_to_voicemail(casting: Casting) -> None:
    """The agent transfers the customer to a colleague's voicemail box, where they leave a message."""
    # The stream is that of a blind transfer whose target is in VoiceMail at once; not published as a whole.
    call = start_answered_call(casting)
    transferred = call.answered + casting.talk / 2
    call.agent.set_status(transferred, "Disconnected", "BlindTransfer", recording=False)
    box = call.session.add_party(INBOUND, casting.caller, event_side(casting.colleague), casting.colleague)
    box.set_status(transferred + 0.02, "VoiceMail")
    leaves = transferred + min(casting.talk / 2, 30.0)
    box.set_status(leaves, "Disconnected", "Voicemail")
    ended = leaves + 0.011
    call.caller.set_status(ended, "Disconnected")
    log_inbound(
        casting,
        call.session,
        InboundCall(answered=call.answered, ended=transferred),
        keep_recording(casting, call.agent, call.answered, transferred),
    )
    message = InboundCall(
        extension=casting.colleague,
        starts=transferred,
        answered=transferred + 0.02,
        ended=ended,
        dialled=casting.agent.direct_number,
        result="Voicemail",
    )
    log_inbound(casting, call.session, message, RecordExtras(has_message=True))


def consultation(casting: Casting) -> None:
    """A warm transfer whose consultation is dialled and logged under short numbers alone."""
    # Sides of records can be short numbers without an extension id (guide "Call log": all fields optional).
    short = ({"phoneNumber": casting.agent.number}, {"phoneNumber": casting.colleague.number})
    _consult_and_join(casting, short)


def park_location(casting: Casting) -> None:
    """The agent parks the customer at a park location, where a colleague picks up the call."""
    # `parkData` and `park.id` name the location, the reason is ParkLocation (guide "Telephony session
    # notifications"). The record of the parking itself has action Park Location; its sides are not published.
    call = start_answered_call(casting)
    parked = call.answered + casting.talk / 2
    call.caller.body["park"] = {"id": PARK_LOCATION}
    call.caller.set_status(parked, "Parked", park_data=PARK_LOCATION)
    call.agent.set_status(parked + 0.008, "Disconnected", "ParkLocation", recording=False)
    _pick_up(casting, call, parked, parked + 15.0 + casting.hold)
    parking = OutboundCall(
        starts=parked,
        ended=parked + 1.0,
        receiver={"phoneNumber": PARK_LOCATION},
        action="Park Location",
        leg_type="ParkLocation",
    )
    log_outbound(casting, call.session, parking)
