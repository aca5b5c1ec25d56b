"""Figures out of counts."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.ops.problems_to_fix import read_problem
from app.ops.summary import (
    BINS,
    TICKS,
    CallFigures,
    bin_of,
    delays,
    figures,
    minutes,
    period_start,
    read_budget,
)
from app.rate_limits import bucket as budget
from app.rate_limits.bucket_state import BucketState
from app.ringcentral.ports import Priority
from app.settings import Settings

NOW = datetime(2026, 3, 10, 18, 10, 30, tzinfo=UTC)


@given(st.lists(st.tuples(st.integers(0, TICKS * 40), st.integers(1, 50)), min_size=1, max_size=60))
def test_every_delay_is_in_one_bar_and_percentiles_are_among_the_delays(ticks: list[tuple[int, int]]) -> None:
    told = delays(ticks, 120.0)
    assert sum(told.bins) == told.count == sum(number for _, number in ticks)
    assert told.median_seconds is not None
    assert told.p99_seconds is not None
    assert told.median_seconds <= told.p99_seconds
    known = {round((tick + 0.5) * 0.1, 6) for tick, _ in ticks}
    assert {round(told.median_seconds, 6), round(told.p99_seconds, 6)} <= known


def test_percentiles_are_nearest_rank() -> None:
    told = delays([(30, 98), (60, 1), (900, 1)], 120.0)
    assert told.median_seconds == pytest.approx(3.05)
    assert told.p99_seconds == pytest.approx(6.05)


def test_no_record_means_no_percentile() -> None:
    assert delays([], 120.0).median_seconds is None


@given(st.floats(0, 5), st.floats(0, 5))
def test_a_later_record_never_stands_left_of_an_earlier_one(one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert 0 <= bin_of(low) <= bin_of(high) <= BINS


def test_only_what_came_after_the_window_is_in_the_last_bar() -> None:
    assert bin_of(1.0) == BINS
    assert bin_of(0.9999) == BINS - 1


def test_open_calls_that_do_not_wait_have_missed_the_window() -> None:
    groups = [
        (1, "in_window", 6), (1, "later", 1), (2, "absent", 1), (2, "waiting", 2), (2, "overdue", 1), (2, "live", 4),
    ]  # fmt: skip
    told = figures(groups, live=5)
    assert told == CallFigures(ended=11, in_window=6, later=1, absent=1, waiting=2, overdue=1, live=5)
    assert told.found_share == pytest.approx(6 / 9)


def test_swept_calls_are_no_part_of_the_windows_share() -> None:
    told = figures([(1, "in_window", 9), (1, "swept", 41)], live=0)
    assert (told.ended, told.swept, told.found_share) == (50, 41, 1.0)
    assert figures([(1, "swept", 41)], live=0).found_share is None


def test_nothing_decided_has_no_share() -> None:
    assert CallFigures(ended=2, waiting=2).found_share is None


def test_the_hour_has_sixty_minutes_with_gaps_filled() -> None:
    last = int(NOW.timestamp()) // 60
    told = minutes([(last, "waiting", 2), (last - 59, "in_window", 3), (last - 60, "in_window", 9)], NOW)
    assert len(told) == 60
    assert (told[-1].open, told[0].in_window, told[1].in_window) == (2, 3, 0)
    assert told[-1].at == NOW.replace(second=0)
    assert all(after.at - before.at == timedelta(minutes=1) for before, after in pairwise(told))


def test_a_bucket_shows_what_occupies_it() -> None:
    limits = budget.Limits(request_timeout_seconds=10.0)
    granted = budget.admit(BucketState(), Priority.POLL, NOW, limits)
    assert isinstance(granted, budget.Granted)
    state = budget.settle(granted.state, granted.token, budget.RateResponse(200), NOW, limits)
    told = read_budget(state.to_json(), Settings(), NOW + timedelta(seconds=20))
    assert (told.limit, told.free, told.silent_until) == (10, 9, None)
    assert [slot.priority for slot in told.slots] == ["poll"]
    assert told.slots[0].frees_at - NOW == pytest.approx(timedelta(seconds=60), abs=timedelta(seconds=1))


def test_a_penalty_leaves_nothing_free() -> None:
    limits = budget.Limits()
    granted = budget.admit(BucketState(), Priority.POLL, NOW, limits)
    assert isinstance(granted, budget.Granted)
    refused = budget.RateResponse(429, retry_after_seconds=30)
    told = read_budget(
        budget.settle(granted.state, granted.token, refused, NOW, limits).to_json(), Settings(), NOW
    )
    assert told.free == 0
    assert told.silent_until is not None


def test_a_new_bucket_is_all_free() -> None:
    told = read_budget({}, Settings(), NOW)
    assert (told.free, told.slots) == (10, ())


@given(st.floats(0, 86_400).map(lambda seconds: NOW + timedelta(seconds=seconds)))
def test_the_minutes_are_the_whole_period(now: datetime) -> None:
    told = minutes([], now)
    assert told[0].at == period_start(now)
    assert timedelta(minutes=59) <= now - period_start(now) < timedelta(minutes=60)


def test_a_problem_without_a_code_is_known_by_what_it_is_about() -> None:
    told = read_problem("subscription", "~", {"code": None, "detail": "timeout", "since": NOW.isoformat()})
    assert (told.code, told.detail, told.since) == ("subscription", "timeout", NOW)
