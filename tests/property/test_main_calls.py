"""The main call of any calls at all: one, in any order, and it changes only to a better one."""

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from app.calls.main_calls.rule import Member, Standing, main_of, merit
from app.calls.model import Outcome
from tests.fakes.clock import START

members = st.builds(
    Member,
    call_id=st.uuids().map(str),
    key=st.one_of(st.uuids().map("s-{}".format), st.uuids().map("sessionId:{}".format)),
    started_at=st.integers(0, 90).map(lambda seconds: START + timedelta(seconds=seconds)),
    internal=st.sampled_from([None, True, False]),
    external_number=st.sampled_from([None, "+15550179001", "+15550188002"]),
    outcome=st.sampled_from(list(Outcome)),
    origin=st.sampled_from([None, "Call", "RingOut", "Conference", "Zoom"]),
    action=st.sampled_from([None, "Phone Call", "RingOut Web", "Monitoring", "Pickup", "Conference Call"]),
    dialed=st.sampled_from([None, "101", "*80", "*801", "conference", "+15550179001"]),
    calls_extension=st.booleans(),
    supervises=st.booleans(),
    was_picked_up=st.booleans(),
)
conversations = st.lists(
    members, min_size=1, max_size=8, unique_by=(lambda one: one.call_id, lambda one: one.key)
)


@given(conversations, st.randoms(use_true_random=False))
def test_the_order_of_arrival_does_not_matter(calls: list[Member], chance: object) -> None:
    main = main_of(calls)
    assert main in {call.call_id for call in calls}
    shuffled = [*calls]
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    assert main_of(shuffled) == main


@given(conversations, members)
def test_a_call_that_comes_later_changes_the_choice_only_to_itself(
    calls: list[Member], later: Member
) -> None:
    assert main_of([*calls, later]) in {main_of(calls), later.call_id}


@given(conversations)
def test_what_serves_another_call_is_never_the_main_one_beside_it(calls: list[Member]) -> None:
    by_id = {call.call_id: call for call in calls}
    main = by_id[main_of(calls)]
    assert main.standing == min(call.standing for call in calls)
    if main.standing is Standing.SIDE:
        assert {call.standing for call in calls} == {Standing.SIDE}


@given(conversations)
def test_no_two_calls_have_the_same_place(calls: list[Member]) -> None:
    assert len({merit(call) for call in calls}) == len(calls)
