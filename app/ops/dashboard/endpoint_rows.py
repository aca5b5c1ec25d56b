"""Describes webhook endpoints in words and plain values. No I/O."""

from collections.abc import Sequence
from datetime import datetime
from typing import TypedDict
from urllib.parse import urlsplit

from app.ops.dashboard.wording import format_ago, format_count, format_duration, pluralize
from app.ops.figures.push import EndpointFigures, state_of
from app.push.endpoints.model import DisabledReason

_TONES = {"enabled": "good", "failing": "waiting", "paused": "waiting", "disabled": "bad"}
_REASONS = {
    DisabledReason.PAUSED: "paused",
    DisabledReason.GONE: "disabled: it answered 410 Gone",
    DisabledReason.FAILING: "disabled: nothing confirmed for five days",
}


class EndpointRow(TypedDict):
    """An endpoint; of its address only the host, since the path may be secret."""

    id: str
    name: str
    tone: str
    note: str


def describe_endpoints(endpoints: Sequence[EndpointFigures], now: datetime) -> list[EndpointRow]:
    """Describe the endpoints, those that need attention first."""
    return [_row(one, now) for one in endpoints]


def _row(figures: EndpointFigures, now: datetime) -> EndpointRow:
    endpoint, condition = figures.endpoint, figures.endpoint.condition
    host = urlsplit(endpoint.url).netloc
    return {
        "id": endpoint.key.endpoint_id,
        "name": f"{endpoint.description} ({host})" if endpoint.description else host,
        "tone": _TONES[state_of(condition.disabled_reason, condition.failures)],
        "note": ", ".join([_state(figures, now), *_waiting(figures, now)]),
    }


def _state(figures: EndpointFigures, now: datetime) -> str:
    condition = figures.endpoint.condition
    if condition.disabled_reason is not None:
        return _REASONS[condition.disabled_reason]
    if condition.failing_since is not None:
        lasts = format_duration((now - condition.failing_since).total_seconds())
        number = condition.failures
        return f"failing for {lasts}, {format_count(number)} {pluralize(number, 'attempt')}"
    if condition.last_success_at is None:
        return "nothing sent yet"
    return f"last delivery {format_ago(now - condition.last_success_at)}"


def _waiting(figures: EndpointFigures, now: datetime) -> list[str]:
    if not figures.waiting or figures.oldest_at is None:
        return []
    since = format_ago(now - figures.oldest_at)
    return [f"{format_count(figures.waiting)} waiting, the oldest from {since}"]
