"""Whether the process is alive (GET /healthz) and whether it can do its work (GET /readyz).

`readyz` checks what the service depends on and returns, for each check that fails, what to do; the response
is a 503 while one fails. `readyz?for=intake` checks only whether a delivery could be stored here and now.
"""

import asyncio
from dataclasses import dataclass
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from app.api.dependencies import CurrentServices, Services
from app.api.problems import open_problem_responses
from app.api.schemas import ApiModel
from app.db.diagnosis import explain_refused_write
from app.db.schema import SchemaState, schema_state
from app.errors import StorageUnavailable
from app.ops.figures.intake import load_inbox
from app.ops.health.write_proof import WriteProof
from app.ops.problems.model import ProblemCode, Subject
from app.ops.problems.remedies import remedy_for
from app.ops.states import InboxState, is_backlog

LONGEST_SECONDS = 4.0
"""A probe gets its response within this time, so its own timeout has to be longer."""

router = APIRouter(tags=["health"])

Name = Literal["database", "schema", "intake", "inbox"]
Purpose = Literal["everything", "intake"]


class ReadyQuery(BaseModel):
    """The query of `readyz`."""

    model_config = ConfigDict(extra="forbid")

    purpose: Purpose = Field(
        "everything",
        alias="for",
        description="`intake`: only whether deliveries can be stored here, not whether a worker keeps up.",
    )


@dataclass(frozen=True, slots=True)
class Check:
    """The result of one check. `todo` says what to do when it is not `ok`."""

    name: Name
    ok: bool
    detail: str
    todo: str | None = None


class Alive(ApiModel):
    """The process runs."""

    status: Literal["ok"] = Field(examples=["ok"])


class CheckView(ApiModel):
    """The result of one check."""

    name: Name
    ok: bool
    detail: str
    todo: str | None = Field(None, description="What to do; only where the check failed.")


class Ready(ApiModel):
    """The results of all checks. What depends on a failed check is left out."""

    status: Literal["ready", "not ready"]
    checks: list[CheckView]


_READY = {
    "status": "ready",
    "checks": [
        {"name": "database", "ok": True, "detail": "answers"},
        {"name": "schema", "ok": True, "detail": "at 20261123_first"},
        {"name": "intake", "ok": True, "detail": "deliveries can be stored"},
        {"name": "inbox", "ok": True, "detail": "empty"},
    ],
}
_NOT_READY = {
    "status": "not ready",
    "checks": [
        {"name": "database", "ok": True, "detail": "answers"},
        {
            "name": "schema",
            "ok": False,
            "detail": "at nothing, expected 20261123_first",
            "todo": "Run `aftercall migrate`.",
        },
    ],
}


@router.get(
    "/healthz",
    summary="Whether the process runs",
    responses=open_problem_responses(400),
    openapi_extra={"security": []},
)
async def get_health() -> Alive:
    """Respond as long as the process runs. Restart the process when this does not respond."""
    return Alive(status="ok")


@router.get(
    "/readyz",
    summary="Whether the service can do its work",
    response_model=Ready,
    responses={
        200: {"content": {"application/json": {"example": _READY}}},
        503: {
            "description": "A check failed; `todo` says what to do.",
            "model": Ready,
            "content": {"application/json": {"example": _NOT_READY}},
        },
    },
    openapi_extra={"security": []},
)
async def get_readiness(
    request: Request, services: CurrentServices, query: Annotated[ReadyQuery, Query()]
) -> JSONResponse:
    """Check that the database stores deliveries, that its schema fits this code, and that the inbox keeps up.

    `?for=intake` checks only whether a delivery could be stored: use it for load balancers. The database is
    written to at most once a second, however many probes ask.
    """
    # The proof belongs to the app, not to the request: all probes of a second share one.
    checks = await check_all(services, query.purpose, _proof(request, services))
    ready = all(check.ok for check in checks)
    return JSONResponse(
        {
            "status": "ready" if ready else "not ready",
            "checks": [
                {"name": check.name, "ok": check.ok, "detail": check.detail}
                | ({"todo": check.todo} if check.todo else {})
                for check in checks
            ],
        },
        200 if ready else 503,
        # A proxy that caches a 200 would hide an outage.
        headers={"Cache-Control": "no-store"},
    )


def _proof(request: Request, services: Services) -> WriteProof:
    """Return the one proof of this app, through the process' intake if it has opened one."""
    state = request.app.state
    if not hasattr(state, "write_proof"):
        process = getattr(state, "process", None)
        state.write_proof = WriteProof(services, process and process.intake.inbox.prove_writable)
    proof: WriteProof = state.write_proof
    return proof


async def check_all(
    services: Services, purpose: Purpose = "everything", proof: WriteProof | None = None
) -> list[Check]:
    """Check database, schema, intake and inbox. What depends on a failed check is left out."""
    check = _check_intake if purpose == "intake" else _check_everything
    try:
        async with asyncio.timeout(LONGEST_SECONDS):
            return await check(services, proof or WriteProof(services))
    except StorageUnavailable as error:
        return [_unavailable(str(error))]
    except TimeoutError:
        return [_unavailable(f"the database did not answer within {LONGEST_SECONDS:g} s")]


async def _check_everything(services: Services, proof: WriteProof) -> list[Check]:
    state = await schema_state(services.database)
    checks = [Check("database", ok=True, detail="answers"), check_schema_state(state)]
    # On another schema the queries below would fail for a reason that says nothing.
    if state.serves:
        checks += await _check_intake(services, proof)
        async with services.database.read() as db:
            inbox = await load_inbox(db, None, services.clock.now())
        checks.append(check_inbox(inbox, services.settings.active_calls_window_seconds))
    return checks


async def _check_intake(services: Services, proof: WriteProof) -> list[Check]:
    try:
        await proof.prove()
    except StorageUnavailable as error:
        todo = explain_refused_write(error, services.settings.database_url)
        return [
            Check(
                "intake",
                ok=False,
                detail=str(error),
                todo=f"Until it is fixed, deliveries are refused. {todo}",
            )
        ]
    return [Check("intake", ok=True, detail="deliveries can be stored")]


def _unavailable(detail: str) -> Check:
    return Check(
        "database",
        ok=False,
        detail=detail,
        todo="Check that the server in AFTERCALL_DATABASE_URL is running and can be reached from here.",
    )


def check_schema_state(state: SchemaState) -> Check:
    """Check that this code works on the schema of the database."""
    return Check("schema", ok=state.serves, detail=state.detail, todo=None if state.serves else state.todo)


def check_inbox(inbox: InboxState, window_seconds: float) -> Check:
    """Compare the backlog with the window, within which the end of a call has to become known."""
    if not inbox.waiting:
        return Check("inbox", ok=True, detail="empty")
    oldest = inbox.oldest_seconds or 0.0
    detail = f"{inbox.number} waiting, the oldest for {oldest:.1f} s"
    if not is_backlog(inbox, window_seconds):
        return Check("inbox", ok=True, detail=detail)
    todo = remedy_for(Subject.INBOX, ProblemCode.INBOX_BACKLOG).todo
    return Check("inbox", ok=False, detail=detail, todo=todo)
