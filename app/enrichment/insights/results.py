"""What a request for insights can result in, and what that says about the account. No I/O."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from app.calls.insights.availability import Availability
from app.ringcentral.models import Insights


@dataclass(frozen=True, slots=True)
class Found:
    items: Sequence[Insights]


@dataclass(frozen=True, slots=True)
class Missing:
    """The request was allowed, but there are no insights (yet)."""


@dataclass(frozen=True, slots=True)
class Refused:
    """No connection that sees the call may read its insights. `refused`: those that were just refused, until
    when.

    `whole_account`: no other connection may either; licences are per user (guide "Conversation insights").
    """

    reason: str
    refused: Mapping[str, datetime]
    whole_account: bool = True


@dataclass(frozen=True, slots=True)
class GivenUp:
    """There will be no insights for this call; says nothing about others."""

    reason: str


@dataclass(frozen=True, slots=True)
class Retry:
    """The request failed; try again later. `whole_account`: the account's rate limit is used up."""

    at: datetime
    whole_account: bool = False


Result = Found | Missing | Refused | GivenUp | Retry

METRIC_OUTCOMES: Mapping[type, str] = {
    Found: "found",
    Missing: "not-there",
    Refused: "refused",
    GivenUp: "given-up",
    Retry: "failed",
}


def learn(availability: Availability, result: Result, now: datetime) -> Availability:
    """Return what is known of the account after a result. A failure teaches nothing."""
    match result:
        case Found() | Missing():
            return availability if availability.answered else availability.opened()
        case Refused(reason=reason, refused=refused, whole_account=is_closed):
            for name, until in refused.items():
                availability = availability.turned_away(name, until)
            if not is_closed:
                return availability
            current = [until for until in availability.refused.values() if until > now]
            return availability.closed(reason, min(current)) if current else availability
        case _:
            return availability
