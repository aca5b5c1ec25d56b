"""Several rate buckets as one: which of them a poll uses, and what the planner may expect of all. Pure.

RingCentral limits the requests of each user and app. Users who see the whole account get the same response,
so a poll may be sent through whichever has a request to spare. The pages of one poll go through one bucket.
"""

from collections.abc import Sequence
from datetime import datetime

from app.enrichment.polling.planner import PlannerBudget


def pool_budgets(budgets: Sequence[PlannerBudget], pages: int = 1) -> PlannerBudget:
    """Return when polls of `pages` requests may be sent through any of the buckets (at least one).

    The result is in polls: plan with it as if a poll took one request. A bucket in a penalty adds only times
    after it. If one bucket keeps its slots longer than others, the longest time counts for all.
    """
    times = sorted(at for budget in budgets for at in _poll_times(budget, pages))
    return PlannerBudget(tuple(times), max(budget.cycle_seconds for budget in budgets))


def pick_bucket(budgets: Sequence[PlannerBudget], now: datetime, pages: int = 1) -> int:
    """Return the index of the bucket that can send most polls now, so that all keep a reserve for other work.

    The first of equals; if none can send a poll, the one that can do so first.
    """
    times = [_poll_times(budget, pages) for budget in budgets]
    free = [sum(1 for at in each if at <= now) for each in times]
    return min(range(len(budgets)), key=lambda index: (-free[index], max(now, times[index][0])))


def _poll_times(budget: PlannerBudget, pages: int) -> tuple[datetime, ...]:
    return budget.free_at[pages - 1 :: pages] or budget.free_at[-1:]
