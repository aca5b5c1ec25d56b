"""The window of a rate limit and its restarting penalty."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from app.simulator.platform.rate_limits import Bucket, Rule, Verdict, headers, seconds_text

RULE = Rule(limit=10, window_seconds=60.0, penalty_seconds=60.0)
START = datetime(2026, 3, 10, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def full_bucket() -> Bucket:
    bucket = Bucket()
    for second in range(10):
        assert bucket.admit(RULE, at(second)).allowed
    return bucket


def test_the_eleventh_request_of_a_window_is_refused() -> None:
    assert full_bucket().admit(RULE, at(10)) == Verdict(False, 0, 60.0)


def test_remaining_counts_down() -> None:
    bucket = Bucket()
    assert [bucket.admit(RULE, at(second)).remaining for second in range(3)] == [9, 8, 7]


def test_the_window_slides() -> None:
    bucket = full_bucket()
    assert bucket.admit(RULE, at(60)).allowed
    assert not bucket.admit(RULE, at(60.5)).allowed


def test_every_request_during_the_penalty_restarts_it() -> None:
    bucket = full_bucket()
    bucket.admit(RULE, at(10))
    assert not bucket.admit(RULE, at(69)).allowed
    assert not bucket.admit(RULE, at(128)).allowed
    assert bucket.admit(RULE, at(188)).allowed


def test_no_request_for_the_whole_penalty_ends_it() -> None:
    bucket = full_bucket()
    bucket.admit(RULE, at(10))
    assert bucket.admit(RULE, at(70)).allowed


@given(st.lists(st.floats(0, 30), min_size=1, max_size=80))
def test_no_window_contains_more_than_the_limit(gaps: list[float]) -> None:
    bucket, now = Bucket(), START
    allowed = []
    for gap in gaps:
        now += timedelta(seconds=gap)
        if bucket.admit(RULE, now).allowed:
            allowed.append(now)
    assert allowed
    for first in allowed:
        within = [one for one in allowed if first <= one < first + timedelta(seconds=60)]
        assert len(within) <= RULE.limit


def test_headers_contain_group_limit_remaining_and_window() -> None:
    shown = headers("Heavy", Rule(10, 6.0, 6.0), Verdict(True, 4), limit_headers=True, retry_after=True)
    assert shown == {
        "X-Rate-Limit-Group": "heavy",
        "X-Rate-Limit-Limit": "10",
        "X-Rate-Limit-Remaining": "4",
        "X-Rate-Limit-Window": "6",
    }


def test_headers_can_be_switched_off() -> None:
    refused = Verdict(False, 0, 0.6)
    assert headers("Heavy", RULE, refused, limit_headers=False, retry_after=False) == {}
    assert headers("Heavy", RULE, refused, limit_headers=False, retry_after=True) == {"Retry-After": "0.6"}


def test_scaled_seconds_have_no_trailing_zeros() -> None:
    assert [seconds_text(value) for value in (60.0, 0.6, 1.5, 0.0125)] == ["60", "0.6", "1.5", "0.013"]
