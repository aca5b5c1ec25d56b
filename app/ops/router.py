"""GET /v1/ops/summary, /v1/ops/gaps, /v1/ops/dead-letters: the operator's API, for the scope `admin`."""

from collections.abc import Mapping
from typing import Annotated

from fastapi import APIRouter, Query

from app.api.auth import Administrator
from app.api.dependencies import CurrentServices
from app.api.problems import problem_responses
from app.enrichment.gaps import Sweep
from app.ops.accounts.router import is_operator
from app.ops.figures.completeness import load_completeness
from app.ops.figures.intake import load_dead_letters
from app.ops.figures.retention import load_retention
from app.ops.figures.summary import load_summary
from app.ops.problems.model import Subject, read_problem
from app.ops.schemas import (
    DayCounts,
    DeadLetterCount,
    DeadLetterList,
    DeliveryGap,
    DoubtfulCall,
    GapList,
    KeptKind,
    KeptKinds,
    OpsSummary,
    ProblemView,
    RecordlessCall,
)
from app.retention.rules import retention_rules

router = APIRouter(prefix="/v1/ops", tags=["operations"])


@router.get("/gaps", summary="Whether a call was lost", responses=problem_responses())
async def get_gaps(
    services: CurrentServices,
    key: Administrator,
    days: Annotated[int, Query(ge=1, le=366, description="How many days back, including today.")] = 2,
) -> GapList:
    """Return what became of every call that ended, which have no record and why, and when no event could
    arrive.

    A call is never lost silently: it is final, on its way there, or absent with a reason. Times in which
    events could not arrive are swept in the Call Log afterwards.
    """
    async with services.database.read() as db:
        found = await load_completeness(
            db, key.account_id, services.clock.now(), days, services.settings.call_stale_seconds
        )
    return GapList(
        since=found.since,
        last_look_at=found.last_look_at,
        days=[DayCounts.model_validate(day) for day in found.days],
        calls=[RecordlessCall.model_validate(call) for call in found.calls],
        live=[DoubtfulCall.model_validate(call) for call in found.live],
        deliveries=[_show_gap(gap) for gap in found.gaps],
        dead_letters=_show_dead_letters(found.dead_letters.by_reason),
    )


def _show_gap(gap: Sweep) -> DeliveryGap:
    state = "waiting"
    if gap.to_at is None:
        state = "lasting"
    elif gap.done_at is not None:
        state = "swept"
    elif gap.cursor_at is not None:
        state = "sweeping"
    problem = read_problem(Subject.SWEEP, gap.account_id, gap.problem) if gap.problem else None
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
async def get_summary(services: CurrentServices, key: Administrator) -> OpsSummary:
    """Return how the account of this key is doing: calls, delays, budget, inbox, subscriptions, problems.

    A key of `~` administers the service: its problems include those of all accounts.
    """
    now, oversees = services.clock.now(), is_operator(key)
    async with services.database.read() as db:
        summary = await load_summary(db, key.account_id, services.settings, now, oversees=oversees)
    return OpsSummary.model_validate(summary)


@router.get("/dead-letters", summary="Deliveries that became no call", responses=problem_responses())
async def list_dead_letters(
    services: CurrentServices,
    key: Administrator,
    hours: Annotated[float, Query(gt=0, le=24 * 366, description="How far to look back.")] = 24.0,
) -> DeadLetterList:
    """Count the deliveries that became part of no call, by reason, most frequent first.

    Nothing is lost: they are stored as they arrived, and `aftercall replay` reads them again.
    """
    async with services.database.read() as db:
        letters = await load_dead_letters(db, key.account_id, services.clock.now(), hours)
    return DeadLetterList(since=letters.since, data=_show_dead_letters(letters.by_reason), next_cursor=None)


@router.get("/retention", summary="How long what is kept", responses=problem_responses())
async def list_retention(services: CurrentServices, _key: Administrator) -> KeptKinds:
    """Return how long each kind of data is kept, and how old the oldest of it is.

    Something that is older than it should be is held, or waits to be removed.
    """
    async with services.database.read() as db:
        kinds = await load_retention(db, retention_rules(services.settings))
    return KeptKinds(data=[KeptKind.model_validate(kind) for kind in kinds], next_cursor=None)


def _show_dead_letters(by_reason: Mapping[str, int]) -> list[DeadLetterCount]:
    return [DeadLetterCount(reason=reason, count=count) for reason, count in by_reason.items()]
