"""The operator's API: GET /v1/ops/summary, /v1/ops/gaps, /v1/ops/dead-letters. For keys with the scope `admin`."""

from datetime import date
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from app.api.auth import Administrator
from app.api.dependencies import CurrentServices
from app.api.problems import problem_responses
from app.calls.schemas import Instant
from app.enrichment.call_log.gaps import Sweep
from app.ops.accounts.router import is_operator
from app.ops.figures.completeness import MOST_CALLS, load_completeness
from app.ops.figures.summary import (
    MINUTE_SECONDS,
    PERIOD_SECONDS,
    ServiceSummary,
    load_dead_letters,
    load_summary,
)
from app.ops.problems.listing import read_problem

router = APIRouter(prefix="/v1/ops", tags=["operations"])


class _Answer(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, from_attributes=True)


class CallCounts(_Answer):
    """Calls that ended in the period, by what became of them."""

    ended: int
    in_window: int = Field(
        description="Their record was found inside the window: in Active Calls, or in the Call Log where that was quicker."
    )
    later: int = Field(description="Their record came after the window, from the Call Log.")
    absent: int = Field(description="No source knows them; the call says why.")
    waiting: int = Field(description="Have no record yet; their window is open.")
    overdue: int = Field(description="Have no record yet; their window has closed.")
    swept: int = Field(
        description="Found in the Call Log by looking: no event told of their end, so they count for no window."
    )
    live: int = Field(description="Going on now.")
    found_share: float | None = Field(
        description="Found in the window, 0 to 1, of the calls that an event told of and for which that is decided.",
        examples=[0.998],
    )


class DelayFigures(_Answer):
    """From the end of a call that an event told of to its record."""

    count: int
    median_seconds: float | None = Field(examples=[3.4])
    p99_seconds: float | None = Field(examples=[6.2])


class MinuteCounts(_Answer):
    """Calls that ended in one minute."""

    at: Instant
    in_window: int
    later: int
    absent: int
    open: int = Field(description="Have no record yet: waiting or overdue.")
    waiting: int
    overdue: int
    swept: int


class WaitingCall(_Answer):
    """A call whose record is being looked for."""

    call_id: str
    session_id: str | None
    ended_at: Instant
    closes_at: Instant = Field(description="When Active Calls forgets it.")
    looks: int = Field(description="Polls that did not show it.")


class BudgetState(_Answer):
    """The fullest Heavy rate bucket."""

    limit: int
    free: int
    window_seconds: float
    silent_until: Instant | None = Field(description="End of a penalty after a 429.")


class InboxCounts(_Answer):
    """Deliveries that are stored and not folded into calls yet."""

    waiting: int
    oldest_seconds: float | None


class SubscriptionView(_Answer):
    """A webhook subscription, as it stands."""

    status: str = Field(
        description="RingCentral's own word, or ours once it is known to deliver nothing.",
        examples=["Active", "Missing", "Expired", "Suspended", "Refused"],
    )
    lost_at: Instant | None = Field(None, description="Since when it delivers nothing; null while it does.")
    expires_at: Instant | None
    checked_at: Instant
    disabled_filters: list[str]


class ProblemView(_Answer):
    """What only a person can put right."""

    account_id: str = Field(examples=["908070001"])
    about: str = Field(
        examples=[
            "setup",
            "reach",
            "credentials",
            "subscription",
            "sweep",
            "inbox",
            "clock",
            "rate-limit",
            "records",
        ],
    )
    title: str = Field(description="What it is called, here, on the dashboard and by `aftercall check`.")
    todo: str = Field(description="What helps.")
    credentials: str | None = Field(
        None,
        description="Which credentials of the account, where it is about some.",
        examples=["ext-711000101"],
    )
    code: str = Field(description="RingCentral's own code where it gave one.", examples=["CMN-408"])
    detail: str
    since: Instant | None


class OpsSummary(_Answer):
    """How the service is doing, over the last hour."""

    at: Instant
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
    clock_skew_seconds: float = Field(
        description="How far a worker's clock is ahead of RingCentral's, at least; negative: behind. "
        "0 up to two seconds, which cannot be told and do not matter."
    )
    last_read_at: Instant | None = Field(
        None, description="When calls were last read from RingCentral; null: not yet."
    )


class DeadLetterCount(_Answer):
    """Deliveries that became part of no call for one reason."""

    reason: str = Field(examples=["ignored: test-call"])
    count: int


class DeadLetterList(_Answer):
    """Deliveries that were stored and became part of no call."""

    since: Instant
    data: list[DeadLetterCount]


class DayCounts(_Answer):
    """Calls that ended on one day (UTC). `ended` is the sum of `final`, `reconciled`, `bootstrapped`, `absent` and `open`."""

    day: date
    ended: int
    final: int
    reconciled: int
    bootstrapped: int
    absent: dict[str, int] = Field(description="By reason.", examples=[{"never-logged": 1}])
    open: int = Field(description="Have no record yet, and are still looked for.")
    swept: int = Field(description="Of all these: no event had told of them; the Call Log did.")


class RecordlessCall(_Answer):
    """A call that has ended, whose window is closed, and that has no record."""

    call_id: str
    session_id: str | None
    telephony_session_id: str
    stage: str = Field(examples=["ended", "absent"])
    reason: str = Field(examples=["not-in-the-call-log-yet", "never-logged", "test-call"])
    since: Instant = Field(description="When the call ended.")
    next_look_at: Instant | None = Field(description="When the Call Log is asked again; null: no more.")


class DoubtfulCall(_Answer):
    """A live call that may be over: RingCentral is asked until that is known."""

    call_id: str
    session_id: str | None
    telephony_session_id: str
    reason: str = Field(
        description="`not-asked-since-the-gap`: it began before a gap ended, and its end may have been missed. "
        "`live-for-too-long`: no event about it for AFTERCALL_CALL_STALE_SECONDS.",
        examples=["not-asked-since-the-gap", "live-for-too-long"],
    )
    started_at: Instant
    since: Instant = Field(description="When it was last known to go on.")
    next_look_at: Instant | None = Field(
        description="RingCentral is not asked before; null: as soon as possible."
    )


class DeliveryGap(_Answer):
    """A time in which no event could come, or a backfill; its calls are looked for in the Call Log."""

    sweep_id: str
    reason: str = Field(
        examples=["service-down", "deliveries-not-stored", "subscription-suspended", "backfill"]
    )
    detail: str | None = Field(
        description="RingCentral's own words, where it gave any; of `deliveries-not-stored` the last reason."
    )
    from_at: Instant = Field(serialization_alias="from")
    to_at: Instant | None = Field(serialization_alias="to", description="Null: it still lasts.")
    state: str = Field(examples=["lasting", "waiting", "sweeping", "swept"])
    swept_until: Instant | None = Field(description="Calls that started before this were looked for.")
    records: int = Field(description="Records read.")
    found: int = Field(description="Calls that no event had told of.")
    problem: ProblemView | None = Field(description="Why it does not get on.")


class GapList(_Answer):
    """Whether calls were lost: what became of each, and when no event could come."""

    since: Instant
    last_look_at: Instant | None = Field(
        description="When the Call Log was last looked through for calls that no event told of."
    )
    days: list[DayCounts] = Field(description="Earliest first, today last.")
    calls: list[RecordlessCall] = Field(description=f"Latest first, up to {MOST_CALLS}.")
    live: list[DoubtfulCall] = Field(
        description=f"Live calls that may be over, oldest first, up to {MOST_CALLS}. Empty: no call is missing for "
        "want of its last events."
    )
    deliveries: list[DeliveryGap] = Field(description="Latest first.")
    dead_letters: list[DeadLetterCount]


@router.get("/gaps", summary="Whether a call was lost", responses=problem_responses())
async def read_gaps(
    services: CurrentServices,
    key: Administrator,
    days: Annotated[int, Query(ge=1, le=366, description="How many days back, today among them.")] = 2,
) -> GapList:
    """Say what became of every call that ended, which have no record and why, and when no event could come.

    A call is never lost silently: it is final, on its way there, or absent with a reason. Times in which events
    could not come are swept in the Call Log afterwards.
    """
    async with services.database.read() as db:
        ledger = await load_completeness(
            db, key.account_id, services.clock.now(), days, services.settings.call_stale_seconds
        )
    letters = ledger.dead_letters.by_reason.items()
    return GapList(
        since=ledger.since,
        last_look_at=ledger.last_look_at,
        days=[DayCounts.model_validate(day) for day in ledger.days],
        calls=[RecordlessCall.model_validate(call) for call in ledger.calls],
        live=[DoubtfulCall.model_validate(call) for call in ledger.live],
        deliveries=[_show_gap(gap) for gap in ledger.gaps],
        dead_letters=[DeadLetterCount(reason=reason, count=count) for reason, count in letters],
    )


def _show_gap(gap: Sweep) -> DeliveryGap:
    state = "waiting"
    if gap.to_at is None:
        state = "lasting"
    elif gap.done_at is not None:
        state = "swept"
    elif gap.cursor_at is not None:
        state = "sweeping"
    problem = gap.problem and read_problem("sweep", gap.account_id, gap.problem)
    return DeliveryGap(
        sweep_id=gap.sweep_id,
        reason=gap.reason,
        detail=gap.detail,
        from_at=gap.from_at,
        to_at=gap.to_at,
        state=state,
        swept_until=gap.cursor_at,
        records=gap.records,
        found=gap.found,
        problem=ProblemView.model_validate(problem) if problem else None,
    )


@router.get("/summary", summary="How the service is doing", responses=problem_responses())
async def read_summary(services: CurrentServices, key: Administrator) -> OpsSummary:
    """Say how the account of this key is doing: calls, delays, budget, inbox, subscriptions, problems.

    A key of `~` administers the service: among its problems are those of all accounts.
    """
    now, oversees = services.clock.now(), is_operator(key)
    async with services.database.read() as db:
        summary: ServiceSummary = await load_summary(
            db, key.account_id, services.settings, now, oversees=oversees
        )
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
