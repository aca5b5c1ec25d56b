"""How a request is built: its path and route, its ids, and what a redirect makes of it. Pure."""

from dataclasses import replace
from typing import Any
from urllib.parse import quote, urljoin

from app.errors import RequestRefused
from app.ids import ExtensionId
from app.ringcentral.wire import Request, Response

API = "/restapi/v1.0"


class Secret(dict[str, Any]):
    """A mapping whose content must not appear in logs and tracebacks."""

    def __repr__(self) -> str:
        return "{…}"


def get(url: str, route: str, group: str, params: tuple[tuple[str, str], ...] = ()) -> Request:
    return Request(method="GET", url=url, route=route, group=group, params=params)


def owner_path(extension_id: ExtensionId | None = None) -> tuple[str, str]:
    """Return path and route of the token's account, or of one of its extensions."""
    path, route = f"{API}/account/~", f"{API}/account/{{accountId}}"
    if extension_id is None:
        return path, route
    return f"{path}/extension/{path_segment(extension_id)}", f"{route}/extension/{{extensionId}}"


def path_segment(value: str) -> str:
    """Quote an id for use in a path. Raises RequestRefused for one that would leave the path or cannot be
    encoded.
    """
    if value in {"", ".", ".."}:
        raise RequestRefused("this id cannot be part of a request")
    try:
        return quote(value, safe="~")
    except UnicodeEncodeError as error:
        raise RequestRefused("this id cannot be part of a request") from error


def redirected(request: Request, sent_to: str, response: Response) -> Request | None:
    """Return the request that a redirect of `sent_to` asks for; None if it must not be sent.

    A request that changes something is repeated only after 307 and 308, which preserve its method. The new
    address may be on a foreign host: the sender checks that.
    """
    location = response.headers.get("location")
    if not location or (request.method != "GET" and response.status not in {307, 308}):
        return None
    try:
        return replace(request, url=urljoin(sent_to, location), params=())
    except ValueError:
        return None
