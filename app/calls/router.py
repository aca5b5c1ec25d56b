"""The read side of the connector API: calls, their parts, and the feed of changes.

`{call}` is any name of a call: our id, its `telephonySessionId`, its `sessionId`. Each route opens its own
short transaction; while a long poll waits, none is open.
"""

from collections.abc import AsyncIterator
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Header, Path, Query, Request, Response
from fastapi.sse import EventSourceResponse, ServerSentEvent
from sqlalchemy.ext.asyncio import AsyncConnection

from app import metrics
from app.api.auth import CallsReader, Key, check_still_valid, watch
from app.api.dependencies import CurrentServices, JsonAnswer, Services
from app.api.etags import is_known, of_body
from app.api.problems import problem_body, problem_responses
from app.calls import accounts, recordings, store, views
from app.calls.feed import changes
from app.calls.feed.positions import LONGEST as LONGEST_CURSOR
from app.calls.feed.positions import Place
from app.calls.listing.query import ListQuery, list_calls
from app.calls.model import Stage, reached
from app.calls.schemas import (
    NAME_PATTERN,
    BatchAnswer,
    BatchGet,
    CallOut,
    CallPage,
    Changes,
    Legs,
    Recordings,
    Records,
    Timeline,
)
from app.calls.views import Json
from app.errors import CallerError, HistoryChanged, NotFound, Unauthenticated
from app.ids import AccountId
from app.values.exact_json import write_json
from app.work import wakeups

router = APIRouter(prefix="/v1", tags=["calls"])
feed = APIRouter(prefix="/v1/changes", tags=["changes"])

LONGEST_WAIT_SECONDS = 60
_MAX_EVENTS = 500
_RETRY_MS = 2_000

CallName = Annotated[
    str,
    Path(
        max_length=160,
        pattern=NAME_PATTERN,
        description="Any name of the call: our id, its `telephonySessionId`, its `sessionId`.",
        examples=["1229016182016"],
    ),
]
Wait = Annotated[
    float | None,
    Query(
        ge=0,
        le=LONGEST_WAIT_SECONDS,
        description="Seconds to wait for it at most; without it, the answer comes at once.",
        examples=[20],
    ),
]
Limit = Annotated[int, Query(ge=1, le=_MAX_EVENTS, description="How many at most.")]
FeedCursor = Annotated[
    str | None,
    Query(
        max_length=LONGEST_CURSOR,
        description="`nextCursor`, or the `cursor` of the last change read. Without it: from the beginning; "
        "`now`: what comes from here on.",
        examples=["4711-9f8e7d6c5b4a", "now"],
    ),
]


Documented = dict[int | str, dict[str, Any]]

_A_PAGE: Documented = {
    200: {"headers": {"Link": {"description": 'The next page, `rel="next"`.', "schema": {"type": "string"}}}}
}
_A_VERSION: Documented = {
    200: {
        "headers": {
            "ETag": {
                "description": 'The version and a mark of the content, `"v4-9f8e7d6c5b4a"`.',
                "schema": {"type": "string"},
            },
            "Aftercall-Reached": {
                "description": "With `wait` or `until`: whether the call has come as far as `until`.",
                "schema": {"type": "string", "enum": ["true", "false"]},
            },
        }
    },
    304: {"description": "It is still the version of `If-None-Match`."},
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
    """Calls that meet all filters, newest first unless `order` says otherwise. Follow `nextCursor` with the
    same filters until it is null."""
    async with services.database.read() as db:
        page = await list_calls(db, key.account_id, query)
        shown = await views.load_views(db, key.account_id, page.rows)
    headers = {"Cache-Control": "no-store"}
    if page.next_cursor is not None:
        asked = [pair for pair in request.query_params.multi_items() if pair[0] != "cursor"]
        headers["Link"] = (
            f'<{request.url.path}?{urlencode([*asked, ("cursor", page.next_cursor)])}>; rel="next"'
        )
    return JsonAnswer({"data": shown, "nextCursor": page.next_cursor}, headers=headers)


@router.post(
    "/calls/batch-get",
    response_model=BatchAnswer,
    summary="Get many calls by name",
    responses=problem_responses(400),
)
async def batch_get(services: CurrentServices, key: CallsReader, body: BatchGet) -> Response:
    """Up to 200 calls by any of their names, each with a status of its own, in the order asked."""
    async with services.database.read() as db:
        meant = await views.resolve_names(db, key.account_id, body.calls)
        single = {ids[0] for ids in meant.values() if len(ids) == 1}
        shown = await views.load_views_by_id(db, key.account_id, single)
    return JsonAnswer({"data": [_batch_item(name, meant[name], shown) for name in body.calls]})


def _batch_item(name: str, ids: list[str], shown: dict[str, Json]) -> Json:
    item: Json = {"name": name, "status": 200, "call": None, "detail": None, "candidates": None}
    if len(ids) > 1:
        return item | {"status": 409, "detail": f"{name} names {len(ids)} calls", "candidates": ids}
    if not ids or ids[0] not in shown:
        return item | {"status": 404, "detail": f"No call goes by {name}"}
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
            description="The stage to wait for; an absent call is waited for no longer. Default: bootstrapped."
        ),
    ] = None,
    if_none_match: Annotated[
        str | None, Header(description="ETags that you have.", examples=['"v4-9f8e7d6c5b4a"'])
    ] = None,
) -> Response:
    """The whole record of one call. With `wait`, the answer comes as soon as the call has reached the stage
    `until`, and after `wait` seconds at the latest with whatever is known then."""
    wanted = until or (Stage.BOOTSTRAPPED if wait is not None else None)
    shown = await _wait_for_call(services, key, call, wanted, wait or 0)
    if shown is None:
        async with services.database.read() as db:
            raise await _no_call(db, await accounts.resolve(db, key.owner), call)
    body = write_json(shown)
    headers = {"ETag": of_body(shown["version"], body), "Cache-Control": "private, no-cache"}
    if wanted is not None:
        headers["Aftercall-Reached"] = "true" if reached(shown["stage"], wanted) else "false"
    if if_none_match is not None and is_known(if_none_match, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    return Response(body, headers=headers, media_type=JsonAnswer.media_type)


async def _wait_for_call(
    services: Services, key: Key, name: str, wanted: Stage | None, seconds: float
) -> Json | None:
    """Return the call once it has come as far as `wanted`; when the time is up, as it is then, if it is there.

    Raises AmbiguousCall when the name means several, Unauthenticated when the key was revoked meanwhile.
    """
    until = services.clock.monotonic() + seconds
    topic = wakeups.TIMELINE
    while True:
        # Listen first, then look: what happens in between is not missed.
        with services.wakeups.listen(topic, wakeups.KEYS) as woken, watch(services, key):
            shown = await _look(services, key.owner, name)
            left = until - services.clock.monotonic()
            if _is_there(shown, wanted) or left <= 0 or services.stopping.is_set():
                return shown
            if shown is None or topic != wakeups.TIMELINE:
                await wakeups.wait(woken, min(left, changes.LOOK_SECONDS))
                await check_still_valid(services, key)
        if shown is not None:
            topic = wakeups.of_call(shown["id"])


def _is_there(shown: Json | None, wanted: Stage | None) -> bool:
    return shown is not None and (wanted is None or reached(shown["stage"], wanted))


async def _look(services: Services, owner: AccountId, name: str) -> Json | None:
    async with services.database.read() as db:
        account_id = await accounts.resolve(db, owner)
        call_id = await store.find_id(db, account_id, name)
        if call_id is None:
            return None
        return (await views.load_views_by_id(db, account_id, [call_id])).get(call_id)


async def _no_call(db: AsyncConnection, account_id: AccountId, name: str) -> NotFound:
    parked = await views.count_parked_notes(db, account_id, name)
    waiting = f"; {parked} {'note waits' if parked == 1 else 'notes wait'} for it" if parked else ""
    hint = (
        ""
        if name.startswith("call_")
        else " What is attached to a sessionId before its call comes waits for it."
    )
    return NotFound(
        f"No call that we have heard of goes by {name}{waiting}.{hint}",
        parkedNotes=parked,
    )


async def load_id(db: AsyncConnection, account_id: AccountId, name: str) -> str:
    """Return the id of the one call that goes by `name`.

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
    summary="What happened to a call",
    responses=problem_responses(400, 404, 409, 410),
)
async def get_timeline(
    services: CurrentServices,
    key: CallsReader,
    call: CallName,
    cursor: Annotated[
        str | None, Query(max_length=LONGEST_CURSOR, description="`nextCursor` of the page before.")
    ] = None,
    limit: Limit = 100,
) -> Response:
    """Every visible change of one call, oldest first."""
    async with services.database.read() as db:
        call_id = await load_id(db, key.account_id, call)
        after = await changes.read_place(db, key.account_id, cursor)
        found = await changes.read_call_events(db, key.account_id, call_id, after, limit)
    return JsonAnswer({"data": found.changes, "nextCursor": str(found.after) if found.has_more else None})


async def _load_records(services: Services, key: Key, name: str) -> tuple[list[Any], str | None]:
    async with services.database.read() as db:
        call_id = await load_id(db, key.account_id, name)
        rows = (await store.load_records(db, key.account_id, [call_id]))[call_id]
        primary_id, _ = await views.load_primary(db, key.account_id, call_id)
    return rows, primary_id


@router.get(
    "/calls/{call}/records",
    response_model=Records,
    summary="The call-log records of a call",
    responses=problem_responses(404, 409),
)
async def get_records(services: CurrentServices, key: CallsReader, call: CallName) -> Response:
    """In RingCentral's own words and whole, one per extension involved, the primary one first."""
    rows, primary_id = await _load_records(services, key, call)
    return JsonAnswer({"data": views.records_json(rows, primary_id)})


@router.get(
    "/calls/{call}/legs",
    response_model=Legs,
    summary="The legs of a call",
    responses=problem_responses(404, 409),
)
async def get_legs(services: CurrentServices, key: CallsReader, call: CallName) -> Response:
    """In RingCentral's own words. Empty until a record was read with its legs; `readiness.legs` says so."""
    rows, primary_id = await _load_records(services, key, call)
    return JsonAnswer({"data": views.legs_json(rows, primary_id)})


@router.get(
    "/calls/{call}/recordings",
    response_model=Recordings,
    summary="The recordings of a call",
    responses=problem_responses(404, 409),
)
async def get_recordings(services: CurrentServices, key: CallsReader, call: CallName) -> Response:
    """Each recording once, however many records and legs mention it. Listen at `contentUrl`."""
    async with services.database.read() as db:
        call_id = await load_id(db, key.account_id, call)
        rows = (await store.load_records(db, key.account_id, [call_id]))[call_id]
        kept = (await recordings.load_of_calls(db, key.account_id, [call_id]))[call_id]
        _, announced = await views.load_primary(db, key.account_id, call_id)
    return JsonAnswer({"data": views.recordings_json(rows, announced, kept)})


# The feed


@feed.get(
    "",
    response_model=Changes,
    summary="Read the feed of changes",
    responses=problem_responses(400, 410),
)
async def get_changes(
    services: CurrentServices,
    key: CallsReader,
    cursor: FeedCursor = None,
    limit: Limit = 100,
    wait: Wait = None,
) -> Response:
    """Every visible change of every call, once and in the order in which it became true. Keep `nextCursor` and
    go on with it; with `wait` the answer comes as soon as there is something."""
    async with services.database.read() as db:
        after = await changes.read_place(db, key.account_id, cursor)
    found = await changes.wait_for_changes(
        services, key.owner, after, limit=limit, seconds=wait or 0, key=key
    )
    return JsonAnswer({"data": found.changes, "nextCursor": str(found.after), "hasMore": found.has_more})


async def read_stream_place(
    services: CurrentServices,
    key: CallsReader,
    cursor: FeedCursor = None,
    last_event_id: Annotated[
        str | None,
        Header(
            description="Where the stream broke off; goes before `cursor`.", examples=["4711-9f8e7d6c5b4a"]
        ),
    ] = None,
) -> Place:
    """Find out where to begin before the stream does, so that a wrong cursor is answered with a problem."""
    async with services.database.read() as db:
        return await changes.read_place(db, key.account_id, last_event_id or cursor)


def _ending(request: Request, error: CallerError) -> ServerSentEvent:
    """Say why a stream ends, as the problem that a new request would be answered with."""
    body = problem_body(request.scope["path"], error.kind, error.detail, extra=error.extra)
    return ServerSentEvent(raw_data=write_json(body).decode(), event=f"stream.{error.kind}")


@feed.get(
    "/stream",
    response_class=EventSourceResponse,
    summary="Follow the feed as server-sent events",
    responses=problem_responses(400, 410),
)
async def stream_changes(
    request: Request,
    services: CurrentServices,
    key: CallsReader,
    after: Annotated[Place, Depends(read_stream_place)],
) -> AsyncIterator[ServerSentEvent]:
    """The feed as it happens. Each event's `id` is the cursor of its change, its name the change's `type`; after
    a break, `Last-Event-ID` goes on where it was. Comments keep an idle connection open."""
    with metrics.STREAMS.track_inprogress():
        yield ServerSentEvent(comment="following", retry=_RETRY_MS)
        try:
            async for change in changes.follow(services, key.owner, after, key):
                yield ServerSentEvent(
                    raw_data=write_json(change).decode(), event=change["type"], id=change["cursor"]
                )
        except (HistoryChanged, Unauthenticated) as error:
            yield _ending(request, error)
