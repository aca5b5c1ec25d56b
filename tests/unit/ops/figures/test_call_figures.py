"""Figures out of counts."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.ops.figures.call_figures import (
    BINS,
    TICKS,
    CallFigures,
    add_up_figures,
    bin_of,
    fill_minutes,
    period_start,
    summarize_delays,
)

NOW = datetime(2026, 3, 10, 18, 10, 30, tzinfo=UTC)


@given(st.lists(st.tuples(st.integers(0, TICKS * 40), st.integers(1, 50)), min_size=1, max_size=60))
def test_every_delay_is_in_one_bar_and_percentiles_are_among_the_delays(ticks: list[tuple[int, int]]) -> None:
    found = summarize_delays(ticks, 120.0)
    assert sum(found.bins) == found.count == sum(number for _, number in ticks)
    assert found.median_seconds is not None
    assert found.p99_seconds is not None
    assert found.median_seconds <= found.p99_seconds
    known = {round((tick + 0.5) * 0.1, 6) for tick, _ in ticks}
    assert {round(found.median_seconds, 6), round(found.p99_seconds, 6)} <= known


def test_percentiles_are_nearest_rank() -> None:
    found = summarize_delays([(30, 98), (60, 1), (900, 1)], 120.0)
    assert found.median_seconds == pytest.approx(3.05)
    assert found.p99_seconds == pytest.approx(6.05)


def test_no_delay_means_no_percentile() -> None:
    assert summarize_delays([], 120.0).median_seconds is None


@given(st.floats(0, 5), st.floats(0, 5))
def test_histogram_keeps_the_order_of_delays(one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert 0 <= bin_of(low) <= bin_of(high) <= BINS


def test_last_bar_has_only_delays_after_the_window() -> None:
    assert bin_of(1.0) == BINS
    assert bin_of(0.9999) == BINS - 1


def test_outcomes_add_up_without_live_calls() -> None:
    groups = [
        (1, "in_window", 6), (1, "later", 1), (2, "absent", 1), (2, "waiting", 2), (2, "overdue", 1),
        (2, "live", 4),
    ]  # fmt: skip
    found = add_up_figures(groups, live=5)
    assert found == CallFigures(ended=11, in_window=6, later=1, absent=1, waiting=2, overdue=1, live=5)
    assert found.found_share == pytest.approx(6 / 9)


def test_swept_calls_do_not_count_in_the_found_share() -> None:
    found = add_up_figures([(1, "in_window", 9), (1, "swept", 41)], live=0)
    assert (found.ended, found.swept, found.found_share) == (50, 41, 1.0)
    assert add_up_figures([(1, "swept", 41)], live=0).found_share is None


def test_found_share_is_none_while_nothing_is_decided() -> None:
    assert CallFigures(ended=2, waiting=2).found_share is None


def test_period_has_sixty_minutes() -> None:
    last = int(NOW.timestamp()) // 60
    found = fill_minutes(
        [(last, "waiting", 2), (last - 59, "in_window", 3), (last - 60, "in_window", 9)], NOW
    )
    assert len(found) == 60
    assert (found[-1].open, found[0].in_window, found[1].in_window) == (2, 3, 0)
    assert found[-1].at == NOW.replace(second=0)
    assert all(after.at - before.at == timedelta(minutes=1) for before, after in pairwise(found))


@given(st.floats(0, 86_400).map(lambda seconds: NOW + timedelta(seconds=seconds)))
def test_minutes_cover_the_whole_period(now: datetime) -> None:
    found = fill_minutes([], now)
    assert found[0].at == period_start(now)
    assert timedelta(minutes=59) <= now - period_start(now) < timedelta(minutes=60)
