"""Limits the size of requests: what the head of a request shows is refused before its body is read.

`app.api.middleware.http_protocol` limits how long a request may take, below ASGI.
"""

import re

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.problems import caller_error_response
from app.errors import AddressTooLong, BadInput, CallerError, HeadersTooLarge, PayloadTooLarge

LARGEST_BODY_BYTES = 1_048_576
LONGEST_ADDRESS_BYTES = 8_192
LARGEST_HEADERS_BYTES = 32_768
MOST_HEADERS = 100
_HOST = re.compile(rb"(?:[A-Za-z0-9._~-]{1,255}|\[[0-9A-Fa-f:.]{2,64}\])(?::[0-9]{0,5})?")
_LENGTH = re.compile(rb"[0-9]{1,19}")


def check_head(scope: Scope, largest_body: int = LARGEST_BODY_BYTES) -> None:
    """Raises CallerError for a head that is too large, announces a large body, or has a bad URL or host."""
    if len(scope.get("raw_path") or scope["path"]) + len(scope["query_string"]) > LONGEST_ADDRESS_BYTES:
        raise AddressTooLong(f"A URL, with its query, must be at most {LONGEST_ADDRESS_BYTES} bytes long")
    if not scope["query_string"].isascii():
        # Some decoders take such bytes for Latin-1, others fail.
        raise BadInput("Non-ASCII characters in a URL must be percent-encoded, such as %C3%A9 for é")
    size = hosts = 0
    for name, value in scope["headers"]:
        size += len(name) + len(value)
        if name == b"host":
            hosts += 1
            if hosts > 1 or not _HOST.fullmatch(value):
                raise BadInput("The Host header must be a host name with an optional port")
        elif name == b"content-length" and (not _LENGTH.fullmatch(value) or int(value) > largest_body):
            raise PayloadTooLarge(f"The body must be at most {largest_body} bytes")
    if size > LARGEST_HEADERS_BYTES or len(scope["headers"]) > MOST_HEADERS:
        raise HeadersTooLarge(
            f"A request must have at most {MOST_HEADERS} headers, of {LARGEST_HEADERS_BYTES} bytes in total"
        )


class RequestLimits:
    """ASGI middleware: refuses a head or a body above the limits. Paths in `but` have their own limits."""

    def __init__(self, app: ASGIApp, *, but: frozenset[str] = frozenset()) -> None:
        self._app = app
        self._but = but

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            check_head(scope)
        except CallerError as error:
            await caller_error_response(Request(scope, receive), error)(scope, receive, send)
            return
        await self._app(scope, receive if scope["path"] in self._but else self._limited(receive), send)

    @staticmethod
    def _limited(receive: Receive) -> Receive:
        size = 0

        async def limited() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > LARGEST_BODY_BYTES:
                # An HTTPException is the one error that FastAPI lets through while it reads a body.
                raise HTTPException(413, f"The body must be at most {LARGEST_BODY_BYTES} bytes")
            return message

        return limited
