"""The routes of earlier versions of a call."""

from itertools import islice
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Response
from sqlalchemy import Row, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.api.auth import CallsReader
from app.api.dependencies import CurrentServices, JsonResponse
from app.api.problems import problem_responses
from app.calls import store
from app.calls.history.schemas import CallVersion, CallVersions
from app.calls.history.states import PastChange, states_of
from app.calls.names import CallName
from app.db.tables import calls, timeline
from app.errors import NotFound, VersionExpired
from app.ids import AccountId

router = APIRouter(prefix="/v1", tags=["calls"])

_HIGHEST = 2**31 - 1
VersionNumber = Annotated[int, Path(ge=1, le=_HIGHEST, description="A `version` of the call.", examples=[1])]


@router.get(
    "/calls/{call}/versions",
    response_model=CallVersions,
    summary="List the versions of a call",
    responses=problem_responses(404, 409, 410),
)
async def get_versions(
    services: CurrentServices,
    key: CallsReader,
    call: CallName,
    cursor: Annotated[
        int | None, Query(ge=1, le=_HIGHEST, description="`nextCursor` of the previous page.")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=500, description="The most versions of a page.")] = 100,
) -> Response:
    """What the call was after each of its changes, oldest first, as far as changes are kept and tell it: ids
    and words, never a text, a name or a number."""
    after = cursor or 0
    async with services.database.read() as db:
        call_id = await store.load_id(db, key.account_id, call)
        found, current = await _load(db, key.account_id, call_id, after + limit + 1)
    states = [state for state in states_of(found) if state["version"] > after]
    shown = list(islice(states, limit))
    return JsonResponse(
        {
            "data": shown,
            "nextCursor": str(shown[-1]["version"]) if len(states) > len(shown) else None,
            "currentVersion": current,
            "oldestVersion": found[0].version if found else None,
        }
    )


@router.get(
    "/calls/{call}/versions/{version}",
    response_model=CallVersion,
    summary="Get a version of a call",
    responses=problem_responses(404, 409, 410),
)
async def get_version(
    services: CurrentServices, key: CallsReader, call: CallName, version: VersionNumber
) -> Response:
    """What the call was at a version. One whose change is not kept any more is answered with 410, the problem
    `version-expired`."""
    async with services.database.read() as db:
        call_id = await store.load_id(db, key.account_id, call)
        found, current = await _load(db, key.account_id, call_id, version)
        oldest = await _find_oldest(db, key.account_id, call_id) if not found else found[0].version
    if version > current:
        raise NotFound(f"The call has no version {version} yet; it has version {current}")
    state = next((one for one in states_of(found) if one["version"] == version), None)
    if state is None:
        raise VersionExpired(
            f"The change to version {version} is older than the retention of changes, and not kept any more",
            oldestVersion=oldest,
        )
    return JsonResponse(state)


async def _load(
    db: AsyncConnection, account_id: AccountId, call_id: str, last: int
) -> tuple[list[PastChange], int]:
    """Return the changes of a call up to a version, in order, and its current version."""
    own = (timeline.c.account_id == account_id, timeline.c.call_id == call_id)
    columns = (timeline.c.version, timeline.c.type, timeline.c.at, timeline.c.data)
    query = select(*columns).where(*own, timeline.c.version <= last).order_by(timeline.c.seq)
    rows: list[Row[Any]] = list(await db.execute(query))
    current = select(calls.c.version).where(calls.c.account_id == account_id, calls.c.call_id == call_id)
    changes = [PastChange(row.version, row.type, row.at, row.data) for row in rows]
    return changes, int(await db.scalar(current) or 0)


async def _find_oldest(db: AsyncConnection, account_id: AccountId, call_id: str) -> int | None:
    own = (timeline.c.account_id == account_id, timeline.c.call_id == call_id)
    found: int | None = await db.scalar(select(func.min(timeline.c.version)).where(*own))
    return found
