"""Recordings for readers: what is known of one, and its sound, streamed through or out of the archive.

RingCentral's token stays here; a reader needs an API key. A recording of another account is not there.
"""

import base64
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from typing import Annotated, Any
from urllib.parse import quote

import structlog
from fastapi import APIRouter, Depends, Header, Path, Query, Request, Response
from pydantic import ConfigDict, Field
from sqlalchemy import Row
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from app.api.auth import CallsReader, Key, check_still_valid, watch
from app.api.dependencies import CurrentServices, JsonResponse, Services
from app.api.problems import problem_responses
from app.api.schemas import ApiModel, RecordingIdText
from app.calls.recordings import OPEN, State, best_of
from app.calls.schemas import RecordingState
from app.calls.views import content_url
from app.enrichment.recordings.archiver import suffix_of
from app.enrichment.recordings.audio_stream import OutOfRangeError
from app.enrichment.recordings.byte_ranges import ByteRange, read_range
from app.enrichment.recordings.playback import PlayableAudio, Playback, etag_of
from app.errors import AftercallError, RangeNotSatisfiable
from app.ringcentral.models import Recording
from app.values.times import time_text

router = APIRouter(prefix="/v1", tags=["recordings"])

_AUDIO = ("audio/mpeg", "audio/wav", "audio/x-wav")
_FIRST_BYTE = ByteRange(0, 0)
_CACHED = "private, max-age=300"

log = structlog.get_logger(__name__)


async def current_playback(request: Request) -> Playback:
    """The ways to recordings that this process has opened."""
    listening: Playback = request.app.state.process.playback
    return listening


CurrentListening = Annotated[Playback, Depends(current_playback)]
RecordingName = Annotated[
    RecordingIdText, Path(description="RingCentral's id of the recording.", examples=["3019664700"])
]


class ArchivedOut(ApiModel):
    """The copy that we keep."""

    bytes: int = Field(examples=[736213])
    sha256: str = Field(description="Of the whole, in hex.")
    archived_at: str


class RecordingOut(ApiModel):
    """A recording, and how far it is."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "id": "3019664700",
                "callIds": ["call_01jp0v7s4v8x2m6c9q3t5r7w1e"],
                "state": "ready",
                "type": "Automatic",
                "contentType": "audio/mpeg",
                "duration": 92,
                "contentUrl": "/v1/recordings/3019664700/content",
                "attempts": 0,
                "nextLookAt": None,
                "problem": None,
                "archived": None,
                "createdAt": "2026-03-10T18:09:22.480Z",
                "updatedAt": "2026-03-10T18:10:20.112Z",
            }
        }
    )

    id: str
    call_ids: list[str] = Field(description="Our calls that name it; none if only RingCentral knows of it.")
    state: RecordingState
    type: str | None = Field(description="RingCentral's word: Automatic or OnDemand.")
    content_type: str | None
    duration: float | None = Field(description="Seconds.")
    content_url: str | None = Field(description="Ours; null when it cannot be heard any more.")
    attempts: int = Field(description="Looks in vain since it was last in order.")
    next_look_at: str | None = Field(description="When RingCentral is asked again.")
    problem: str | None = Field(description="What was wrong at the last look.")
    archived: ArchivedOut | None
    created_at: str | None
    updated_at: str | None


@router.get(
    "/recordings/{recording_id}",
    response_model=RecordingOut,
    summary="What is known of a recording",
    responses=problem_responses(404, 502),
)
async def get_recording(
    key: CallsReader, listening: CurrentListening, recording_id: RecordingName
) -> Response:
    """How far it is, how long, of which calls. RingCentral is asked, once, for type and length of one that only its
    record has told of, if the rate limit has a request to spare; and of one that no call of ours names."""
    rows = await listening.describe(key.account_id, recording_id)
    if rows:
        return JsonResponse(_kept_json(rows), headers={"Cache-Control": "private, no-cache"})
    found = await listening.fetch(key.account_id, recording_id, rows)
    return JsonResponse(_parsed_json(found), headers={"Cache-Control": _CACHED})


def _kept_json(rows: Sequence[Row[Any]]) -> dict[str, Any]:
    row = best_of(rows)
    archived = next((one for one in rows if one.archive_path is not None), None)
    is_open = row.state in OPEN
    is_gone = row.state in {State.EXPIRED, State.NONE} and archived is None
    return {
        "id": row.recording_id,
        "callIds": [one.call_id for one in rows],
        "state": row.state,
        "type": row.type,
        "contentType": row.content_type,
        "duration": row.duration_seconds,
        "contentUrl": None if is_gone else content_url(row.recording_id),
        "attempts": row.attempts,
        "nextLookAt": time_text(row.due_at) if is_open else None,
        "problem": row.problem,
        "archived": archived
        and {
            "bytes": archived.archive_bytes,
            "sha256": archived.archive_sha256,
            "archivedAt": time_text(archived.archived_at),
        },
        "createdAt": time_text(row.created_at),
        "updatedAt": time_text(row.updated_at),
    }


def _parsed_json(found: Recording) -> dict[str, Any]:
    return {
        "id": found.id,
        "callIds": [],
        "state": State.READY.value,
        "type": found.type,
        "contentType": found.content_type,
        "duration": found.duration_seconds,
        "contentUrl": content_url(found.id),
        "attempts": 0,
        "nextLookAt": None,
        "problem": None,
        "archived": None,
        "createdAt": None,
        "updatedAt": None,
    }


_BINARY: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}, "example": "(audio)"}
_CONTENT: dict[int | str, dict[str, Any]] = {
    200: {"description": "The whole recording.", "content": dict.fromkeys(_AUDIO, _BINARY)},
    206: {
        "description": "The part that `Range` asked for.",
        "content": dict.fromkeys(_AUDIO, _BINARY),
        "headers": {
            "Content-Range": {"description": "`bytes first-last/total`", "schema": {"type": "string"}}
        },
    },
}


@router.get(
    "/recordings/{recording_id}/content",
    response_class=StreamingResponse,
    summary="Listen to a recording",
    responses=_CONTENT | problem_responses(404, 416, 502),
)
async def get_content(
    services: CurrentServices,
    key: CallsReader,
    listening: CurrentListening,
    recording_id: RecordingName,
    download: Annotated[bool, Query(description="As a file to save, not to be played.")] = False,
    byte_range: Annotated[
        str | None, Header(alias="Range", description="One range of bytes.", examples=["bytes=0-65535"])
    ] = None,
    if_range: Annotated[
        str | None,
        Header(description="The ETag that the range was meant for; of another version the whole comes."),
    ] = None,
) -> Response:
    """The sound, streamed: out of the archive if it is kept there, else from RingCentral, for one request of the
    Heavy limit. `Range` works in any case. `HEAD` answers the same without the sound."""
    async with AsyncExitStack() as stack:
        try:
            heard = await stack.enter_async_context(
                listening.open(key.account_id, recording_id, read_range(byte_range), if_range)
            )
        except OutOfRangeError as beyond:
            size = {} if beyond.total is None else {"total": beyond.total}
            raise RangeNotSatisfiable("The range begins behind the end of the recording", **size) from beyond
        span = heard.sound.span
        headers = _headers(recording_id, heard, download=download)
        if span.size is not None:
            headers["Content-Length"] = str(span.size)
        if heard.sound.is_part:
            headers["Content-Range"] = span.content_range
        status = 206 if heard.sound.is_part else 200
        return _Held(_while_valid(services, key, heard.sound.chunks), status, headers, stack.pop_all())
    raise AssertionError("unreachable")  # the stack never swallows


@router.head("/recordings/{recording_id}/content", include_in_schema=False)
async def head_content(
    key: CallsReader, listening: CurrentListening, recording_id: RecordingName, download: bool = False
) -> Response:
    """The headers of the whole. RingCentral is asked for one byte of it, which costs as much as the whole."""
    try:
        async with listening.open(key.account_id, recording_id, _FIRST_BYTE) as heard:
            response = Response(headers=_headers(recording_id, heard, download=download))
            total = heard.sound.span.total
    except OutOfRangeError:
        return Response(headers={"Accept-Ranges": "bytes", "Content-Length": "0"})
    del response.headers["Content-Length"]
    if total is not None:
        response.headers["Content-Length"] = str(total)
    return response


async def _while_valid(services: Services, key: Key, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Pass a sound on until its reader's key is revoked. Raises Unauthenticated then."""
    with watch(services, key):
        async for chunk in chunks:
            await check_still_valid(services, key)
            yield chunk


def _headers(recording_id: str, heard: PlayableAudio, *, download: bool) -> dict[str, str]:
    told = (heard.content_type or "").partition(";")[0].strip().lower()
    # Whatever else it is, a browser must not take it for a page of ours.
    content_type = told if told.startswith("audio/") else "application/octet-stream"
    name = f"recording-{quote(recording_id, safe='')}.{suffix_of(content_type)}"
    headers = {
        "Content-Type": content_type,
        "Content-Disposition": f'{"attachment" if download else "inline"}; filename="{name}"',
        "Accept-Ranges": "bytes",
        "Cache-Control": _CACHED,
        "X-Content-Type-Options": "nosniff",
    }
    if heard.sha256 is not None:
        headers["ETag"] = etag_of(heard.sha256)
        digest = base64.b64encode(bytes.fromhex(heard.sha256)).decode()
        headers["Repr-Digest"] = f"sha-256=:{digest}:"
    return headers


class _Held(StreamingResponse):
    """Streams, and lets go of everything that it came from, whether the reader stays to the end or not.

    What breaks off once it has begun cannot become a problem any more. The answer is left incomplete: then the server
    closes the connection, by which the reader sees that this was not all.
    """

    def __init__(
        self, chunks: AsyncIterator[bytes], status: int, headers: dict[str, str], held: AsyncExitStack
    ) -> None:
        super().__init__(chunks, status, headers)
        self._held = held

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            async with self._held:
                await super().__call__(scope, receive, send)
        except (AftercallError, OutOfRangeError) as error:
            log.warning("a recording broke off while it was heard", why=str(error))
