"""The routes that read calls and their parts.

`{call}` is any name of a call: our id, its `telephonySessionId`, or its `sessionId`. Each route opens its own
short transaction; none is open while a long poll waits.
"""

from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Header, Query, Request, Response

from app.api.auth import CallsReader, Key
from app.api.dependencies import CurrentServices, JsonResponse, Services
from app.api.problems import problem_responses
from app.calls import accounts, store, views
from app.calls.feed import changes
from app.calls.feed.following import CurrentFeeds, wait_for_call
from app.calls.feed.parameters import LONGEST_CURSOR, Limit, Wait
from app.calls.feed.schemas import Timeline
from app.calls.lifetime.tombstones import check_not_erased, find_erased_calls, no_call
from app.calls.listing.bodies import ShownCall, find_call, find_unchanged, load_page
from app.calls.model import Stage, reached
from app.calls.names import CallName
from app.calls.reading.parameters import FieldsOfCall, IncludedInCall, ShownListQuery, choose
from app.calls.reading.showing import Media, WantedMedia, show_bodies, show_call
from app.calls.reading.unchanged import UnchangedFirst, call_response
from app.calls.schemas import BatchAnswer, BatchGet, CallOut, CallPage, Legs, Recordings, Records
from app.calls.views import Json
from app.ids import UNBOUND_ACCOUNT
from app.values.exact_json import write_json

router = APIRouter(prefix="/v1", tags=["calls"], route_class=UnchangedFirst)

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
        "content": {
            Media.VCON.value: {
                "schema": {"type": "object", "description": "A vCon (draft-ietf-vcon-vcon-core), 0.4.0."},
                "example": {"vcon": "0.4.0", "parties": [], "dialog": [], "analysis": [], "attachments": []},
            }
        },
        "headers": {
            "ETag": {
                "description": 'The version and a digest of the content, `"v4-9f8e7d6c5b4a"`.',
                "schema": {"type": "string"},
            },
            "Aftercall-Reached": {
                "description": "With `wait` or `until`: whether the call has reached the stage `until`.",
                "schema": {"type": "string", "enum": ["true", "false"]},
            },
        },
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
async def list_calls(
    request: Request, services: CurrentServices, key: CallsReader, query: Annotated[ShownListQuery, Query()]
) -> Response:
    """The calls that match all filters, newest first by default. Repeat the request with `nextCursor` and
    the same filters until it is null, also after a page with few calls or none: a page looks at 500 calls
    at most."""
    async with services.database.read() as db:
        page = await load_page(db, key.account_id, query, services.answers)
        bodies = await show_bodies(
            services, db, key.account_id, page.bodies, choose(query.fields), query.parts
        )
    headers = {"Cache-Control": "no-store"}
    if page.next_cursor is not None:
        parameters = [pair for pair in request.query_params.multi_items() if pair[0] != "cursor"]
        headers["Link"] = (
            f'<{request.url.path}?{urlencode([*parameters, ("cursor", page.next_cursor)])}>; rel="next"'
        )
    body = b'{"data":[%b],"nextCursor":%b}' % (b",".join(bodies), write_json(page.next_cursor))
    return Response(body, headers=headers, media_type=JsonResponse.media_type)


@router.post(
    "/calls/batch-get",
    response_model=BatchAnswer,
    summary="Get many calls by name",
    responses=problem_responses(400),
)
async def batch_get_calls(services: CurrentServices, key: CallsReader, body: BatchGet) -> Response:
    """Up to 200 calls by any of their names, each with its own status, in the order of the request."""
    async with services.database.read() as db:
        ids_by_name = await views.resolve_names(db, key.account_id, body.calls)
        single = {ids[0] for ids in ids_by_name.values() if len(ids) == 1}
        shown = await views.load_views_by_id(db, key.account_id, single)
        unknown = {name for name, ids in ids_by_name.items() if not ids}
        erased = await find_erased_calls(db, key.account_id, unknown)
    return JsonResponse(
        {
            "data": [
                _batch_item(name, ids_by_name[name], shown, is_erased=name in erased) for name in body.calls
            ]
        }
    )


def _batch_item(name: str, ids: list[str], shown: dict[str, Json], *, is_erased: bool) -> Json:
    item: Json = {"name": name, "status": 200, "call": None, "detail": None, "candidates": None}
    if len(ids) > 1:
        return item | {"status": 409, "detail": f"{name} matches {len(ids)} calls", "candidates": ids}
    if is_erased:
        return item | {"status": 410, "detail": f"The call {name} was erased"}
    if not ids or ids[0] not in shown:
        return item | {"status": 404, "detail": f"No call is known as {name}"}
    return item | {"call": shown[ids[0]]}


# One call


@router.get(
    "/calls/{call}",
    response_model=CallOut,
    summary="Get a call, or wait for it",
    responses=_A_VERSION | problem_responses(400, 404, 406, 409, 410),
)
async def get_call(
    services: CurrentServices,
    feeds: CurrentFeeds,
    key: CallsReader,
    call: CallName,
    media: WantedMedia,
    wait: Wait = None,
    until: Annotated[
        Stage | None,
        Query(
            description="The stage to wait for. Waiting also ends when the call becomes absent. Default: "
            "bootstrapped."
        ),
    ] = None,
    fields: FieldsOfCall = None,
    include: IncludedInCall = [],  # noqa: B006
    if_none_match: Annotated[
        str | None, Header(description="The ETags that you have.", examples=['"v4-9f8e7d6c5b4a"'])
    ] = None,
) -> Response:
    """One call with everything that is known about it. With `wait`, the response is sent as soon as the
    call has reached the stage `until`, and at the latest after `wait` seconds with the state at that time."""
    wanted = until or (Stage.BOOTSTRAPPED if wait is not None else None)
    shown = await _wait_for_call(feeds, key, call, wanted, wait or 0)
    if shown is None:
        # `~` is resolved again: it may have been bound while the request waited.
        async with services.database.read() as db:
            raise await no_call(db, await accounts.resolve(db, key.owner), call)
    body = await show_call(services, shown, media, choose(fields), include)
    headers: dict[str, str] = {}
    if wanted is not None:
        headers["Aftercall-Reached"] = "true" if reached(shown.stage, wanted) else "false"
    return call_response(shown, body, if_none_match, media, **headers)


async def _wait_for_call(
    feeds: CurrentFeeds, key: Key, name: str, wanted: Stage | None, seconds: float
) -> ShownCall | None:
    """Return the call once it has reached `wanted`; after `seconds`, as it is then; None if it does not
    exist.

    Raises AmbiguousCall if several calls have the name, CallErased if it was erased, Unauthenticated if the
    key was revoked meanwhile.
    """
    shown: ShownCall | None = None

    async def look() -> tuple[str | None, bool]:
        nonlocal shown
        shown = await _find_call(feeds.services, key, name)
        if shown is None:
            return None, False
        return shown.call_id, wanted is None or reached(shown.stage, wanted)

    if seconds:
        await wait_for_call(feeds, key, name, look, seconds)
    else:
        await look()
    return shown


async def _find_call(services: Services, key: Key, name: str) -> ShownCall | None:
    if key.account_id != UNBOUND_ACCOUNT:
        unchanged = await find_unchanged(services.lookups, key.account_id, name, services.answers)
        if unchanged is not None:
            return unchanged
    async with services.database.read() as db:
        # `~` may have been bound while the request waited; once it is, it stays so.
        account_id = await accounts.resolve(db, key.account_id)
        shown = await find_call(db, account_id, name, services.answers)
        if shown is None:
            await check_not_erased(db, account_id, name)  # then there is nothing to wait for
        return shown


# Its parts


@router.get(
    "/calls/{call}/timeline",
    response_model=Timeline,
    summary="List the changes of a call",
    responses=problem_responses(400, 404, 409, 410),
)
async def list_call_changes(
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
        call_id = await store.load_id(db, key.account_id, call)
        after = await changes.resolve_cursor(db, key.account_id, cursor)
        found = await changes.read_call_events(db, key.account_id, call_id, after, limit)
    return JsonResponse({"data": found.events, "nextCursor": str(found.after) if found.has_more else None})


async def _load_records(services: Services, key: Key, name: str) -> tuple[list[Any], str | None]:
    async with services.database.read() as db:
        call_id = await store.load_id(db, key.account_id, name)
        rows = (await store.load_records(db, key.account_id, [call_id]))[call_id]
        primary_id = await views.load_primary(db, key.account_id, call_id)
    return rows, primary_id


@router.get(
    "/calls/{call}/records",
    response_model=Records,
    summary="List the call-log records of a call",
    responses=problem_responses(404, 409, 410),
)
async def list_call_records(services: CurrentServices, key: CallsReader, call: CallName) -> Response:
    """Whole records as RingCentral returned them, one per extension involved, the primary one first."""
    rows, primary_id = await _load_records(services, key, call)
    return JsonResponse({"data": views.records_json(rows, primary_id), "nextCursor": None})


@router.get(
    "/calls/{call}/legs",
    response_model=Legs,
    summary="List the legs of a call",
    responses=problem_responses(404, 409, 410),
)
async def list_call_legs(services: CurrentServices, key: CallsReader, call: CallName) -> Response:
    """As RingCentral returned them. Empty until a record has been read with its legs; see
    `readiness.legs`."""
    rows, primary_id = await _load_records(services, key, call)
    return JsonResponse({"data": views.legs_json(rows, primary_id), "nextCursor": None})


@router.get(
    "/calls/{call}/recordings",
    response_model=Recordings,
    summary="List the recordings of a call",
    responses=problem_responses(404, 409, 410),
)
async def list_call_recordings(services: CurrentServices, key: CallsReader, call: CallName) -> Response:
    """Each recording once, even if several records and legs name it. The audio is at `contentUrl`."""
    async with services.database.read() as db:
        call_id = await store.load_id(db, key.account_id, call)
        shown = await views.load_recordings(db, key.account_id, call_id)
    return JsonResponse({"data": shown, "nextCursor": None})
