"""Refuses requests that would be misunderstood: unknown or repeated parameters, a wrong content type."""

import re
from collections import Counter
from typing import Any, get_args, get_origin

from fastapi import Request
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel, JsonValue

from app.api import deprecations
from app.api.auth import CurrentKey
from app.api.problems import MOST_ERRORS
from app.api.problems.messages import describe_unknown
from app.errors import UnsupportedMediaType
from app.values.exact_json import find_faults

_LONGEST_TYPE = 64
_LIST_HEADERS = frozenset({"if-match", "if-none-match"})
"""Headers that are lists: several lines mean the same as one line with commas (RFC 9110, section 5.3)."""


async def refuse_misunderstandings(request: Request, _: CurrentKey) -> None:
    """Refuse what would be ignored, misread or silently changed; for every route of the connector API.

    Depends on the key, so that a request without a valid key is refused for that first. Raises
    RequestValidationError for query parameters that are unknown or repeated, and for values in the body that
    cannot be stored exactly; UnsupportedMediaType for a body that is not sent as JSON.
    """
    route: APIRoute = request.scope["route"]
    deprecations.note_use(request.scope, route, request.query_params)
    _check_parameters(request, route, only_known=True)
    if route.body_field is None or not (body := await request.body()):
        return
    if not _is_json(request):
        sent = request.headers.get("content-type", "").partition(";")[0][:_LONGEST_TYPE]
        how = f"as {sent}" if sent else "without one"
        raise UnsupportedMediaType(f"Send the body with `Content-Type: application/json`; it was sent {how}")
    deprecations.note_use_in_body(request.scope, route, body)
    if faults := find_faults(body, _exact_fields(route), most=MOST_ERRORS):
        raise RequestValidationError(
            [_error("unstorable", "body", *it.path, detail=it.detail) for it in faults]
        )


async def refuse_repeated(request: Request) -> None:
    """Refuse repeated query parameters and headers; for routes without a key.

    Raises RequestValidationError.
    """
    _check_parameters(request, request.scope["route"], only_known=False)


def _check_parameters(request: Request, route: APIRoute, *, only_known: bool) -> None:
    if request.scope["query_string"]:
        known = _parameters(route.dependant)
        given = Counter(name for name, _ in request.query_params.multi_items())
        errors = [
            _error("unknown_parameter", "query", name, detail=describe_unknown("parameter", name, known))
            for name in given
            if only_known and name not in known
        ]
        errors += [
            _error("repeated_parameter", "query", name, detail="This parameter must not be repeated")
            for name, times in given.items()
            if times > 1 and known.get(name) is False
        ]
        if errors:
            raise RequestValidationError(errors)
    for header in _header_fields(route.dependant):
        name = header.alias.replace("_", "-")
        if name.casefold() not in _LIST_HEADERS and len(request.headers.getlist(name)) > 1:
            detail = "This header must not be repeated"
            raise RequestValidationError([_error("repeated_header", "header", name, detail=detail)])


def _error(code: str, *loc: str | int, detail: str) -> dict[str, Any]:
    """Return an error as pydantic would report it."""
    return {"type": code, "loc": loc, "msg": detail, "input": None}


def _exact_fields(route: APIRoute) -> set[str]:
    """Return the fields of a route's body that hold free JSON, which is returned exactly as it was sent."""
    model: Any = route.body_field and route.body_field.field_info.annotation
    if not isinstance(model, type) or not issubclass(model, BaseModel):
        return set()
    free: Any = JsonValue
    return {info.alias or name for name, info in model.model_fields.items() if info.annotation is free}


def _parameters(dependant: Dependant) -> dict[str, bool]:
    """Return the query parameters of a route, and whether each may be repeated."""
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
    # A route may take its query parameters one by one, or as the fields of one model.
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


def _is_json(request: Request) -> bool:
    """Whether FastAPI reads the body as JSON, which includes `application/merge-patch+json`."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().casefold()
    return re.fullmatch(r"application/(.+\+)?json", media_type) is not None
