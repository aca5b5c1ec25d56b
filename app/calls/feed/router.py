"""The routes of the feed: one page, a long poll, and a stream of server-sent events."""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Request, Response
from fastapi.sse import EventSourceResponse, ServerSentEvent

from app import metrics
from app.api.auth import CallsReader
from app.api.dependencies import CurrentServices, JsonResponse
from app.api.problems import problem_body, problem_responses
from app.calls.feed import changes
from app.calls.feed.parameters import FeedCursor, Limit, Wait
from app.calls.feed.positions import Position
from app.calls.feed.schemas import Changes
from app.errors import CallerError, HistoryChanged, Unauthenticated
from app.values.exact_json import write_json

router = APIRouter(prefix="/v1/changes", tags=["changes"])

_RETRY_MS = 2_000


@router.get(
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
    """Every visible change of every call, once and in the order of commits. Store `nextCursor` and send it
    with the next request. With `wait`, the response is sent as soon as there is a change."""
    async with services.database.read() as db:
        after = await changes.resolve_cursor(db, key.account_id, cursor)
    found = await changes.wait_for_changes(
        services, key.owner, after, limit=limit, seconds=wait or 0, key=key
    )
    return JsonResponse({"data": found.changes, "nextCursor": str(found.after), "hasMore": found.has_more})


async def read_stream_position(
    services: CurrentServices,
    key: CallsReader,
    cursor: FeedCursor = None,
    last_event_id: Annotated[
        str | None,
        Header(
            description="The last event that you received. It takes precedence over `cursor`.",
            examples=["4711-9f8e7d6c5b4a"],
        ),
    ] = None,
) -> Position:
    """Resolve the cursor before the stream starts, so that an invalid one can be answered with a problem."""
    async with services.database.read() as db:
        return await changes.resolve_cursor(db, key.account_id, last_event_id or cursor)


def _end_event(request: Request, error: CallerError) -> ServerSentEvent:
    """Return the last event of a stream that an error ends: the problem that a new request would get."""
    body = problem_body(request.scope["path"], error.kind, error.detail, extra=error.extra)
    return ServerSentEvent(raw_data=write_json(body).decode(), event=f"stream.{error.kind}")


@router.get(
    "/stream",
    response_class=EventSourceResponse,
    summary="Follow the feed as server-sent events",
    responses=problem_responses(400, 410),
)
async def stream_changes(
    request: Request,
    services: CurrentServices,
    key: CallsReader,
    after: Annotated[Position, Depends(read_stream_position)],
) -> AsyncIterator[ServerSentEvent]:
    """The feed in real time. The `id` of each event is the cursor of its change, and its name is the
    `type` of the change. After a disconnect, `Last-Event-ID` continues where the stream stopped. Comments
    keep an idle connection open."""
    with metrics.STREAMS.track_inprogress():
        yield ServerSentEvent(comment="following", retry=_RETRY_MS)
        try:
            async for change in changes.follow(services, key.owner, after, key):
                yield ServerSentEvent(
                    raw_data=write_json(change).decode(), event=change["type"], id=change["cursor"]
                )
        except (HistoryChanged, Unauthenticated) as error:
            yield _end_event(request, error)
