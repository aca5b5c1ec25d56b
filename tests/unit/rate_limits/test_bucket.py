"""One rate bucket: slots, penalty, headers, priorities."""

import json
import math
import tracemalloc
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.rate_limits import bucket as budget
from app.rate_limits.bucket import NO_ANSWER, Denied, Granted, Limits, RateResponse
from app.rate_limits.bucket_state import MOST_SLOTS, BucketState
from app.ringcentral.ports import Priority

NOW = datetime(2026, 3, 10, 18, 0, tzinfo=UTC)
LIMITS = Limits(
    limit=10, window_seconds=60, penalty_seconds=60, request_timeout_seconds=30, margin_share=1 / 600
)
OK = RateResponse(200)


def at(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def grant(
    state: BucketState, seconds: float, priority: Priority = Priority.POLL, *, polls_waiting: bool = False
) -> Granted:
    verdict = budget.admit(state, priority, at(seconds), LIMITS, polls_waiting=polls_waiting)
    assert isinstance(verdict, Granted), verdict
    return verdict


def refuse(
    state: BucketState, seconds: float, priority: Priority = Priority.POLL, *, polls_waiting: bool = False
) -> Denied:
    verdict = budget.admit(state, priority, at(seconds), LIMITS, polls_waiting=polls_waiting)
    assert isinstance(verdict, Denied), verdict
    return verdict


def spent(count: int, seconds: float = 0.0, priority: Priority = Priority.POLL) -> BucketState:
    """A bucket with `count` requests sent at `seconds` and answered half a second later."""
    state = BucketState()
    for _ in range(count):
        granted = grant(state, seconds, priority)
        state = budget.settle(granted.state, granted.token, OK, at(seconds + 0.5), LIMITS)
    return state


def test_a_new_bucket_grants_the_limit_and_no_more() -> None:
    state = spent(10)
    assert budget.free_slots(state, at(1), LIMITS) == 0
    assert refuse(state, 1).until == at(60.6)


def test_a_slot_is_occupied_for_a_window_after_the_response() -> None:
    state = spent(10)
    refuse(state, 60.59)
    grant(state, 60.6)


def test_an_unanswered_request_occupies_its_slot_for_its_timeout_and_a_window() -> None:
    state = BucketState()
    for _ in range(10):
        state = grant(state, 0).state
    assert refuse(state, 89).until == at(90.1)
    grant(state, 90.1)


def test_a_late_response_occupies_a_slot_that_seemed_free() -> None:
    granted = grant(BucketState(), 0)
    state = budget.settle(granted.state, granted.token, OK, at(100), LIMITS)
    assert budget.free_slots(state, at(101), LIMITS) == 9


def test_settling_twice_does_no_harm() -> None:
    granted = grant(BucketState(), 0)
    once = budget.settle(granted.state, granted.token, OK, at(1), LIMITS)
    assert budget.settle(once, granted.token, OK, at(1), LIMITS) == once


def test_tokens_are_never_used_twice() -> None:
    first = grant(BucketState(), 0)
    settled = budget.settle(first.state, first.token, OK, at(0.1), LIMITS)
    assert grant(settled, 1000).token != first.token


def test_a_429_silences_the_bucket_for_retry_after_counted_from_the_answer() -> None:
    granted = grant(BucketState(), 0)
    state = budget.settle(
        granted.state, granted.token, RateResponse(429, retry_after_seconds=30), at(2), LIMITS
    )
    refused = refuse(state, 31)
    assert refused.reason == "penalty"
    assert refused.until == at(32.05)
    assert budget.free_slots(state, at(31), LIMITS) == 0
    grant(state, 32.05)


def test_a_429_without_retry_after_costs_the_default_penalty() -> None:
    granted = grant(BucketState(), 0)
    state = budget.settle(granted.state, granted.token, RateResponse(429), at(2), LIMITS)
    assert refuse(state, 3).until == at(62.1)


def test_a_later_429_of_a_request_under_way_extends_the_silence() -> None:
    first = grant(BucketState(), 0)
    second = grant(first.state, 0)
    state = budget.settle(second.state, first.token, RateResponse(429), at(1), LIMITS)
    state = budget.settle(state, second.token, RateResponse(429), at(5), LIMITS)
    assert budget.poll_times(state, at(6), LIMITS)[0] == at(65.1)


def test_an_earlier_end_of_a_penalty_does_not_shorten_a_later_one() -> None:
    first = grant(BucketState(), 0)
    second = grant(first.state, 0)
    state = budget.settle(second.state, first.token, RateResponse(429, retry_after_seconds=60), at(1), LIMITS)
    state = budget.settle(state, second.token, RateResponse(429, retry_after_seconds=1), at(2), LIMITS)
    assert budget.poll_times(state, at(3), LIMITS)[0] == at(61.1)


def test_a_success_during_the_penalty_does_not_end_it() -> None:
    first = grant(BucketState(), 0)
    second = grant(first.state, 0)
    state = budget.settle(second.state, first.token, RateResponse(429), at(1), LIMITS)
    state = budget.settle(state, second.token, RateResponse(200), at(2), LIMITS)
    assert budget.poll_times(state, at(3), LIMITS)[0] == at(61.1)


def test_a_request_lost_in_a_penalty_may_have_restarted_it() -> None:
    first = grant(BucketState(), 0)
    second = grant(first.state, 0)
    state = budget.settle(second.state, first.token, RateResponse(429), at(1), LIMITS)
    # Unanswered: it may arrive until 30 s after its sending.
    assert budget.silent_until(state, LIMITS) == at(90.1)
    state = budget.settle(state, second.token, NO_ANSWER, at(10), LIMITS)
    assert budget.silent_until(state, LIMITS) == at(70.1)


def test_an_unanswered_request_without_a_penalty_silences_nothing() -> None:
    granted = grant(BucketState(), 0)
    state = budget.settle(granted.state, granted.token, NO_ANSWER, at(10), LIMITS)
    assert budget.free_slots(state, at(10), LIMITS) == 9


def test_headers_override_the_settings() -> None:
    granted = grant(BucketState(), 0)
    state = budget.settle(
        granted.state, granted.token, RateResponse(200, limit=3, window_seconds=20), at(1), LIMITS
    )
    assert len(budget.poll_times(state, at(1), LIMITS)) == 3
    assert budget.cycle_seconds(state, LIMITS) == pytest.approx(20 * (1 + 1 / 600))
    for _ in range(2):
        state = grant(state, 2).state
    refuse(state, 2)


def test_a_limit_lowered_below_what_is_in_use_waits_for_enough_slots() -> None:
    state = spent(5)
    granted = grant(state, 10)
    state = budget.settle(granted.state, granted.token, RateResponse(200, limit=2), at(11), LIMITS)
    refused = refuse(state, 12)
    # Five end at 60.6, the sixth at 71.1: with two slots the first is free when five have ended.
    assert refused.until == at(60.6)


def test_fewer_remaining_requests_than_expected_show_other_programs() -> None:
    granted = grant(BucketState(), 0)
    state = budget.settle(
        granted.state, granted.token, RateResponse(200, limit=10, remaining=4), at(1), LIMITS
    )
    assert budget.free_slots(state, at(1), LIMITS) == 4


def test_more_remaining_requests_than_expected_release_slots_of_others() -> None:
    first = grant(BucketState(), 0)
    state = budget.settle(first.state, first.token, RateResponse(200, limit=10, remaining=4), at(1), LIMITS)
    second = grant(state, 20)
    state = budget.settle(
        second.state, second.token, RateResponse(200, limit=10, remaining=7), at(21), LIMITS
    )
    assert budget.free_slots(state, at(21), LIMITS) == 7


def test_requests_under_way_are_not_taken_for_other_programs() -> None:
    first = grant(BucketState(), 0)
    second = grant(first.state, 0)
    state = budget.settle(second.state, first.token, RateResponse(200, limit=10, remaining=8), at(1), LIMITS)
    assert budget.free_slots(state, at(1), LIMITS) == 8


@pytest.mark.parametrize(
    "limit", [999_999_999_999, 10_000_000, 10_000, 2**70, -1, 0, 1e9, "10", True, None, []]
)
def test_an_absurd_stored_limit_costs_no_more_than_a_usual_one(limit: Any) -> None:
    state = BucketState.from_json({"l": limit, "n": 7})
    tracemalloc.start()
    answer = budget.admit(state, Priority.RECONCILE, at(0), LIMITS)
    times = budget.poll_times(answer.state, at(0), LIMITS)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert isinstance(answer, Granted)
    assert len(times) <= MOST_SLOTS
    assert peak < 2_000_000


@pytest.mark.parametrize(
    "stored",
    [
        [],
        "x",
        None,
        {"s": "x", "w": 3, "p": "soon", "d": [], "n": -5},
        {"s": [[1, 4, 10**30, None], [1], [1, 99, 1, 1], None], "w": [[4, 1, 2], [3, "a", "b"]], "n": 10**40},
        {"s": [[0, 4, 253402300799000000, 253402300799000000]] * 20, "p": 253402300799000000},
        {"s": [[0, 4, 7_000_000_000_000_000, 7_000_000_000_000_000]] * 20_000, "l": 10_000, "d": 3600},
        {"d": 1e308}, {"d": -1}, {"d": 0}, {"d": 1e-9}, {"d": math.nan}, {"d": math.inf}, {"d": 10**400},
        {"p": 7_200_000_000_000_000},
    ],
)  # fmt: skip
def test_a_corrupt_stored_bucket_recovers(stored: Any) -> None:
    state = BucketState.from_json(stored)
    moment = at(0)
    for _ in range(5):
        answer = budget.admit(state, Priority.POLL, moment, LIMITS)
        state = BucketState.from_json(json.loads(json.dumps(answer.state.to_json())))
        if isinstance(answer, Granted):
            break
        assert answer.until <= moment + timedelta(days=1.01)
        moment = max(answer.until, moment)
    assert isinstance(answer, Granted)
    assert len(state.slots) <= MOST_SLOTS
    state = budget.settle(
        state, answer.token, RateResponse(200, limit=10, remaining=9, window_seconds=60.0), moment, LIMITS
    )
    assert budget.poll_times(state, moment, LIMITS)


def test_a_limit_that_drops_to_one_grants_one_request_a_window() -> None:
    state = BucketState()
    for second in range(8):
        answer = grant(state, second)
        state = (
            budget.settle(
                answer.state,
                answer.token,
                RateResponse(200, limit=1, remaining=0, window_seconds=60.0),
                at(second),
                LIMITS,
            )
            if second == 7
            else answer.state
        )
    refused = budget.admit(state, Priority.POLL, at(8), LIMITS)
    assert isinstance(refused, Denied)
    assert refused.until > at(60)
    assert isinstance(budget.admit(refused.state, Priority.POLL, at(140), LIMITS), Granted)


@pytest.mark.parametrize("window", [1e-3, 0.5, 10**6])
def test_a_window_far_from_the_configured_one_is_not_believed(window: float) -> None:
    first = grant(BucketState(), 0)
    state = budget.settle(first.state, first.token, RateResponse(200, window_seconds=window), at(1), LIMITS)
    assert budget.window_seconds(state, LIMITS) == LIMITS.window_seconds


def test_slots_of_others_never_exceed_the_limit() -> None:
    first = grant(BucketState(), 0)
    state = budget.settle(
        first.state, first.token, RateResponse(200, limit=10_000, remaining=0), at(1), LIMITS
    )
    assert len(state.slots) <= MOST_SLOTS


def test_reconciliation_leaves_a_larger_reserve_while_polls_wait() -> None:
    state = spent(6)
    assert refuse(state, 1, Priority.RECONCILE, polls_waiting=True).reason == "kept for others"
    grant(state, 1, Priority.RECONCILE, polls_waiting=False)


def test_lower_priorities_leave_more() -> None:
    state = spent(5)
    grant(state, 1, Priority.RECONCILE, polls_waiting=True)
    refuse(state, 1, Priority.METADATA, polls_waiting=True)
    refuse(state, 1, Priority.CONTENT, polls_waiting=True)
    grant(spent(4), 1, Priority.METADATA, polls_waiting=True)
    grant(spent(3), 1, Priority.CONTENT, polls_waiting=True)


def test_reconciliation_that_has_waited_goes_before_polls() -> None:
    state = spent(9)
    state = refuse(state, 0.6, Priority.RECONCILE, polls_waiting=True).state
    again = refuse(state, 45.5, Priority.RECONCILE, polls_waiting=True)
    assert again.until == at(45.6)
    assert refuse(again.state, 45.7, Priority.POLL).reason == "kept for others"
    grant(again.state, 45.7, Priority.RECONCILE, polls_waiting=True)


def test_poll_times_exclude_slots_promised_to_others() -> None:
    state = spent(9)
    before = budget.poll_times(state, at(1), LIMITS)
    after = budget.poll_times(refuse(state, 1, Priority.RECONCILE, polls_waiting=True).state, at(1), LIMITS)
    assert len(before) == 10
    assert after == (at(1), *[at(60.6)] * 8)


def test_reconciliation_gets_its_share_and_then_yields() -> None:
    state = spent(2, priority=Priority.RECONCILE)
    for _ in range(7):
        state = grant(state, 1).state
    state = refuse(state, 1, Priority.RECONCILE, polls_waiting=True).state
    state = refuse(state, 30, Priority.RECONCILE, polls_waiting=True).state
    grant(state, 30, Priority.POLL)


def test_an_abandoned_request_does_not_hold_a_slot_forever() -> None:
    state = spent(7)
    state = refuse(state, 1, Priority.RECONCILE, polls_waiting=True).state
    for seconds in (20, 20, *[60.7] * 7):
        state = grant(state, seconds).state
    assert refuse(state, 60.8).reason == "kept for others"
    grant(state, 61.1)


def test_with_a_limit_of_one_polls_and_reconciliation_take_turns() -> None:
    limits = Limits(limit=1)
    state, seconds, had = BucketState(), 0.0, {Priority.POLL: 0, Priority.RECONCILE: 0}
    while seconds < 1200:
        for priority in (Priority.POLL, Priority.RECONCILE):
            verdict = budget.admit(state, priority, at(seconds), limits, polls_waiting=True)
            state = verdict.state
            if isinstance(verdict, Granted):
                had[priority] += 1
                state = budget.settle(state, verdict.token, OK, at(seconds), limits)
        seconds += 1.0
    assert had[Priority.POLL] >= 8
    assert had[Priority.RECONCILE] >= 4


def test_first_poll_time_is_now_when_something_is_free() -> None:
    assert budget.poll_times(BucketState(), at(3), LIMITS)[0] == at(3)
    assert budget.poll_times(spent(10), at(3), LIMITS)[0] == at(60.6)


def test_a_bucket_survives_json_with_everything_in_it() -> None:
    state = spent(9)
    state = refuse(state, 0.6, Priority.RECONCILE, polls_waiting=True).state
    granted = grant(state, 1)
    other = grant(
        budget.settle(granted.state, granted.token, RateResponse(200, 12, 1, 61.5), at(2), LIMITS), 3
    )
    state = budget.settle(other.state, other.token, RateResponse(429), at(3), LIMITS)
    assert BucketState.from_json(json.loads(json.dumps(state.to_json()))) == state


def test_an_empty_object_is_a_new_bucket() -> None:
    assert BucketState.from_json({}) == BucketState()


def test_rows_of_earlier_versions_keep_their_priorities() -> None:
    stored = {
        "n": 4,
        "s": [[1, 4, 10, 20], [2, 3, 10, 20], [3, 2, 10, 20], [4, 1, 10, None], [5, 9, 10, 20]],
        "w": [[3, 10, 20], [2, 10, 20], [1, 10, 20], [4, 10, 20]],
    }
    state = BucketState.from_json(stored)
    assert [slot.priority for slot in state.slots] == [
        Priority.POLL,
        Priority.RECONCILE,
        Priority.METADATA,
        Priority.CONTENT,
        Priority.POLL,
    ]
    assert [want.priority for want in state.wants] == [
        Priority.RECONCILE,
        Priority.METADATA,
        Priority.CONTENT,
    ]
    rewritten = state.to_json()
    assert rewritten["s"][:4] == stored["s"][:4]  # type: ignore[index]
    assert rewritten["w"] == stored["w"][:3]  # type: ignore[index]
