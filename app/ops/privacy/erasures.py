"""POST /v1/erasures and what follows it, for keys with the scope `admin`.

Planning counts and erases nothing. The plan is then carried out by its id. Numbers come in bodies alone:
addresses are logged by proxies.
"""

from typing import Annotated

from fastapi import APIRouter, Path, Query
from sqlalchemy.ext.asyncio import AsyncConnection

from app.api.auth import Administrator
from app.api.dependencies import CurrentServices, Services
from app.api.known_keys import Key
from app.api.problems import problem_responses
from app.audit.trail import AuditAction, Trail, audited
from app.calls import accounts
from app.db.engine import wake
from app.erasure import store
from app.erasure.model import Order, Status
from app.erasure.subjects import is_of, read_erased_subject, read_subject
from app.errors import Conflict, NotFound
from app.ids import AccountId
from app.ops.accounts.router import AccountQuery, chosen_account
from app.ops.privacy.schemas import (
    ErasureList,
    ErasureView,
    Receipt,
    RunIn,
    SubjectIn,
    Verification,
    receipt_of,
    view_of,
)
from app.vault import Vault
from app.work import wakeups

_ID = r"^erasure_[0-9a-z]{26}$"

router = APIRouter(prefix="/v1/erasures", tags=["privacy"])

ErasurePath = Annotated[
    str, Path(alias="erasure", pattern=_ID, examples=["erasure_01kdv6x3q8m7a2c5e9r4t1y6wz"])
]


def order_of(key: Key) -> Order:
    """Return who orders something with an API key."""
    return Order("apiKey", key.key_id, key.name)


async def _account(db: AsyncConnection, key: Key, account_id: str | None) -> AccountId:
    """Return the account of a request. Raises Forbidden, and NotFound for one that does not exist."""
    chosen = chosen_account(key, account_id)
    if chosen != key.owner and not await accounts.is_known(db, chosen):
        raise NotFound(f"There is no account {chosen}")
    return await accounts.resolve(db, chosen)


def _vault(services: Services) -> Vault:
    return Vault(services.settings.secrets()[0])


@router.post("", status_code=201, summary="Plan an erasure", responses=problem_responses(400, 404, 409, 410))
async def plan_erasure(
    subject: SubjectIn,
    services: CurrentServices,
    trail: Annotated[Trail, audited(AuditAction.ERASURE_PLANNED)],
    key: Administrator,
    account_id: AccountQuery = None,
) -> ErasureView:
    """Count what an erasure would erase, by kind. Nothing is erased until the plan is run by its id."""
    async with services.database.write() as db:
        account = await _account(db, key, account_id)
        found = await read_subject(db, account, subject.kind, subject.written)
        now = services.clock.now()
        planned = await store.plan_erasure(db, _vault(services), account, found, order_of(key), now)
        await trail.record(db, now, account, planned.erasure_id, kind=planned.kind)
    return view_of(planned)


@router.get("", summary="List erasures", responses=problem_responses(404))
async def list_erasures(
    services: CurrentServices,
    key: Administrator,
    account_id: AccountQuery = None,
    limit: Annotated[int, Query(ge=1, le=100, description="How many at most.")] = 50,
    cursor: Annotated[
        str | None, Query(pattern=_ID, description="`nextCursor` of the previous page.")
    ] = None,
) -> ErasureList:
    """The erasures of an account, newest first: plans, running ones, and those that are done."""
    async with services.database.read() as db:
        account = await _account(db, key, account_id)
        found = await store.list_erasures(db, account, limit + 1, cursor)
    shown = found[:limit]
    has_more = len(found) > limit
    return ErasureList(
        data=[view_of(one) for one in shown], next_cursor=shown[-1].erasure_id if has_more else None
    )


@router.get("/{erasure}", summary="Get an erasure", responses=problem_responses(404))
async def get_erasure(
    erasure: ErasurePath, services: CurrentServices, key: Administrator, account_id: AccountQuery = None
) -> ErasureView:
    """How far it is, and what was erased so far."""
    async with services.database.read() as db:
        return view_of(await store.load_erasure(db, await _account(db, key, account_id), erasure))


@router.post(
    "/{erasure}/run",
    status_code=202,
    summary="Carry out a planned erasure",
    responses=problem_responses(400, 404, 409),
)
async def run_erasure(
    erasure: ErasurePath,
    run: RunIn,
    services: CurrentServices,
    trail: Annotated[Trail, audited(AuditAction.ERASURE_STARTED)],
    key: Administrator,
    account_id: AccountQuery = None,
) -> ErasureView:
    """Erase what was planned. This cannot be undone. Calls under legal hold are refused, with their number.

    Repeating the request changes nothing. The service works on it in the background: see its `status`."""
    async with services.database.write() as db:
        account, now = await _account(db, key, account_id), services.clock.now()
        before = await store.load_erasure(db, account, erasure)
        started = await store.begin_erasure(
            db, _vault(services), account, erasure, order_of(key), now, spare_held=run.spare_held
        )
        begins = before.status == Status.PLANNED
        await trail.record(
            db, now, account, erasure, changed=begins, kind=started.kind, heldCalls=started.held
        )
        wake(db, wakeups.ERASURES)
    return view_of(started)


@router.get(
    "/{erasure}/receipt", summary="Get the receipt of an erasure", responses=problem_responses(404, 409)
)
async def get_erasure_receipt(
    erasure: ErasurePath, services: CurrentServices, key: Administrator, account_id: AccountQuery = None
) -> Receipt:
    """What was erased, when and on whose order, with a keyed hash of the subject in place of its name."""
    async with services.database.read() as db:
        found = await store.load_erasure(db, await _account(db, key, account_id), erasure)
    receipt = receipt_of(found)
    if receipt is None:
        raise Conflict(f"The erasure {erasure} is not done: its status is {found.status}")
    return receipt


@router.post(
    "/{erasure}/verification",
    summary="Prove whom an erasure was about",
    responses=problem_responses(400, 404, 409),
)
async def verify_erasure(
    erasure: ErasurePath,
    subject: SubjectIn,
    services: CurrentServices,
    key: Administrator,
    account_id: AccountQuery = None,
) -> Verification:
    """Whether the erasure was about this number, extension or call. Nothing of the request is stored."""
    async with services.database.read() as db:
        account = await _account(db, key, account_id)
        found = await store.load_erasure(db, account, erasure)
        asked = await read_erased_subject(db, account, subject.kind, subject.written)
    return Verification(matches=is_of(_vault(services), found.account_id, asked, found.subject_hash))
