"""Several rate buckets as one."""

from datetime import UTC, datetime, timedelta

from app.enrichment.polling.planner import PlannerBudget
from app.enrichment.polling.pooling import pick_bucket, pool_budgets

NOW = datetime(2026, 3, 10, 18, 0, tzinfo=UTC)


def bucket(*seconds: float, cycle: float = 60.0) -> PlannerBudget:
    return PlannerBudget(tuple(NOW + timedelta(seconds=offset) for offset in seconds), cycle)


def test_one_bucket_is_what_it_was() -> None:
    assert pool_budgets([bucket(0, 3, 9)]) == bucket(0, 3, 9)


def test_the_slots_of_all_buckets_count() -> None:
    assert pool_budgets([bucket(0, 6), bucket(3, 70, cycle=61.0)]) == bucket(0, 3, 6, 70, cycle=61.0)


def test_the_pages_of_a_poll_come_from_one_bucket() -> None:
    assert pool_budgets([bucket(0, 8), bucket(1, 9)], pages=2) == bucket(8, 9)
    assert pool_budgets([bucket(5)], pages=3) == bucket(5)


def test_the_bucket_with_most_to_spare_is_used() -> None:
    assert pick_bucket([bucket(-1, 5), bucket(-1, 0), bucket(-9, -5)], NOW) == 1
    assert pick_bucket([bucket(0, 0, 20), bucket(0, 0, 0, 0)], NOW, pages=3) == 1


def test_the_bucket_that_is_free_first_is_used_when_none_is_free() -> None:
    assert pick_bucket([bucket(60, 60), bucket(4, 90)], NOW) == 1
