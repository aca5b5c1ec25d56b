"""Compresses the JSON of the connector API with gzip, for clients that accept it.

Starlette's middleware compresses streams, ranges and answers to HEAD as well, and leaves strong ETags on two
different representations. Here a response is compressed only if it is complete, JSON, and at least
`LEAST_BYTES` long; streams and audio pass untouched and unbuffered. A compressed response has a weak ETag, as
proxies make it, which `If-None-Match` and `If-Match` accept. A body that many ask for is compressed once: see
`app.api.answers`.
"""

import asyncio
import gzip
import hashlib
import re
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.answers import Answers

LEAST_BYTES = 1_024
_LEVEL = 5
"""Of 9: higher levels take twice the time for a few per cent of JSON."""

_LONG_BYTES = 65_536
"""Longer bodies are compressed in a thread, so that other requests go on."""

_JSON = re.compile(rb"application/(?:[a-z.]+\+)?json\b")
_ACCEPTED = re.compile(rb"(?:^|,)\s*(gzip|x-gzip|\*)\s*(?:;\s*q=([0-9.]{1,5})\s*)?(?=,|$)", re.IGNORECASE)


class Compression:
    """ASGI middleware for the connector API, `/v1/`."""

    def __init__(self, app: ASGIApp, answers: Answers) -> None:
        self._app = app
        self._answers = answers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith("/v1/"):
            await self._app(scope, receive, send)
            return
        compress = scope["method"] != "HEAD" and accepts_gzip(
            b",".join(value for name, value in scope["headers"] if name == b"accept-encoding")
        )
        held: Message | None = None

        async def compressed(message: Message) -> None:
            nonlocal held
            if message["type"] == "http.response.start" and _is_json(message):
                message = {**message, "headers": [*message["headers"], (b"vary", b"Accept-Encoding")]}
                if compress and _may_compress(message):
                    # The size is known, so the body follows at once: see `_may_compress`.
                    held = message
                    return
            elif message["type"] == "http.response.body" and held is not None:
                start, held = held, None
                if not message.get("more_body", False):
                    start, message = await self._compress(start, message)
                await send(start)
            await send(message)

        await self._app(scope, receive, compressed)

    async def _compress(self, start: Message, message: Message) -> tuple[Message, Message]:
        body: bytes = message["body"]
        key = ("gzip", hashlib.sha256(body).digest())
        packed = self._answers.find(key, None)
        if packed is None:
            is_long = len(body) > _LONG_BYTES
            packed = await asyncio.to_thread(_pack, body) if is_long else _pack(body)
            if any(name == b"etag" for name, _ in start["headers"]):
                # What has a version is asked for again, and by others.
                self._answers.keep(key, None, packed)
        headers = [
            *(_changed(name, value, len(packed)) for name, value in start["headers"]),
            (b"content-encoding", b"gzip"),
        ]
        return {**start, "headers": headers}, {**message, "body": packed}


def _pack(body: bytes) -> bytes:
    return gzip.compress(body, _LEVEL, mtime=0)


def accepts_gzip(header: bytes) -> bool:
    """Whether an Accept-Encoding header accepts gzip (RFC 9110, section 12.5.3)."""
    found = {name.lower(): quality for name, quality in _ACCEPTED.findall(header)}
    quality = found.get(b"gzip", found.get(b"x-gzip", found.get(b"*")))
    return quality is not None and (quality == b"" or _number(quality) > 0)


def _number(text: bytes) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


def _is_json(start: Message) -> bool:
    return any(name == b"content-type" and _JSON.match(value) for name, value in start.get("headers", ()))


def _may_compress(start: Message) -> bool:
    """Whether the body is complete, of known size, long enough, and not encoded already."""
    headers: dict[bytes, Any] = dict(start["headers"])
    length = headers.get(b"content-length", b"0")
    is_whole = start["status"] not in {204, 206, 304} and b"content-range" not in headers
    return is_whole and b"content-encoding" not in headers and int(length) >= LEAST_BYTES


def _changed(name: bytes, value: bytes, size: int) -> tuple[bytes, bytes]:
    if name == b"content-length":
        return name, str(size).encode()
    if name == b"etag" and not value.startswith(b"W/"):
        return name, b"W/" + value
    return name, value
