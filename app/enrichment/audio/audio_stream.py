"""Streams audio from RingCentral: any part of it, however RingCentral treats ranges.

The media guide says that ranges work. It also warns of 206 for a request without a range, and some servers
answer a range with the whole. So the stream is cut here, and missing bytes are requested again. At most one
chunk is in memory.
"""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from app.enrichment.audio.byte_ranges import ByteRange, Span, read_content_range, satisfy
from app.errors import RingCentralUnreachable
from app.ringcentral.ports import Priority
from app.ringcentral.protocol.errors import RangeRefused
from app.ringcentral.transport import ContentStream

_MOST_BREAKS = 3


class AudioSource(Protocol):
    """Opens one recording or voicemail, or a range of its bytes, with one request.

    `partial(client.stream_recording, content_uri)` is such a source.
    """

    def __call__(
        self,
        *,
        byte_range: str | None = None,
        priority: Priority = Priority.CONTENT,
        deadline: datetime | None = None,
    ) -> AbstractAsyncContextManager[ContentStream]: ...


class OutOfRangeError(Exception):
    """The range begins after the end. `total` is the size in bytes, None if it is unknown."""

    def __init__(self, total: int | None) -> None:
        super().__init__(f"out of {total} bytes")
        self.total = total


@dataclass(frozen=True, slots=True)
class AudioStream:
    """The bytes of `span`; `is_part` says whether they answer a range. `chunks` can be read once."""

    span: Span
    is_part: bool
    content_type: str | None
    chunks: AsyncIterator[bytes]


@asynccontextmanager
async def open_audio_stream(
    source: AudioSource,
    asked: ByteRange | None = None,
    *,
    deadline: datetime | None = None,
) -> AsyncIterator[AudioStream]:
    """Open the whole, or the requested part of it.

    If RingCentral neither honours the range nor gives the total size, the stream is the whole. Raises
    OutOfRangeError, and what the source raises; so does reading, if the stream cannot be resumed. `deadline`
    limits the wait for the rate limit of the first request, not of those that the rest may need.
    """
    header = str(asked) if asked else None
    try:
        async with source(byte_range=header, priority=Priority.CONTENT, deadline=deadline) as stream:
            held = _span_of(stream)
            span = _wanted(asked, held, stream.status)
            _check(held, span.first, span.total)
            is_part = asked is not None and (stream.status == 206 or held.total is not None)
            async with aclosing(_pull(source, stream, held, span)) as chunks:
                yield AudioStream(span, is_part, stream.headers.get("content-type"), chunks)
    except RangeRefused as refusal:
        raise OutOfRangeError(refusal.total) from refusal


def _span_of(stream: ContentStream) -> Span:
    """Return which bytes a stream has."""
    if stream.status == 206:
        span = read_content_range(stream.headers.get("content-range"))
        if span is None:
            raise RingCentralUnreachable("RingCentral answered 206 without saying which bytes", status=206)
        return span
    length = stream.headers.get("content-length", "")
    is_plain = stream.headers.get("content-encoding", "identity").lower() == "identity"
    total = int(length) if is_plain and length.isdecimal() else None
    return Span(0, None if total is None else total - 1, total)


def _check(held: Span, place: int, total: int | None) -> None:
    """Check that a stream continues at byte `place`. Raises RingCentralUnreachable."""
    if held.first > place or (held.last is not None and place > max(held.first, held.last)):
        raise RingCentralUnreachable("RingCentral left bytes out")
    if None not in (held.total, total) and held.total != total:
        raise RingCentralUnreachable("the audio has changed while it was read")


def _wanted(asked: ByteRange | None, held: Span, status: int) -> Span:
    """Return which bytes the reader gets. Raises OutOfRangeError."""
    if asked is not None and held.total is not None:
        span = satisfy(asked, held.total)
        if span is None:
            raise OutOfRangeError(held.total)
        return span
    if asked is not None and status == 206:
        return held if asked.first is None else _cut_span(held, asked.first, asked.last)
    return Span(0, None if held.total is None else held.total - 1, held.total)


def _cut_span(held: Span, first: int, last: int | None) -> Span:
    """Return the requested bytes of a stream whose total is unknown."""
    ends = [end for end in (held.last, last) if end is not None]
    return Span(first, min(ends, default=None), None)


async def _pull(
    source: AudioSource, stream: ContentStream, held: Span, wanted: Span
) -> AsyncGenerator[bytes]:
    """Yield exactly the bytes of `wanted`; request the rest where a stream ends or fails before it."""
    place, breaks = wanted.first, 0
    async with AsyncExitStack() as streams:
        while True:
            before = place
            try:
                async for piece in _cut(stream, held.first, place, wanted.last):
                    place += len(piece)
                    yield piece
            except RingCentralUnreachable:
                breaks += 1
                if breaks > _MOST_BREAKS:
                    raise
            else:
                if _is_all(place, held, wanted, stream.status):
                    return
                if place == before:
                    raise RingCentralUnreachable("the audio broke off", status=stream.status)
            await streams.aclose()
            rest = ByteRange(place, wanted.last)
            try:
                stream = await streams.enter_async_context(
                    source(byte_range=str(rest), priority=Priority.CONTENT)
                )
            except RangeRefused:
                if wanted.last is None:
                    return
                raise
            held = _span_of(stream)
            _check(held, place, wanted.total)


def _is_all(place: int, held: Span, wanted: Span, status: int) -> bool:
    if wanted.last is not None:
        return place > wanted.last
    # The size is unknown: a 200 ends where it ends, a 206 may have a successor.
    return status == 200 or (held.total is not None and place >= held.total)


async def _cut(stream: ContentStream, at: int, first: int, last: int | None) -> AsyncIterator[bytes]:
    """Yield only the bytes from `first` to `last` of a stream that begins at byte `at`."""
    async for chunk in stream.chunks:
        end = at + len(chunk)
        piece = chunk[max(0, first - at) : None if last is None else max(0, last + 1 - at)]
        at = end
        if piece:
            yield piece
        if last is not None and at > last:
            return
