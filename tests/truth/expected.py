"""The truth of each script, written down by hand from what the script does. Pure.

Nothing here is computed from events or records: what the service derives from them is compared with this.
The rings of people begin with the first Proceeding, so 0.28 s after a phone's Setup.
"""

from collections.abc import Callable, Mapping

from tests.truth.builders import (
    DIALS,
    GREETING,
    NO_LEG_TELLS,
    QUEUE,
    RINGS,
    SHORT,
    Truths,
    answered_directly,
    between_ana_and_ben,
    from_dana,
    handed_on,
    linked,
    parked,
    to_dana,
    to_queue,
    warm_transfer,
)
from tests.truth.model import ANSWERED, EVENTS, PLACED, RANG, RECORDS, SUPERVISED, TIMES, Plan, Side, Truth
from tests.truth.variants import VARIANTS
from tests.truth.witnesses import Played

# Calls from outside


def inbound_direct(plan: Plan) -> Truths:
    return [answered_directly(plan)]


def inbound_recorded_with_hold(plan: Plan) -> Truths:
    # Records count the time on hold as talk.
    held = min(plan.hold, plan.talk * 0.4)
    return [answered_directly(plan, plan.talk - held, untold={RECORDS: frozenset({"talk_seconds"})})]


def inbound_missed(plan: Plan) -> Truths:
    return [from_dana(plan, "missed", [plan.agent(plan.ana, RANG)], rang=plan.ring - RINGS)]


def short_call(plan: Plan) -> Truths:
    return [answered_directly(plan, min(plan.talk, SHORT))]


def first_seen_disconnected(plan: Plan) -> Truths:
    # The one event that arrives is the customer's hanging up.
    told = {"direction", "caller", "called", "external_number", "internal"}
    hidden = frozenset({"outcome", "agents", *TIMES} | told)
    return [answered_directly(plan, untold={EVENTS: hidden})]


def recorded_twice(plan: Plan) -> Truths:
    return [answered_directly(plan, max(plan.talk, 90.0))]


def ivr_then_agent(plan: Plan) -> Truths:
    menu = 6.0
    answered = menu + plan.ring
    agent = plan.agent(plan.ana, ANSWERED, answered, plan.talk)
    rang = plan.ring - 0.018 - 0.28
    return [
        from_dana(
            plan,
            "answered",
            [agent],
            called=Side(plan.main_number),
            answered=answered,
            talk=plan.talk,
            rang=rang,
            untold={RECORDS: frozenset({"ring_seconds"})},
        )
    ]


def voicemail(plan: Plan) -> Truths:
    return [from_dana(plan, "voicemail", [plan.agent(plan.ana, RANG)], rang=plan.ring + 10.0 - RINGS)]


# Queues


def queue_answered(plan: Plan) -> Truths:
    answered = GREETING + plan.ring
    agents = [plan.agent(plan.ana, ANSWERED, answered, plan.talk), plan.agent(plan.ben, RANG)]
    of_loser = frozenset({"outcome", "agents", *TIMES})
    return [
        from_dana(
            plan,
            "answered",
            agents,
            called=to_queue(plan),
            queue_name=QUEUE,
            answered=answered,
            talk=plan.talk,
            rang=plan.ring,
            untold={
                RECORDS: frozenset({"ring_seconds"}),
                plan.ana: frozenset({"agents", "ring_seconds"}),
                plan.ben: of_loser,
            },
        )
    ]


def queue_abandoned(plan: Plan) -> Truths:
    agents = [plan.agent(plan.ana, RANG), plan.agent(plan.ben, RANG)]
    hidden = frozenset({"outcome", "agents"})
    return [
        from_dana(
            plan,
            "abandoned",
            agents,
            called=to_queue(plan),
            queue_name=QUEUE,
            rang=plan.ring,
            untold={
                RECORDS: frozenset({"ring_seconds"}),
                plan.ana: hidden,
                plan.ben: hidden,
                # The queue's own record names no member.
                plan.played.company.queue.id: frozenset({"agents"}),
            },
        )
    ]


# Handed on


def blind_transfer(plan: Plan) -> Truths:
    return [handed_on(plan, plan.talk / 2, plan.ring, plan.talk / 2)]


def transferred_soon(plan: Plan) -> Truths:
    return [handed_on(plan, SHORT, plan.ring, max(plan.talk, 45.0))]


def park_and_pickup(plan: Plan) -> Truths:
    return [parked(plan, 15.0 + plan.hold + 0.06)]


def park_revived(plan: Plan) -> Truths:
    return [parked(plan, 50.0 + 0.06)]


def picked_up_elsewhere(plan: Plan) -> Truths:
    first = answered_directly(plan, plan.talk / 2, untold={RECORDS: frozenset({"talk_seconds"})})
    picked_up = plan.ring + plan.talk / 2 + 9.0
    second = from_dana(
        plan,
        "answered",
        [plan.agent(plan.ben, ANSWERED, picked_up + 0.03, plan.talk / 2)],
        answered=picked_up + 0.03,
        talk=plan.talk / 2,
        called=Side(None, plan.ben, "*801"),
        untold=NO_LEG_TELLS,
        # The customer called, as in the first session; a reader of this session alone sees Ben dial a park
        # location. Whether a call was "made" by picking it up is a matter of words.
        undecided=frozenset({"direction", "caller", "called", "ring_seconds"}),
    )
    return linked(plan, [first, second])


# Calls of the company


def outbound_answered(plan: Plan) -> Truths:
    return [to_dana(plan, "answered", answered=plan.ring, talk=plan.talk, rang=plan.ring - DIALS)]


def recorded_on_demand(plan: Plan) -> Truths:
    talk = max(plan.talk, 60.0)
    return [to_dana(plan, "answered", answered=plan.ring, talk=talk, rang=plan.ring - DIALS)]


def outbound_busy(plan: Plan) -> Truths:
    return [to_dana(plan, "busy", rang=2.4 - DIALS, undecided=frozenset({"ring_seconds"}))]


def outbound_no_answer(plan: Plan) -> Truths:
    return [to_dana(plan, "noAnswer", rang=2.0 * plan.ring + 8.0 - DIALS)]


def ringout(plan: Plan) -> Truths:
    answered = 3.0 + plan.ring
    hangs_up = answered + plan.talk
    # The platform calls Ana: nobody from outside is in that session, though it shows the customer's number.
    inner = Truth(
        telephony_session_id=plan.session(0),
        direction="Outbound",
        internal=True,
        caller=plan.person(plan.ana),
        called=plan.person(plan.ana),
        external_number=None,
        outcome="answered",
        agents=(plan.agent(plan.ana, PLACED, 3.0, hangs_up - 3.0),),
        answered_at=plan.at(3.0),
        talk_seconds=plan.lasting(hangs_up - 3.0),
        ring_seconds=plan.lasting(3.0 - 0.21),
        untold=NO_LEG_TELLS,
        undecided=frozenset({"caller", "called", *TIMES}),
    )
    with_customer = to_dana(plan, "answered", answered=answered, talk=plan.talk, rang=plan.ring - 0.12)
    return linked(plan, [inner, with_customer], main=1)


def conference(plan: Plan) -> Truths:
    merges = plan.ring + plan.talk * 0.3
    first = to_dana(plan, "answered", answered=plan.ring, talk=plan.talk * 0.3, rang=plan.ring - DIALS)
    ends = merges + 4.0 + plan.talk * 0.7
    room = Truth(
        telephony_session_id=plan.session(1),
        direction="Outbound",
        internal=False,
        caller=plan.person(plan.ana),
        called=Side(raw="conference"),
        external_number=None,
        outcome="answered",
        agents=(
            plan.agent(plan.ana, PLACED, merges + 0.04, ends + 0.4 - merges),
            plan.agent(plan.ben, ANSWERED, merges + 4.0, plan.talk * 0.7),
        ),
        # Only the host has a record, which does not say who else was there.
        untold={RECORDS: TIMES | {"agents", "internal"}, plan.ana: TIMES | {"agents", "internal"}},
        undecided=frozenset({*TIMES}),
    )
    return linked(plan, [first, room])


# Inside the company


def internal(plan: Plan) -> Truths:
    return [
        between_ana_and_ben(
            plan, outcome="answered", answered=plan.ring, talk=plan.talk, rang=plan.ring - 0.3
        )
    ]


def own_number(plan: Plan) -> Truths:
    return [
        Truth(
            telephony_session_id=plan.session(),
            direction="Outbound",
            internal=True,
            caller=plan.person(plan.ana),
            called=plan.person(plan.ana),
            external_number=None,
            outcome="voicemail",
            agents=(plan.agent(plan.ana, PLACED),),
            undecided=frozenset({"ring_seconds"}),
        )
    ]


def supervised(plan: Plan) -> Truths:
    listens = plan.ring + plan.talk * 0.2
    first = from_dana(
        plan,
        "answered",
        [
            plan.agent(plan.ana, ANSWERED, plan.ring, plan.talk),
            plan.agent(plan.ben, SUPERVISED, listens + 1.1, plan.talk * 0.6 - 1.1),
        ],
        answered=plan.ring,
        talk=plan.talk,
        rang=plan.ring - RINGS,
        # Whoever listens has a record of the own session only.
        untold={RECORDS: frozenset({"agents"}), plan.ana: frozenset({"agents"})},
    )
    listening = Truth(
        telephony_session_id=plan.session(1),
        direction="Outbound",
        internal=True,
        caller=plan.person(plan.ben),
        called=Side(raw="*80"),
        external_number=None,
        outcome="answered",
        agents=(plan.agent(plan.ben, SUPERVISED),),
        # Events show the star code, the record the supervised colleague.
        undecided=frozenset({"called", "agents", "outcome", *TIMES}),
    )
    return linked(plan, [first, listening])


TRUTHS: Mapping[str, Callable[[Plan], Truths]] = {
    "inbound_direct": inbound_direct,
    "inbound_recorded_with_hold": inbound_recorded_with_hold,
    "inbound_missed": inbound_missed,
    "ivr_then_agent": ivr_then_agent,
    "outbound_answered": outbound_answered,
    "outbound_busy": outbound_busy,
    "outbound_no_answer": outbound_no_answer,
    "internal": internal,
    "queue_answered": queue_answered,
    "queue_abandoned": queue_abandoned,
    "blind_transfer": blind_transfer,
    "warm_transfer": warm_transfer,
    "park_and_pickup": park_and_pickup,
    "park_revived": park_revived,
    "voicemail": voicemail,
    "conference": conference,
    "ringout": ringout,
    "own_number": own_number,
    "short_call": short_call,
    "first_seen_disconnected": first_seen_disconnected,
    "events_lost": inbound_direct,
    "picked_up_elsewhere": picked_up_elsewhere,
    "supervised": supervised,
    "short_call_untold": short_call,
    "recorded_on_demand": recorded_on_demand,
    "recorded_twice": recorded_twice,
    "transferred_soon": transferred_soon,
    **VARIANTS,
}
"""The truth of every script that is a call. `test_call` is none: it never becomes one of the company."""

NOT_CALLS = frozenset({"test_call"})


def truths_of(played: Played) -> Truths:
    """Return the truth of each session of a call, in the order of its sessions."""
    return TRUTHS[played.script](Plan(played))
