"""What an attempt means for its message and for its endpoint."""

from datetime import datetime, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from app.push.endpoints.model import Condition, DisabledReason
from app.push.sending.retry_plan import (
    DISABLED_AFTER,
    FAILURES_BEFORE_DISABLING,
    LONGEST_HOLD_SECONDS,
    RETRY_SECONDS,
    Answer,
    condition_after,
    next_attempt,
    requests_at_once,
)
from tests.fakes.clock import START

answers = st.builds(
    Answer,
    status=st.one_of(st.none(), st.integers(200, 599)),
    retry_after=st.one_of(st.none(), st.floats(0, 1e6)),
)
GOOD, BAD = Answer(204), Answer(500)


def later(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def test_the_schedule_is_the_published_one() -> None:
    pauses = [next_attempt(BAD, made, START, 0.0) for made in range(1, 9)]
    assert pauses == [*(later(one) for one in (5, 300, 1800, 7200, 18000, 36000, 36000)), None]


@given(answer=answers, made=st.integers(1, len(RETRY_SECONDS)), luck=st.floats(0, 1))
def test_a_retry_comes_after_its_pause_and_never_before_it_was_asked(
    answer: Answer, made: int, luck: float
) -> None:
    at = next_attempt(answer, made, START, luck)
    assert at is not None
    asked = min(answer.retry_after or 0.0, LONGEST_HOLD_SECONDS)
    least = max(RETRY_SECONDS[made - 1], asked)
    assert later(least) <= at <= later(max(RETRY_SECONDS[made - 1] * 1.2, asked) + 1e-3)


@given(st.lists(answers, max_size=30))
def test_the_condition_says_what_the_last_answers_were(given_answers: list[Answer]) -> None:
    after = condition_after(Condition(), given_answers, START)
    in_a_row = 0
    for one in given_answers:
        in_a_row = 0 if one.is_success else in_a_row + 1
    assert after.failures == in_a_row
    assert (after.failing_since is None) == (in_a_row == 0)
    gone = any(one.is_gone for one in given_answers)
    assert (after.disabled_reason == DisabledReason.GONE) == gone


@given(st.lists(st.tuples(answers, st.floats(0, 2e5)), max_size=40))
def test_only_five_days_of_failures_disable(history: list[tuple[Answer, float]]) -> None:
    condition, now, last_success = Condition(), START, None
    for answer, pause in history:
        now += timedelta(seconds=pause)
        before = condition
        condition = condition_after(condition, [answer], now)
        if answer.is_success:
            last_success = now
        if before.disabled_at is None and condition.disabled_reason == DisabledReason.FAILING:
            assert condition.failing_since is not None
            assert now - condition.failing_since >= DISABLED_AFTER
            assert condition.failures >= FAILURES_BEFORE_DISABLING
            assert last_success is None or now - last_success >= DISABLED_AFTER


def test_one_message_alone_does_not_disable_an_endpoint() -> None:
    failing = Condition(failures=1, failing_since=START)
    assert condition_after(failing, [BAD], START + DISABLED_AFTER).disabled_at is None


def test_an_endpoint_that_fails_gets_one_request_at_a_time() -> None:
    down = condition_after(Condition(), [BAD], START)
    assert (requests_at_once(10, down), requests_at_once(10, Condition())) == (1, 10)


def test_the_whole_schedule_is_shorter_than_the_time_after_which_an_endpoint_is_disabled() -> None:
    assert sum(RETRY_SECONDS) * 1.2 < DISABLED_AFTER.total_seconds()
    assert all(earlier <= one for earlier, one in pairwise(RETRY_SECONDS))
