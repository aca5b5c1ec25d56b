"""HEAD for every GET of the connector API: the same headers, no body (RFC 9110, section 9.3.2)."""

import re

from starlette.types import ASGIApp, Message, Receive, Scope, Send

_NOT_AS_GET = re.compile(
    r"/v1/(changes/stream|(recordings|voicemails)/[^/]+/content|export/calls\.(ndjson|csv))"
)
"""A stream never ends, an export would read every call, and audio has a cheaper HEAD route of its own."""


def is_answered_as_get(path: str) -> bool:
    """Whether HEAD of this path is handled as GET, if it has a GET."""
    return path.startswith("/v1/") and _NOT_AS_GET.fullmatch(path) is None


class HeadAsGet:
    """ASGI middleware: handles HEAD as GET and drops the body.

    In FastAPI, HEAD is a route of its own, which would double each GET in the API description.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD" or not is_answered_as_get(scope["path"]):
            await self._app(scope, receive, send)
            return

        async def bodiless(message: Message) -> None:
            if message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        await self._app({**scope, "method": "GET"}, receive, bodiless)
