"""The truth of the scripts whose records or events mislead: side attempts, hand-overs, words for numbers."""

from collections.abc import Callable, Mapping
from dataclasses import replace

from tests.truth.builders import (
    DIALS,
    GREETING,
    NO_LEG_TELLS,
    QUEUE,
    RINGS,
    Truths,
    answered_directly,
    between_ana_and_ben,
    from_dana,
    parked,
    to_dana,
    to_queue,
    warm_transfer,
)
from tests.truth.model import ANSWERED, RANG, RECORDS, TIMES, TRANSFERRED_FROM, TRANSFERRED_TO, Plan, Side

OUTSIDE = "+15550174410"
ABROAD = "+442079460018"
DESK_ALONE = 2.0
"""How long only the desk phone rings before the platform tries elsewhere."""

INITIATOR = 3.0
"""When the initiator of a RingOut answers."""

MENU = 6.0
PARK_LOCATION = "*801"


# Side attempts


def attempted_elsewhere(plan: Plan) -> Truths:
    rang = DESK_ALONE + plan.ring - RINGS
    return [from_dana(plan, "missed", [plan.agent(plan.ana, RANG)], rang=rang)]


def answered_elsewhere(plan: Plan) -> Truths:
    answered = DESK_ALONE + plan.ring
    agent = plan.agent(plan.ana, ANSWERED, answered, plan.talk)
    return [
        from_dana(
            plan,
            "answered",
            [agent],
            answered=answered,
            talk=plan.talk,
            rang=answered - RINGS,
            # The record of the attempt includes its ringing.
            untold={RECORDS: TIMES},
        )
    ]


# Handed on


def transferred_outside(plan: Plan) -> Truths:
    agent = plan.agent(plan.ana, TRANSFERRED_FROM, plan.ring, plan.talk / 3)
    return [
        from_dana(
            plan,
            "answered",
            [agent],
            answered=plan.ring,
            talk=plan.talk / 3,
            rang=plan.ring - RINGS,
            transferred_to=OUTSIDE,
            # Whether the talk of the outside number counts is a matter of words.
            undecided=frozenset({"talk_seconds"}),
        )
    ]


def transfer_to_voicemail(plan: Plan) -> Truths:
    agents = [
        plan.agent(plan.ana, TRANSFERRED_FROM, plan.ring, plan.talk / 2),
        plan.agent(plan.ben, TRANSFERRED_TO),
    ]
    return [
        from_dana(
            plan,
            "answered",
            agents,
            answered=plan.ring,
            talk=plan.talk / 2,
            rang=plan.ring - RINGS,
            untold={
                plan.ana: frozenset({"agents"}),
                # The colleague's record tells of the message alone.
                plan.ben: TIMES | {"agents", "outcome", "called"},
            },
        )
    ]


def park_location(plan: Plan) -> Truths:
    truth = parked(plan, 15.0 + plan.hold + 0.06)
    # The record of the parking is Ana's.
    hidden = truth.untold.get(plan.ben, frozenset()) | {"park_id"}
    return [replace(truth, park_id=PARK_LOCATION, untold={**truth.untold, plan.ben: hidden})]


def consultation(plan: Plan) -> Truths:
    return warm_transfer(plan)


# RingOut as one session


def ringout_one_session(plan: Plan) -> Truths:
    answered = INITIATOR + 0.12 + plan.ring
    return [to_dana(plan, "answered", answered=answered, talk=plan.talk, rang=plan.ring, origin="RingOut")]


def ringout_one_session_unanswered(plan: Plan) -> Truths:
    return [to_dana(plan, "noAnswer", rang=plan.ring, origin="RingOut", untold=NO_LEG_TELLS)]


# Menus and queues


def menu_never_answered(plan: Plan) -> Truths:
    answered = MENU + 0.018 + 0.28 + plan.ring
    agent = plan.agent(plan.ana, ANSWERED, answered, plan.talk)
    return [
        from_dana(
            plan,
            "answered",
            [agent],
            called=Side(plan.main_number),
            answered=answered,
            talk=plan.talk,
            rang=plan.ring,
            untold={RECORDS: frozenset({"ring_seconds"})},
        )
    ]


def menu_abandoned(plan: Plan) -> Truths:
    return [from_dana(plan, "abandoned", [], called=Side(plan.main_number))]


def queue_voicemail(plan: Plan) -> Truths:
    agents = [plan.agent(plan.ana, RANG), plan.agent(plan.ben, RANG)]
    hidden = frozenset({"outcome", "agents"})
    return [
        from_dana(
            plan,
            "voicemail",
            agents,
            called=to_queue(plan),
            queue_name=QUEUE,
            rang=plan.ring + 10.0,
            untold={
                RECORDS: frozenset({"ring_seconds"}),
                plan.ana: hidden,
                plan.ben: hidden,
                plan.played.company.queue.id: frozenset({"agents", "ring_seconds"}),
            },
            undecided=frozenset({"ring_seconds"}),
        )
    ]


def call_back(plan: Plan) -> Truths:
    request = from_dana(
        plan,
        "abandoned",
        [],
        called=to_queue(plan),
        queue_name=QUEUE,
        # No word of ours says that the customer wants a call back; the record's result does.
        undecided=frozenset({"outcome"}),
    )
    dials = GREETING + 5.0 + 20.0
    returned = to_dana(
        plan, "answered", answered=dials + plan.ring, talk=plan.talk, rang=plan.ring - DIALS, main=1
    )
    # Nothing links the two calls, and both are the customer's.
    return [request, replace(returned, telephony_session_id=plan.session(1))]


# Several telephones


def simultaneous_ring(plan: Plan) -> Truths:
    agents = [plan.agent(plan.ana, ANSWERED, plan.ring, plan.talk), plan.agent(plan.ben, RANG)]
    return [
        from_dana(
            plan,
            "answered",
            agents,
            answered=plan.ring,
            talk=plan.talk,
            rang=plan.ring - RINGS,
            untold={plan.ana: frozenset({"agents"}), plan.ben: TIMES | {"agents"}},
        )
    ]


def pick_up(plan: Plan) -> Truths:
    agents = [plan.agent(plan.ana, RANG), plan.agent(plan.ben, ANSWERED, plan.ring, plan.talk)]
    return [
        from_dana(
            plan,
            "answered",
            agents,
            answered=plan.ring,
            talk=plan.talk,
            rang=plan.ring - RINGS,
            untold={
                RECORDS: frozenset({"ring_seconds"}),
                plan.ana: TIMES | {"agents"},
                plan.ben: frozenset({"agents", "ring_seconds"}),
            },
        )
    ]


# Inside the company, and its own numbers


def internal_missed(plan: Plan) -> Truths:
    # The call is Outbound, as of whoever began it; so nobody answered, and nobody "missed" it.
    return [between_ana_and_ben(plan, outcome="noAnswer", rang=plan.ring - 0.3)]


def internal_voicemail(plan: Plan) -> Truths:
    # Ana's record is connected, whatever answered; only Ben's says that it was the voicemail box.
    untold = {**NO_LEG_TELLS, plan.ana: frozenset({"outcome"})}
    return [between_ana_and_ben(plan, outcome="voicemail", rang=plan.ring + 9.7, untold=untold)]


def internal_transferred_outside(plan: Plan) -> Truths:
    truth = between_ana_and_ben(
        plan, outcome="answered", answered=plan.ring, talk=plan.talk / 2, rang=plan.ring - 0.3
    )
    ana, ben = truth.agents
    return [
        replace(
            truth,
            internal=False,
            external_number=OUTSIDE,
            transferred_to=OUTSIDE,
            agents=(ana, replace(ben, role=TRANSFERRED_FROM)),
            # Ana's record shows a call to Ben.
            untold={**truth.untold, plan.ana: frozenset({"internal", "external_number", "transferred_to"})},
            # Ana talks on with the outside number.
            undecided=frozenset({"talk_seconds"}),
        )
    ]


def own_main_number(plan: Plan) -> Truths:
    truth = between_ana_and_ben(
        plan, outcome="answered", answered=plan.ring, talk=plan.talk, rang=plan.ring - 0.3
    )
    return [replace(truth, caller=Side(plan.main_number, plan.ana), called=Side(plan.main_number, plan.ben))]


def same_number_inbound(plan: Plan) -> Truths:
    own = plan.person(plan.ana)
    truth = answered_directly(plan)
    # Somebody shows the company's number. Whether that is a colleague cannot be known, but it is nobody's
    # number to write into a CRM.
    return [
        replace(
            truth,
            caller=Side(own.number),
            external_number=None,
            undecided=frozenset({"internal", "external_number", "caller"}),
        )
    ]


# Numbers that are none, and calls that the platform refuses


def anonymous_caller(plan: Plan) -> Truths:
    return [replace(answered_directly(plan), caller=Side(raw="anonymous"), external_number=None)]


def blocked(plan: Plan) -> Truths:
    return [
        replace(
            to_dana(plan, "blocked"),
            called=Side(ABROAD),
            external_number=ABROAD,
            undecided=frozenset({"ring_seconds"}),
        )
    ]


VARIANTS: Mapping[str, Callable[[Plan], Truths]] = {
    "find_me_missed": attempted_elsewhere,
    "find_me_busy": attempted_elsewhere,
    "find_me_answered": answered_elsewhere,
    "follow_me": answered_elsewhere,
    "sip_forwarding": attempted_elsewhere,
    "transferred_outside": transferred_outside,
    "transfer_to_voicemail": transfer_to_voicemail,
    "consultation": consultation,
    "park_location": park_location,
    "ringout_one_session": ringout_one_session,
    "ringout_one_session_unanswered": ringout_one_session_unanswered,
    "menu_never_answered": menu_never_answered,
    "menu_abandoned": menu_abandoned,
    "simultaneous_ring": simultaneous_ring,
    "pick_up": pick_up,
    "queue_voicemail": queue_voicemail,
    "call_back": call_back,
    "internal_missed": internal_missed,
    "internal_voicemail": internal_voicemail,
    "internal_transferred_outside": internal_transferred_outside,
    "own_main_number": own_main_number,
    "same_number_inbound": same_number_inbound,
    "blocked": blocked,
    "anonymous_caller": anonymous_caller,
}
