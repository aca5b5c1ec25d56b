"""The short way to a call that has not changed: `GET /v1/calls/{call}` before FastAPI resolves parameters.

Resolving the dependencies of a request takes several times what is left to do for a call that was shown a
moment ago. Whatever is not plain (parameters, an unknown key, a call that is not kept or has changed) takes
the usual way, which also finds the words for everything that is wrong.
"""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

from app.api.auth import remembered_key
from app.api.dependencies import Services
from app.api.etags import etag_of_body, is_known
from app.api.known_keys import Scope
from app.calls.listing.bodies import ShownCall, find_unchanged
from app.calls.reading.media import Media

_PATH = "/v1/calls/{call}"
_ANYTHING = "*/*"
_JSON = frozenset({_ANYTHING, Media.JSON.value})

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


def call_response(
    shown: ShownCall, body: bytes, if_none_match: str | None, media: Media = Media.JSON, **headers: str
) -> Response:
    """Return a call, or 304 if the client has it. `body`: the call as it was asked for."""
    etag = etag_of_body(shown.version, body)
    headers = {"ETag": etag, "Cache-Control": "private, no-cache", "Vary": "Accept", **headers}
    if is_known(if_none_match, etag):
        return Response(status_code=304, headers=headers)
    return Response(body, headers=headers, media_type=media.value)


class UnchangedFirst(APIRoute):
    """A route that tries the short way first, if it is the one that reads a call."""

    def get_route_handler(self) -> Handler:
        usual = super().get_route_handler()
        if self.path_format != _PATH or "GET" not in (self.methods or ()):
            return usual

        async def handle(request: Request) -> Response:
            return await _find_unchanged(request) or await usual(request)

        return handle


async def _find_unchanged(request: Request) -> Response | None:
    """Return the response if the short way leads to it."""
    if request.scope["query_string"] or request.headers.get("Accept", _ANYTHING) not in _JSON:
        return None
    services: Services = request.app.state.services
    key = remembered_key(request, services)
    if key is None or not key.allows(Scope.CALLS_READ):
        return None
    name = request.path_params["call"]
    shown = await find_unchanged(services.lookups, key.account_id, name, services.answers)
    if shown is None:
        return None
    return call_response(shown, shown.body, request.headers.get("If-None-Match"))
