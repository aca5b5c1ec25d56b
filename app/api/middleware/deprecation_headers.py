"""The headers `Deprecation` and `Sunset` of responses to requests that use something deprecated."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.deprecations import headers_of


class DeprecationHeaders:
    """ASGI middleware: adds the headers that routing and parsing have found to be needed."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start" and (headers := headers_of(scope)):
                message = {**message, "headers": [*message["headers"], *headers]}
            await send(message)

        await self._app(scope, receive, with_headers if scope["type"] == "http" else send)
