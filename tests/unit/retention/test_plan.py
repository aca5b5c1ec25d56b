"""Which partitions are made and dropped, over any time and any set of those that exist."""

from datetime import UTC, datetime, time, timedelta

from hypothesis import given
from hypothesis import strategies as st

from app.retention.partitions import DAYS_AHEAD, day_of_partition, name_of_partition, plan_partitions
from app.webhooks.intake.days import day_of

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
MOMENTS = st.timedeltas(timedelta(0), timedelta(days=400)).map(lambda one: BEGIN + one)
KEPT = st.timedeltas(timedelta(seconds=1), timedelta(days=90))


@given(st.lists(MOMENTS, max_size=40), MOMENTS, KEPT)
def test_days_to_come_exist_and_nothing_young_is_dropped(
    existing: list[datetime], now: datetime, kept: timedelta
) -> None:
    names = {name_of_partition(one.date()) for one in existing} | {"deliveries_default", "deliveries_before"}
    plan = plan_partitions(sorted(names), now, kept)
    after = names - set(plan.old) | {name_of_partition(day) for day in plan.missing}
    for ahead in range(DAYS_AHEAD + 1):
        assert name_of_partition((now + timedelta(days=ahead)).date()) in after
    assert {"deliveries_default", "deliveries_before"} <= after
    for name in plan.old:
        day = day_of_partition(name)
        assert day is not None
        # The latest delivery that can be in it: one that was on its way for as long as is believed.
        latest = datetime.combine(day, time.max, UTC) + timedelta(days=2)
        assert day_of(latest, datetime.combine(day, time(), UTC)) == day
        assert latest < now - kept


@given(MOMENTS, KEPT)
def test_a_partition_goes_within_days_of_its_retention(now: datetime, kept: timedelta) -> None:
    name = name_of_partition(now.date())
    assert plan_partitions([name], now + kept, kept).old == []
    assert plan_partitions([name], now + kept + timedelta(days=3), kept).old == [name]
