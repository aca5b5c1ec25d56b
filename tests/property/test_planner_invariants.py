"""What holds for every plan: of any account, at any moment, with any budget."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import combinations

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from app.enrichment.polling import request_layout
from app.enrichment.polling.call_rate import Rhythm, begin_rhythm, count_ends
from app.enrichment.polling.limits import PlannerLimits
from app.enrichment.polling.planner import PlannerBudget, PollAt, Rest, Waiting, plan_poll
from app.enrichment.polling.visibility import Observation, Visibility, learn, prior_visibility
from app.rate_limits import bucket as budget
from app.rate_limits.bucket_state import BucketState
from app.ringcentral.ports import Priority

NOW = datetime(2026, 3, 10, 18, 0, tzinfo=UTC)
LIMITS = PlannerLimits()
PRIOR = prior_visibility(120.0, 3.0, 10.0)


def at(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


# In whole milliseconds even when quartered, so that halving and doubling a situation is exact.
seconds = st.integers(0, 37_500).map(lambda number: number * 4 / 1000.0)


@st.composite
def waitings(draw: st.DrawFn) -> list[Waiting]:
    calls = []
    for age in draw(st.lists(seconds, max_size=12)):
        looked = draw(st.none() | seconds)
        calls.append(Waiting(at(-age), None if looked is None or looked > age else at(-looked)))
    return calls


buckets = st.lists(seconds.map(lambda number: max(0.0, number - 60.0)), min_size=1, max_size=24).map(
    lambda offsets: PlannerBudget(tuple(at(offset) for offset in sorted(offsets)), 60.1)
)
rhythms = st.lists(seconds, max_size=40).map(
    lambda ages: count_ends(begin_rhythm(at(-1200.0), LIMITS), [at(-8 * age) for age in ages], NOW)
)
samples = st.lists(
    st.builds(Observation, st.floats(0.0, 20.0), st.none() | st.floats(0.0, 130.0)), max_size=20
)
knowledge = samples.map(lambda looks: learn(PRIOR, looks))


@given(waitings(), buckets, knowledge, rhythms)
def test_a_poll_is_only_planned_for_waiting_calls_and_within_the_budget(
    waiting: list[Waiting], bucket: PlannerBudget, visibility: Visibility, rhythm: Rhythm
) -> None:
    plan = plan_poll(waiting, bucket, visibility, rhythm, NOW, LIMITS)
    if isinstance(plan, Rest):
        return
    assert plan.when >= max(NOW, bucket.free_at[0])
    window = timedelta(seconds=LIMITS.window_seconds)
    assert any(plan.when < call.ended_at + window for call in waiting)


@given(waitings(), buckets, knowledge, rhythms)
def test_the_last_poll_of_every_call_is_before_its_window_closes(
    waiting: list[Waiting], bucket: PlannerBudget, visibility: Visibility, rhythm: Rhythm
) -> None:
    plan = plan_poll(waiting, bucket, visibility, rhythm, NOW, LIMITS)
    earliest = max(NOW, bucket.free_at[0])
    for call in waiting:
        looked = ((call.missed_at or call.ended_at) - call.ended_at).total_seconds()
        if looked >= 0.75 * 120.0 or call.ended_at + timedelta(seconds=120.0) <= earliest:
            continue
        assert isinstance(plan, PollAt)
        assert plan.when <= max(earliest, call.ended_at + timedelta(seconds=0.8 * 120.0))


@settings(max_examples=40)
@given(waitings(), buckets, rhythms)
def test_a_plan_that_is_followed_leads_to_a_poll_and_not_to_endless_postponing(
    waiting: list[Waiting], bucket: PlannerBudget, rhythm: Rhythm
) -> None:
    now = NOW
    for _ in range(400):
        plan = plan_poll(waiting, bucket, PRIOR, count_ends(rhythm, (), now), now, LIMITS)
        if isinstance(plan, Rest) or plan.when <= now:
            return
        now = plan.when
    pytest.fail("planned four hundred times and never polled")


@given(waitings(), buckets, st.sampled_from([0.25, 0.5, 2.0]))
def test_a_plan_scales_with_its_durations(
    waiting: list[Waiting], bucket: PlannerBudget, scale: float
) -> None:
    def scaled(moment: datetime) -> datetime:
        return NOW + (moment - NOW) * scale

    limits = PlannerLimits(
        window_seconds=120.0 * scale,
        lag_min_seconds=3.0 * scale,
        lag_max_seconds=10.0 * scale,
        quiet_seconds=3.0 * scale,
    )
    rhythm = count_ends(begin_rhythm(at(-600.0), LIMITS), [at(-300.0), at(-50.0), at(-20.0)], NOW)
    plan = plan_poll(waiting, bucket, _smooth(1.0), rhythm, NOW, LIMITS)
    small = plan_poll(
        [Waiting(scaled(call.ended_at), call.missed_at and scaled(call.missed_at)) for call in waiting],
        PlannerBudget(tuple(scaled(moment) for moment in bucket.free_at), bucket.cycle_seconds * scale),
        _smooth(scale),
        Rhythm(rhythm.slice_seconds * scale, scaled(rhythm.starts_at), rhythm.counts),
        NOW,
        limits,
    )
    if isinstance(plan, Rest):
        assert small == plan
    else:
        assert isinstance(small, PollAt)
        assert (small.when - NOW).total_seconds() == pytest.approx(
            (plan.when - NOW).total_seconds() * scale, abs=1e-4
        )


def _smooth(scale: float) -> Visibility:
    """A distribution whose figures are the same at every scale, free of rounding."""
    return Visibility(
        (0.0, 3.0 * scale, 10.0 * scale, 120.0 * scale), (0.0, 0.875, 0.0625), (0.0, 0.875, 0.0625)
    )


@st.composite
def layouts(draw: st.DrawFn) -> tuple[list[float], list[float], list[float], float, float]:
    count = draw(st.integers(2, 9))
    steps = draw(st.lists(st.sampled_from([0.25, 0.5, 1.0, 3.0]), min_size=count - 1, max_size=count - 1))
    rises = draw(st.lists(st.one_of(st.just(0.0), st.floats(0.0, 5.0)), min_size=count, max_size=count))
    moments, unfound = [0.0], [rises[0]]
    for step, rise in zip(steps, rises[1:], strict=True):
        moments.append(moments[-1] + step)
        unfound.append(unfound[-1] + rise)
    free_at = [0.0, *sorted(draw(st.lists(st.floats(0.0, moments[-1]), max_size=3)))]
    return moments, unfound, free_at, draw(st.floats(0.0, 3.0)), draw(st.floats(0.0, 2.0))


@settings(max_examples=200)
@given(layouts())
def test_the_requests_are_laid_as_well_as_trying_all_layouts_would(
    layout: tuple[list[float], list[float], list[float], float, float],
) -> None:
    moments, unfound, free_at, price, lateness = layout
    hurts = {
        chosen: _hurt(chosen, moments, unfound, free_at, price, lateness)
        for count in range(len(free_at) + 1)
        for chosen in combinations(range(len(moments)), count)
    }
    least = min(hurts.values())
    first = request_layout.first_request(moments, unfound, free_at, price, lateness)
    reached = min(hurt for chosen, hurt in hurts.items() if (chosen[0] if chosen else None) == first)
    assert reached == pytest.approx(least, rel=1e-9, abs=1e-9)


def _hurt(
    chosen: Sequence[int],
    moments: Sequence[float],
    unfound: Sequence[float],
    free_at: Sequence[float],
    price: float,
    lateness: float,
) -> float:
    """The hurt of one layout, summed up step by step; infinite if the budget does not allow it."""
    total = found = 0.0
    number = 0
    for index, moment in enumerate(moments):
        if index:
            waiting = (unfound[index - 1] + unfound[index]) / 2.0 - found
            total += waiting * (moment - moments[index - 1])
        if number < len(chosen) and chosen[number] == index:
            if moment < free_at[number]:
                return math.inf
            total += price + lateness * (moment - free_at[number])
            found = unfound[index]
            number += 1
    return total


@dataclass(frozen=True)
class Story:
    """One ended call: when, how late it appears (None: never), how late it becomes known."""

    ended: float
    delay: float | None
    known_after: float


stories = st.lists(
    st.builds(
        Story,
        ended=st.floats(0.0, 150.0),
        delay=st.one_of(st.none(), st.floats(3.0, 10.0), st.floats(3.0, 10.0), st.floats(10.0, 80.0)),
        known_after=st.floats(0.1, 6.0),
    ),
    min_size=1,
    max_size=25,
).map(lambda calls: sorted(calls, key=lambda call: call.ended + call.known_after))


@settings(max_examples=30)
@given(calls=stories, trip=st.floats(0.02, 1.0), others=st.lists(st.floats(0.0, 200.0), max_size=6))
def test_followed_to_the_end_no_call_is_lost_and_no_request_refused(
    calls: list[Story], trip: float, others: list[float]
) -> None:
    """Plan, admit, settle and learn through JSON, in virtual time, with a Call Log that wants its share."""
    play = _Play(calls, trip, sorted(others))
    play.run()
    assert play.refused == 0
    assert play.asked_for_nobody == 0
    for index, call in enumerate(calls):
        assert (index in play.found) == (call.delay is not None)


class _Play:
    def __init__(self, calls: list[Story], trip: float, others: list[float]) -> None:
        self.calls, self.trip, self.others = calls, trip, others
        self.limits = budget.Limits()
        self.bucket = "{}"
        self.rhythm = begin_rhythm(NOW, LIMITS).to_json()
        self.visibility = PRIOR.to_json()
        self.looked: dict[int, float] = {}
        self.known: list[int] = []
        self.found: set[int] = set()
        self.arrivals: list[float] = []
        self.refused = 0
        self.asked_for_nobody = 0

    def run(self) -> None:
        now, pending = 0.0, list(range(len(self.calls)))
        while pending or self.waiting(now):
            arriving = [index for index in pending if self.known_at(index) <= now]
            pending = [index for index in pending if index not in arriving]
            self.known += arriving
            rhythm = count_ends(
                Rhythm.from_json(self.rhythm), [at(self.calls[i].ended) for i in arriving], at(now)
            )
            self.rhythm = json.loads(json.dumps(rhythm.to_json()))
            now = self.step(now, min((self.known_at(index) for index in pending), default=math.inf))

    def known_at(self, index: int) -> float:
        return self.calls[index].ended + self.calls[index].known_after

    def waiting(self, now: float) -> list[int]:
        return [i for i in self.known if i not in self.found and now < self.calls[i].ended + 120.0]

    def as_waiting(self, index: int) -> Waiting:
        looked = self.looked.get(index)
        return Waiting(at(self.calls[index].ended), None if looked is None else at(looked))

    def step(self, now: float, news_at: float) -> float:
        """One plan; returns the moment of the next."""
        state = BucketState.from_json(json.loads(self.bucket))
        while self.others and self.others[0] <= now:
            self.others.pop(0)
            verdict = budget.admit(state, Priority.RECONCILE, at(now), self.limits, polls_waiting=True)
            state = verdict.state
            if isinstance(verdict, budget.Granted):
                state = self.ask(state, verdict.token, now)
        plan = plan_poll(
            [self.as_waiting(i) for i in self.waiting(now)],
            PlannerBudget(
                budget.poll_times(state, at(now), self.limits), budget.cycle_seconds(state, self.limits)
            ),
            Visibility.from_json(self.visibility),
            Rhythm.from_json(self.rhythm),
            at(now),
            LIMITS,
        )
        closes = min((self.calls[i].ended + 120.0 for i in self.waiting(now)), default=math.inf)
        if isinstance(plan, Rest):
            then = min(news_at, closes)
        elif plan.when > at(now):
            then = min(news_at, (plan.when - NOW).total_seconds())
        else:
            verdict = budget.admit(state, Priority.POLL, at(now), self.limits)
            state = verdict.state
            if isinstance(verdict, budget.Granted):
                self.asked_for_nobody += not self.waiting(now)
                state = self.ask(state, verdict.token, now)
                self.look(now)
                then = now + self.trip
            else:
                then = min(news_at, (verdict.until - NOW).total_seconds())
        self.bucket = json.dumps(state.to_json())
        return max(then, now + 1e-3) if then < math.inf else now + 1000.0

    def ask(self, state: BucketState, token: int, now: float) -> BucketState:
        arrival = now + self.trip / 2.0
        self.arrivals = [earlier for earlier in self.arrivals if earlier > arrival - 60.0]
        served = len(self.arrivals) < 10
        self.refused += not served
        self.arrivals.append(arrival)
        answer = budget.RateResponse(200 if served else 429, 10, 10 - len(self.arrivals), 60.0)
        return budget.settle(state, token, answer, at(now + self.trip), self.limits)

    def look(self, now: float) -> None:
        arrival, looks = now + self.trip / 2.0, []
        for index in self.waiting(now):
            call = self.calls[index]
            if call.delay is not None and call.ended + call.delay <= arrival < call.ended + 120.0:
                self.found.add(index)
                unseen = max(0.0, self.looked.get(index, call.ended) - call.ended)
                looks.append(Observation(unseen, now + self.trip - call.ended))
            else:
                self.looked[index] = now
        learnt = learn(Visibility.from_json(self.visibility), looks)
        self.visibility = json.loads(json.dumps(learnt.to_json()))


@given(knowledge)
def test_knowledge_is_a_distribution_and_survives_json(visibility: Visibility) -> None:
    assert Visibility.from_json(json.loads(json.dumps(visibility.to_json()))) == visibility
    steps = [visibility.probability_by(age / 2.0) for age in range(300)]
    assert steps == sorted(steps)
    assert 0.0 <= steps[0] <= steps[-1] <= 1.0 + 1e-9
    assert 0.0 <= visibility.never <= 1.0


@given(st.lists(st.floats(-100.0, 3000.0), max_size=30), st.floats(0.0, 3000.0))
def test_the_rhythm_counts_every_recent_call_once(ends: list[float], now: float) -> None:
    assume(all(end <= now for end in ends))
    rhythm = count_ends(begin_rhythm(NOW, LIMITS), [at(end) for end in ends], at(now))
    assert Rhythm.from_json(json.loads(json.dumps(rhythm.to_json()))) == rhythm
    kept = sum(1 for end in ends if at(max(0.0, end)) >= rhythm.starts_at)
    assert sum(rhythm.counts) == kept
