"""Redirects that do not repeat the `Host` header of a request in their `Location`."""

from urllib.parse import urlsplit, urlunsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

_SLASH_REDIRECT = 307
"""The router redirects a path with one slash too many or too few by this status."""


class RelativeRedirects:
    """ASGI middleware: makes the router's own redirects relative, whatever host the request named."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def relative(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == _SLASH_REDIRECT:
                message["headers"] = [
                    (name, _path_of(value) if name == b"location" else value)
                    for name, value in message["headers"]
                ]
            await send(message)

        await self._app(scope, receive, relative if scope["type"] == "http" else send)


def _path_of(location: bytes) -> bytes:
    parts = urlsplit(location.decode("latin-1"))
    # Two slashes at the start would name a host.
    path = "/" + parts.path.lstrip("/")
    return urlunsplit(("", "", path, parts.query, "")).encode("latin-1")
