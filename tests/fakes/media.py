"""A media host on loopback that behaves as badly as a test wants: it says how each request is answered, byte
by byte."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

Answer = Callable[[dict[str, str], asyncio.StreamWriter], Coroutine[Any, Any, None]]


@dataclass
class MediaHost:
    """`answers` are given in turn, the last one again and again; `asked` has the headers of each request,
    with `:path`.

    `open` counts the connections that are up.
    """

    url: str = ""
    answers: list[Answer] = field(default_factory=list)
    asked: list[dict[str, str]] = field(default_factory=list)
    open: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def closed(self) -> None:
        """Wait until no connection is up."""
        async with asyncio.timeout(10):
            while self.open:
                self.changed.clear()
                await self.changed.wait()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            asked = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:])}
            self.asked.append(asked | {":path": head[0].split()[1]})
            answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
            flowing = asyncio.create_task(answer(self.asked[-1], writer))
            gone = asyncio.create_task(reader.read(1))
            await asyncio.wait({flowing, gone}, return_when=asyncio.FIRST_COMPLETED)
            flowing.cancel()
            gone.cancel()
            await asyncio.gather(flowing, gone, return_exceptions=True)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()
            self.open -= 1
            self.changed.set()


def says(status: str, headers: Sequence[str] = (), body: bytes = b"", *, then_stalls: bool = False) -> Answer:
    """Answer with these lines and bytes, whether they fit each other or not, and close the connection."""

    async def answer(_: dict[str, str], writer: asyncio.StreamWriter) -> None:
        lines = [f"HTTP/1.1 {status}", "Connection: close", *headers, "", ""]
        writer.write("\r\n".join(lines).encode() + body)
        await writer.drain()
        if then_stalls:
            await asyncio.Event().wait()

    return answer


def whole(content: bytes, *, breaks_after: int | None = None) -> Answer:
    """Answer 200 with everything, or break off after so many bytes."""
    headers = ["Content-Type: audio/mpeg", f"Content-Length: {len(content)}"]
    return says("200 OK", headers, content[:breaks_after])


def part(content: bytes, first: int, *, total: int | None = None) -> Answer:
    """Answer 206 with what there is from byte `first` on."""
    told = f"Content-Range: bytes {first}-{len(content) - 1}/{total or len(content)}"
    headers = ["Content-Type: audio/mpeg", f"Content-Length: {len(content) - first}", told]
    return says("206 Partial Content", headers, content[first:])


@asynccontextmanager
async def media_host(*answers: Answer) -> AsyncIterator[MediaHost]:
    """Serve while the block runs."""
    host = MediaHost(answers=list(answers))
    server = await asyncio.start_server(host.serve, "127.0.0.1", 0)
    host.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield host
    finally:
        server.close()
