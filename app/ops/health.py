"""Whether the process is alive (GET /healthz) and whether it can do its work (GET /readyz).

`readyz` looks at what the service stands on and says, for each thing that is wrong, what to do. It answers
503 while one is.
"""

from dataclasses import dataclass
from typing import Literal

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from app.db.migrations import current_revision, head
from app.dependencies import CurrentServices, Services
from app.errors import StorageUnavailable
from app.ops.states import MOST_COUNTED, InboxState
from app.ops.summary import load_inbox

router = APIRouter(tags=["health"])

Name = Literal["database", "schema", "inbox"]


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at. `todo` says what to do about it when it is not `ok`."""

    name: Name
    ok: bool
    detail: str
    todo: str | None = None


_READY = {
    "status": "ready",
    "checks": [
        {"name": "database", "ok": True, "detail": "answers"},
        {"name": "schema", "ok": True, "detail": "at 20261123_first"},
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
            "todo": "Run `aftercall migrate`; if the schema is the newer one, run the newer code.",
        },
    ],
}


@router.get(
    "/healthz",
    summary="Whether the process runs",
    responses={200: {"content": {"application/json": {"example": {"status": "ok"}}}}},
)
async def show_alive() -> dict[str, str]:
    """Answer as long as the process runs. Restart it when this does not answer."""
    return {"status": "ok"}


@router.get(
    "/readyz",
    summary="Whether the service can do its work",
    responses={
        200: {"content": {"application/json": {"example": _READY}}},
        503: {
            "description": "Something is wrong; `todo` says what to do.",
            "content": {"application/json": {"example": _NOT_READY}},
        },
    },
)
async def show_ready(services: CurrentServices) -> JSONResponse:
    """Say whether the database can be reached, its schema is the right one, and the inbox is worked off."""
    checks = await check_all(services)
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
        headers={"Cache-Control": "no-store"},
    )


async def check_all(services: Services) -> list[Check]:
    """Look at the database, its schema and the inbox. What depends on something broken is not looked at."""
    try:
        schema = check_schema(await current_revision(services.database), head())
        checks = [Check("database", ok=True, detail="answers"), schema]
        if schema.ok:
            async with services.database.read() as db:
                inbox = await load_inbox(db, None, services.clock.now())
            checks.append(check_inbox(inbox, services.settings.active_calls_window_seconds))
    except StorageUnavailable as error:
        return [
            Check(
                "database",
                ok=False,
                detail=str(error),
                todo="Check that the server of AFTERCALL_DATABASE_URL runs and can be reached from here.",
            )
        ]
    return checks


def check_schema(current: str | None, expected: str) -> Check:
    """Compare the revision of the database with the one that this code expects."""
    if current == expected:
        return Check("schema", ok=True, detail=f"at {expected}")
    return Check(
        "schema",
        ok=False,
        detail=f"at {current or 'nothing'}, expected {expected}",
        todo="Run `aftercall migrate`; if the schema is the newer one, run the newer code.",
    )


def check_inbox(inbox: InboxState, window_seconds: float) -> Check:
    """Hold the backlog against the window: an end that we learn of too late cannot be looked up in time."""
    if not inbox.waiting:
        return Check("inbox", ok=True, detail="empty")
    oldest = inbox.oldest_seconds or 0.0
    number = f"{MOST_COUNTED - 1} and more" if inbox.waiting >= MOST_COUNTED else str(inbox.waiting)
    detail = f"{number} waiting, the oldest for {oldest:.1f} s"
    if oldest <= window_seconds / 2 and inbox.waiting < MOST_COUNTED:
        return Check("inbox", ok=True, detail=detail)
    return Check(
        "inbox",
        ok=False,
        detail=detail,
        todo="See that a worker runs (`aftercall serve --role worker`) and what its log says; add one if all are busy.",
    )
