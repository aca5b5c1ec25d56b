"""What an endpoint gets during and after an outage, over generated histories."""

from collections import defaultdict
from collections.abc import Callable
from datetime import timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.push.endpoints.model import Condition, DisabledReason
from app.push.sending.retry_plan import (
    DISABLED_AFTER,
    EARLY_PART,
    OUTAGE,
    PROBE_SECONDS,
    RETRY_SECONDS,
    Answer,
    condition_after,
    due_after_success,
    ends_failure,
    ends_turn,
    soonest_attempt,
)
from tests.fakes.clock import START
from tests.unit.push.sent_histories import CONFIRMED, NO_RESPONSE, REFUSED, Played, Sent, play

SCHEDULE = 1 + len(RETRY_SECONDS)
SHORTEST, LONGEST = PROBE_SECONDS
REQUEST = 0.05

arrivals = st.lists(st.tuples(st.floats(0, 3_000), st.integers(0, 5)), min_size=1, max_size=40)
outages = st.lists(st.tuples(st.floats(0, 3_000), st.floats(0.1, 2_000)), max_size=4)
failing = st.sampled_from([NO_RESPONSE, Answer(500), Answer(503), Answer(429), Answer(error="timeout")])


def away_in(outages: list[tuple[float, float]], failure: Answer) -> Callable[[Sent, float], Answer]:
    def answer(_: Sent, at: float) -> Answer:
        return failure if any(begin <= at < begin + length for begin, length in outages) else CONFIRMED

    return answer


def tries(played: Played) -> int:
    return sum(len(one.tried_at) for one in played.messages)


@pytest.mark.parametrize("at_once", [1, 10])
@pytest.mark.parametrize("length", [1, 20, 59, 300, 7_200])
def test_a_backlog_is_sent_soon_after_an_outage_and_was_not_worn_out_by_it(length: int, at_once: int) -> None:
    backlog = [(0.0, call) for call in range(200)]
    played = play(backlog, away_in([(0, length)], NO_RESPONSE), at_once=at_once)
    last = max(one.tried_at[-1] for one in played.messages)
    probe = min(max(length, SHORTEST), LONGEST)
    # Found by the next attempt to reach it; nothing waits for a retry after that.
    assert last <= START + timedelta(seconds=length + probe + 30)
    assert tries(played) <= 200 + at_once + 12 + length / LONGEST
    assert max(one.attempts for one in played.messages) <= 3
    assert all(one.is_given_up is False for one in played.messages)


@given(arrivals=arrivals, outages=outages, failure=failing, at_once=st.sampled_from([1, 3, 10]))
@settings(max_examples=60)
def test_nothing_waits_for_long_after_the_endpoint_has_recovered(
    arrivals: list[tuple[float, int]], outages: list[tuple[float, float]], failure: Answer, at_once: int
) -> None:
    played = play(arrivals, away_in(outages, failure), at_once=at_once)
    assert all(one.is_given_up is False for one in played.messages)
    healthy_at = START + timedelta(seconds=max((sum(one) for one in outages), default=0.0))
    recovered = [at for at in played.recoveries if at >= healthy_at]
    if not recovered:
        return
    for one in played.messages:
        if one.attempts < 2 or one.tried_at[-1] <= recovered[0]:
            continue
        # At once, or a part of its pause after the last attempt that failed.
        pause = max(RETRY_SECONDS[0], RETRY_SECONDS[one.attempts - 2] * EARLY_PART)
        least = max(recovered[0], one.tried_at[-2] + timedelta(seconds=pause))
        assert one.tried_at[-1] <= least + timedelta(seconds=2 + REQUEST * len(arrivals))


@given(
    arrivals=arrivals,
    outages=outages,
    failure=failing,
    bad_call=st.integers(0, 5),
    bad_answer=st.sampled_from([REFUSED, NO_RESPONSE, Answer(500)]),
    at_once=st.sampled_from([1, 10]),
)
@settings(max_examples=60)
def test_attempts_keep_the_schedule_but_for_one_at_each_recovery(
    arrivals: list[tuple[float, int]],
    outages: list[tuple[float, float]],
    failure: Answer,
    bad_call: int,
    bad_answer: Answer,
    at_once: int,
) -> None:
    away = away_in(outages, failure)

    def answer(message: Sent, at: float) -> Answer:
        brought = away(message, at)
        return bad_answer if brought.is_success and message.call == bad_call else brought

    played = play(arrivals, answer, at_once=at_once, until=4 * 86_400)
    for one in played.messages:
        early = 0
        for made, (before, then) in enumerate(pairwise(one.tried_at), 1):
            pause = (then - before).total_seconds()
            assert pause >= RETRY_SECONDS[0]
            early += pause < RETRY_SECONDS[min(made, len(RETRY_SECONDS)) - 1]
        assert early <= len(played.recoveries)
        if one.call == bad_call and bad_answer == REFUSED:
            assert len(one.tried_at) <= SCHEDULE


@given(arrivals=arrivals, outages=outages, failure=failing, at_once=st.sampled_from([1, 3, 10]))
@settings(max_examples=60)
def test_the_changes_of_a_call_are_confirmed_in_order(
    arrivals: list[tuple[float, int]], outages: list[tuple[float, float]], failure: Answer, at_once: int
) -> None:
    played = play(arrivals, away_in(outages, failure), at_once=at_once)
    by_call = defaultdict(list)
    for one in played.settled:
        by_call[one.call].append(one.seq)
    assert all(seqs == sorted(seqs) for seqs in by_call.values())
    assert len(played.settled) == len(arrivals)


@pytest.mark.parametrize("failure", [REFUSED, Answer(500), NO_RESPONSE])
def test_a_message_that_always_fails_holds_up_no_other_and_is_not_tried_in_a_loop(failure: Answer) -> None:
    steady = [(float(at), at) for at in range(900)]

    def answer(message: Sent, _: float) -> Answer:
        return failure if message.seq == 10 else CONFIRMED

    played = play(steady, answer)
    bad = played.messages[10]
    assert played.condition.disabled_at is None
    assert (bad.is_given_up, bad.attempts) == (True, SCHEDULE)
    others = [one for one in played.messages if one is not bad]
    waited = [one.tried_at[-1] - (START + timedelta(seconds=one.seq)) for one in others]
    assert max(waited) <= timedelta(seconds=1)
    pauses = [(then - before).total_seconds() for before, then in pairwise(bad.tried_at)]
    part = 1.0 if failure == REFUSED else EARLY_PART
    assert all(is_ >= max(5, least * part) for is_, least in zip(pauses, RETRY_SECONDS, strict=True))


def test_several_that_always_fail_together_are_not_tried_in_a_loop_either() -> None:
    steady = [(float(at // 3), at) for at in range(900)]

    def answer(message: Sent, _: float) -> Answer:
        return Answer(500) if message.seq < 6 else CONFIRMED

    played = play(steady, answer, at_once=10, until=299)
    others = [one for one in played.messages[6:] if one.seq // 3 < 290]
    waited = [one.tried_at[0] - (START + timedelta(seconds=one.seq // 3)) for one in others]
    # Six new messages that fail one after the other look like an outage: the pauses 5, 5, 10 and 20 s.
    assert max(waited) <= timedelta(seconds=40)
    for bad in played.messages[:6]:
        assert bad.attempts >= 3
        pauses = [(then - before).total_seconds() for before, then in pairwise(bad.tried_at)]
        least = [max(5, pause * EARLY_PART) for pause in RETRY_SECONDS]
        assert all(is_ >= at_least for is_, at_least in zip(pauses, least, strict=False))


def test_an_endpoint_that_is_away_gives_nothing_up_and_is_disabled_after_five_days() -> None:
    played = play([(0.0, call) for call in range(20)], lambda *_: NO_RESPONSE)
    assert played.condition.disabled_reason == DisabledReason.FAILING
    assert played.ended_at - START >= DISABLED_AFTER
    assert [one.is_given_up for one in played.messages] == [None] * 20


def test_an_endpoint_that_refuses_everything_gives_up_what_it_refused_eight_times() -> None:
    played = play([(0.0, call) for call in range(3)], lambda *_: REFUSED)
    assert [(one.is_given_up, one.attempts) for one in played.messages] == [(True, SCHEDULE)] * 3


@given(length=st.floats(1, 100_000), failure=failing)
@settings(max_examples=15)
def test_an_endpoint_that_fails_is_tried_less_and_less_often(length: float, failure: Answer) -> None:
    played = play([(0.0, call) for call in range(300)], away_in([(0, length)], failure), until=length)
    tried = sorted(
        at for one in played.messages for at in one.tried_at if at < START + timedelta(seconds=length)
    )
    pauses = [(then - before).total_seconds() for before, then in pairwise(tried)][1:]
    assert all(SHORTEST <= pause <= LONGEST * 1.2 + 1 for pause in pauses)
    assert len(tried) <= 12 + length / LONGEST


def test_a_message_is_due_at_once_after_a_minute_and_waits_a_part_of_its_pause_before() -> None:
    next_at = START + timedelta(seconds=RETRY_SECONDS[3])
    short = soonest_attempt(NO_RESPONSE, 4, START, next_at, START - OUTAGE + timedelta(seconds=1))
    long = soonest_attempt(NO_RESPONSE, 4, START, next_at, START - OUTAGE)
    assert short == START + timedelta(seconds=RETRY_SECONDS[3] * EARLY_PART)
    assert long == START + timedelta(seconds=RETRY_SECONDS[0])
    assert soonest_attempt(REFUSED, 4, START, next_at, START - OUTAGE) == next_at
    asked = soonest_attempt(Answer(429, 100.0), 4, START, next_at, START - OUTAGE)
    assert asked == START + timedelta(seconds=100)


@given(due=st.floats(-100, 100), soonest=st.one_of(st.none(), st.floats(-100, 100)))
def test_a_success_postpones_nothing(due: float, soonest: float | None) -> None:
    due_at = START + timedelta(seconds=due)
    soonest_at = None if soonest is None else START + timedelta(seconds=soonest)
    after = due_after_success(due_at, soonest_at, START)
    assert after <= due_at
    assert soonest_at is not None or after == due_at


def test_a_failure_of_the_endpoint_ends_the_turn_and_a_refusal_does_not() -> None:
    healthy, failing = Condition(), Condition(failures=2, failing_since=START)
    assert [ends_turn(one, healthy) for one in (CONFIRMED, REFUSED, Answer(404))] == [False] * 3
    ending = [NO_RESPONSE, Answer(408), Answer(410), Answer(429), Answer(500), Answer(503)]
    assert all(ends_turn(one, healthy) for one in ending)
    assert ends_turn(CONFIRMED, failing)


def test_a_success_among_results_that_are_written_together_counts() -> None:
    assert ends_failure(Condition(), [NO_RESPONSE, CONFIRMED])
    assert not ends_failure(Condition(), [CONFIRMED, NO_RESPONSE])
    assert ends_failure(Condition(failures=1, failing_since=START), [CONFIRMED])


def test_a_hold_is_not_shortened_by_a_failure_and_ends_with_a_success() -> None:
    asked = condition_after(Condition(), [Answer(503, 600.0), NO_RESPONSE, NO_RESPONSE], START)
    assert asked.held_until == START + timedelta(seconds=600)
    assert condition_after(asked, [CONFIRMED], START).held_until is None
    jitter = condition_after(Condition(), [NO_RESPONSE, NO_RESPONSE], START, luck=1.0)
    assert jitter.held_until == START + timedelta(seconds=SHORTEST * 1.2)
