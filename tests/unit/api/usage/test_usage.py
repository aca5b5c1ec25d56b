"""The limit of a key, and the origins from which it may be used."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.api.usage.bucket import Bucket, Quota, admit, quota_of
from app.api.usage.limits import KeyLimits
from app.api.usage.origins import check_origins, may_use
from app.errors import Unprocessable
from tests.fakes.clock import FakeClock

QUOTA = Quota(10, 5.0)


def test_a_quota_follows_from_a_rate_and_a_burst() -> None:
    assert quota_of(6000, 10.0) == Quota(1000, 10.0)
    assert quota_of(1, 10.0) == Quota(1, 60.0)
    assert quota_of(0, 10.0) is None


def test_a_burst_passes_and_the_next_request_has_to_wait() -> None:
    bucket: Bucket | None = None
    for left in range(9, -1, -1):
        bucket, verdict = admit(bucket, QUOTA, 100.0)
        assert (verdict.admitted, verdict.remaining) == (True, left)
    bucket, verdict = admit(bucket, QUOTA, 100.0)
    assert (verdict.admitted, verdict.remaining, verdict.retry_seconds, verdict.reset_seconds) == (
        False,
        0,
        1,
        5,
    )
    _, verdict = admit(bucket, QUOTA, 101.0)
    assert (verdict.admitted, verdict.remaining) == (True, 1)


@given(st.lists(st.floats(0, 3), max_size=60), st.integers(1, 50), st.floats(0.5, 60))
def test_no_window_takes_more_than_the_burst_and_what_came_back(
    pauses: list[float], requests: int, seconds: float
) -> None:
    quota, now, bucket, passed = Quota(requests, seconds), 0.0, None, []
    for pause in pauses:
        now += pause
        bucket, verdict = admit(bucket, quota, now)
        if verdict.admitted:
            passed.append(now)
        else:
            # Whoever waits as long as he is told is admitted.
            assert admit(bucket, quota, now + verdict.retry_seconds)[1].admitted
    for index, begin in enumerate(passed):
        for number, end in enumerate(passed[index:], 1):
            assert number <= quota.requests + (end - begin) * quota.per_second + 1e-6


def test_each_key_has_a_bucket_of_its_own() -> None:
    clock = FakeClock()
    limits = KeyLimits(clock, per_minute=6, burst_seconds=10)
    first = limits.count("~", "a", None)
    again = limits.count("~", "a", None)
    assert first is not None
    assert again is not None
    assert (first.admitted, again.admitted) == (True, False)
    other = limits.count("~", "b", None)
    assert other is not None
    assert other.admitted
    assert limits.count("~", "a", 0) is None
    clock.advance(10)
    later = limits.count("~", "a", None)
    assert later is not None
    assert later.admitted


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("https://CRM.example.com", "https://crm.example.com"),
        ("https://crm.example.com:443/", "https://crm.example.com"),
        ("https://crm.example.com:8443", "https://crm.example.com:8443"),
        ("http://localhost:3000", "http://localhost:3000"),
        ("http://[::1]:3000", "http://[::1]:3000"),
    ],
)
def test_origins_are_kept_as_browsers_send_them(sent: str, kept: str) -> None:
    assert check_origins([sent]) == (kept,)


@pytest.mark.parametrize(
    "origin",
    ["*", "null", "", "crm.example.com", "http://crm.example.com", "https://a@crm.example.com", "https://*.example.com",
     "https://crm.example.com/path", "https://crm.example.com:port", "ftp://crm.example.com", "https://é.example.com"],
)  # fmt: skip
def test_what_is_no_origin_is_refused(origin: str) -> None:
    with pytest.raises(Unprocessable):
        check_origins([origin])


def test_a_browser_needs_an_origin_of_the_key_or_our_own() -> None:
    mine = {"https://crm.example.com"}
    assert may_use(None, "aftercall.test", ())
    assert may_use("https://crm.example.com", "aftercall.test", mine)
    assert may_use("https://aftercall.test", "aftercall.test", ())
    assert not may_use("https://evil.example.com", "aftercall.test", mine)
    assert not may_use("https://crm.example.com.evil.example", "aftercall.test", mine)
    assert not may_use("null", "aftercall.test", mine)
    assert not may_use("null", "", ())
