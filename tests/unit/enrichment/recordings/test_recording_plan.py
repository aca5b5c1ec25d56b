"""When recordings are looked for, and for how long, in the time of the window."""

from datetime import timedelta
from typing import Any

import pytest

from app.enrichment.rules import recording_plan


@pytest.mark.parametrize(("window", "days"), [(120.0, 7.0), (12.0, 0.7)])
def test_recordings_wait_a_week_through_outages_if_the_window_is_two_minutes(
    make_settings: Any, window: float, days: float
) -> None:
    settings = make_settings(
        active_calls_window_seconds=window, active_calls_lag_min_seconds=0.3, active_calls_lag_max_seconds=1.0
    )
    assert recording_plan(settings).longest_outage == timedelta(days=days)
