"""The operator's API: GET /v1/ops/summary, GET /v1/ops/dead-letters. For keys with the scope `admin`."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from app.dependencies import Administrator, CurrentServices
from app.ops.summary import MINUTE_SECONDS, PERIOD_SECONDS, Summary, load_dead_letters, load_summary
from app.problems import problem_responses

router = APIRouter(prefix="/v1/ops", tags=["operations"])


class _Answer(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, from_attributes=True)


class CallCounts(_Answer):
    """Calls that ended in the period, by what became of them."""

    ended: int
    in_window: int = Field(description="Their record was found in Active Calls, inside the window.")
    later: int = Field(description="Their record came later, from the Call Log.")
    absent: int = Field(description="No source knows them; the call says why.")
    waiting: int = Field(description="Have no record yet; their window is open.")
    overdue: int = Field(description="Have no record yet; their window has closed.")
    live: int = Field(description="Going on now.")
    found_share: float | None = Field(
        description="Found in the window, 0 to 1, of all calls for which that is decided.", examples=[0.998]
    )


class DelayFigures(_Answer):
    """From the end of a call to its record."""

    count: int
    median_seconds: float | None = Field(examples=[3.4])
    p99_seconds: float | None = Field(examples=[6.2])


class MinuteCounts(_Answer):
    """Calls that ended in one minute."""

    at: datetime
    in_window: int
    later: int
    absent: int
    open: int


class WaitingCall(_Answer):
    """A call whose record is being looked for."""

    call_id: str
    session_id: str | None
    ended_at: datetime
    closes_at: datetime = Field(description="When Active Calls forgets it.")
    looks: int = Field(description="Polls that did not show it.")


class BudgetState(_Answer):
    """The fullest Heavy rate bucket."""

    limit: int
    free: int
    window_seconds: float
    silent_until: datetime | None = Field(description="End of a penalty after a 429.")


class InboxCounts(_Answer):
    """Deliveries that are stored and not folded into calls yet."""

    waiting: int
    oldest_seconds: float | None


class SubscriptionView(_Answer):
    """A webhook subscription, as last seen."""

    status: str
    expires_at: datetime | None
    checked_at: datetime
    disabled_filters: list[str]


class ProblemView(_Answer):
    """What only a person can put right."""

    about: str = Field(examples=["account", "polls", "subscription"])
    code: str = Field(description="RingCentral's own code where it gave one.", examples=["CMN-408"])
    detail: str
    since: datetime | None


class OpsSummary(_Answer):
    """How the service is doing, over the last hour."""

    at: datetime
    period_seconds: int = PERIOD_SECONDS
    calls: CallCounts
    delays: DelayFigures
    minutes: list[MinuteCounts] = Field(description=f"Each {MINUTE_SECONDS} s of the period, oldest first.")
    waiting: list[WaitingCall] = Field(description="Those whose window closes first.")
    budget: BudgetState | None
    inbox: InboxCounts
    subscriptions: list[SubscriptionView]
    problems: list[ProblemView]
    rate_limited: int = Field(description="Answers 429 that all replicas ever got.")


class DeadLetterCount(_Answer):
    """Deliveries that became part of no call for one reason."""

    reason: str = Field(examples=["ignored: test-call"])
    count: int


class DeadLetterList(_Answer):
    """Deliveries that were stored and became part of no call."""

    since: datetime
    data: list[DeadLetterCount]


@router.get("/summary", summary="How the service is doing", responses=problem_responses())
async def read_summary(services: CurrentServices, key: Administrator) -> OpsSummary:
    """Say how the account of this key is doing: calls, delays, budget, inbox, subscriptions, problems."""
    now = services.clock.now()
    async with services.database.read() as db:
        summary: Summary = await load_summary(db, key.account_id, services.settings, now)
    return OpsSummary.model_validate(summary)


@router.get("/dead-letters", summary="Deliveries that became no call", responses=problem_responses())
async def read_dead_letters(
    services: CurrentServices,
    key: Administrator,
    hours: Annotated[float, Query(gt=0, le=24 * 366, description="How far to look back.")] = 24.0,
) -> DeadLetterList:
    """Count the deliveries that became part of no call, by reason, most frequent first.

    Nothing is lost with them: they are kept as they came, and `aftercall replay` reads them again.
    """
    async with services.database.read() as db:
        letters = await load_dead_letters(db, key.account_id, services.clock.now(), hours)
    counts: list[dict[str, Any]] = [
        {"reason": reason, "count": count} for reason, count in letters.by_reason.items()
    ]
    return DeadLetterList.model_validate({"since": letters.since, "data": counts})
