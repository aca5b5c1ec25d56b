"""Keeps bodies small: nobody has to hold a stranger's megabytes in memory to say that they are wrong."""

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LARGEST_BODY_BYTES = 1_048_576


class BodyLimit:
    """ASGI middleware: a body above the limit ends as a 413 problem, announced or not.

    Paths in `but` have limits of their own.
    """

    def __init__(self, app: ASGIApp, *, but: frozenset[str] = frozenset()) -> None:
        self._app = app
        self._but = but

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in self._but:
            await self._app(scope, receive, send)
            return
        size = 0

        async def limited() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > LARGEST_BODY_BYTES:
                # An HTTPException is the one error that FastAPI lets through while it reads a body.
                raise HTTPException(
                    413, f"A request may have {LARGEST_BODY_BYTES} bytes; send less, or in parts."
                )
            return message

        await self._app(scope, limited, send)
