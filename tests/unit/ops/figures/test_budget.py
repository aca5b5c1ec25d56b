"""What a stored rate bucket allows."""

from datetime import UTC, datetime, timedelta

import pytest

from app.ops.figures.budget import read_budget
from app.rate_limits import bucket as budget
from app.rate_limits.bucket_state import BucketState
from app.ringcentral.ports import Priority
from app.settings import Settings

NOW = datetime(2026, 3, 10, 18, 10, 30, tzinfo=UTC)


def test_budget_lists_the_requests_that_occupy_it() -> None:
    limits = budget.Limits(request_timeout_seconds=10.0)
    granted = budget.admit(BucketState(), Priority.POLL, NOW, limits)
    assert isinstance(granted, budget.Granted)
    state = budget.settle(granted.state, granted.token, budget.RateResponse(200), NOW, limits)
    found = read_budget(state.to_json(), Settings(), NOW + timedelta(seconds=20))
    assert (found.limit, found.free, found.silent_until) == (10, 9, None)
    assert [slot.priority for slot in found.slots] == ["poll"]
    assert found.slots[0].frees_at - NOW == pytest.approx(timedelta(seconds=60), abs=timedelta(seconds=1))


def test_penalty_leaves_no_request_free() -> None:
    limits = budget.Limits()
    granted = budget.admit(BucketState(), Priority.POLL, NOW, limits)
    assert isinstance(granted, budget.Granted)
    refused = budget.RateResponse(429, retry_after_seconds=30)
    found = read_budget(
        budget.settle(granted.state, granted.token, refused, NOW, limits).to_json(), Settings(), NOW
    )
    assert found.free == 0
    assert found.silent_until is not None


def test_new_bucket_is_entirely_free() -> None:
    found = read_budget({}, Settings(), NOW)
    assert (found.free, found.slots) == (10, ())
