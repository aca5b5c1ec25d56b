"""The main call of every kind of conversation that RingCentral has."""

from datetime import timedelta
from typing import Any

import pytest

from app.calls.main_calls.rule import Member, Standing, main_of, merit
from app.calls.model import NO_SESSION, Outcome
from tests.fakes.clock import START

DANA = "+15550179001"
EXPERT = "+15550188002"


def member(name: str, after: float = 0.0, **fields: Any) -> Member:
    """An answered call that starts `after` seconds."""
    values: dict[str, Any] = {"outcome": Outcome.ANSWERED}
    return Member(
        call_id=f"call_{name}",
        key=f"s-{name}",
        started_at=START + timedelta(seconds=after),
        **(values | fields),
    )


def customer(name: str = "customer", after: float = 0.0, **fields: Any) -> Member:
    return member(name, after, **({"internal": False, "external_number": DANA} | fields))


def consultation(after: float = 30.0, **fields: Any) -> Member:
    asked: dict[str, Any] = {"internal": True, "dialed": "102", "calls_extension": True}
    return member("consultation", after, **(asked | fields))


def room(after: float = 40.0, **fields: Any) -> Member:
    return member(
        "room", after, **({"internal": False, "origin": "Conference", "dialed": "conference"} | fields)
    )


def supervisor(**fields: Any) -> Member:
    return member("supervisor", 20, **({"internal": True, "supervises": True} | fields))


def pickup(**fields: Any) -> Member:
    return member("pickup", 60, **({"internal": False, "external_number": DANA} | fields))


def first_phone(**fields: Any) -> Member:
    return member("first", 0, **({"internal": True, "origin": "RingOut", "calls_extension": True} | fields))


def second_phone(**fields: Any) -> Member:
    return customer("second", 3, **({"origin": "RingOut"} | fields))


CONVERSATIONS = {
    "a warm transfer": ([customer(), consultation()], "customer"),
    "a warm transfer whose consultation shows the customer": (
        [customer(), consultation(internal=False, external_number="102")],
        "customer",
    ),
    "a warm transfer to an expert outside": (
        [customer(), member("expert", 30, internal=False, external_number=EXPERT)],
        "customer",
    ),
    "a warm transfer of somebody who withholds the number": (
        [
            customer(external_number=None),
            member("expert", 30, internal=False, external_number=EXPERT),
        ],
        "customer",
    ),
    "a colleague who is transferred to a customer": (
        [consultation(after=0), customer(after=30)],
        "customer",
    ),
    "a RingOut": ([first_phone(), second_phone()], "second"),
    "a RingOut whose first telephone shows the customer": (
        [first_phone(internal=False, external_number=DANA), second_phone()],
        "second",
    ),
    "a RingOut that only records show": (
        [
            first_phone(origin=None, action="RingOut Web"),
            second_phone(origin=None, action="RingOut Web"),
        ],
        "second",
    ),
    "a RingOut that the customer does not answer": (
        [first_phone(), second_phone(outcome=Outcome.NO_ANSWER)],
        "second",
    ),
    "a RingOut of which little is known": (
        [first_phone(internal=None), second_phone(internal=None, external_number=None)],
        "second",
    ),
    "a RingOut that is tried again": (
        [
            second_phone(outcome=Outcome.NO_ANSWER),
            first_phone(),
            customer("again", 63, origin="RingOut"),
        ],
        "again",
    ),
    "supervision": ([customer(), supervisor()], "customer"),
    "supervision that only records show": (
        [customer(), supervisor(supervises=False, action="Monitoring")],
        "customer",
    ),
    "supervision of colleagues": ([consultation(after=0), supervisor()], "consultation"),
    "supervision of a call of which little is known": (
        [customer(internal=None, external_number=None), supervisor(internal=None)],
        "customer",
    ),
    "barging in": ([customer(), supervisor(supervises=False, action="Barge In Call")], "customer"),
    "a customer's call that names the supervisor's session": (
        [customer(supervises=True), supervisor(supervises=False, dialed="*80")],
        "customer",
    ),
    "a conference": ([customer(), room()], "customer"),
    "a conference that records show": (
        [customer(), room(origin=None, dialed=None, action="Conference Call")],
        "customer",
    ),
    "a conference with two customers": (
        [customer(), member("eve", 20, internal=False, external_number=EXPERT), room()],
        "customer",
    ),
    "a conference of colleagues": ([consultation(), room(internal=True)], "consultation"),
    "a conference of which little is known": (
        [consultation(), room(internal=None)],
        "consultation",
    ),
    "colleagues who invite a customer into their conference": ([consultation(), room()], "room"),
    "a call that is picked up from park": (
        [customer(was_picked_up=True), pickup(dialed="*801")],
        "customer",
    ),
    "a call that is picked up from park, by records": ([customer(), pickup(action="Pickup")], "customer"),
    "a call that a colleague picks up before anybody answers": (
        [customer(outcome=Outcome.MISSED, was_picked_up=True), pickup()],
        "customer",
    ),
    "a picked-up call that is transferred": (
        [customer(action="Pickup"), consultation()],
        "customer",
    ),
    "calls in the same second": ([customer("b"), customer("a")], "a"),
    "a call whose key is not known yet": (
        [
            customer("b"),
            Member(
                call_id="call_a", key=f"{NO_SESSION}1", started_at=START, internal=False, outcome="answered"
            ),
        ],
        "b",
    ),
}


@pytest.mark.parametrize("name", CONVERSATIONS)
def test_the_main_call_is_the_customers(name: str) -> None:
    members, main = CONVERSATIONS[name]
    assert main_of(members) == f"call_{main}"
    assert main_of(reversed(members)) == f"call_{main}"


@pytest.mark.parametrize(
    "alone",
    [customer(), consultation(), first_phone(), supervisor(), room(), pickup(), member("x", internal=None)],
    ids=lambda alone: str(alone.call_id),
)
def test_a_call_without_related_calls_is_its_own_main_call(alone: Member) -> None:
    assert main_of([alone]) == alone.call_id


def test_nobody_is_no_conversation() -> None:
    with pytest.raises(ValueError, match="empty"):
        main_of([])


@pytest.mark.parametrize("word", ["ringout", "RINGOUT", "RingOut"])
def test_the_case_of_ringcentrals_words_does_not_matter(word: str) -> None:
    assert first_phone(origin=word).standing is Standing.SIDE


def test_a_missed_call_comes_after_one_that_people_talked_in() -> None:
    assert merit(customer("missed", outcome=Outcome.MISSED)) > merit(customer(after=90))
