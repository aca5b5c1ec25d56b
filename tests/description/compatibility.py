"""What in an API description breaks clients of an earlier one: pure. docs/api/versioning.md has the rules.

Requests that were accepted must be accepted, and responses must be what clients are prepared for.
"""

import re
from collections.abc import Iterator
from typing import Any

from tests.description.containment import Containment, Json

CLOSED = frozenset(
    {"Stage", "Outcome", "Label", "Readiness.state", "NoteOut.status", "SentimentOut.status",
     "DispositionOut.status", "LinkOut.status", "Problem.fault"}
)  # fmt: skip
"""Enumerations of responses that get no further values: a client may list all. The page names them."""

_IS_ERROR = re.compile(r"[45][0-9]{2}")
_NOT_COMPARED = {
    "title", "description", "example", "examples", "summary", "tags", "info", "servers", "links",
}  # fmt: skip


def shape_of(node: Any, *, is_named: bool = False) -> Any:
    """Return a description without what a client does not depend on, such as texts and examples.

    `is_named`: the keys of `node` are names of ours, such as those of fields, which may be `title`.
    """
    if isinstance(node, list):
        return [shape_of(part) for part in node]
    if not isinstance(node, dict):
        return node
    return {
        key: shape_of(value, is_named=key in {"properties", "schemas", "paths"} and not is_named)
        for key, value in sorted(node.items())
        if is_named or not (key in _NOT_COMPARED or _IS_ERROR.fullmatch(key))
    }


def find_breaks(released: Json, current: Json) -> list[str]:
    """Return what clients of `released` would stumble over, each with the operation and the place."""
    return list(_Comparison(released, current).breaks())


class _Comparison:
    def __init__(self, released: Json, current: Json) -> None:
        self._released, self._current = released, current
        self._requests = Containment(released, current)
        self._responses = Containment(current, released, open_choices=True, closed=CLOSED)

    def breaks(self) -> Iterator[str]:
        for path, methods in self._released["paths"].items():
            for method, old in methods.items():
                new = self._current["paths"].get(path, {}).get(method)
                name = f"{method.upper()} {path}"
                if new is None:
                    yield f"{name}: is gone"
                    continue
                for found in self._operation(old, new):
                    yield f"{name}: {found}"

    def _operation(self, old: Json, new: Json) -> Iterator[str]:
        if old.get("operationId") != new.get("operationId"):
            yield f"operationId {new.get('operationId')}, was {old.get('operationId')}"
        if new.get("security", []) and not old.get("security", []):
            yield "needs a key"
        yield from self._parameters(old, new)
        yield from self._request(old.get("requestBody"), new.get("requestBody"))
        for status, response in old["responses"].items():
            if status.startswith(("2", "3")):
                yield from self._response(status, response, new["responses"].get(status))

    def _parameters(self, old: Json, new: Json) -> Iterator[str]:
        ours, theirs = (
            {(one["in"], one["name"]): one for one in operation.get("parameters", [])}
            for operation in (old, new)
        )
        for (place, name), parameter in ours.items():
            if (place, name) not in theirs:
                yield f"parameter {name}: is gone"
                continue
            found = theirs[place, name]
            if found.get("required") and not parameter.get("required"):
                yield f"parameter {name}: is required"
            if _default(parameter) != _default(found):
                yield f"parameter {name}: default {_default(found)!r}, was {_default(parameter)!r}"
            yield from self._requests.differences(
                parameter.get("schema", {}), found.get("schema", {}), f"parameter {name}"
            )
        for (place, name), parameter in theirs.items():
            if parameter.get("required") and (place, name) not in ours:
                yield f"parameter {name}: is new and required"

    def _request(self, old: Json | None, new: Json | None) -> Iterator[str]:
        if old is None:
            if new is not None and new.get("required"):
                yield "request: a body is required"
            return
        if new is None:
            yield "request: no body is accepted"
            return
        if new.get("required") and not old.get("required"):
            yield "request: a body is required"
        for media_type, content in old["content"].items():
            if media_type not in new["content"]:
                yield f"request: {media_type} is not accepted"
                continue
            found = new["content"][media_type]
            yield from self._requests.differences(
                content.get("schema", {}), found.get("schema", {}), "request"
            )

    def _response(self, status: str, old: Json, new: Json | None) -> Iterator[str]:
        if new is None:
            yield f"response {status}: is gone"
            return
        for header in old.get("headers", {}):
            if header not in new.get("headers", {}):
                yield f"response {status}: header {header} is gone"
        for media_type, content in old.get("content", {}).items():
            found = new.get("content", {}).get(media_type)
            if found is None:
                yield f"response {status}: {media_type} is gone"
                continue
            yield from self._responses.differences(
                found.get("schema", {}), content.get("schema", {}), f"response {status}"
            )


def _default(parameter: Json) -> Any:
    return parameter.get("schema", {}).get("default")
