"""The witnesses agree: a scripted call is the same whether events, records or one user's records tell it.

Times of records are whole seconds. What a way of learning the call cannot know stands in `expected`.
"""

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.calls.derivation import DerivedCall
from app.calls.evidence.people import UNKNOWN_COMPANY
from app.calls.model import Outcome
from app.simulator.scripting.casting import CallOptions
from app.simulator.scripting.catalogue import SCRIPTS
from tests.truth.conformance import ALL, DIRECTORY, WAYS, Telling, compare, derive, tellings
from tests.truth.expected import NOT_CALLS
from tests.truth.witnesses import play_script

USUAL = list(tellings())
CALLS = sorted(set(SCRIPTS) - NOT_CALLS)
FIELDS = (
    "direction", "internal", "external_number", "outcome", "outcome_if_over", "queue_name", "answered_at",
    "talk_seconds", "ring_seconds", "transferred_to", "park_id", "origin", "from_json", "to_json",
)  # fmt: skip
options = st.builds(
    CallOptions,
    talk_seconds=st.floats(15.0, 900.0),
    ring_seconds=st.floats(2.0, 40.0),
    hold_seconds=st.floats(3.0, 60.0),
    agent=st.just("101"),
    colleague=st.just("102"),
    customer=st.just("+15550179001"),
    recorded=st.booleans(),
)


def title(telling: Telling) -> str:
    return f"{telling.played.script}-{telling.truth.telephony_session_id[-4:]}-{telling.who or telling.way}"


@pytest.mark.parametrize("telling", USUAL, ids=title)
def test_each_witness_tells_the_truth(telling: Telling) -> None:
    compared, wrong = compare(telling, telling.derive())
    assert compared > 0
    assert [str(one) for one in wrong] == []


def test_every_way_is_told() -> None:
    assert {telling.way for telling in USUAL} == set(WAYS)


@settings(max_examples=500, deadline=None)
@given(st.sampled_from(CALLS), options, st.integers(1, 10_000))
def test_calls_of_any_length_are_told_truly(script: str, chosen: CallOptions, seed: int) -> None:
    for telling in tellings([play_script(script, chosen, seed=seed)]):
        _, wrong = compare(telling, telling.derive())
        assert [str(one) for one in wrong] == []


@pytest.mark.parametrize("telling", [one for one in USUAL if one.way == ALL], ids=title)
@pytest.mark.parametrize("company", [DIRECTORY, UNKNOWN_COMPANY], ids=["directory", "no directory"])
def test_the_order_of_arrival_makes_no_difference(telling: Telling, company: Any) -> None:
    chance = random.Random(7)
    right = derive(telling.facts, telling.records, company)
    for _ in range(5):
        facts, records = list(telling.facts), list(telling.records)
        chance.shuffle(facts)
        chance.shuffle(records)
        call = derive(facts, records, company)
        assert {name: getattr(call, name) for name in FIELDS} == {
            name: getattr(right, name) for name in FIELDS
        }
        assert call.agents == right.agents


def is_unknown(name: str, value: Any) -> bool:
    return value is None or value is Outcome.UNKNOWN


WHOLE = [telling for telling in USUAL if telling.way == ALL]


@settings(max_examples=1000, deadline=None)
@given(st.integers(0, len(WHOLE) - 1), st.randoms(use_true_random=False))
def test_a_further_record_never_makes_a_known_field_unknown(place: int, chance: random.Random) -> None:
    telling = WHOLE[place]
    facts = telling.facts[: chance.randint(0, len(telling.facts))]
    records = chance.sample(list(telling.records), len(telling.records))
    fewer = records[: chance.randint(0, len(records))]
    before, after = derive(facts, fewer, DIRECTORY), derive(facts, records, DIRECTORY)
    lost = {name for name in FIELDS if is_lost(name, before, after)}
    assert lost <= corrected(before, after)


def is_lost(name: str, before: DerivedCall, after: DerivedCall) -> bool:
    return not is_unknown(name, getattr(before, name)) and is_unknown(name, getattr(after, name))


def corrected(before: DerivedCall, after: DerivedCall) -> set[str]:
    """Return the fields that have no value because the better witness says something else of the call."""
    fields = set()
    was_answered, is_answered = (call.outcome_if_over is Outcome.ANSWERED for call in (before, after))
    if was_answered and not is_answered:
        fields |= {"answered_at", "ring_seconds"}
    if is_answered and not was_answered:
        fields |= {"talk_seconds"}
    if after.internal and not before.internal:
        fields |= {"external_number"}
    return fields
