"""Refuses requests that the server would misunderstand: unknown or repeated parameters, a wrong content type."""

import re
from collections import Counter
from collections.abc import Collection
from typing import Any, get_args, get_origin

from fastapi import Request
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel, JsonValue

from app.api.auth import CurrentKey
from app.api.problems.messages import unknown
from app.errors import UnsupportedMediaType
from app.values.exact_json import Fault, find_faults

_LONGEST_TYPE = 64


_MOST_NAMED = 10
"""At most this many faults of a request are named here; `app.api.problems` has the limit for those of the schema."""


_LIST_HEADERS = frozenset({"if-match", "if-none-match"})
"""Headers that are lists: several lines of them mean the same as one line with commas (RFC 9110, section 5.3)."""


async def refuse_misunderstandings(request: Request, _: CurrentKey) -> None:
    """Refuse what would be ignored, misread or changed in silence; for every route of the connector API, behind its key.

    Raises RequestValidationError for query parameters that the route does not have or that are given more often than
    it reads them, and for values in the body that cannot be kept as they came; UnsupportedMediaType for a body that is
    not sent as JSON.
    """
    route: APIRoute = request.scope["route"]
    _refuse_parameters(request, route, only_known=True)
    if route.body_field is None or not (body := await request.body()):
        return
    if not _is_json(request):
        came = request.headers.get("content-type", "").partition(";")[0][:_LONGEST_TYPE]
        raise UnsupportedMediaType(
            f"Send the body with `Content-Type: application/json`; it came {f'as {came}' if came else 'without one'}"
        )
    if faults := find_faults(body, _kept_exactly(route), most=_MOST_NAMED):
        raise RequestValidationError([_fault(fault) for fault in faults])


async def refuse_repeated(request: Request) -> None:
    """Refuse a query parameter that is given more often than the route reads it; for routes without a key.

    Raises RequestValidationError.
    """
    _refuse_parameters(request, request.scope["route"], only_known=False)


def _refuse_parameters(request: Request, route: APIRoute, *, only_known: bool) -> None:
    if request.scope["query_string"]:
        known = _parameters(route.dependant)
        given = Counter(name for name, _ in request.query_params.multi_items())
        wrong = [_unknown_parameter(name, known.keys()) for name in given if only_known and name not in known]
        wrong += [
            _repeated_parameter(name)
            for name, times in given.items()
            if times > 1 and known.get(name) is False
        ]
        if wrong:
            raise RequestValidationError(wrong[:_MOST_NAMED])
    for header in _header_fields(route.dependant):
        name = header.alias.replace("_", "-")
        if name.casefold() not in _LIST_HEADERS and len(request.headers.getlist(name)) > 1:
            raise RequestValidationError([_repeated_header(name)])


def _kept_exactly(route: APIRoute) -> set[str]:
    """Return the fields of a route's body that hold free JSON: what is in them comes back as it was sent."""
    model: Any = route.body_field and route.body_field.field_info.annotation
    if not isinstance(model, type) or not issubclass(model, BaseModel):
        return set()
    free: Any = JsonValue
    return {info.alias or name for name, info in model.model_fields.items() if info.annotation is free}


def _parameters(dependant: Dependant) -> dict[str, bool]:
    """Return the query parameters that a route reads, and whether each may be given several times."""
    found = {name: is_list for field in dependant.query_params for name, is_list in _names(field)}
    for part in dependant.dependencies:
        found |= _parameters(part)
    return found


def _header_fields(dependant: Dependant) -> list[Any]:
    return [
        *dependant.header_params,
        *(field for part in dependant.dependencies for field in _header_fields(part)),
    ]


def _names(field: Any) -> list[tuple[str, bool]]:
    model: Any = field.field_info.annotation
    if isinstance(model, type) and issubclass(model, BaseModel):
        return [(info.alias or name, _is_list(info.annotation)) for name, info in model.model_fields.items()]
    return [(field.alias, _is_list(model))]


def _is_list(annotation: Any) -> bool:
    return (
        annotation is list
        or get_origin(annotation) is list
        or any(_is_list(part) for part in get_args(annotation))
    )


def _unknown_parameter(name: str, known: Collection[str]) -> dict[str, Any]:
    return {
        "type": "unknown_parameter",
        "loc": ("query", name),
        "msg": unknown("parameter", name, known),
        "input": None,
    }


def _repeated_parameter(name: str) -> dict[str, Any]:
    return {
        "type": "repeated_parameter",
        "loc": ("query", name),
        "msg": "This parameter can be given once; it came several times",
        "input": None,
    }


def _repeated_header(name: str) -> dict[str, Any]:
    return {
        "type": "repeated_header",
        "loc": ("header", name),
        "msg": "This header can be given once; it came several times",
        "input": None,
    }


def _fault(fault: Fault) -> dict[str, Any]:
    return {"type": "unkeepable", "loc": ("body", *fault.path), "msg": fault.detail, "input": None}


def _is_json(request: Request) -> bool:
    """Whether FastAPI reads the body as JSON; it does so for `application/merge-patch+json` too."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().casefold()
    return re.fullmatch(r"application/(.+\+)?json", media_type) is not None
