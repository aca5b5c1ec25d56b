"""The values of the gauges that describe the whole service, and how they are set."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from prometheus_client import Gauge

from app import metrics
from app.db.pool import PoolState
from app.metric_labels import OTHER

_WHOLE = (
    metrics.WAITING, metrics.OVERDUE, metrics.OVERDUE_SECONDS, metrics.LIVE, metrics.LIVE_LONG,
    metrics.BUDGET_FREE, metrics.BUDGET_SILENT, metrics.INBOX, metrics.INBOX_SECONDS,
    metrics.SUBSCRIPTION_SECONDS, metrics.WEBHOOK_WAITING, metrics.WEBHOOK_WAITING_SECONDS,
)  # fmt: skip
_BY_STATE = (
    metrics.SUBSCRIPTIONS, metrics.CREDENTIALS, metrics.GAPS, metrics.GAP_SECONDS, metrics.WEBHOOK_ENDPOINTS,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class GaugeValues:
    """What one reading of the database shows. A gauge that is not named could not be read."""

    whole: dict[Gauge, float] = field(default_factory=dict)
    by_state: dict[Gauge, Mapping[str, float]] = field(default_factory=dict)
    """By the label `state`; a state that is not named is 0."""


def set_gauges(values: GaugeValues) -> None:
    """Set every gauge; those that could not be read are not a number."""
    for gauge in _WHOLE:
        gauge.set(values.whole.get(gauge, math.nan))
    for labelled in _BY_STATE:
        by_state = values.by_state.get(labelled)
        for state in (*labelled.values["state"], OTHER):
            value = math.nan if by_state is None else by_state.get(state, 0.0)
            labelled.labels(state=state).set(value)


def set_pool(state: PoolState | None) -> None:
    """Set the gauges of this process' connection pool; without a pool they are not a number."""
    metrics.POOL.labels(state="in-use").set(state.in_use if state else math.nan)
    metrics.POOL.labels(state="idle").set(state.idle if state else math.nan)
    metrics.POOL_LIMIT.set(state.limit if state else math.nan)
    metrics.POOL_WAITING.set(state.waiting if state else math.nan)
