"""Audio as a response, of recordings and voicemails alike: headers, byte ranges, and the stream itself."""

import base64
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Annotated, Any
from urllib.parse import quote

import structlog
from fastapi import Header, Query, Response
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from app.api.auth import Key, check_still_valid, watch
from app.api.dependencies import Services
from app.enrichment.audio.archive_store import suffix_of
from app.enrichment.audio.archived_audio import PlayableAudio, etag_of
from app.enrichment.audio.audio_stream import OutOfRangeError
from app.enrichment.audio.byte_ranges import ByteRange
from app.errors import AftercallError, RangeNotSatisfiable

FIRST_BYTE = ByteRange(0, 0)
CACHED = "private, max-age=300"
_OF_NO_KNOWN_TYPE = "application/octet-stream"
_AUDIO = ("audio/mpeg", "audio/wav", "audio/x-wav", _OF_NO_KNOWN_TYPE)
_BINARY: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}, "example": "(audio)"}
CONTENT_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"description": "The whole audio.", "content": dict.fromkeys(_AUDIO, _BINARY)},
    206: {
        "description": "The part that `Range` requested.",
        "content": dict.fromkeys(_AUDIO, _BINARY),
        "headers": {
            "Content-Range": {"description": "`bytes first-last/total`", "schema": {"type": "string"}}
        },
    },
}
"""How the API description shows audio."""

AsDownload = Annotated[bool, Query(description="Send it as a file to save instead of audio to play.")]
RangeHeader = Annotated[
    str | None, Header(alias="Range", description="One range of bytes.", examples=["bytes=0-65535"])
]
IfRangeHeader = Annotated[
    str | None,
    Header(description="The ETag that the range refers to. If the version has changed, the whole is sent."),
]

log = structlog.get_logger(__name__)


async def respond(
    services: Services,
    key: Key | None,
    opening: AbstractAsyncContextManager[PlayableAudio],
    name: str,
    *,
    download: bool,
) -> Response:
    """Return a response that streams the audio; `name` is that of its file, without the ending. `key`: by
    which it was asked for, if by one.

    Raises RangeNotSatisfiable, and what opening the audio raises.
    """
    async with AsyncExitStack() as stack:
        try:
            audio = await stack.enter_async_context(opening)
        except OutOfRangeError as error:
            size = {} if error.total is None else {"total": error.total}
            raise RangeNotSatisfiable("The range begins after the end of the audio", **size) from error
        span = audio.stream.span
        headers = _headers(name, audio, download=download)
        if span.size is not None:
            headers["Content-Length"] = str(span.size)
        if audio.stream.is_part:
            headers["Content-Range"] = span.content_range
        status = 206 if audio.stream.is_part else 200
        return _OwningResponse(
            _while_valid(services, key, audio.stream.chunks), status, headers, stack.pop_all()
        )
    raise AssertionError("unreachable")  # The stack never suppresses an exception.


async def respond_to_head(
    opening: AbstractAsyncContextManager[PlayableAudio], name: str, *, download: bool
) -> Response:
    """Return the headers of the whole; `opening` opens its first byte."""
    try:
        async with opening as audio:
            response = Response(headers=_headers(name, audio, download=download))
            total = audio.stream.span.total
    except OutOfRangeError:
        return Response(headers={"Accept-Ranges": "bytes", "Content-Length": "0"})
    del response.headers["Content-Length"]
    if total is not None:
        response.headers["Content-Length"] = str(total)
    return response


async def _while_valid(
    services: Services, key: Key | None, chunks: AsyncIterator[bytes]
) -> AsyncIterator[bytes]:
    """Yield the audio until the reader's key is revoked. Raises Unauthenticated then."""
    with watch(services, key):
        async for chunk in chunks:
            await check_still_valid(services, key)
            yield chunk


def _headers(name: str, audio: PlayableAudio, *, download: bool) -> dict[str, str]:
    content_type = (audio.content_type or "").partition(";")[0].strip().lower()
    if not content_type.startswith("audio/"):
        # A browser must not take it for a page of this service.
        content_type = _OF_NO_KNOWN_TYPE
    file = f"{quote(name, safe='')}.{suffix_of(content_type)}"
    headers = {
        "Content-Type": content_type,
        "Content-Disposition": f'{"attachment" if download else "inline"}; filename="{file}"',
        "Accept-Ranges": "bytes",
        "Cache-Control": CACHED,
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
            log.warning("audio broke off while it was streamed", why=str(error))
