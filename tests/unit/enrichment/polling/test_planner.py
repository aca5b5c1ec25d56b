"""When to poll: what the plan does in situations that one can judge by eye."""

import json
import time
from datetime import UTC, datetime, timedelta

import pytest

from app.enrichment.polling.call_rate import Rhythm, begin_rhythm, count_ends
from app.enrichment.polling.limits import PlannerLimits
from app.enrichment.polling.planner import PlannerBudget, PollAt, Rest, Waiting, plan_poll
from app.enrichment.polling.visibility import prior_visibility

NOW = datetime(2026, 3, 10, 18, 0, tzinfo=UTC)
LIMITS = PlannerLimits()
PRIOR = prior_visibility(120.0, 3.0, 10.0)


def at(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def ended(*ages: float, looked: float | None = None) -> list[Waiting]:
    """Calls that ended so many seconds ago; `looked` seconds ago the last poll had none of them."""
    return [Waiting(at(-age), None if looked is None or looked > age else at(-looked)) for age in ages]


def bucket(*free_in: float) -> PlannerBudget:
    return PlannerBudget(tuple(at(seconds) for seconds in free_in), 60.1)


ALL_FREE = bucket(*[0.0] * 10)
EVENLY_USED = bucket(*[6.0 * index for index in range(1, 11)])


def quiet_rhythm() -> Rhythm:
    return count_ends(begin_rhythm(at(-1200), LIMITS), [at(-600)], NOW)


def busy_rhythm(per_second: float) -> Rhythm:
    calls = [at(-1190 + index / per_second) for index in range(int(1187 * per_second))]
    return count_ends(begin_rhythm(at(-1200), LIMITS), calls, NOW)


def seconds_to_poll(
    waiting: list[Waiting], free: PlannerBudget = ALL_FREE, rhythm: Rhythm | None = None, pages: int = 1
) -> float:
    plan = plan_poll(waiting, free, PRIOR, rhythm or quiet_rhythm(), NOW, LIMITS, pages=pages)
    assert isinstance(plan, PollAt), plan
    return (plan.when - NOW).total_seconds()


def test_without_waiting_calls_the_plan_is_to_rest() -> None:
    assert plan_poll([], ALL_FREE, PRIOR, quiet_rhythm(), NOW, LIMITS) == Rest("no call waits")


def test_closed_windows_mean_rest() -> None:
    plan = plan_poll(ended(120.0, 500.0), ALL_FREE, PRIOR, quiet_rhythm(), NOW, LIMITS)
    assert plan == Rest("no open window needs a poll")


def test_a_window_that_closes_before_the_budget_allows_a_request_means_rest() -> None:
    assert isinstance(plan_poll(ended(80.0), bucket(41.0), PRIOR, quiet_rhythm(), NOW, LIMITS), Rest)


def test_a_call_is_not_polled_after_its_last_poll() -> None:
    assert isinstance(plan_poll(ended(100.0, looked=5.0), ALL_FREE, PRIOR, quiet_rhythm(), NOW, LIMITS), Rest)


def test_a_single_call_is_polled_early_when_requests_are_plenty() -> None:
    assert 0.5 <= seconds_to_poll(ended(3.0)) <= 3.0


def test_no_poll_is_planned_before_a_call_can_be_visible() -> None:
    assert seconds_to_poll(ended(0.0)) >= 3.0


def test_after_a_miss_the_next_poll_waits_until_it_is_more_likely_to_succeed() -> None:
    assert 0.3 <= seconds_to_poll(ended(6.0, looked=0.0)) <= 3.0


def test_a_busy_account_saves_its_requests() -> None:
    alone, busy = seconds_to_poll(ended(3.0)), seconds_to_poll(ended(3.0), rhythm=busy_rhythm(2.0))
    assert busy > alone


def test_a_busy_account_with_evenly_used_slots_polls_as_soon_as_one_is_free() -> None:
    waiting = ended(*[0.5 * index for index in range(18)])
    assert seconds_to_poll(waiting, EVENLY_USED, busy_rhythm(2.0)) == pytest.approx(6.0, abs=0.5)


def test_no_poll_before_the_budget_allows_it() -> None:
    assert seconds_to_poll(ended(9.0), bucket(17.0, 17.0, 60.0)) == pytest.approx(17.0)


def test_the_plan_is_exact_about_when_the_slot_is_free() -> None:
    free = PlannerBudget((NOW + timedelta(microseconds=1_234_567),), 60.1)
    plan = plan_poll(ended(9.0), free, PRIOR, busy_rhythm(0.1), NOW, LIMITS)
    assert isinstance(plan, PollAt)
    assert plan.when >= free.free_at[0]


def test_polls_for_a_missing_call_become_less_frequent() -> None:
    sleep = [seconds_to_poll(ended(age, looked=0.0)) for age in (15.0, 25.0, 45.0)]
    assert sleep == sorted(sleep)
    assert sleep[0] <= 15.0
    assert sleep[-1] >= 20.0


def test_the_last_poll_is_sent_before_the_window_closes() -> None:
    assert seconds_to_poll(ended(80.0, looked=1.0)) == pytest.approx(16.0, abs=0.3)
    assert seconds_to_poll(ended(97.0, looked=20.0)) == 0.0


def test_the_last_poll_is_sent_late_if_the_budget_was_used_up() -> None:
    assert seconds_to_poll(ended(97.0, looked=60.0), bucket(20.0)) == pytest.approx(20.0)


def test_a_poll_of_several_pages_waits_for_as_many_slots() -> None:
    free = bucket(0.0, 0.0, 8.0, 30.0, 31.0, 32.0)
    assert seconds_to_poll(ended(9.0), free, pages=3) >= 8.0


def test_more_pages_than_slots_wait_for_the_last_slot() -> None:
    assert seconds_to_poll(ended(9.0), bucket(0.0, 5.0), pages=3) >= 5.0


def test_calls_that_cease_do_not_leave_the_last_one_waiting() -> None:
    rhythm = count_ends(busy_rhythm(16.0), [], NOW)
    assert seconds_to_poll(ended(9.5, looked=0.5), rhythm=rhythm) <= 12.0


def test_a_high_limit_is_made_use_of() -> None:
    many = PlannerBudget(tuple([NOW] * 200), 60.1)
    assert seconds_to_poll(ended(*[0.25 * index for index in range(40)]), many, busy_rhythm(4.0)) <= 1.0


def test_a_limit_of_one_is_enough_for_a_plan() -> None:
    assert 3.0 <= seconds_to_poll(ended(4.0), bucket(0.0)) + 4.0 <= 30.0


def test_thousands_of_waiting_calls_are_planned_quickly() -> None:
    waiting = ended(*[index * 119.0 / 5000 for index in range(5000)], looked=1.0)
    rhythm = busy_rhythm(16.0)
    plan_poll(waiting, EVENLY_USED, PRIOR, rhythm, NOW, LIMITS)
    begun = time.process_time()
    plan_poll(waiting, EVENLY_USED, PRIOR, rhythm, NOW, LIMITS)
    assert time.process_time() - begun < 0.2


def test_the_rhythm_counts_calls_in_slices() -> None:
    rhythm = count_ends(begin_rhythm(NOW, LIMITS), [at(1), at(2), at(25)], at(31))
    assert rhythm.counts == (2, 0, 1, 0)


def test_the_rhythm_counts_calls_from_before_its_beginning_and_from_the_future() -> None:
    assert count_ends(begin_rhythm(NOW, LIMITS), [at(-50), at(99)], at(15)).counts == (1, 1)


def test_the_rhythm_forgets() -> None:
    rhythm = count_ends(begin_rhythm(NOW, LIMITS), [at(1)], at(5))
    later = count_ends(rhythm, [at(4999)], at(5000))
    assert sum(later.counts) == 1
    assert len(later.counts) == 120
    assert later.starts_at == at(3810)


def test_the_rhythm_survives_json() -> None:
    rhythm = count_ends(begin_rhythm(NOW, LIMITS), [at(1), at(25)], at(31))
    assert Rhythm.from_json(json.loads(json.dumps(rhythm.to_json()))) == rhythm
