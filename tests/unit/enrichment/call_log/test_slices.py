"""How a range is cut into slices, and which calls belong to one."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.enrichment.call_log.slices import (
    FIRST_SPAN_SECONDS,
    LONGEST_SPAN_SECONDS,
    SHORTEST_SPAN_SECONDS,
    TimeSlice,
    belonging_to,
    is_over,
    key_of,
    next_slice,
    next_span,
    shorter,
    sort_by_call,
)
from app.ringcentral.models import CallRecord, read_call_record
from tests.factories_calls import raw_record
from tests.fakes.clock import START


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def record(record_id: str = "r", started: float = 0.0, **fields: Any) -> CallRecord:
    row = raw_record(record_id, startTime=at(started).isoformat(), **fields)
    decoded = read_call_record(row)
    assert isinstance(decoded, CallRecord)
    return decoded


@given(
    length=st.floats(0.5, 200_000.0),
    records=st.lists(st.integers(0, 20_000), max_size=400),
    aim=st.integers(1, 2000),
)
def test_slices_cover_a_range_without_a_hole_and_end(length: float, records: list[int], aim: int) -> None:
    end, cursor, span = at(length), None, None
    covered = START
    for found in [*records, *[0] * 1000]:
        part = next_slice(START, end, cursor, span)
        if part is None:
            break
        assert part.begin == covered
        assert part.begin < part.end <= end
        covered = cursor = part.end
        span = next_span(part, found, aim)
        assert SHORTEST_SPAN_SECONDS <= span <= LONGEST_SPAN_SECONDS
    if next_slice(START, end, cursor, span) is None:
        assert covered == end


def test_a_range_that_has_no_length_has_no_slice() -> None:
    assert next_slice(START, START, None, None) is None
    assert next_slice(START, at(9), at(9), None) is None


def test_a_cursor_before_the_range_does_not_count() -> None:
    assert next_slice(START, at(9), at(-9), None) == TimeSlice(START, at(9))


def test_the_first_slice_is_an_hour() -> None:
    assert next_slice(START, at(999_999), None, None) == TimeSlice(START, at(FIRST_SPAN_SECONDS))


def test_a_quiet_hour_is_followed_by_a_longer_slice_and_a_busy_one_by_a_shorter() -> None:
    hour = TimeSlice(START, at(3600))
    assert next_span(hour, 0, 2000) == 4 * 3600
    assert next_span(hour, 4000, 2000) == 1800
    assert next_span(hour, 1_000_000, 2000) == 900


def test_a_slice_that_is_too_much_is_cut_to_what_its_first_page_shows() -> None:
    hour = TimeSlice(START, at(3600))
    cut = shorter(hour, 60.0, at(3600 - 140), 4)
    assert cut == TimeSlice(START, at(480)), (
        "a page holds 200 s, four of them three quarters full 600, less the margins"
    )
    assert shorter(hour, 60.0, at(100), 4) is None, "it fits"
    assert shorter(hour, 60.0, None, 4) is None
    assert shorter(hour, 60.0, at(3659), 4) == TimeSlice(START, at(SHORTEST_SPAN_SECONDS))


def test_a_call_belongs_to_the_slice_in_which_its_first_record_starts() -> None:
    calls = sort_by_call(
        [
            record("late", 650, telephonySessionId="s-a"),
            record("first", 590, telephonySessionId="s-a"),
            record("before", -1, telephonySessionId="s-b"),
            record("after", 30, telephonySessionId="s-b"),
            record("next", 601, telephonySessionId="s-c"),
        ]
    )
    mine = belonging_to(TimeSlice(START, at(600)), calls)
    assert {key[0]: [item.id for item in rows] for key, rows in mine.items()} == {"s-a": ["late", "first"]}


def test_a_slice_begins_with_its_whole_second() -> None:
    calls = sort_by_call([record(started=0)])
    assert belonging_to(TimeSlice(START + timedelta(milliseconds=400), at(600)), calls)


@pytest.mark.parametrize(
    ("fields", "key"),
    [
        ({}, ("s-a0c14f2b77d1ez1928b3f4c10z5e6f70000", "1229016182016")),
        ({"telephonySessionId": None}, (None, "1229016182016")),
        ({"sessionId": "0"}, ("s-a0c14f2b77d1ez1928b3f4c10z5e6f70000", None)),
        ({"sessionId": "0", "telephonySessionId": None}, None),
    ],
)
def test_a_call_is_known_by_its_key_and_its_session(fields: dict[str, Any], key: object) -> None:
    assert key_of(record(**fields)) == key


@pytest.mark.parametrize(
    ("fields", "over"),
    [
        ({"duration": 96}, True),
        ({"duration": 500}, False),
        ({"result": "In Progress"}, False),
        ({"deleted": True}, False),
    ],
)
def test_only_a_call_that_has_ended_some_time_ago_is_over(fields: dict[str, Any], over: bool) -> None:
    assert is_over([record(**fields)], at(300)) is over
    assert not is_over([record(), record("other", result="In Progress")], at(300))
