"""Which changes become messages, and when a call is complete."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.calls.feed.catalogue import CHANGE_TYPES
from app.calls.feed.selection import expand
from app.calls.model import Stage
from app.ids import AccountId
from app.push.endpoints.matching import CallTraits, matches_type
from app.push.endpoints.model import Condition, Endpoint, EndpointKey, Rules
from app.push.spreading.plan import (
    ReadChange,
    Wait,
    choose_changes,
    choose_groups,
    judge_wait,
    undelivered,
    wants,
)
from tests.fakes.clock import START

NAMES = [one.name for one in CHANGE_TYPES]
WORDS = sorted({name.partition(".")[0] for name in NAMES})
READY, PENDING = {"state": "ready"}, {"state": "pending"}


def change(seq: int, call_id: str = "call_a", name: str = "call.final", stage: str = "final") -> ReadChange:
    shown = {"callId": call_id, "type": name, "at": START.isoformat(), "data": {"stage": stage}}
    return ReadChange(seq, f"{seq}-0a", shown)


def endpoint(position: int, name: str = "whe_a", **rules: Any) -> Endpoint:
    return Endpoint(
        key=EndpointKey(AccountId("908070001"), name),
        url="https://crm.example/",
        rules=Rules.model_validate(rules),
        position=position,
        condition=Condition(),
        created_at=START,
        updated_at=START,
    )


@given(patterns=st.lists(st.sampled_from([*NAMES, *(f"{word}.*" for word in WORDS)]), min_size=1, max_size=5))
def test_types_mean_the_same_as_in_the_feed(patterns: list[str]) -> None:
    assert {name for name in NAMES if matches_type(patterns, name)} == expand(patterns)
    assert all(matches_type(["*"], name) for name in NAMES)


@pytest.mark.parametrize(
    ("filters", "traits", "wanted"),
    [
        ({}, CallTraits("final"), True),
        ({"stage": ["final"]}, CallTraits("final"), True),
        ({"stage": ["ended"]}, CallTraits("final"), False),
        ({"internal": False}, CallTraits("final", internal=None), True),
        ({"internal": False}, CallTraits("final", internal=True), False),
        ({"internal": True}, CallTraits("final", internal=None), False),
        ({"main": True}, CallTraits("final", is_main=False), False),
        ({"direction": "Inbound"}, CallTraits("final", direction="Inbound"), True),
        ({"direction": "Inbound"}, CallTraits("final", direction=None), False),
    ],
)
def test_all_filters_must_match(filters: dict[str, Any], traits: CallTraits, wanted: bool) -> None:
    rules = Rules.model_validate({"filters": filters})
    assert wants(rules, change(1), traits) is wanted


def test_an_erasure_passes_every_filter_and_a_removed_call_none() -> None:
    rules = Rules.model_validate({"filters": {"internal": True}})
    assert wants(rules, change(1, name="call.erased"), None)
    assert not wants(Rules(), change(1), None)


@given(st.lists(st.sampled_from("abc"), max_size=20))
def test_latest_keeps_one_change_of_each_call_the_last(calls: list[str]) -> None:
    changes = [change(number, f"call_{one}") for number, one in enumerate(calls)]
    traits = {one.call_id: CallTraits("final") for one in changes}
    kept = choose_changes(Rules.model_validate({"deliver": "latest"}), changes, traits)
    assert {one.call_id: one.seq for one in kept} == {one.call_id: one.seq for one in changes}
    assert len(kept) == len(set(calls))
    assert choose_changes(Rules(), changes, traits) == changes


@given(st.lists(st.integers(0, 1_000), max_size=30), st.integers(1, 300))
def test_groups_are_close_together_and_have_the_first_and_the_last(positions: list[int], batch: int) -> None:
    groups = choose_groups([endpoint(one) for one in positions], batch)
    grouped = [[one.position for one in group] for group in groups]
    assert all(max(group) - min(group) < batch for group in grouped)
    if positions:
        assert {max(positions), min(positions)} <= {one for group in grouped for one in group}
    assert sum(map(len, grouped)) <= len(positions)


ONCE = Rules.model_validate(
    {"deliver": "onceWhenComplete", "complete": {"parts": ["record", "recording"], "longestWaitSeconds": 600}}
)
INCOMPLETE = CallTraits(Stage.BOOTSTRAPPED, readiness={"record": READY, "recording": PENDING}, ended_at=START)
COMPLETE = replace(INCOMPLETE, readiness={"record": READY, "recording": {"state": "none"}})
DEADLINE = START + timedelta(seconds=600)


def test_an_incomplete_call_waits_until_its_deadline() -> None:
    assert judge_wait(ONCE, INCOMPLETE, None, START) == Wait(DEADLINE)
    assert judge_wait(ONCE, INCOMPLETE, Wait(DEADLINE), START) is None
    assert judge_wait(ONCE, INCOMPLETE, Wait(DEADLINE), DEADLINE) == Wait(DEADLINE)


def test_a_complete_call_is_sent_at_once_and_never_again() -> None:
    assert judge_wait(ONCE, COMPLETE, Wait(DEADLINE), START) == Wait(START)
    assert judge_wait(ONCE, COMPLETE, Wait(None, 4711), START) is None


@pytest.mark.parametrize("stage", [Stage.LIVE, Stage.ABSENT])
def test_calls_that_go_on_or_were_none_are_not_waited_for(stage: Stage) -> None:
    traits = replace(COMPLETE, stage=stage)
    assert judge_wait(ONCE, traits, None, START) is None
    assert judge_wait(ONCE, traits, Wait(DEADLINE), START) == Wait()


def test_a_call_that_becomes_wanted_later_is_sent_then() -> None:
    rules = ONCE.model_copy(update={"filters": ONCE.filters.model_copy(update={"main": True})})
    other = replace(COMPLETE, is_main=False)
    assert judge_wait(rules, other, None, START) == Wait()
    assert judge_wait(rules, other, Wait(), START) is None
    assert judge_wait(rules, COMPLETE, Wait(), START) == Wait(START)


@given(st.sets(st.integers(1, 20)))
def test_what_was_delivered_is_left_out_of_a_recovery(delivered: set[int]) -> None:
    changes = [change(number) for number in range(1, 21)]
    assert {one.seq for one in undelivered(changes, delivered)} == set(range(1, 21)) - delivered
