"""The day of a delivery is the same when it comes again, and never far from its arrival."""

from datetime import UTC, datetime, time, timedelta

from hypothesis import given
from hypothesis import strategies as st

from app.webhooks.intake.days import PAST_ITS_DAY, day_of

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
TIMES = st.timedeltas(timedelta(0), timedelta(days=400)).map(lambda one: BEGIN + one)


@given(TIMES, st.none() | TIMES)
def test_every_delivery_of_a_day_arrived_before_its_partition_is_past(
    received_at: datetime, sent_at: datetime | None
) -> None:
    begin = datetime.combine(day_of(received_at, sent_at), time(), UTC)
    assert begin - timedelta(days=1) <= received_at < begin + PAST_ITS_DAY


@given(TIMES, st.timedeltas(timedelta(0), timedelta(days=1)), st.timedeltas(timedelta(0), timedelta(days=1)))
def test_a_delivery_that_comes_again_has_the_same_day(
    sent_at: datetime, first: timedelta, again: timedelta
) -> None:
    assert day_of(sent_at + first, sent_at) == day_of(sent_at + again, sent_at) == sent_at.date()


def test_a_time_that_is_not_believable_does_not_count() -> None:
    now = datetime(2026, 3, 10, 18, tzinfo=UTC)
    for sent_at in (None, datetime(2000, 1, 1, tzinfo=UTC), datetime(2099, 1, 1, tzinfo=UTC)):
        assert day_of(now, sent_at) == now.date()
