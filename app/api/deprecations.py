"""Deprecated routes, parameters and fields: what the description and the headers of responses say of them.

`docs/api/versioning.md` promises what is done here: the headers `Deprecation` (RFC 9745) and `Sunset`
(RFC 8594) on each response to a request that uses something deprecated.
"""

import json
from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from email.utils import format_datetime
from typing import Any, Self

from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from pydantic import BaseModel
from pydantic.fields import FieldInfo

SHORTEST_NOTICE = timedelta(days=180)
KEYWORD = "x-deprecation"
_IN_SCOPE = "aftercall.deprecations"
_HEADERS = {
    "Deprecation": "Since when something that the request uses is deprecated (RFC 9745).",
    "Sunset": "From when on it may be gone (RFC 8594).",
}


@dataclass(frozen=True, slots=True)
class Deprecation:
    """Since when something is deprecated, when it may be removed, and what to use instead (a sentence)."""

    since: date
    sunset: date
    instead: str

    def __post_init__(self) -> None:
        if self.sunset - self.since < SHORTEST_NOTICE:
            raise ValueError(f"what is deprecated stays for {SHORTEST_NOTICE.days} days or longer")

    def of_route(self) -> dict[str, Any]:
        """Return arguments for `router.get` and the others: `@router.get(..., **old.of_route())`."""
        return {"deprecated": True, "openapi_extra": self.of_field()}

    def of_field(self) -> dict[str, Any]:
        """Return the `json_schema_extra` of a parameter, or of a field of a request or a response."""
        # Not pydantic's `deprecated`, which warns whenever our own code reads the field.
        return {KEYWORD: asdict(self) | {"since": str(self.since), "sunset": str(self.sunset)}}

    @classmethod
    def find(cls, extra: Any) -> Self | None:
        """Return what `of_field` has put into a mapping."""
        found = extra.get(KEYWORD) if isinstance(extra, Mapping) else None
        if found is None:
            return None
        since, sunset = date.fromisoformat(found["since"]), date.fromisoformat(found["sunset"])
        return cls(since, sunset, found["instead"])


# Requests


def note_use(scope: MutableMapping[str, Any], route: APIRoute, query: Mapping[str, str]) -> None:
    """Note the deprecated route and parameters that a request uses, for the headers of its response."""
    used = [Deprecation.find(route.openapi_extra)]
    if query:
        used += [mark for name, mark in _deprecated_parameters(route.dependant) if name in query]
    _note(scope, used)


def note_use_in_body(scope: MutableMapping[str, Any], route: APIRoute, body: bytes) -> None:
    """Note the deprecated fields of a body, of those at its top."""
    model: Any = route.body_field and route.body_field.field_info.annotation
    deprecated = dict(_deprecated_fields(model))
    if not deprecated:
        return
    try:
        sent = json.loads(body)
    except (ValueError, RecursionError):
        return  # it will be refused
    if isinstance(sent, dict):
        _note(scope, [mark for name, mark in deprecated.items() if name in sent])


def headers_of(scope: Mapping[str, Any]) -> list[tuple[bytes, bytes]]:
    """Return the headers that a response to this request needs."""
    used: list[Deprecation] = scope.get(_IN_SCOPE, [])
    if not used:
        return []
    since = _midnight(min(mark.since for mark in used))
    sunset = _midnight(min(mark.sunset for mark in used))
    return [
        (b"deprecation", f"@{int(since.timestamp())}".encode()),
        (b"sunset", format_datetime(sunset, usegmt=True).encode()),
        (b"link", b'</docs>; rel="deprecation"; type="text/html"'),
    ]


def _note(scope: MutableMapping[str, Any], used: list[Deprecation | None]) -> None:
    if marks := [mark for mark in used if mark is not None]:
        scope[_IN_SCOPE] = [*scope.get(_IN_SCOPE, []), *marks]


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def _deprecated_parameters(dependant: Dependant) -> Iterator[tuple[str, Deprecation]]:
    for parameter in dependant.query_params:
        mark = Deprecation.find(parameter.field_info.json_schema_extra)
        if mark is not None:
            yield parameter.alias, mark
        yield from _deprecated_fields(parameter.field_info.annotation)
    for part in dependant.dependencies:
        yield from _deprecated_parameters(part)


def _deprecated_fields(model: Any) -> Iterator[tuple[str, Deprecation]]:
    if not isinstance(model, type) or not issubclass(model, BaseModel):
        return
    fields: Mapping[str, FieldInfo] = model.model_fields
    for name, field in fields.items():
        mark = Deprecation.find(field.json_schema_extra)
        if mark is not None:
            yield field.alias or name, mark


# The description


def describe_deprecations(description: dict[str, Any]) -> None:
    """Say in an API description what is deprecated, and that responses have headers then."""
    for operations in description["paths"].values():
        for operation in operations.values():
            parameters = operation.get("parameters", [])
            marked = [_describe(one, one.get("schema", {})) for one in parameters]
            if any([_describe(operation, operation), *marked]):
                _describe_headers(operation)
    for schema in description["components"]["schemas"].values():
        for field in schema.get("properties", {}).values():
            _describe(field, field)


def _describe(part: dict[str, Any], extra: dict[str, Any]) -> bool:
    mark = Deprecation.find(extra)
    if mark is None:
        return False
    del extra[KEYWORD]
    words = (part.get("description"), f"Deprecated since {mark.since}, until {mark.sunset}. {mark.instead}")
    part |= {
        "deprecated": True,
        "description": " ".join(word for word in words if word),
        "x-sunset": str(mark.sunset),
    }
    return True


def _describe_headers(operation: dict[str, Any]) -> None:
    for status, response in operation["responses"].items():
        if status.startswith("2"):
            response.setdefault("headers", {}).update(
                {name: {"description": text, "schema": {"type": "string"}} for name, text in _HEADERS.items()}
            )
