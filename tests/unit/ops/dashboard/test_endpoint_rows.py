"""Webhook endpoints in the words of the dashboard."""

from dataclasses import replace
from datetime import timedelta

from app.ids import AccountId
from app.ops.dashboard.endpoint_rows import describe_endpoints
from app.ops.figures.push import EndpointFigures
from app.push.endpoints.model import Condition, DisabledReason, Endpoint, EndpointKey, Rules
from tests.fakes.clock import START

EARLIER = START - timedelta(minutes=4)
ENDPOINT = Endpoint(
    key=EndpointKey(AccountId("908070001"), "whe_a"),
    url="https://crm.example/hooks/secret-path",
    rules=Rules(),
    position=1,
    condition=Condition(),
    created_at=EARLIER,
    updated_at=EARLIER,
)


def described(condition: Condition, waiting: int = 0, description: str | None = None) -> tuple[str, str, str]:
    endpoint = replace(ENDPOINT, condition=condition, description=description)
    figures = EndpointFigures(endpoint, waiting, EARLIER if waiting else None)
    (row,) = describe_endpoints([figures], START)
    return row["name"], row["tone"], row["note"]


def test_each_state_has_its_words_and_its_tone() -> None:
    gone = Condition(disabled_at=EARLIER, disabled_reason=DisabledReason.GONE)
    assert described(Condition()) == ("crm.example", "good", "nothing sent yet")
    assert described(Condition(last_success_at=EARLIER))[2] == "last delivery 4 min 00 s ago"
    failing = described(Condition(failures=3, failing_since=EARLIER), waiting=2, description="CRM")
    assert failing == (
        "CRM (crm.example)",
        "waiting",
        "failing for 4 min 00 s, 3 attempts, 2 waiting, the oldest from 4 min 00 s ago",
    )
    assert described(gone)[1:] == ("bad", "disabled: it answered 410 Gone")
