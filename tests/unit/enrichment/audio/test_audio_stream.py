"""The audio of a recording, however the server treats ranges: every reader gets exactly the bytes asked
for."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.enrichment.audio.audio_stream import AudioStream, OutOfRangeError, open_audio_stream
from app.enrichment.audio.byte_ranges import ByteRange, read_range, satisfy
from app.errors import RequestRefused, RingCentralUnreachable
from app.ringcentral.client import RingCentralClient
from app.ringcentral.protocol.errors import RangeRefused
from app.ringcentral.transport import ContentStream


@dataclass
class Server:
    """A media host with habits. `gives`: at most so many bytes in a 206; `breaks`: after how many bytes each
    of the first answers breaks off."""

    whole: bytes
    honours: bool = True
    says_length: bool = True
    says_total: bool = True
    gives: int | None = None
    breaks: list[int] = field(default_factory=list)
    chunk: int = 7
    asked: list[str | None] = field(default_factory=list)
    open: int = 0

    @property
    def client(self) -> RingCentralClient:
        return cast("RingCentralClient", self)

    @asynccontextmanager
    async def stream_recording(
        self, content_uri: str, *, byte_range: str | None = None, **_: Any
    ) -> AsyncIterator[ContentStream]:
        self.asked.append(byte_range)
        self.open += 1
        try:
            yield self._answer(byte_range)
        finally:
            self.open -= 1

    def _answer(self, byte_range: str | None) -> ContentStream:
        asked = read_range(byte_range) if self.honours else None
        total = len(self.whole)
        if asked is None and (self.gives is None or not self.honours):
            length = {"content-length": str(total)} if self.says_length else {}
            return ContentStream(200, {"content-type": "audio/mpeg", **length}, self._flow(self.whole))
        span = satisfy(asked or ByteRange(0, None), total)
        if span is None or span.last is None:
            refused = RangeRefused("no", status=416)
            refused.total = total
            raise refused
        last = span.last if self.gives is None else min(span.last, span.first + self.gives - 1)
        header = f"bytes {span.first}-{last}/{total if self.says_total else '*'}"
        return ContentStream(206, {"content-range": header}, self._flow(self.whole[span.first : last + 1]))

    async def _flow(self, content: bytes) -> AsyncIterator[bytes]:
        left = self.breaks.pop(0) if self.breaks else None
        for start in range(0, len(content), self.chunk):
            piece = content[start : start + self.chunk]
            if left is not None and left < len(piece):
                raise RingCentralUnreachable("broken off")
            left = None if left is None else left - len(piece)
            yield piece


async def read_all(server: Server, asked: ByteRange | None = None) -> tuple[AudioStream, bytes]:
    async with open_audio_stream(partial(server.client.stream_recording, "https://media/77"), asked) as audio:
        return audio, b"".join([chunk async for chunk in audio.chunks])


def content(size: int) -> bytes:
    return bytes(place % 251 for place in range(size))


sizes = st.integers(1, 300)
ranges = (
    st.builds(ByteRange, st.integers(0, 320), st.none())
    | st.builds(lambda first, more: ByteRange(first, first + more), st.integers(0, 320), st.integers(0, 320))
    | st.builds(lambda last: ByteRange(None, last), st.integers(1, 320))
)
servers = st.builds(
    Server,
    whole=sizes.map(content),
    honours=st.booleans(),
    gives=st.none() | st.integers(5, 80),
    chunk=st.integers(1, 64),
    breaks=st.lists(st.integers(0, 40), max_size=2),
)


@given(servers)
def test_the_whole_is_served_from_any_server(server: Server) -> None:
    audio, received = asyncio.run(read_all(server))
    assert received == server.whole
    assert (audio.is_part, audio.span.total, server.open) == (False, len(server.whole), 0)


@given(servers, ranges)
def test_any_part_is_served_from_any_server(server: Server, asked: ByteRange) -> None:
    expected = satisfy(asked, len(server.whole))
    if expected is None:
        with pytest.raises(OutOfRangeError) as refused:
            asyncio.run(read_all(server, asked))
        assert refused.value.total == len(server.whole)
    else:
        audio, received = asyncio.run(read_all(server, asked))
        assert expected.last is not None
        assert received == server.whole[expected.first : expected.last + 1]
        assert (audio.span, audio.is_part) == (expected, True)
    assert server.open == 0


async def test_a_range_that_is_honoured_costs_one_request_and_no_byte_too_many() -> None:
    server = Server(content(1000))
    _, received = await read_all(server, ByteRange(10, 19))
    assert (received, server.asked) == (content(1000)[10:20], ["bytes=10-19"])


async def test_a_server_that_ignores_ranges_is_read_no_further_than_needed() -> None:
    flowed: list[bytes] = []

    class Counting(Server):
        async def _flow(self, content: bytes) -> AsyncIterator[bytes]:
            async for chunk in super()._flow(content):
                flowed.append(chunk)
                yield chunk

    server = Counting(content(100_000), honours=False, chunk=100)
    _, received = await read_all(server, ByteRange(150, 249))
    assert received == content(100_000)[150:250]
    assert len(flowed) == 3


async def test_206_to_a_plain_request_is_made_whole_in_further_requests() -> None:
    server = Server(content(250), gives=100)
    audio, received = await read_all(server)
    assert (received, audio.is_part) == (content(250), False)
    assert server.asked == [None, "bytes=100-249", "bytes=200-249"]


async def test_a_broken_stream_resumes_where_it_was() -> None:
    server = Server(content(100), breaks=[30, 14])
    _, received = await read_all(server)
    assert received == content(100)
    assert server.asked == [None, "bytes=28-99", "bytes=42-99"]


async def test_a_server_that_breaks_off_again_and_again_is_given_up() -> None:
    server = Server(content(100), breaks=[7, 7, 7, 7, 7])
    with pytest.raises(RingCentralUnreachable):
        await read_all(server)
    assert (len(server.asked), server.open) == (4, 0)


async def test_the_whole_is_served_for_a_range_if_the_size_is_unknown() -> None:
    server = Server(content(100), honours=False, says_length=False)
    audio, received = await read_all(server, ByteRange(10, 19))
    assert (received, audio.is_part, audio.span.size) == (content(100), False, None)


async def test_a_plain_206_that_does_not_say_the_total_is_followed_to_its_end() -> None:
    server = Server(content(250), gives=100, says_total=False)
    audio, received = await read_all(server)
    assert (received, audio.is_part) == (content(250), False)


async def test_206_without_saying_which_bytes_is_no_answer() -> None:
    class Silent(Server):
        def _answer(self, byte_range: str | None) -> ContentStream:
            return ContentStream(206, {}, self._flow(b"123"))

    with pytest.raises(RingCentralUnreachable):
        await read_all(Silent(content(10)))


async def test_a_reader_who_leaves_closes_what_was_open() -> None:
    server = Server(content(1000), gives=100)
    source = partial(server.client.stream_recording, "u")
    async with open_audio_stream(source) as audio, aclosing(audio.chunks) as chunks:  # type: ignore[type-var]
        async for _ in chunks:
            if len(server.asked) == 2:
                break
    assert server.open == 0


async def test_a_refusal_is_passed_on() -> None:
    class Refusing(Server):
        def _answer(self, byte_range: str | None) -> ContentStream:
            raise RequestRefused("no", status=404)

    with pytest.raises(RequestRefused):
        await read_all(Refusing(b"1"))


class Told(Server):
    """Answers a range with 206, and with the Content-Range of `headers`."""

    headers: tuple[str, ...] = ()

    def _answer(self, byte_range: str | None) -> ContentStream:
        answer = super()._answer(byte_range)
        header = self.headers[min(len(self.asked), len(self.headers)) - 1]
        return ContentStream(206, {"content-range": header}, answer.chunks)


@pytest.mark.parametrize("header", ["bytes 20-99/100", "bytes 20-99/*", "bytes 0-4/*"])
async def test_bytes_other_than_the_requested_ones_are_rejected(header: str) -> None:
    server = Told(content(100))
    server.headers = (header,)
    with pytest.raises(RingCentralUnreachable):
        await read_all(server, ByteRange(10, 19))
    assert server.open == 0


async def test_excess_bytes_are_cut_even_if_the_size_is_unknown() -> None:
    server = Told(content(100), honours=False)
    server.headers = ("bytes 0-99/*",)
    audio, received = await read_all(server, ByteRange(10, 19))
    assert (received, audio.is_part, audio.span.content_range) == (content(100)[10:20], True, "bytes 10-19/*")


async def test_audio_that_changes_its_size_during_the_stream_is_not_joined() -> None:
    server = Told(content(100), breaks=[30])
    server.headers = ("bytes 0-99/100", "bytes 28-99/120")
    with pytest.raises(RingCentralUnreachable):
        await read_all(server)
    assert server.open == 0
