"""What bounds on one axis imply on another, for calls of any length, and which edge is tighter."""

from datetime import datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import create_engine, insert, select

from app.calls.listing.axes import LONG, Axis, Edge, OddCall, Span, Spans, highest, lowest, lowest_change
from app.db.tables import calls
from app.db.tables.calls import ODD
from tests.factories_calls import call_values
from tests.fakes.clock import START

HOURS = st.integers(-30, 30).map(lambda hours: START + timedelta(hours=hours))
MAYBE = st.none() | HOURS


@st.composite
def some_calls(draw: st.DrawFn) -> list[OddCall]:
    drawn = draw(st.lists(st.tuples(HOURS, MAYBE), max_size=12))
    numbers = draw(st.permutations(range(1, len(drawn) + 1)))
    return [OddCall(*moments, number) for moments, number in zip(drawn, numbers, strict=True)]


def is_odd(call: OddCall) -> bool:
    if call.ended_at is None:
        return False
    return not call.started_at <= call.ended_at <= call.started_at + LONG


@given(some_calls(), st.tuples(MAYBE, MAYBE), st.tuples(MAYBE, MAYBE))
def test_no_call_is_outside_of_what_is_implied(
    found: list[OddCall], started: tuple[Any, Any], ended: tuple[Any, Any]
) -> None:
    stated = Spans(Span(*started), Span(*ended))
    implied = stated.imply([call for call in found if is_odd(call)])
    for call in found:
        if call.ended_at is None:
            continue
        if stated.started.includes(call.started_at) and stated.ended.includes(call.ended_at):
            assert implied.started.includes(call.started_at)
            assert implied.ended.includes(call.ended_at)


@given(some_calls(), HOURS)
def test_a_live_call_is_in_the_span_of_its_start(found: list[OddCall], since: datetime) -> None:
    implied = Spans(Span(since)).imply([call for call in found if is_odd(call)])
    assert implied.started == Span(since)


def test_bounds_help_each_other() -> None:
    implied = Spans(Span(), Span(START, START + LONG)).imply([])
    assert implied.started == Span(START - LONG, START + LONG)
    implied = Spans(Span(START, START), Span()).imply([])
    assert implied.ended == Span(START, START + LONG)


def test_an_odd_call_widens_only_what_it_is_part_of() -> None:
    long_ago = START - timedelta(days=3)
    odd = [OddCall(long_ago, START + timedelta(hours=1), 7)]
    assert Spans(Span(), Span(START)).imply(odd).started == Span(long_ago)
    assert Spans(Span(), Span(START + timedelta(hours=2))).imply(odd).started.low == START - timedelta(
        hours=4
    )


def test_a_call_that_changed_before_its_start_lowers_the_first_number() -> None:
    odd = [OddCall(START, None, 4), OddCall(START - timedelta(days=1), None, 2)]
    assert lowest_change(9, Span(START), odd) == 3
    assert lowest_change(1, Span(START), odd) == 1


def test_the_condition_of_the_index_has_the_same_longest_call() -> None:
    hours = LONG / timedelta(hours=1)
    assert f"interval '{hours:.0f} hours'" in ODD["postgresql"]
    assert f"> {hours / 24}" in ODD["sqlite"]


MOMENTS = [START + timedelta(seconds=second) for second in range(3)]
IDS = ["a", "b", "c"]
EDGES = st.builds(
    Edge,
    st.tuples(st.sampled_from(MOMENTS)) | st.tuples(st.sampled_from(MOMENTS), st.sampled_from(IDS)),
    st.booleans(),
)
ENGINE = create_engine("sqlite://")


def test_the_tightest_edge_says_what_all_say() -> None:
    with ENGINE.begin() as db:
        calls.create(db)
        for number, at in enumerate(MOMENTS):
            for name in IDS:
                row = call_values(call_id=f"{number}{name}", started_at=at, version=1, changed_seq=1)
                row |= {"parties": [], "related": [], "details": {}, "facts": []}
                db.execute(insert(calls).values(row))

        @given(st.lists(EDGES, min_size=1, max_size=4), st.booleans())
        def check(edges: list[Edge], is_low: bool) -> None:
            named = [
                Edge((edge.values[0], f"{MOMENTS.index(edge.values[0])}{edge.values[1]}"), edge.is_included)
                if len(edge.values) > 1
                else edge
                for edge in edges
            ]
            keys = Axis.STARTED.keys
            tightest = highest(named) if is_low else lowest(named)
            assert tightest is not None
            one = tightest.as_low(keys) if is_low else tightest.as_high(keys)
            each = [edge.as_low(keys) if is_low else edge.as_high(keys) for edge in named]
            ids = select(calls.c.call_id).order_by(calls.c.call_id)
            assert db.scalars(ids.where(one)).all() == db.scalars(ids.where(*each)).all()

        check()
