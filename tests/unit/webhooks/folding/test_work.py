"""The work for a call grows in proportion to its facts, counted in bytecodes instead of seconds."""

import random
import sys
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from types import FrameType
from typing import Any

import pytest

from app.calls.evidence.facts import FIRST_FACTS, LAST_FACTS, Fact, Peer, SessionFacts, Stream
from app.calls.evidence.parties import MOST_RELATED, read_parties
from app.webhooks.folding.ending import judge_end
from app.webhooks.payloads.notification import (
    MAX_CALLS,
    MAX_PARTIES,
    PresenceEvent,
    TelephonyEvent,
    read_notification,
)
from tests.factories import NOON, active_call, delivery, party, presence

SIZE = 150


def count_bytecodes(work: Callable[[], Any]) -> int:
    """Return how many Python bytecodes a piece of work executes. The count is deterministic."""
    count = 0

    def trace(frame: FrameType, event: str, _arg: Any) -> Any:
        nonlocal count
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        count += event == "opcode"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


def a_fact(number: int, at: float, **fields: Any) -> Fact:
    when = NOON + timedelta(seconds=at)
    values: dict[str, Any] = {
        "source": Stream.TELEPHONY,
        "part": 0,
        "received_at": when,
        "direction": "Inbound",
    }
    values |= {"uuid": f"u-{number}-{at}", "event_time": when, "party_id": f"p-x-{number + 2}"}
    return Fact(**{**values, **fields})


def queue_members(size: int) -> list[Fact]:
    """Half of the parties are waiting queues, half are ringing members."""
    return [
        a_fact(number, at + number / 1000, extension_id=str(number), queue_call=number % 2 == 0, code=code)
        for number in range(size)
        for at, code in ((0.0, "Answered"), (60.0, "Disconnected"))
    ]


def menus(size: int) -> list[Fact]:
    """All parties come and go within two seconds; each may be the successor of all others."""
    return [
        a_fact(number, at + number / 10_000, extension_id=str(number), code=code)
        for number in range(size)
        for at, code in ((0.0, "Answered"), (1.0, "Disconnected"))
    ]


def hand_overs(size: int) -> list[Fact]:
    """All parties leave by a transfer that is not taken."""
    return [
        a_fact(number, 1.0, extension_id=str(number), code="Disconnected", reason="BlindTransfer")
        for number in range(size)
    ]


def parked(size: int) -> list[Fact]:
    return [
        a_fact(0, 0.0, code="Disconnected"),
        *(a_fact(number, 1.0, extension_id=str(number), code="Parked") for number in range(1, size)),
    ]


def without_sequence(size: int) -> list[Fact]:
    """One party, every other fact without a sequence."""
    return [
        a_fact(0, number, sequence=number if number % 2 else None, code=("Hold", "Answered")[number % 2])
        for number in range(size)
    ]


def holds(size: int) -> list[Fact]:
    """Many parties alternate between talking and hold."""
    return [
        a_fact(
            number % 10, number, extension_id=str(number % 10), code=("Answered", "Hold")[number // 10 % 2]
        )
        for number in range(size)
    ]


def presence_alone(size: int) -> list[Fact]:
    return [
        a_fact(
            0,
            number,
            source=Stream.PRESENCE,
            party_id=f"ext:{number}",
            extension_id=str(number),
            code="Answered",
        )
        for number in range(size)
    ]


@pytest.mark.parametrize(
    "facts", [queue_members, menus, hand_overs, parked, without_sequence, holds, presence_alone]
)
def test_work_grows_in_proportion_to_facts(facts: Callable[[int], Sequence[Fact]]) -> None:
    def work(size: int) -> int:
        session_facts = SessionFacts.of(facts(size))
        now: datetime = NOON + timedelta(seconds=10)
        return count_bytecodes(lambda: judge_end(read_parties(session_facts), now, 3.0, 30.0))

    assert work(2 * SIZE) < 2.6 * work(SIZE)


def test_a_call_keeps_its_first_and_last_facts_in_any_order() -> None:
    facts = [
        a_fact(0, number, sequence=number, code="Hold") for number in range(3 * (FIRST_FACTS + LAST_FACTS))
    ]
    whole = SessionFacts.of(facts)
    assert whole.facts == tuple(facts[:FIRST_FACTS] + facts[-LAST_FACTS:])
    random.Random(7).shuffle(facts)
    grown = SessionFacts()
    for start in range(0, len(facts), 700):
        grown = grown.union(facts[start : start + 700])
    assert grown == whole
    assert whole.union(whole) == whole


def test_what_is_read_of_one_delivery_is_bounded_and_the_rest_is_counted() -> None:
    calls = [active_call(sessionId=number, telephonySessionId=f"s-{number}") for number in range(11_000)]
    event = read_notification(presence(*calls), NOON)
    assert isinstance(event, PresenceEvent)
    assert (len(event.calls), event.left_out) == (MAX_CALLS, 11_000 - MAX_CALLS)

    event = read_notification(delivery(*(party(number) for number in range(2, 2002))), NOON)
    assert isinstance(event, TelephonyEvent)
    assert (len(event.calls[0].facts), event.left_out) == (MAX_PARTIES, 2000 - MAX_PARTIES)

    crowd = [{"id": str(number)} for number in range(5000)]
    event = read_notification(delivery(party(2, recordings=crowd)), NOON)
    assert isinstance(event, TelephonyEvent)
    assert len(event.calls[0].facts[0].recordings) == 20


def test_a_call_is_linked_with_a_bounded_number_of_others() -> None:
    facts = [a_fact(0, number, code="Gone", peer=Peer(str(number), f"s-{number}")) for number in range(500)]
    assert len(read_parties(SessionFacts.of(facts)).related) == MOST_RELATED
