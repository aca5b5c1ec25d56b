"""What polls have taught about a target, stored in its row, and the plan that follows from it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from app.calls.store import Recent
from app.enrichment.polling import visibility
from app.enrichment.polling.call_rate import Rhythm, begin_rhythm, count_ends
from app.enrichment.polling.limits import PlannerLimits
from app.enrichment.polling.planner import PlannerBudget, PollAt, Rest, Waiting, plan_poll
from app.enrichment.polling.pooling import pick_bucket, pool_budgets
from app.enrichment.polling.targets import StoredTarget, Target
from app.enrichment.polling.visibility import Observation, Visibility
from app.rate_limits import bucket
from app.rate_limits.shared_buckets import SharedRates, peek_all
from app.ringcentral.wire import HEAVY


@dataclass(slots=True)
class PollMemory:
    """Ends that became known until `counted_until` are in the rhythm; `pages` is how many requests a poll
    takes."""

    rhythm: Rhythm
    visibility: Visibility
    counted_until: datetime
    pages: int

    @classmethod
    def read(cls, target: Target | StoredTarget, limits: PlannerLimits, now: datetime) -> "PollMemory":
        """Read what is stored; what was learnt under other settings is replaced by its beginning."""
        settings = (limits.window_seconds, limits.lag_min_seconds, limits.lag_max_seconds)
        known = Visibility.from_json(target.visibility) if target.visibility else None
        if known is None or not visibility.fits(known, *settings):
            known = visibility.prior_visibility(*settings)
        stored = target.memory or {}
        rhythm = fresh = begin_rhythm(now, limits)
        if "rhythm" in stored:
            rhythm = Rhythm.from_json(stored["rhythm"])
        if rhythm.slice_seconds != fresh.slice_seconds:
            rhythm = fresh
        counted_until = now - timedelta(seconds=limits.window_seconds)
        if "heardUntil" in stored:
            counted_until = datetime.fromisoformat(stored["heardUntil"])
        return cls(rhythm, known, counted_until, int(stored.get("pages", 1)))

    def columns(self) -> dict[str, Any]:
        """Return the columns of the target's row that `read` reads."""
        counted_until = self.counted_until.isoformat()
        memory = {"rhythm": self.rhythm.to_json(), "heardUntil": counted_until, "pages": self.pages}
        return {"memory": memory, "visibility": self.visibility.to_json()}

    def count(self, recent: Sequence[Recent], now: datetime) -> None:
        """Count the calls whose end has become known since the last time."""
        fresh = [call for call in recent if self.counted_until < call.end_known_at <= now]
        self.rhythm = count_ends(self.rhythm, [call.ended_at for call in fresh], now)
        self.counted_until = max([call.end_known_at for call in fresh], default=self.counted_until)

    def learn(self, observations: Iterable[Observation]) -> None:
        """Add what a poll showed."""
        self.visibility = visibility.learn(self.visibility, observations)

    def plan(
        self,
        budgets: Sequence[PlannerBudget],
        waiting: Iterable[Recent],
        now: datetime,
        limits: PlannerLimits,
    ) -> tuple[PollAt | Rest, int]:
        """Decide when to poll for the calls that wait, and which of the buckets a poll at once is sent
        through.
        """
        calls = [Waiting(call.ended_at, call.last_missed_at) for call in waiting]
        pool = pool_budgets(budgets, self.pages)
        plan = plan_poll(calls, pool, self.visibility, self.rhythm, now, limits)
        return plan, pick_bucket(budgets, now, self.pages)


async def load_budgets(
    db: AsyncConnection, rates: Sequence[SharedRates], now: datetime
) -> list[PlannerBudget]:
    """Return the buckets of polls as the planner sees them, in the same order, in one statement."""
    states = await peek_all(db, rates, HEAVY)
    return [
        PlannerBudget(bucket.poll_times(state, now, limits), bucket.cycle_seconds(state, limits))
        for state, limits in zip(states, (each.limits_of(HEAVY) for each in rates), strict=True)
    ]
