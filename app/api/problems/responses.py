"""Problem documents (RFC 9457) as response bodies, and as models for the API description.

`type` is a path on this service, `/problems/<code>`, which explains the code; clients need not know where our
documentation is hosted. A problem never contains a stack trace or the value that was refused, which may be a
phone number.
"""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Literal

from fastapi import Request
from fastapi.responses import Response
from pydantic import ConfigDict, Field
from structlog.contextvars import get_contextvars

from app.api.problems.types import PROBLEM_TYPES, Fault
from app.api.schemas import ApiModel, OpenModel
from app.errors import (
    AddressTooLong,
    CallerError,
    HeadersTooLarge,
    PayloadTooLarge,
    RangeNotSatisfiable,
    TooManyExports,
    TooManyRequests,
    Unauthenticated,
    UnsupportedMediaType,
)
from app.values.exact_json import write_json

MEDIA_TYPE = "application/problem+json"
PROBLEM_REFERENCE = {"$ref": "#/components/schemas/Problem"}


class FieldError(ApiModel):
    """One error in a request."""

    pointer: str | None = Field(
        None,
        description="JSON pointer into the body (RFC 6901). An empty pointer means the whole body.",
        examples=["/score"],
    )
    parameter: str | None = Field(None, description="The name of the parameter.", examples=["limit"])
    location: Literal["body", "query", "path", "header", "cookie"] = Field(
        description="The part of the request.", validation_alias="in", serialization_alias="in"
    )
    detail: str = Field(description="What is wrong with it.", examples=["Must be at most 200"])


class Problem(OpenModel):
    """An error (RFC 9457). Some types have further members, such as `candidates`."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "type": "/problems/not-found",
                "title": "Not found",
                "status": 404,
                "detail": "No call is known as 1229016182016",
                "instance": "/v1/calls/1229016182016",
                "fault": "caller",
            }
        },
    )

    type: str = Field(description="A path on this service that explains this type of problem.")
    title: str = Field(description="A summary of the type. It may be reworded; compare `type` instead.")
    status: int = Field(description="The HTTP status of the response.")
    detail: str = Field(description="What is wrong with this request.")
    instance: str = Field(description="The path of the request.")
    fault: Fault = Field(description="Where the cause is.")
    errors: list[FieldError] | None = Field(
        None, description="If validation failed: each error, up to twenty."
    )
    request_id: str | None = Field(
        None,
        description="The `X-Request-Id` of the response. The service's log lines have it too.",
        examples=["5f3a9c0d1e2b4a68"],
    )


def problem_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the `responses` of a route that can end in these problems, besides 401, 403, 422 and 503."""
    return open_problem_responses(401, 403, 422, 503, *statuses)


def open_problem_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the `responses` of a route without a key that can end in these problems."""
    return {
        status: {
            "description": HTTPStatus(status).phrase,
            "content": {MEDIA_TYPE: {"schema": PROBLEM_REFERENCE}},
        }
        for status in sorted(set(statuses))
    }


def problem_body(
    path: str,
    code: str,
    detail: str,
    *,
    status: int | None = None,
    title: str | None = None,
    extra: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return a problem of one of `PROBLEM_TYPES` as JSON. `path`: of the request."""
    problem_type = PROBLEM_TYPES[code]
    body: dict[str, Any] = {
        "type": f"/problems/{code}",
        "title": title or problem_type.title,
        "status": status or problem_type.status,
        "detail": detail,
        "instance": path,
        "fault": problem_type.fault,
        **(extra or {}),
    }
    if request_id := get_contextvars().get("request_id"):
        body["requestId"] = request_id
    return body


def problem_response(
    request: Request,
    code: str,
    detail: str,
    *,
    status: int | None = None,
    title: str | None = None,
    headers: Mapping[str, str] | None = None,
    extra: Mapping[str, Any] | None = None,
) -> Response:
    """Return a response with a problem of one of `PROBLEM_TYPES`."""
    body = problem_body(request.scope["path"], code, detail, status=status, title=title, extra=extra)
    return Response(write_json(body), status_code=body["status"], headers=headers, media_type=MEDIA_TYPE)


def validation_problem(request: Request, errors: Sequence[Mapping[str, str]]) -> Response:
    """Return the response to a request with these errors, each as `field_error` returns it."""
    places = (error.get("pointer") or error.get("parameter") or "body" for error in errors)
    detail = "; ".join(
        f"{place}: {error['detail']}" for place, error in list(zip(places, errors, strict=True))[:3]
    )
    return problem_response(request, "invalid-request", detail, extra={"errors": errors})


def field_error(loc: Sequence[str | int], detail: str) -> dict[str, str]:
    """Return one error as JSON: `pointer` for the body, otherwise `parameter`. `loc`: pydantic's location."""
    place, *path = (str(part) for part in loc)
    if place == "body":
        pointer = "".join(f"/{part.replace('~', '~0').replace('/', '~1')}" for part in path)
        return {"pointer": pointer, "in": place, "detail": detail}
    return {"parameter": path[0] if path else "", "in": place, "detail": detail}


def caller_error_response(request: Request, error: CallerError) -> Response:
    """Return the response to an error of the caller's."""
    return problem_response(
        request,
        error.kind,
        error.detail,
        status=error.status,
        title=error.title,
        headers=_headers_of(error),
        extra=error.extra,
    )


def _headers_of(error: CallerError) -> dict[str, str]:
    match error:
        case Unauthenticated():
            return {"WWW-Authenticate": 'Bearer realm="aftercall"'}
        case AddressTooLong() | HeadersTooLarge() | PayloadTooLarge():
            return {"Connection": "close"}  # the rest of the request is not read
        case UnsupportedMediaType():
            return {"Accept": "application/json"}
        case TooManyRequests() if "retryAfterSeconds" in error.extra:
            return {"Retry-After": str(error.extra["retryAfterSeconds"])}
        case RangeNotSatisfiable() if "total" in error.extra:
            return {"Content-Range": f"bytes */{error.extra['total']}"}
        case TooManyExports() if "retrySeconds" in error.extra:
            return {"Retry-After": str(error.extra["retrySeconds"])}
    return {}
