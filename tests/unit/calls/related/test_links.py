"""Which sessions are related, decided from plain values."""

from dataclasses import replace
from datetime import timedelta

import pytest

from app.calls.model import LinkKind
from app.calls.related.links import (
    Half,
    KnownCall,
    Link,
    are_ring_out,
    conversation_of,
    key_of,
    near_session_ids,
    related_of,
    side_texts,
)
from tests.fakes.clock import START

FIRST = KnownCall("call_1", "s-1", "1001")
SECOND = KnownCall("call_2", "s-2", "2002")
ROOM = KnownCall("call_3", "s-3", None)
TRANSFER = Link("s-1", "s-2", LinkKind.ATTENDED_TRANSFER, "2002")


def test_a_link_that_one_side_names_shows_on_both() -> None:
    assert related_of(FIRST, [TRANSFER], [SECOND]) == [
        {"kind": "attendedTransfer", "telephonySessionId": "s-2", "sessionId": "2002", "callId": "call_2"}
    ]
    assert related_of(SECOND, [TRANSFER], [FIRST]) == [
        {"kind": "attendedTransfer", "telephonySessionId": "s-1", "sessionId": "1001", "callId": "call_1"}
    ]


def test_a_related_unknown_session_shows_its_known_ids() -> None:
    assert related_of(FIRST, [TRANSFER], []) == [
        {"kind": "attendedTransfer", "telephonySessionId": "s-2", "sessionId": "2002", "callId": None}
    ]


def test_a_peer_that_was_named_by_its_session_id_alone_is_the_same_call() -> None:
    by_number = Link("s-1", key_of(None, "2002"), LinkKind.PICKUP, "2002")
    assert [link["callId"] for link in related_of(FIRST, [by_number], [SECOND])] == ["call_2"]
    assert [link["callId"] for link in related_of(SECOND, [by_number], [FIRST])] == ["call_1"]
    (unknown,) = related_of(FIRST, [by_number], [])
    assert (unknown["telephonySessionId"], unknown["sessionId"]) == (None, "2002")


def test_a_link_that_both_sides_name_is_one_link() -> None:
    back = Link("s-2", "s-1", LinkKind.ATTENDED_TRANSFER, "1001")
    assert len(related_of(FIRST, [TRANSFER, back], [SECOND])) == 1


def test_a_known_kind_of_link_replaces_an_unknown_one() -> None:
    vague = Link("s-2", "s-1", LinkKind.LINKED)
    assert [link["kind"] for link in related_of(FIRST, [vague, TRANSFER], [SECOND])] == ["attendedTransfer"]
    assert [link["kind"] for link in related_of(FIRST, [vague], [SECOND])] == ["linked"]


def test_links_of_others_are_not_shown() -> None:
    assert related_of(ROOM, [TRANSFER], [FIRST, SECOND]) == []


def test_linked_calls_are_one_conversation() -> None:
    links = [TRANSFER, Link("s-2", "s-3", LinkKind.CONFERENCE)]
    everybody = [FIRST, SECOND, ROOM]
    ids = {conversation_of(one, links, everybody) for one in everybody}
    assert len(ids) == 1
    assert str(ids.pop()).startswith("conv_")
    assert conversation_of(ROOM, [TRANSFER], everybody) is None


def test_conferences_are_not_joined_by_their_zero() -> None:
    assert key_of(None, "0") == ""
    assert KnownCall("call_3", "s-3", "0").names == {"s-3"}


def half(**fields: object) -> Half:
    return replace(
        Half(
            key="s-1",
            session_id="1229016182016",
            is_ring_out=True,
            sides=frozenset({"+15550100101", "711000101"}),
            outside="+15550179001",
            started_at=START,
        ),
        **fields,  # type: ignore[arg-type]
    )


OTHER = half(key="s-2", session_id="1229016183016", started_at=START + timedelta(seconds=3))


def test_the_two_phones_of_a_ring_out_match() -> None:
    assert are_ring_out(half(), OTHER)
    assert are_ring_out(OTHER, half())


@pytest.mark.parametrize(
    "changed",
    [
        {"session_id": "1229016190016"},
        {"session_id": None},
        {"session_id": "0"},
        {"is_ring_out": False},
        {"sides": frozenset({"711000102"})},
        {"outside": "+15550179002"},
        {"started_at": START + timedelta(minutes=3)},
        {"key": "s-1"},
    ],
)
def test_sessions_that_differ_are_not_a_ring_out(changed: dict[str, object]) -> None:
    assert not are_ring_out(half(), replace(OTHER, **changed))  # type: ignore[arg-type]


def test_neighbours_of_a_session_id_are_a_range_of_texts_of_one_length() -> None:
    assert near_session_ids("1229016182016") == ("1229016178016", "1229016186016")
    assert near_session_ids("9999999999999") == ("9999999995999", "9999999999999")
    assert near_session_ids("1000") == ("0000", "5000")
    assert near_session_ids("s-1") is None
    assert near_session_ids(None) is None


def test_sides_are_numbers_and_extensions_only() -> None:
    assert side_texts({"phoneNumber": "+1", "name": "Ana"}, None, {"extensionId": "7", "phoneNumber": 8}) == {
        "+1",
        "7",
    }
