"""Keeps redirects on this service: the `Host` header of a request is not repeated in a `Location`."""

from urllib.parse import urlsplit, urlunsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

_SLASH_REDIRECT = 307
"""With this status the router sends a path with a slash too many, or one too few, to the one that exists."""


class RelativeRedirects:
    """ASGI middleware: the router's own redirects lead to a path, whatever host the request named."""

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
    # Two slashes at the beginning would name a host.
    path = "/" + parts.path.lstrip("/")
    return urlunsplit(("", "", path, parts.query, "")).encode("latin-1")
