"""Posts to a webhook address over HTTP/1.1 and measures the response as it came over the wire.

It is written by hand because the size of a response includes its status line, headers and framing, which
libraries do not report, and because a busy company posts hundreds of times a second.
"""

import asyncio
import ssl
from collections import defaultdict
from dataclasses import dataclass
from urllib.parse import urlsplit

RESPONSE_LIMIT_SECONDS = 3.0
"""Real seconds: the network and processor of the other side do not scale with speed."""

MAX_POSTS_AT_ONCE = 64
_MAX_READ_BYTES = 16 * 1024
_STREAM_LIMIT = 64 * 1024


class UnreachableError(Exception):
    """There was no response, or none in HTTP. The text gives the reason."""


@dataclass(frozen=True, slots=True)
class WebhookResponse:
    """A response. `size` counts all of its bytes; header names are in lower case."""

    status: int
    reason: str
    headers: dict[str, str]
    size: int


@dataclass(frozen=True, slots=True)
class _Target:
    """The server of a connection."""

    host: str
    port: int
    secure: bool


@dataclass(frozen=True, slots=True)
class _Connection:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @property
    def is_usable(self) -> bool:
        return not self.reader.at_eof() and not self.writer.is_closing()


class _ClosedIdleError(Exception):
    """The other side closed a kept connection before it sent a response."""


class Poster:
    """Posts over kept connections, at most `at_once` requests at a time."""

    def __init__(self, headers: dict[str, str], at_once: int = MAX_POSTS_AT_ONCE) -> None:
        self._headers = headers
        self._slots = asyncio.Semaphore(at_once)
        self._idle: defaultdict[_Target, list[_Connection]] = defaultdict(list)

    async def post(self, address: str, payload: bytes, headers: dict[str, str]) -> WebhookResponse:
        """Post once; raises TimeoutError after three seconds, UnreachableError without a response."""
        target, message = _compose(address, payload, self._headers | headers)
        async with self._slots:
            try:
                async with asyncio.timeout(RESPONSE_LIMIT_SECONDS):
                    return await self._post(target, message)
            except (OSError, EOFError, ValueError, asyncio.LimitOverrunError) as error:
                # A TimeoutError is an OSError, and has its own meaning here.
                if isinstance(error, TimeoutError):
                    raise
                raise UnreachableError(f"{type(error).__name__}: {error}".rstrip(": ")) from error

    async def close(self) -> None:
        for connections in self._idle.values():
            for connection in connections:
                connection.writer.close()
        self._idle.clear()

    async def _post(self, target: _Target, message: bytes) -> WebhookResponse:
        kept = self._take(target)
        if kept is not None:
            try:
                return await self._exchange(target, kept, message)
            except _ClosedIdleError:
                # Servers close idle connections; no byte came back, so the request can be sent again.
                pass
        context = ssl.create_default_context() if target.secure else None
        reader, writer = await asyncio.open_connection(
            target.host, target.port, ssl=context, limit=_STREAM_LIMIT
        )
        try:
            return await self._exchange(target, _Connection(reader, writer), message)
        except _ClosedIdleError as error:
            raise EOFError("the connection was closed without a response") from error

    def _take(self, target: _Target) -> _Connection | None:
        connections = self._idle[target]
        while connections:
            connection = connections.pop()
            if connection.is_usable:
                return connection
            connection.writer.close()
        return None

    async def _exchange(self, target: _Target, connection: _Connection, message: bytes) -> WebhookResponse:
        """Send the request and read the response; afterwards the connection is kept or closed."""
        # Closed on a timeout too: the late response would be read as that of the next request.
        is_kept = False
        try:
            head = await _send(connection, message)
            response, is_kept = await _read_rest(connection.reader, head)
        finally:
            if is_kept:
                self._idle[target].append(connection)
            else:
                connection.writer.close()
        return response


def _compose(address: str, payload: bytes, headers: dict[str, str]) -> tuple[_Target, bytes]:
    """Return the target and the bytes of the request. Address and headers must be printable ASCII."""
    parts = urlsplit(address)
    secure = parts.scheme == "https"
    target = _Target(parts.hostname or "", parts.port or (443 if secure else 80), secure)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    lines = [f"POST {path} HTTP/1.1", f"Host: {parts.netloc.rpartition('@')[2]}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    lines += [f"Content-Length: {len(payload)}", "", ""]
    return target, "\r\n".join(lines).encode("ascii") + payload


async def _send(connection: _Connection, message: bytes) -> bytes:
    """Send the request and return the response's head; raises _ClosedIdleError if not a byte came back."""
    try:
        connection.writer.write(message)
        await connection.writer.drain()
        return await connection.reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise
        raise _ClosedIdleError from error
    except ConnectionError as error:
        raise _ClosedIdleError from error


async def _read_rest(reader: asyncio.StreamReader, head: bytes) -> tuple[WebhookResponse, bool]:
    """Return the response, and whether the connection can be used again."""
    status_line, *lines = head.decode("latin-1").split("\r\n")
    version, _, rest = status_line.partition(" ")
    status, _, reason = rest.partition(" ")
    pairs = (line.partition(":") for line in lines if line)
    headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
    body, is_whole = await _read_body(reader, int(status), headers)
    is_kept = is_whole and version == "HTTP/1.1" and headers.get("connection", "").lower() != "close"
    return WebhookResponse(int(status), reason, headers, len(head) + body), is_kept


async def _read_body(reader: asyncio.StreamReader, status: int, headers: dict[str, str]) -> tuple[int, bool]:
    """Return the body's size on the wire, and whether its end is known to be reached.

    Reads no further than needed to see that the response is far too large.
    """
    if status in (204, 304):
        return 0, True
    if headers.get("transfer-encoding", "").lower() == "chunked":
        return await _read_chunks(reader)
    if "content-length" in headers:
        length = int(headers["content-length"])
        wanted = min(length, _MAX_READ_BYTES)
        await reader.readexactly(wanted)
        return length, wanted == length
    return len(await reader.read(_MAX_READ_BYTES)), False


async def _read_chunks(reader: asyncio.StreamReader) -> tuple[int, bool]:
    size = 0
    while size < _MAX_READ_BYTES:
        line = await reader.readuntil(b"\r\n")
        length = int(line.partition(b";")[0], 16)
        chunk = await reader.readexactly(length + 2)
        size += len(line) + len(chunk)
        if length == 0:
            return size, True
    return size, False
