"""Headers that depend on the key of a request: its limit, and whether a page of another origin may read.

A preflight has no key, so it is answered for any origin: it allows nothing but to ask. The request itself is
refused if its key does not name the origin (`app.api.auth.current_key`), and no response ever allows cookies.
A page can therefore do nothing that a program with the same key could not do.
"""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.usage.use import use_of

_METHODS = b"GET, HEAD, POST, PUT, PATCH, DELETE"
_SENT = (
    b"Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, Last-Event-ID, Range, "
    b"X-Request-Id"
)
_SHOWN = (
    b"Attachment-Effect, Content-Range, Deprecation, ETag, Idempotency-Replayed, Link, Location, RateLimit, "
    b"RateLimit-Policy, Retry-After, Sunset, X-Request-Id"
)
_MAX_AGE = b"600"


class KeyHeaders:
    """ASGI middleware for the connector API, `/v1/`."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith("/v1/"):
            await self._app(scope, receive, send)
            return
        sent = dict(scope["headers"])
        origin = sent.get(b"origin")
        if scope["method"] == "OPTIONS" and origin and b"access-control-request-method" in sent:
            await _answer_preflight(origin, send)
            return
        use = use_of(scope)

        async def extended(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": _extended(message.get("headers", ()), origin, use.headers())}
            await send(message)

        await self._app(scope, receive, extended)


def _extended(
    headers: object, origin: bytes | None, limits: list[tuple[bytes, bytes]]
) -> list[tuple[bytes, bytes]]:
    merged = [*headers, *limits, (b"vary", b"Origin")]  # type: ignore[misc]
    if origin:
        merged += [(b"access-control-allow-origin", origin), (b"access-control-expose-headers", _SHOWN)]
    return merged


async def _answer_preflight(origin: bytes, send: Send) -> None:
    headers = [
        (b"access-control-allow-origin", origin),
        (b"access-control-allow-methods", _METHODS),
        (b"access-control-allow-headers", _SENT),
        (b"access-control-max-age", _MAX_AGE),
        (b"vary", b"Origin, Access-Control-Request-Method, Access-Control-Request-Headers"),
    ]
    await send({"type": "http.response.start", "status": 204, "headers": headers})
    await send({"type": "http.response.body", "body": b""})
