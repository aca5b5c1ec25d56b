"""Polls through one to four buckets: none is refused, none is sent in a penalty, no call is lost."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from app.enrichment.polling.call_rate import begin_rhythm, count_ends
from app.enrichment.polling.limits import PlannerLimits
from app.enrichment.polling.planner import PlannerBudget, Rest, Waiting, plan_poll
from app.enrichment.polling.pooling import pick_bucket, pool_budgets
from app.enrichment.polling.visibility import prior_visibility
from app.rate_limits import bucket as budget
from app.rate_limits.bucket_state import BucketState
from app.ringcentral.ports import Priority

NOW = datetime(2026, 3, 10, 18, 0, tzinfo=UTC)
LIMITS, PLANNER_LIMITS = budget.Limits(), PlannerLimits()
PRIOR = prior_visibility(120.0, 3.0, 10.0)
TRIP = 0.2


def at(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


@dataclass
class User:
    """One user's bucket, and what RingCentral counts of it. Away from `lost_at` until `back_at`."""

    lost_at: float
    back_at: float
    penalty_at: float
    state: BucketState = field(default_factory=BucketState)
    arrivals: list[float] = field(default_factory=list)
    penalty_until: float = -math.inf
    refused: int = 0

    def is_away(self, now: float) -> bool:
        return self.lost_at <= now < self.back_at

    def view(self, now: float) -> PlannerBudget:
        times = budget.poll_times(self.state, at(now), LIMITS)
        return PlannerBudget(times, budget.cycle_seconds(self.state, LIMITS))

    def silence_if_due(self, now: float) -> None:
        """Another program of the same user was refused, and one of our requests shows it."""
        if now >= self.penalty_at:
            self.penalty_at = math.inf
            self.penalty_until = now + 60.0
            self.state = budget.silenced(self.state, at(now + 60.0), at(now))

    def send(self, priority: Priority, now: float) -> bool:
        verdict = budget.admit(self.state, priority, at(now), LIMITS, polls_waiting=True)
        self.state = verdict.state
        if isinstance(verdict, budget.Denied):
            return False
        arrival = now + TRIP / 2.0
        self.arrivals = [earlier for earlier in self.arrivals if earlier > arrival - 60.0]
        served = len(self.arrivals) < 10 and arrival >= self.penalty_until
        self.refused += not served
        self.arrivals.append(arrival)
        answer = budget.RateResponse(200 if served else 429, 10, max(0, 10 - len(self.arrivals)), 60.0)
        self.state = budget.settle(self.state, verdict.token, answer, at(now + TRIP), LIMITS)
        return True


users = st.builds(
    User,
    lost_at=st.floats(0.0, 150.0) | st.just(math.inf),
    back_at=st.floats(20.0, 250.0),
    penalty_at=st.floats(0.0, 150.0) | st.just(math.inf),
)
calls = st.lists(st.tuples(st.floats(0.0, 150.0), st.floats(3.0, 10.0)), min_size=1, max_size=20).map(sorted)


@settings(max_examples=40)
@given(calls=calls, pool=st.lists(users, min_size=0, max_size=3), others=st.lists(st.floats(0.0, 200.0)))
def test_no_poll_is_refused_or_sent_in_a_penalty_and_no_call_is_lost(
    calls: list[tuple[float, float]], pool: list[User], others: list[float]
) -> None:
    # One user never loses access: with nobody left there is nothing to hold.
    steady = User(lost_at=math.inf, back_at=math.inf, penalty_at=math.inf)
    everyone = [*pool, steady]
    found = _play(calls, everyone, sorted(others))
    assert [user.refused for user in everyone] == [0] * len(everyone)
    assert found == set(range(len(calls)))


def _play(calls: Sequence[tuple[float, float]], everyone: list[User], others: list[float]) -> set[int]:
    """Plan, pick, admit and settle in virtual time, with other work that wants its share of the last user."""
    missed: dict[int, float] = {}
    found: set[int] = set()
    rhythm, now = begin_rhythm(NOW, PLANNER_LIMITS), 0.0
    while len(found) < len(calls) and now < 400.0:
        for user in everyone:
            user.silence_if_due(now)
        while others and others[0] <= now:
            others.pop(0)
            everyone[-1].send(Priority.RECONCILE, now)
        known = [i for i, (ended, _) in enumerate(calls) if i not in found and ended + 3.0 <= now]
        waiting = [Waiting(at(calls[i][0]), at(missed[i]) if i in missed else None) for i in known]
        rhythm = count_ends(rhythm, (), at(now))
        pool = [user for user in everyone if not user.is_away(now)]
        views = [user.view(now) for user in pool]
        plan = plan_poll(waiting, pool_budgets(views), PRIOR, rhythm, at(now), PLANNER_LIMITS)
        news = [ended + 3.0 for ended, _ in calls if ended + 3.0 > now]
        news += [moment for user in everyone for moment in (user.lost_at, user.back_at) if moment > now]
        then = min([*news, now + 30.0])
        if not isinstance(plan, Rest) and plan.when <= at(now):
            # A slot that the plan counts on is there: the same states say so.
            assert pool[pick_bucket(views, at(now))].send(Priority.POLL, now)
            _look(calls, known, now, missed, found)
            then = now + TRIP
        elif not isinstance(plan, Rest):
            then = min(then, (plan.when - NOW).total_seconds())
        now = max(then, now + 1e-3)
    return found


def _look(
    calls: Sequence[tuple[float, float]],
    known: Sequence[int],
    now: float,
    missed: dict[int, float],
    found: set[int],
) -> None:
    for index in known:
        ended, delay = calls[index]
        if ended + delay <= now + TRIP / 2.0 < ended + 120.0:
            found.add(index)
        else:
            missed[index] = now
