"""The routes that read calls and their parts.

`{call}` is any name of a call: our id, its `telephonySessionId`, or its `sessionId`. Each route opens its own
short transaction; none is open while a long poll waits.
"""

from typing import Annotated, Any, Literal
from urllib.parse import urlencode

from fastapi import APIRouter, Header, Query, Request, Response
from sqlalchemy.ext.asyncio import AsyncConnection

from app.api.auth import CallsReader, Key, check_still_valid, watch
from app.api.dependencies import CurrentServices, JsonResponse, Services
from app.api.etags import etag_of_body, is_known
from app.api.problems import problem_responses
from app.calls import accounts, provenance, store, views
from app.calls.feed import changes
from app.calls.feed.parameters import LONGEST_CURSOR, Limit, Wait
from app.calls.feed.schemas import Timeline
from app.calls.listing.filters import ListQuery
from app.calls.listing.query import list_calls
from app.calls.model import Stage, reached
from app.calls.names import CallName
from app.calls.schemas import BatchAnswer, BatchGet, CallOut, CallPage, Legs, Recordings, Records
from app.calls.views import Json
from app.errors import NotFound
from app.ids import UNBOUND_ACCOUNT, AccountId
from app.values.exact_json import write_json
from app.work import wakeups

router = APIRouter(prefix="/v1", tags=["calls"])

Included = Literal["provenance"]
Responses = dict[int | str, dict[str, Any]]

_A_PAGE: Responses = {
    200: {
        "headers": {
            "Link": {"description": 'The URL of the next page, `rel="next"`.', "schema": {"type": "string"}}
        }
    }
}
_A_VERSION: Responses = {
    200: {
        "headers": {
            "ETag": {
                "description": 'The version and a digest of the content, `"v4-9f8e7d6c5b4a"`.',
                "schema": {"type": "string"},
            },
            "Aftercall-Reached": {
                "description": "With `wait` or `until`: whether the call has reached the stage `until`.",
                "schema": {"type": "string", "enum": ["true", "false"]},
            },
        }
    },
    304: {"description": "You have the current version."},
}


# Lists


@router.get(
    "/calls",
    response_model=CallPage,
    summary="List calls",
    responses=_A_PAGE | problem_responses(400),
)
async def get_calls(
    request: Request, services: CurrentServices, key: CallsReader, query: Annotated[ListQuery, Query()]
) -> Response:
    """The calls that match all filters, newest first by default. Repeat the request with `nextCursor` and
    the same filters until it is null."""
    async with services.database.read() as db:
        page = await list_calls(db, key.account_id, query)
        shown = await views.load_views(db, key.account_id, page.rows)
    headers = {"Cache-Control": "no-store"}
    if page.next_cursor is not None:
        parameters = [pair for pair in request.query_params.multi_items() if pair[0] != "cursor"]
        headers["Link"] = (
            f'<{request.url.path}?{urlencode([*parameters, ("cursor", page.next_cursor)])}>; rel="next"'
        )
    return JsonResponse({"data": shown, "nextCursor": page.next_cursor}, headers=headers)


@router.post(
    "/calls/batch-get",
    response_model=BatchAnswer,
    summary="Get many calls by name",
    responses=problem_responses(400),
)
async def batch_get(services: CurrentServices, key: CallsReader, body: BatchGet) -> Response:
    """Up to 200 calls by any of their names, each with its own status, in the order of the request."""
    async with services.database.read() as db:
        ids_by_name = await views.resolve_names(db, key.account_id, body.calls)
        single = {ids[0] for ids in ids_by_name.values() if len(ids) == 1}
        shown = await views.load_views_by_id(db, key.account_id, single)
    return JsonResponse({"data": [_batch_item(name, ids_by_name[name], shown) for name in body.calls]})


def _batch_item(name: str, ids: list[str], shown: dict[str, Json]) -> Json:
    item: Json = {"name": name, "status": 200, "call": None, "detail": None, "candidates": None}
    if len(ids) > 1:
        return item | {"status": 409, "detail": f"{name} matches {len(ids)} calls", "candidates": ids}
    if not ids or ids[0] not in shown:
        return item | {"status": 404, "detail": f"No call is known as {name}"}
    return item | {"call": shown[ids[0]]}


# One call


@router.get(
    "/calls/{call}",
    response_model=CallOut,
    summary="Get a call, or wait for it",
    responses=_A_VERSION | problem_responses(404, 409),
)
async def get_call(
    services: CurrentServices,
    key: CallsReader,
    call: CallName,
    wait: Wait = None,
    until: Annotated[
        Stage | None,
        Query(
            description="The stage to wait for. Waiting also ends when the call becomes absent. Default: "
            "bootstrapped."
        ),
    ] = None,
    include: Annotated[
        list[Included],
        Query(
            max_length=1,
            description="`provenance`: where each field comes from, and whether it may still change.",
        ),
    ] = [],  # noqa: B006
    if_none_match: Annotated[
        str | None, Header(description="The ETags that you have.", examples=['"v4-9f8e7d6c5b4a"'])
    ] = None,
) -> Response:
    """One call with everything that is known about it. With `wait`, the response is sent as soon as the
    call has reached the stage `until`, and at the latest after `wait` seconds with the state at that time."""
    wanted = until or (Stage.BOOTSTRAPPED if wait is not None else None)
    shown = await _wait_for_call(services, key, call, wanted, wait or 0)
    if shown is None:
        # `~` is resolved again: it may have been bound while the request waited.
        async with services.database.read() as db:
            raise await _no_call(db, await accounts.resolve(db, key.owner), call)
    if include:
        shown["provenance"] = await _provenance(services, shown)
    body = write_json(shown)
    headers = {"ETag": etag_of_body(shown["version"], body), "Cache-Control": "private, no-cache"}
    if wanted is not None:
        headers["Aftercall-Reached"] = "true" if reached(shown["stage"], wanted) else "false"
    if is_known(if_none_match, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    return Response(body, headers=headers, media_type=JsonResponse.media_type)


async def _provenance(services: Services, shown: Json) -> Json:
    account_id = AccountId(shown["accountId"] or UNBOUND_ACCOUNT)
    async with services.database.read() as db:
        return await provenance.load_provenance(db, account_id, shown["id"])


async def _wait_for_call(
    services: Services, key: Key, name: str, wanted: Stage | None, seconds: float
) -> Json | None:
    """Return the call once it has reached `wanted`; after `seconds`, as it is then; None if it does not
    exist.

    Raises AmbiguousCall if several calls have the name, Unauthenticated if the key was revoked meanwhile.
    """
    until = services.clock.monotonic() + seconds
    topic = wakeups.TIMELINE
    while True:
        # Listens before it queries, so that a change in between is not missed.
        with services.wakeups.listen(topic, wakeups.KEYS) as woken, watch(services, key):
            shown = await _find_call(services, key, name)
            left = until - services.clock.monotonic()
            if _has_reached(shown, wanted) or left <= 0 or services.stopping.is_set():
                return shown
            # If the call has just been found, the loop listens to its own topic and queries once more first.
            if shown is None or topic != wakeups.TIMELINE:
                await wakeups.wait(woken, min(left, changes.POLL_SECONDS))
                await check_still_valid(services, key)
        # From here on, changes of other calls do not wake this request.
        if shown is not None:
            topic = wakeups.of_call(shown["id"])


def _has_reached(shown: Json | None, wanted: Stage | None) -> bool:
    return shown is not None and (wanted is None or reached(shown["stage"], wanted))


async def _find_call(services: Services, key: Key, name: str) -> Json | None:
    async with services.database.read() as db:
        # `~` may have been bound while the request waited; once it is, it stays so.
        is_bound = key.account_id != UNBOUND_ACCOUNT
        account_id = key.account_id if is_bound else await accounts.resolve(db, key.owner)
        return await views.load_view_by_name(db, account_id, name)


async def _no_call(db: AsyncConnection, account_id: AccountId, name: str) -> NotFound:
    parked = await views.count_parked_notes(db, account_id, name)
    waiting = f"; {parked} {'note waits' if parked == 1 else 'notes wait'} for it" if parked else ""
    hint = (
        "" if name.startswith("call_") else " You can attach notes to its sessionId before the call is known."
    )
    return NotFound(f"No call is known as {name}{waiting}.{hint}", parkedNotes=parked)


async def load_id(db: AsyncConnection, account_id: AccountId, name: str) -> str:
    """Return the id of the one call with this name.

    Raises NotFound and AmbiguousCall.
    """
    call_id = await store.find_id(db, account_id, name)
    if call_id is None:
        raise await _no_call(db, account_id, name)
    return call_id


# Its parts


@router.get(
    "/calls/{call}/timeline",
    response_model=Timeline,
    summary="List the changes of a call",
    responses=problem_responses(400, 404, 409, 410),
)
async def get_timeline(
    services: CurrentServices,
    key: CallsReader,
    call: CallName,
    cursor: Annotated[
        str | None, Query(max_length=LONGEST_CURSOR, description="`nextCursor` of the previous page.")
    ] = None,
    limit: Limit = 100,
) -> Response:
    """Every visible change of one call, oldest first."""
    async with services.database.read() as db:
        call_id = await load_id(db, key.account_id, call)
        after = await changes.resolve_cursor(db, key.account_id, cursor)
        found = await changes.read_call_events(db, key.account_id, call_id, after, limit)
    return JsonResponse({"data": found.changes, "nextCursor": str(found.after) if found.has_more else None})


async def _load_records(services: Services, key: Key, name: str) -> tuple[list[Any], str | None]:
    async with services.database.read() as db:
        call_id = await load_id(db, key.account_id, name)
        rows = (await store.load_records(db, key.account_id, [call_id]))[call_id]
        primary_id = await views.load_primary(db, key.account_id, call_id)
    return rows, primary_id


@router.get(
    "/calls/{call}/records",
    response_model=Records,
    summary="List the call-log records of a call",
    responses=problem_responses(404, 409),
)
async def get_records(services: CurrentServices, key: CallsReader, call: CallName) -> Response:
    """Whole records as RingCentral returned them, one per extension involved, the primary one first."""
    rows, primary_id = await _load_records(services, key, call)
    return JsonResponse({"data": views.records_json(rows, primary_id)})


@router.get(
    "/calls/{call}/legs",
    response_model=Legs,
    summary="List the legs of a call",
    responses=problem_responses(404, 409),
)
async def get_legs(services: CurrentServices, key: CallsReader, call: CallName) -> Response:
    """As RingCentral returned them. Empty until a record has been read with its legs; see
    `readiness.legs`."""
    rows, primary_id = await _load_records(services, key, call)
    return JsonResponse({"data": views.legs_json(rows, primary_id)})


@router.get(
    "/calls/{call}/recordings",
    response_model=Recordings,
    summary="List the recordings of a call",
    responses=problem_responses(404, 409),
)
async def get_recordings(services: CurrentServices, key: CallsReader, call: CallName) -> Response:
    """Each recording once, even if several records and legs name it. The audio is at `contentUrl`."""
    async with services.database.read() as db:
        call_id = await load_id(db, key.account_id, call)
        shown = await views.load_recordings(db, key.account_id, call_id)
    return JsonResponse({"data": shown})
