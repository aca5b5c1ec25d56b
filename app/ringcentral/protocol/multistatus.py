"""The two forms of a response about many ids: multipart/mixed and a JSON list. Pure.

In the multipart form the first part is an object with `response`, a list of `{href, status}` in the order of
the ids. One part per id follows in that order, errors included (guide "Batch requests"). One body may mix
line ends, and blank lines may follow the last boundary. The standard library's `email` does not accept both,
so the parser is ours.
"""

import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from app.values.storable import BadJson, decode_json

_HEADER_LINE = re.compile(rb"[A-Za-z0-9-]+:[^\r\n]*(?:\r?\n|\Z)")
_BLANK_LINE = re.compile(rb"[ \t]*(?:\r?\n|\Z)")
_BOUNDARY_PARAMETER = re.compile(r";\s*boundary=(?:\"([^\"]+)\"|([^\s;]+))", re.IGNORECASE)
_MAX_BOUNDARY = 200
_BROKEN = object()


@dataclass(frozen=True, slots=True)
class ItemResponse:
    """The response to one id. `body` is None if its part is missing or not JSON."""

    status: int | None
    body: Any


def read_items(content_type: str, body: bytes) -> list[ItemResponse]:
    """Read a response about many ids, in the order of the request.

    Decides by content type, and by the body if the type says nothing. A part that is not JSON becomes an item
    without a body. Raises BadJson for a body in neither form.
    """
    if "multipart/" in content_type.lower() or body.lstrip().startswith(b"--"):
        return _from_parts(split_parts(content_type, body))
    decoded = decode_json(body)
    if not isinstance(decoded, list):
        raise BadJson("neither multipart nor a list")
    return [_from_resource(item) for item in decoded]


def split_parts(content_type: str, body: bytes) -> list[bytes]:
    """Split a multipart body into the contents of its parts, without their headers.

    A line end belongs to the boundary after it. If `content_type` names no boundary, the first line that
    looks like one is used. The end of the body closes the last part if the closing boundary is missing.
    """
    boundary = _boundary(content_type, body)
    if boundary is None:
        return []
    delimiter = re.compile(rb"(?:\A|\r?\n)--" + re.escape(boundary) + rb"(--)?[ \t]*(?=\r?\n|\Z)")
    parts: list[bytes] = []
    begin: int | None = None
    for match in delimiter.finditer(body):
        if begin is not None:
            parts.append(_content(body[begin : match.start()]))
        begin = None if match[1] else match.end()
        if begin is None:
            return parts
    if begin is not None:
        parts.append(_content(body[begin:]))
    return parts


def _boundary(content_type: str, body: bytes) -> bytes | None:
    parameter = _BOUNDARY_PARAMETER.search(content_type)
    if parameter:
        return (parameter[1] or parameter[2]).encode("utf-8", "replace")
    return first_boundary(io.BytesIO(body))


def first_boundary(lines: Iterable[bytes]) -> bytes | None:
    """Return the boundary that the first line of the form `--boundary` names. Reads each line once."""
    for line in lines:
        # Not a regular expression: one that allows trailing blanks backtracks over a long line of them.
        name = line[2:].removesuffix(b"\n").removesuffix(b"\r")
        if not line.startswith(b"--") or not line.endswith(b"\n") or not name or b"\r" in name:
            continue
        name = name.rstrip(b" \t") or name[:1]
        if len(name) <= _MAX_BOUNDARY:
            return name
    return None


def _content(part: bytes) -> bytes:
    """Strip the rest of the boundary's line, the headers, and the blank line that ends them."""
    position = 0
    if line_end := re.match(rb"\r?\n", part):
        position = line_end.end()
    while header := _HEADER_LINE.match(part, position):
        position = header.end()
    if blank := _BLANK_LINE.match(part, position):
        position = blank.end()
    return part[position:]


def _from_parts(parts: Sequence[bytes]) -> list[ItemResponse]:
    if not parts:
        raise BadJson("no parts")
    bodies = [_decoded(part) for part in parts]
    statuses = _statuses(bodies[0])
    if statuses is None:
        return [_item(None, body) for body in bodies]
    bodies = bodies[1:]
    bodies += [_BROKEN] * (len(statuses) - len(bodies))
    statuses += [None] * (len(bodies) - len(statuses))
    return [_item(status, body) for status, body in zip(statuses, bodies, strict=True)]


def _statuses(first: Any) -> list[int | None] | None:
    """Return the statuses of the ids; None if the first part is not a list of them."""
    response = first.get("response") if isinstance(first, dict) else None
    if not isinstance(response, list):
        return None
    return [_status(item) for item in response]


def _from_resource(item: Any) -> ItemResponse:
    if not isinstance(item, dict):
        return ItemResponse(None, None)
    return _item(_status(item), item.get("body"))


def _status(item: Any) -> int | None:
    status = item.get("status") if isinstance(item, dict) else None
    return status if isinstance(status, int) and not isinstance(status, bool) else None


def _item(status: int | None, body: Any) -> ItemResponse:
    return ItemResponse(status, None if body is _BROKEN else body)


def _decoded(part: bytes) -> Any:
    try:
        return decode_json(part)
    except BadJson:
        return _BROKEN
