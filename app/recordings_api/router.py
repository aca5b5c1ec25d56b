"""Recordings in the API: what is known of one, and its audio, streamed from RingCentral or from the archive.

RingCentral's token never leaves the service; readers need an API key. A recording of another account is not
found.
"""

import base64
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Annotated, Any
from urllib.parse import quote

import structlog
from fastapi import APIRouter, Depends, Header, Path, Query, Request, Response
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from app.api.auth import CallsReader, Key, check_still_valid, watch
from app.api.dependencies import CurrentServices, JsonResponse, Services
from app.api.problems import problem_responses
from app.api.schemas import RecordingIdText
from app.enrichment.recordings.archive_store import suffix_of
from app.enrichment.recordings.audio_stream import OutOfRangeError
from app.enrichment.recordings.byte_ranges import ByteRange, read_range
from app.errors import AftercallError, RangeNotSatisfiable
from app.recordings_api.playback import PlayableAudio, Playback, etag_of
from app.recordings_api.schemas import RecordingOut, live_json, stored_json

router = APIRouter(prefix="/v1", tags=["recordings"])

_AUDIO = ("audio/mpeg", "audio/wav", "audio/x-wav")
_FIRST_BYTE = ByteRange(0, 0)
_CACHED = "private, max-age=300"

log = structlog.get_logger(__name__)


async def current_playback(request: Request) -> Playback:
    """Return the playback of this process."""
    playback: Playback = request.app.state.process.playback
    return playback


CurrentPlayback = Annotated[Playback, Depends(current_playback)]
RecordingName = Annotated[
    RecordingIdText, Path(description="RingCentral's id of the recording.", examples=["3019664700"])
]


@router.get(
    "/recordings/{recording_id}",
    response_model=RecordingOut,
    summary="What is known of a recording",
    responses=problem_responses(404, 502),
)
async def get_recording(key: CallsReader, playback: CurrentPlayback, recording_id: RecordingName) -> Response:
    """Its state, length and calls. RingCentral is asked once for the type and length of a recording that is
    known only from its record, if the rate limit has a request to spare, and for a recording that no call
    names."""
    rows = await playback.describe(key.account_id, recording_id)
    if rows:
        return JsonResponse(stored_json(rows), headers={"Cache-Control": "private, no-cache"})
    found = await playback.fetch(key.account_id, recording_id, rows)
    return JsonResponse(live_json(found), headers={"Cache-Control": _CACHED})


_BINARY: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}, "example": "(audio)"}
_CONTENT: dict[int | str, dict[str, Any]] = {
    200: {"description": "The whole recording.", "content": dict.fromkeys(_AUDIO, _BINARY)},
    206: {
        "description": "The part that `Range` requested.",
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
    playback: CurrentPlayback,
    recording_id: RecordingName,
    download: Annotated[
        bool, Query(description="Send it as a file to save instead of audio to play.")
    ] = False,
    byte_range: Annotated[
        str | None, Header(alias="Range", description="One range of bytes.", examples=["bytes=0-65535"])
    ] = None,
    if_range: Annotated[
        str | None,
        Header(
            description="The ETag that the range refers to. If the version has changed, the whole is sent."
        ),
    ] = None,
) -> Response:
    """Streams the audio from the archive if it is stored there, or else from RingCentral with one request of
    the Heavy limit. `Range` works in both cases. `HEAD` returns the same headers without the audio."""
    async with AsyncExitStack() as stack:
        try:
            audio = await stack.enter_async_context(
                playback.open(key.account_id, recording_id, read_range(byte_range), if_range)
            )
        except OutOfRangeError as error:
            size = {} if error.total is None else {"total": error.total}
            raise RangeNotSatisfiable("The range begins after the end of the recording", **size) from error
        span = audio.stream.span
        headers = _headers(recording_id, audio, download=download)
        if span.size is not None:
            headers["Content-Length"] = str(span.size)
        if audio.stream.is_part:
            headers["Content-Range"] = span.content_range
        status = 206 if audio.stream.is_part else 200
        return _OwningResponse(
            _while_valid(services, key, audio.stream.chunks), status, headers, stack.pop_all()
        )
    raise AssertionError("unreachable")  # The stack never suppresses an exception.


@router.head("/recordings/{recording_id}/content", include_in_schema=False)
async def head_content(
    key: CallsReader, playback: CurrentPlayback, recording_id: RecordingName, download: bool = False
) -> Response:
    """Returns the headers of the whole. One byte is requested from RingCentral, which costs as much as the
    whole."""
    try:
        async with playback.open(key.account_id, recording_id, _FIRST_BYTE) as audio:
            response = Response(headers=_headers(recording_id, audio, download=download))
            total = audio.stream.span.total
    except OutOfRangeError:
        return Response(headers={"Accept-Ranges": "bytes", "Content-Length": "0"})
    del response.headers["Content-Length"]
    if total is not None:
        response.headers["Content-Length"] = str(total)
    return response


async def _while_valid(services: Services, key: Key, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yield the audio until the reader's key is revoked. Raises Unauthenticated then."""
    with watch(services, key):
        async for chunk in chunks:
            await check_still_valid(services, key)
            yield chunk


def _headers(recording_id: str, audio: PlayableAudio, *, download: bool) -> dict[str, str]:
    content_type = (audio.content_type or "").partition(";")[0].strip().lower()
    if not content_type.startswith("audio/"):
        # A browser must not take it for a page of this service.
        content_type = "application/octet-stream"
    name = f"recording-{quote(recording_id, safe='')}.{suffix_of(content_type)}"
    headers = {
        "Content-Type": content_type,
        "Content-Disposition": f'{"attachment" if download else "inline"}; filename="{name}"',
        "Accept-Ranges": "bytes",
        "Cache-Control": _CACHED,
        "X-Content-Type-Options": "nosniff",
    }
    if audio.sha256 is not None:
        headers["ETag"] = etag_of(audio.sha256)
        digest = base64.b64encode(bytes.fromhex(audio.sha256)).decode()
        headers["Repr-Digest"] = f"sha-256=:{digest}:"
    return headers


class _OwningResponse(StreamingResponse):
    """Streams audio, and closes its sources afterwards, also when the reader disconnects.

    A failure after the start cannot become a problem response any more. The response remains incomplete and
    the server closes the connection, which shows the reader that bytes are missing.
    """

    def __init__(
        self, chunks: AsyncIterator[bytes], status: int, headers: dict[str, str], sources: AsyncExitStack
    ) -> None:
        super().__init__(chunks, status, headers)
        self._sources = sources

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            async with self._sources:
                await super().__call__(scope, receive, send)
        except (AftercallError, OutOfRangeError) as error:
            log.warning("a recording broke off while it was streamed", why=str(error))
