"""The sound of a recording as it comes from RingCentral: any part of it, whatever RingCentral makes of ranges.

The media guide says that ranges work; it also warns of 206 to a plain request, and servers that answer a range
with the whole are about. So what comes is cut here while it flows, and what is left out is asked for again.
Never more than one chunk is in memory.
"""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime

from app.enrichment.recordings.byte_ranges import ByteRange, Span, read_content_range, satisfy
from app.errors import RingCentralUnreachable
from app.ringcentral.client import RingCentralClient
from app.ringcentral.ports import Priority
from app.ringcentral.protocol.errors import RangeRefused
from app.ringcentral.transport import ContentStream

_MOST_BREAKS = 3


class OutOfRangeError(Exception):
    """The range begins behind the end. `total` is the size, None if it is not known."""

    def __init__(self, total: int | None) -> None:
        super().__init__(f"out of {total} bytes")
        self.total = total


@dataclass(frozen=True, slots=True)
class AudioStream:
    """What comes: the bytes of `span`; `is_part` says whether that answers a range. `chunks` can be read once."""

    span: Span
    is_part: bool
    content_type: str | None
    chunks: AsyncIterator[bytes]


@asynccontextmanager
async def open_audio_stream(
    client: RingCentralClient,
    content_uri: str,
    asked: ByteRange | None = None,
    *,
    deadline: datetime | None = None,
) -> AsyncIterator[AudioStream]:
    """Open a recording, or the part of it that is asked for.

    Where RingCentral neither honours the range nor says how large the whole is, the whole comes. Raises
    OutOfRangeError, and what `RingCentralClient.stream_recording` raises; so does reading, when it breaks off for
    good. `deadline` bounds the wait for the first slot of the budget, not for those that the rest may need.
    """
    header = str(asked) if asked else None
    try:
        async with client.stream_recording(
            content_uri, byte_range=header, priority=Priority.CONTENT, deadline=deadline
        ) as stream:
            held = _span_of(stream)
            span = _wanted(asked, held, stream.status)
            _check(held, span.first, span.total)
            is_part = asked is not None and (stream.status == 206 or held.total is not None)
            async with aclosing(_pull(client, content_uri, stream, held, span)) as chunks:
                yield AudioStream(span, is_part, stream.headers.get("content-type"), chunks)
    except RangeRefused as refusal:
        raise OutOfRangeError(refusal.total) from refusal


def _span_of(stream: ContentStream) -> Span:
    """Say what a stream will bring."""
    if stream.status == 206:
        told = read_content_range(stream.headers.get("content-range"))
        if told is None:
            raise RingCentralUnreachable("RingCentral answered 206, but not with which bytes", status=206)
        return told
    length = stream.headers.get("content-length", "")
    is_plain = stream.headers.get("content-encoding", "identity").lower() == "identity"
    total = int(length) if is_plain and length.isdecimal() else None
    return Span(0, None if total is None else total - 1, total)


def _check(held: Span, place: int, total: int | None) -> None:
    """Raises RingCentralUnreachable if the bytes that come cannot be joined to those before `place`."""
    if held.first > place or (held.last is not None and place > max(held.first, held.last)):
        raise RingCentralUnreachable("RingCentral left bytes out")
    if None not in (held.total, total) and held.total != total:
        raise RingCentralUnreachable("the recording has changed while it came")


def _wanted(asked: ByteRange | None, held: Span, status: int) -> Span:
    """Say what the reader gets. Raises OutOfRangeError."""
    if asked is not None and held.total is not None:
        span = satisfy(asked, held.total)
        if span is None:
            raise OutOfRangeError(held.total)
        return span
    if asked is not None and status == 206:
        return held if asked.first is None else _cut_span(held, asked.first, asked.last)
    return Span(0, None if held.total is None else held.total - 1, held.total)


def _cut_span(held: Span, first: int, last: int | None) -> Span:
    """Return of what comes, out of an unknown total, what was asked for."""
    ends = [end for end in (held.last, last) if end is not None]
    return Span(first, min(ends, default=None), None)


async def _pull(
    client: RingCentralClient, content_uri: str, stream: ContentStream, held: Span, wanted: Span
) -> AsyncGenerator[bytes]:
    """Yield exactly the bytes of `wanted`, asking for the rest where a stream ends or breaks before it."""
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
                    raise RingCentralUnreachable("the recording broke off", status=stream.status)
            await streams.aclose()
            rest = ByteRange(place, wanted.last)
            try:
                stream = await streams.enter_async_context(
                    client.stream_recording(content_uri, byte_range=str(rest), priority=Priority.CONTENT)
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
    # The size is not known: a whole answer ends where it ends, a part may have a successor.
    return status == 200 or (held.total is not None and place >= held.total)


async def _cut(stream: ContentStream, at: int, first: int, last: int | None) -> AsyncIterator[bytes]:
    """Yield of a stream that begins at byte `at` only the bytes from `first` to `last`."""
    async for chunk in stream.chunks:
        end = at + len(chunk)
        piece = chunk[max(0, first - at) : None if last is None else max(0, last + 1 - at)]
        at = end
        if piece:
            yield piece
        if last is not None and at > last:
            return
