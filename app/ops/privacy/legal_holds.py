"""/v1/calls/{call}/legal-hold and /v1/legal-holds: calls that nobody may delete. For the scope `admin`."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from app.api.auth import Administrator
from app.api.dependencies import CurrentServices
from app.api.problems import problem_responses
from app.audit.trail import AuditAction, Trail, audited
from app.calls import store
from app.calls.attachments.subjects import open_account
from app.calls.lifetime import legal_holds
from app.calls.names import CallName
from app.calls.store import load_id
from app.errors import NotFound
from app.ops.privacy.erasures import order_of
from app.ops.privacy.schemas import HoldIn, HoldList, HoldView

router = APIRouter(prefix="/v1", tags=["privacy"])


@router.put(
    "/calls/{call}/legal-hold",
    summary="Put a call under legal hold",
    responses=problem_responses(400, 404, 409, 410),
)
async def put_legal_hold(
    call: CallName,
    hold: HoldIn,
    services: CurrentServices,
    trail: Annotated[Trail, audited(AuditAction.HOLD_PLACED)],
    key: Administrator,
) -> HoldView:
    """Keep a call: neither retention nor an erasure removes it, or anything of it, until the hold ends.

    A hold that exists takes the new reason."""
    now = services.clock.now()
    async with services.database.write() as db, open_account(db, key.owner, now) as ledger:
        # Under the account's lock: no erasure can be deleting the call at the same time.
        call_id = await load_id(db, ledger.account_id, call)
        found = await store.load_call(db, ledger.account_id, call_id)
        before = await legal_holds.load_hold(db, ledger.account_id, call_id)
        row = await legal_holds.place_hold(db, found, hold.reason, order_of(key).to_json(), now)
        is_new = before is None or before.reason != row.reason
        await trail.record(db, now, ledger.account_id, call_id, changed=is_new)
    return HoldView.model_validate(row)


@router.get(
    "/calls/{call}/legal-hold",
    summary="Get the legal hold of a call",
    responses=problem_responses(404, 409, 410),
)
async def get_legal_hold(call: CallName, services: CurrentServices, key: Administrator) -> HoldView:
    """Since when the call is under legal hold, and who placed it. 404 if it is not."""
    async with services.database.read() as db:
        call_id = await load_id(db, key.account_id, call)
        row = await legal_holds.load_hold(db, key.account_id, call_id)
    if row is None:
        raise NotFound(f"The call {call} is not under legal hold")
    return HoldView.model_validate(row)


@router.delete(
    "/calls/{call}/legal-hold",
    status_code=204,
    summary="End the legal hold of a call",
    responses=problem_responses(404, 409, 410),
)
async def delete_legal_hold(
    call: CallName,
    services: CurrentServices,
    trail: Annotated[Trail, audited(AuditAction.HOLD_ENDED)],
    key: Administrator,
) -> Response:
    """Let retention and erasures remove the call again. Nothing is removed by this request."""
    now = services.clock.now()
    async with services.database.write() as db, open_account(db, key.owner, now) as ledger:
        call_id = await load_id(db, ledger.account_id, call)
        if not await legal_holds.release_hold(db, ledger.account_id, call_id):
            raise NotFound(f"The call {call} is not under legal hold")
        await trail.record(db, now, ledger.account_id, call_id)
    return Response(status_code=204)


@router.get("/legal-holds", summary="List legal holds", responses=problem_responses())
async def list_legal_holds(
    services: CurrentServices,
    key: Administrator,
    limit: Annotated[int, Query(ge=1, le=200, description="How many at most.")] = 100,
    cursor: Annotated[
        str | None,
        Query(pattern=r"^call_[0-9a-z]{1,35}$", description="`nextCursor` of the previous page."),
    ] = None,
) -> HoldList:
    """The calls of the account that are under legal hold, by id."""
    async with services.database.read() as db:
        rows = await legal_holds.list_holds(db, key.account_id, limit + 1, cursor)
    shown = [HoldView.model_validate(row) for row in rows[:limit]]
    return HoldList(data=shown, next_cursor=shown[-1].call_id if len(rows) > limit else None)
