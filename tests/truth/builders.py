"""What the truths of many scripts share: a customer's call, a call to a customer, one between colleagues."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from tests.truth.model import (
    ANSWERED,
    PLACED,
    RANG,
    RECORDS,
    TIMES,
    TRANSFERRED_FROM,
    TRANSFERRED_TO,
    Agent,
    Plan,
    Side,
    Truth,
)

RINGS = 0.302
"""When the phone of a directly called person begins to ring."""

DIALS = 0.140
"""When the customer's phone begins to ring."""

GREETING = 3.4
"""How long the queue greets before its members' phones ring."""

SHORT = 12.0
"""How long a call lasts at most that is too short for its recording."""

QUEUE = "Sales"
NO_LEG_TELLS = {RECORDS: TIMES}
"""Records with one leg do not tell when the call was answered."""

Truths = Sequence[Truth]


def from_dana(
    plan: Plan,
    outcome: str,
    agents: Sequence[Agent],
    *,
    called: Side | None = None,
    answered: float | None = None,
    talk: float = 0.0,
    rang: float | None = None,
    **fields: Any,
) -> Truth:
    """Describe a customer's call, to the agent's own number if `called` does not say otherwise."""
    if answered is None:
        # The record of an unanswered call has no duration, so it does not tell how long it rang.
        untold = dict(fields.get("untold", {}))
        fields["untold"] = {**untold, RECORDS: untold.get(RECORDS, frozenset()) | {"ring_seconds"}}
    return Truth(
        telephony_session_id=plan.session(),
        direction="Inbound",
        internal=False,
        caller=Side(plan.dana),
        called=called or plan.person(plan.ana),
        external_number=plan.dana,
        outcome=outcome,
        agents=tuple(agents),
        answered_at=None if answered is None else plan.at(answered),
        talk_seconds=plan.lasting(talk),
        ring_seconds=None if rang is None else plan.lasting(rang),
        **fields,
    )


def answered_directly(plan: Plan, talk: float | None = None, **fields: Any) -> Truth:
    """Describe a call to the agent's own number that the agent answers."""
    talked = plan.talk if talk is None else talk
    agent = plan.agent(plan.ana, ANSWERED, plan.ring, talked)
    return from_dana(
        plan, "answered", [agent], answered=plan.ring, talk=talked, rang=plan.ring - RINGS, **fields
    )


def to_queue(plan: Plan) -> Side:
    return Side(plan.played.company.queue.direct_number, plan.played.company.queue.id)


def to_dana(
    plan: Plan,
    outcome: str,
    *,
    answered: float | None = None,
    talk: float = 0.0,
    rang: float | None = None,
    **fields: Any,
) -> Truth:
    """Describe a call of the agent to the customer."""
    talked = talk if answered is not None else None
    return Truth(
        telephony_session_id=plan.session(),
        direction="Outbound",
        internal=False,
        caller=plan.person(plan.ana),
        called=Side(plan.dana),
        external_number=plan.dana,
        outcome=outcome,
        agents=(plan.agent(plan.ana, PLACED, answered, talked),),
        answered_at=None if answered is None else plan.at(answered),
        talk_seconds=plan.lasting(talk),
        ring_seconds=None if rang is None else plan.lasting(rang),
        **({"untold": NO_LEG_TELLS} | fields),
    )


def between_ana_and_ben(
    plan: Plan,
    *,
    outcome: str,
    answered: float | None = None,
    talk: float = 0.0,
    rang: float | None = None,
    **fields: Any,
) -> Truth:
    """Describe a call of Ana to Ben."""
    talked = talk if answered is not None else None
    role = ANSWERED if answered is not None else RANG
    return Truth(
        telephony_session_id=plan.session(),
        direction="Outbound",
        internal=True,
        caller=plan.person(plan.ana),
        called=plan.person(plan.ben),
        external_number=None,
        outcome=outcome,
        agents=(
            plan.agent(plan.ana, PLACED, answered, talked),
            plan.agent(plan.ben, role, answered, talked),
        ),
        answered_at=None if answered is None else plan.at(answered),
        talk_seconds=plan.lasting(talk),
        ring_seconds=None if rang is None else plan.lasting(rang),
        **({"untold": NO_LEG_TELLS} | fields),
    )


def handed_on(plan: Plan, first: float, waits: float, second: float) -> Truth:
    """Describe a call that Ana answers and Ben has after her, `waits` seconds later."""
    takes_over = plan.ring + first + waits
    agents = [
        plan.agent(plan.ana, TRANSFERRED_FROM, plan.ring, first),
        plan.agent(plan.ben, TRANSFERRED_TO, takes_over, second),
    ]
    alone = frozenset({"agents", "called", "talk_seconds", "answered_at", "ring_seconds"})
    return from_dana(
        plan,
        "answered",
        agents,
        answered=plan.ring,
        talk=first + second,
        rang=plan.ring - RINGS,
        # Each of the two sees an own part of the call only.
        untold={plan.ana: frozenset({"agents", "talk_seconds"}), plan.ben: alone},
    )


def linked(plan: Plan, truths: Truths, main: int = 0) -> Truths:
    """Give each truth the session of its place, and make one of them the main one."""
    sessions = plan.played.call.sessions
    return [
        replace(
            truth,
            telephony_session_id=session.telephony_session_id,
            origin=session.origin,
            main=main,
            is_main=place == main,
        )
        for place, (truth, session) in enumerate(zip(truths, sessions, strict=True))
    ]


def parked(plan: Plan, waits: float) -> Truth:
    truth = handed_on(plan, plan.talk / 2, waits, plan.talk / 2)
    ana, ben = truth.agents
    agents = (
        Agent(ana.extension_id, ANSWERED, ana.answered_at, ana.talk_seconds),
        Agent(ben.extension_id, ANSWERED, ben.answered_at, ben.talk_seconds),
    )
    # The first record lasts through the park, so records tell more talk than there was.
    return from_dana(
        plan,
        "answered",
        agents,
        answered=plan.ring,
        talk=plan.talk,
        rang=plan.ring - RINGS,
        untold={**truth.untold, RECORDS: frozenset({"talk_seconds"})},
    )


def warm_transfer(plan: Plan) -> Truths:
    asks = plan.ring + plan.talk * 0.4
    joins = asks + plan.ring + plan.hold
    first = answered_directly(
        plan,
        plan.talk * 0.4,
        untold={RECORDS: frozenset({"talk_seconds"})},
        # That the call went on with Ben is told by the second session only.
        undecided=frozenset({"transferred_to"}),
    )
    answered = asks + plan.ring
    talk = joins + plan.talk * 0.6 - answered
    consultation = between_ana_and_ben(
        plan, answered=answered, talk=talk, rang=plan.ring - 0.07, outcome="answered"
    )
    return linked(plan, [first, consultation])
