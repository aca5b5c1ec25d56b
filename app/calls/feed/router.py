"""The routes of the feed: one page, a long poll, and a stream of server-sent events."""

from collections.abc import AsyncGenerator
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Request, Response
from fastapi.responses import StreamingResponse
from fastapi.sse import format_sse_event
from starlette.types import Send

from app import metrics
from app.api.auth import CallsReader, Key
from app.api.dependencies import CurrentServices
from app.api.problems import problem_body, problem_responses
from app.calls.feed import changes, following
from app.calls.feed.following import CurrentFeeds
from app.calls.feed.parameters import DEFAULT_LIMIT, FeedCursor, Limit, Wait
from app.calls.feed.positions import Position
from app.calls.feed.quick_polls import LongPollsFirst, page_of
from app.calls.feed.schemas import Changes
from app.calls.feed.selection import Selection, Wanted
from app.errors import CallerError, HistoryChanged, Unauthenticated
from app.values.exact_json import write_json

router = APIRouter(prefix="/v1/changes", tags=["changes"], route_class=LongPollsFirst)

_RETRY_MS = 2_000
_KEEP_ALIVE = b": ping\n\n"


class EventStream(StreamingResponse):
    """Server-sent events that are bytes already. FastAPI's own response needs three tasks for each stream."""

    media_type = "text/event-stream"

    def __init__(self, events: AsyncGenerator[bytes], status_code: int = 200) -> None:
        # X-Accel-Buffering: nginx would hold events back.
        headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
        super().__init__(events, status_code, headers)
        self._events = events

    async def stream_response(self, send: Send) -> None:
        try:
            await super().stream_response(send)
        finally:
            # A client that left while a piece was being sent leaves the generator suspended.
            await self._events.aclose()


@router.get(
    "",
    response_model=Changes,
    summary="Read the feed of changes",
    responses=problem_responses(400, 410),
)
async def list_changes(
    feeds: CurrentFeeds,
    key: CallsReader,
    wanted: Wanted,
    cursor: FeedCursor = None,
    limit: Limit = DEFAULT_LIMIT,
    wait: Wait = None,
) -> Response:
    """Every visible change of every call, once and in the order of commits. Store `nextCursor` and send it
    with the next request. With `wait`, the response is sent as soon as there is a change."""
    found = await following.wait_for_changes(
        feeds, key.account_id, cursor, limit=limit, seconds=wait or 0, key=key, wanted=wanted
    )
    return page_of(found)


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


@router.get(
    "/stream",
    response_class=EventStream,
    summary="Follow the feed as server-sent events",
    responses=problem_responses(400, 410),
)
async def stream_changes(
    request: Request,
    feeds: CurrentFeeds,
    key: CallsReader,
    wanted: Wanted,
    after: Annotated[Position, Depends(read_stream_position)],
) -> Response:
    """The feed in real time. The `id` of each event is the cursor of its change, and its name is the
    `type` of the change. After a disconnect, `Last-Event-ID` continues where the stream stopped. Comments
    keep an idle connection open."""
    return EventStream(_events(feeds, key, after, wanted, request.scope["path"]))


async def _events(
    feeds: CurrentFeeds, key: Key, after: Position, wanted: Selection, path: str
) -> AsyncGenerator[bytes]:
    """Yield the stream in pieces of whole events."""
    with metrics.STREAMS.track_inprogress():
        yield format_sse_event(comment="following", retry=_RETRY_MS)
        try:
            async for batch in following.follow(feeds, key.account_id, after, key, wanted):
                yield b"".join(change.event for change in batch) or _KEEP_ALIVE
        except (HistoryChanged, Unauthenticated) as error:
            yield _end_event(path, error)


def _end_event(path: str, error: CallerError) -> bytes:
    """Return the last event of a stream that an error ends: the problem that a new request would get."""
    body = problem_body(path, error.kind, error.detail, extra=error.extra)
    return format_sse_event(data_str=write_json(body).decode(), event=f"stream.{error.kind}")
