"""Links count for both sides, however often and in whatever order they are named."""

from hypothesis import given
from hypothesis import strategies as st

from app.calls.model import LinkKind
from app.calls.related.links import (
    Half,
    KnownCall,
    Link,
    are_ring_out,
    conversation_of,
    key_of,
    related_of,
)
from tests.fakes.clock import START

CALLS = [KnownCall(f"call_{number}", f"s-{number}", str(1000 + number)) for number in range(6)]
STRANGERS = ["s-90", "s-91", "sessionId:777"]
names = st.sampled_from(
    [*(call.key for call in CALLS), *(key_of(None, call.session_id) for call in CALLS), *STRANGERS]
)
links = st.builds(
    Link,
    st.sampled_from([call.key for call in CALLS]),
    names,
    st.sampled_from(list(LinkKind)),
    st.sampled_from([None, "1", "2"]),
)
sets_of_links = st.lists(links, max_size=12)


def others(call: KnownCall) -> list[KnownCall]:
    return [other for other in CALLS if other is not call]


@given(sets_of_links)
def test_every_link_between_known_calls_is_symmetric(named: list[Link]) -> None:
    shown = {
        (call.call_id, link["callId"], link["kind"])
        for call in CALLS
        for link in related_of(call, named, others(call))
        if link["callId"]
    }
    assert shown == {(other, one, kind) for one, other, kind in shown}


@given(sets_of_links, st.randoms(use_true_random=False))
def test_order_and_repetition_change_nothing(named: list[Link], chance: object) -> None:
    shuffled = [*named, *named]
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    for call in CALLS:
        assert related_of(call, shuffled, others(call)) == related_of(call, named, others(call))
        assert conversation_of(call, shuffled, CALLS) == conversation_of(call, named, CALLS)


@given(sets_of_links)
def test_related_calls_share_their_conversation_and_none_is_related_to_itself(named: list[Link]) -> None:
    by_id = {call.call_id: call for call in CALLS}
    for call in CALLS:
        conversation = conversation_of(call, named, CALLS)
        related = related_of(call, named, others(call))
        assert (conversation is None) == (related == [])
        for link in related:
            assert link["callId"] != call.call_id
            assert (
                link["callId"] is None or conversation_of(by_id[link["callId"]], named, CALLS) == conversation
            )


halves = st.builds(
    Half,
    key=st.sampled_from(["s-1", "s-2", "s-3"]),
    session_id=st.sampled_from([None, "0", "1229016182016", "1229016183016", "1229016189016"]),
    is_ring_out=st.booleans(),
    sides=st.frozensets(st.sampled_from(["+1", "+2", "7"])),
    outside=st.sampled_from([None, "+1", "+2"]),
    started_at=st.just(START),
)


@given(halves, halves)
def test_the_two_halves_of_a_ring_out_match(one: Half, other: Half) -> None:
    assert are_ring_out(one, other) == are_ring_out(other, one)
