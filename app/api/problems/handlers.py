"""Draws every error of the app as a problem document (RFC 9457).

`type` is a path on this service, `/problems/<kind>`, which tells in one sentence what the kind means and what
to do; so it can be looked up without knowing where our documentation is hosted. `fault` says whose error it
is: the caller's, the service's, the operator's, RingCentral's, or a limit's. A problem never carries a stack trace, nor the
value that was refused: that may be somebody's phone number.
"""

import math
import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, Any, Literal

import structlog
from fastapi import FastAPI, Path, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import compile_path
from structlog.contextvars import get_contextvars

from app.api.head_requests import is_answered_as_get
from app.api.problems.messages import plain, unknown
from app.errors import (
    AddressTooLong,
    AmbiguousCall,
    BadInput,
    CallerError,
    Conflict,
    CredentialsRefused,
    FeatureMissing,
    Forbidden,
    ForeignHost,
    HeadersTooLarge,
    HistoryChanged,
    NoCredentials,
    NotFound,
    PayloadTooLarge,
    PermissionMissing,
    PreconditionFailed,
    PreconditionRequired,
    RangeNotSatisfiable,
    RateLimited,
    RingCentralError,
    StorageUnavailable,
    Unauthenticated,
    Unprocessable,
    UnsupportedMediaType,
)
from app.values.exact_json import write_json

MEDIA_TYPE = "application/problem+json"
STORAGE_RETRY_SECONDS = 1
"""What a caller is told to wait when the database was away."""

_MOST_ERRORS = 20
"""A body of a megabyte can hold a hundred thousand faults; only the first ones are named."""

Fault = Literal["caller", "service", "operator", "ringcentral", "limit"]

log = structlog.get_logger(__name__)


class FieldError(BaseModel):
    """One thing that is wrong with a request."""

    pointer: str | None = Field(
        None, description="JSON pointer into the body (RFC 6901); empty: the whole body.", examples=["/score"]
    )
    parameter: str | None = Field(None, description="The parameter's name.", examples=["limit"])
    location: Literal["body", "query", "path", "header", "cookie"] = Field(
        description="Where it was.", validation_alias="in", serialization_alias="in"
    )
    detail: str = Field(examples=["A number of at most 200 is expected"])


class Problem(BaseModel):
    """An error, as RFC 9457 draws it. Some kinds carry further members, such as `candidates`."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "example": {
                "type": "/problems/not-found",
                "title": "The resource does not exist",
                "status": 404,
                "detail": "No call goes by 1229016182016",
                "instance": "/v1/calls/1229016182016",
                "fault": "caller",
            }
        },
    )

    type: str = Field(description="A path on this service that tells what the kind of problem means.")
    title: str
    status: int
    detail: str = Field(description="What is wrong this time.")
    instance: str = Field(description="The path of the request.")
    fault: Fault = Field(description="Whose error it is.")
    errors: list[FieldError] | None = Field(
        None, description="Each thing that is wrong with the request, if it was refused for its shape."
    )
    requestId: str | None = Field(  # noqa: N815 - as it is on the wire
        None,
        description="The `X-Request-Id` of the answer; the lines of the service's log carry it too.",
        examples=["5f3a9c0d1e2b4a68"],
    )


@dataclass(frozen=True, slots=True)
class ProblemType:
    """What all problems of one kind share, and what whoever meets one can do."""

    status: int
    title: str
    fault: Fault
    advice: str


_ADVICE = {
    "bad-request": "Correct the request; repeating it will not help.",
    "unprocessable": "The request is well-formed; `detail` says why it cannot be carried out.",
    "unauthenticated": "Send `Authorization: Bearer <API key>` with a key that has not been revoked.",
    "forbidden": "Use a key with the scope that `requiredScope` names.",
    "not-found": "Check the id. A call exists here from its first event on; notes can be attached before.",
    "conflict": "Read the present state, decide anew.",
    "ambiguous-call": "Ask for one of `candidates` by its id.",
    "history-changed": "Start again with `cursor=<startFrom>`: read every change again, and treat the state here as authoritative.",
    "precondition-failed": "Read the resource again, then repeat with its new ETag.",
    "precondition-required": "Send `If-Match` with the ETag that you read.",
    "payload-too-large": "Send less, or in parts.",
    "address-too-long": "Ask for less at once, or use the route that takes a body.",
    "headers-too-large": "Send fewer and shorter headers; cookies of other services are often the cause.",
    "unsupported-media-type": "Send `Content-Type: application/json`.",
    "range-not-satisfiable": "Ask for a range that begins before the end; `Content-Range` tells the size.",
}

_CALLER_ERRORS: tuple[type[CallerError], ...] = (
    BadInput,
    Unprocessable,
    Unauthenticated,
    Forbidden,
    NotFound,
    Conflict,
    AmbiguousCall,
    HistoryChanged,
    PreconditionFailed,
    PreconditionRequired,
    PayloadTooLarge,
    AddressTooLong,
    HeadersTooLarge,
    UnsupportedMediaType,
    RangeNotSatisfiable,
)

KINDS = {
    error.kind: ProblemType(error.status, error.title, "caller", _ADVICE[error.kind])
    for error in _CALLER_ERRORS
}
KINDS |= {
    "malformed-json": ProblemType(400, "The body is not JSON", "caller", "Send a JSON document in UTF-8."),
    "not-utf-8": ProblemType(
        400, "The body is not in UTF-8", "caller", "Write the JSON in UTF-8 before sending it."
    ),
    "nested-too-deeply": ProblemType(
        400, "The body is nested too deeply", "caller", "Send JSON with fewer levels; no field needs many."
    ),
    "invalid-request": ProblemType(
        422, "The request has not the right shape", "caller", "`errors` names each field or parameter."
    ),
    "method-not-allowed": ProblemType(
        405, "This path has no such method", "caller", "`Allow` lists the methods of this path."
    ),
    "request-timeout": ProblemType(
        408, "The request took too long to arrive", "caller", "Send the whole request at once."
    ),
    "http-error": ProblemType(400, "The request was refused", "caller", "`status` and `detail` say why."),
    "storage-unavailable": ProblemType(
        503,
        "The database did not answer",
        "service",
        "Nothing was accepted. Repeat the request after `Retry-After` seconds.",
    ),
    "internal": ProblemType(
        500,
        "Something went wrong on our side",
        "service",
        "Tell the operator the `errorId`: the same id stands in the log.",
    ),
    "ringcentral-unavailable": ProblemType(
        502, "RingCentral gave no usable answer", "ringcentral", "Repeat the request later."
    ),
    "ringcentral-refused": ProblemType(
        502, "RingCentral refused the request", "ringcentral", "`ringCentral` carries its status and code."
    ),
    "no-credentials": ProblemType(
        503,
        "The service has no RingCentral credentials that work",
        "operator",
        "Tell the operator; `detail` names the command. Calls, notes and the feed of changes work without.",
    ),
    "ringcentral-credentials": ProblemType(
        502,
        "RingCentral refused the service's credentials",
        "operator",
        "The operator has to renew the credentials; `aftercall check` tells which.",
    ),
    "ringcentral-permission": ProblemType(
        502,
        "A RingCentral permission is missing",
        "operator",
        "The operator has to grant the permission that `permission` names.",
    ),
    "ringcentral-feature": ProblemType(
        502,
        "The RingCentral account does not have this feature",
        "operator",
        "The operator asks RingCentral to enable the feature that `detail` names, or does without it.",
    ),
    "ringcentral-host": ProblemType(
        502,
        "RingCentral names a host that is not configured",
        "operator",
        "The operator sees whether the host is RingCentral's, and sets the variable that `setting` names to it.",
    ),
    "ringcentral-rate-limited": ProblemType(
        503,
        "RingCentral's rate limit is used up",
        "limit",
        "Repeat the request after `Retry-After` seconds.",
    ),
}


def problem_response(
    request: Request,
    kind: str,
    detail: str,
    *,
    status: int | None = None,
    title: str | None = None,
    headers: Mapping[str, str] | None = None,
    extra: Mapping[str, Any] | None = None,
) -> Response:
    """Answer with a problem of one of `KINDS`."""
    body = problem_body(request.scope["path"], kind, detail, status=status, title=title, extra=extra)
    return Response(write_json(body), status_code=body["status"], headers=headers, media_type=MEDIA_TYPE)


def problem_body(
    path: str,
    kind: str,
    detail: str,
    *,
    status: int | None = None,
    title: str | None = None,
    extra: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return a problem of one of `KINDS` as JSON; `path` is that of the request."""
    of_kind = KINDS[kind]
    body: dict[str, Any] = {
        "type": f"/problems/{kind}",
        "title": title or of_kind.title,
        "status": status or of_kind.status,
        "detail": detail,
        "instance": path,
        "fault": of_kind.fault,
        **(extra or {}),
    }
    if request_id := get_contextvars().get("request_id"):
        body["requestId"] = request_id
    return body


def draw_caller_error(request: Request, error: CallerError) -> Response:
    """Answer with the problem that the caller's error is."""
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
            return {"Connection": "close"}  # what may still come is not read
        case UnsupportedMediaType():
            return {"Accept": "application/json"}
        case RangeNotSatisfiable() if "total" in error.extra:
            return {"Content-Range": f"bytes */{error.extra['total']}"}
    return {}


def _draw_invalid_request(request: Request, error: RequestValidationError) -> Response:
    found = error.errors()
    for item in found:
        if item["type"] == "json_invalid":
            detail = f"The body stops being JSON at character {item['loc'][-1]}"
            return problem_response(request, "malformed-json", detail)
        if item["type"] == "recursion_depth_exceeded":
            return _draw_deep_nesting(request)
    errors = [field_error(item["loc"], _worded(request, item)) for item in found[:_MOST_ERRORS]]
    detail = "; ".join(
        f"{item.get('pointer') or item.get('parameter') or 'body'}: {item['detail']}" for item in errors[:3]
    )
    return problem_response(request, "invalid-request", detail, extra={"errors": errors})


def _draw_deep_nesting(request: Request) -> Response:
    return problem_response(
        request, "nested-too-deeply", "The body has too many levels of arrays and objects"
    )


def _worded(request: Request, error: Mapping[str, Any]) -> str:
    place, *path = error["loc"]
    if error["type"] == "missing" and place == "body" and not path:
        return "A body in JSON is required"
    if error["type"] == "extra_forbidden" and place == "body" and len(path) == 1:
        return unknown("field", str(path[0]), _known_fields(request))
    return plain(error)


def _known_fields(request: Request) -> Collection[str]:
    """Return the names of the fields that the body of a route has at its top."""
    model: Any = request.scope["route"].body_field.field_info.annotation
    return model.model_json_schema()["properties"] if hasattr(model, "model_json_schema") else ()


def field_error(loc: Sequence[str | int], detail: str) -> dict[str, str]:
    """Say where in a request something is wrong: a JSON pointer for the body, else the parameter."""
    place, *path = (str(part) for part in loc)
    if place == "body":
        pointer = "".join(f"/{part.replace('~', '~0').replace('/', '~1')}" for part in path)
        return {"pointer": pointer, "in": place, "detail": detail}
    return {"parameter": path[0] if path else "", "in": place, "detail": detail}


def _draw_http_exception(request: Request, error: HTTPException) -> Response:
    if error.status_code == HTTPStatus.NOT_FOUND:
        return problem_response(
            request, NotFound.kind, f"There is no {request.scope['path']} here", headers=error.headers
        )
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        detail = f"{request.scope['path']} has no {request.method}"
        return problem_response(
            request, "method-not-allowed", detail, headers=_allowed(request) or error.headers
        )
    if error.status_code == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return problem_response(request, PayloadTooLarge.kind, str(error.detail), headers=error.headers)
    match error.__cause__:  # of a body that FastAPI could not read
        case UnicodeDecodeError(start=place):
            return problem_response(request, "not-utf-8", f"The body stops being UTF-8 at byte {place}")
        case RecursionError():
            return _draw_deep_nesting(request)
        case ValueError():  # Python refuses to read integers of thousands of digits
            detail = "The body holds a number that is too long; send it as text"
            errors = [field_error(("body",), detail)]
            return problem_response(request, "invalid-request", detail, extra={"errors": errors})
    return problem_response(
        request,
        "http-error",
        str(error.detail),
        status=error.status_code,
        title=HTTPStatus(error.status_code).phrase,
        headers=error.headers,
    )


def _allowed(request: Request) -> dict[str, str]:
    """List all methods of a described path: the route that refused knows only its own."""
    paths = request.app.openapi()["paths"]
    alike = [path for path in paths if compile_path(path)[0].fullmatch(request.scope["path"])]
    if not alike:
        return {}
    # `/calls/{call}` would match `/calls/batch-get`, which is another path.
    nearest = min(alike, key=lambda path: path.count("{"))
    methods = {method.upper() for method in paths[nearest]}
    if "GET" in methods and is_answered_as_get(request.scope["path"]):
        methods.add("HEAD")
    return {"Allow": ", ".join(sorted(methods))}


def _draw_no_credentials(request: Request, error: NoCredentials) -> Response:
    return problem_response(request, "no-credentials", error.detail)


def _draw_storage_unavailable(request: Request, error: StorageUnavailable) -> Response:
    log.debug("request refused: the database is away", error=str(error))  # its outage is logged once
    return problem_response(
        request,
        "storage-unavailable",
        "The database did not answer; nothing was accepted, try again",
        headers={"Retry-After": str(STORAGE_RETRY_SECONDS)},
    )


def _draw_disconnect(request: Request, error: ClientDisconnect) -> Response:
    """Nobody reads this; a sender who hangs up is no error of ours."""
    return problem_response(request, BadInput.kind, "The sender hung up before the body was complete")


def _draw_ringcentral_error(request: Request, error: RingCentralError) -> Response:
    extra: dict[str, Any] = {
        "ringCentral": {"status": error.status, "code": error.code, "requestId": error.request_id}
    }
    headers = None
    match error:
        case RateLimited():
            kind = "ringcentral-rate-limited"
            extra["retryAt"] = error.retry_at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
            headers = _retry_after(request, error)
        case CredentialsRefused():
            kind = "ringcentral-credentials"
        case PermissionMissing():
            kind = "ringcentral-permission"
            extra["permission"] = error.permission
        case FeatureMissing():
            kind = "ringcentral-feature"
        case ForeignHost():
            kind = "ringcentral-host"
            extra["setting"] = error.setting
        case _ if error.status is None or error.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            kind = "ringcentral-unavailable"
        case _:
            kind = "ringcentral-refused"
    return problem_response(request, kind, error.detail, headers=headers, extra=extra)


def _retry_after(request: Request, error: RateLimited) -> dict[str, str]:
    now = request.app.state.services.clock.now()
    # Not rounded down: who comes a moment too early is sent away again.
    return {"Retry-After": str(max(1, math.ceil((error.retry_at - now).total_seconds())))}


def _draw_unexpected(request: Request, error: Exception) -> Response:
    error_id = secrets.token_hex(8)
    log.error("unexpected error", error_id=error_id, path=request.scope["path"], exc_info=error)
    return problem_response(
        request,
        "internal",
        "The request failed for a reason of ours; it may have been carried out in part",
        extra={"errorId": error_id},
    )


def install(app: FastAPI) -> None:
    """Let `app` answer every error with a problem, explain each kind, and say so in its API description."""
    handlers: dict[type[Exception], Any] = {
        CallerError: draw_caller_error,
        RequestValidationError: _draw_invalid_request,
        HTTPException: _draw_http_exception,
        NoCredentials: _draw_no_credentials,
        StorageUnavailable: _draw_storage_unavailable,
        ClientDisconnect: _draw_disconnect,
        RingCentralError: _draw_ringcentral_error,
        Exception: _draw_unexpected,
    }
    for kind, draw in handlers.items():
        app.add_exception_handler(kind, _on_the_loop(draw))
    app.add_api_route(
        "/problems/{kind}",
        _explain,
        tags=["problems"],
        summary="What a kind of problem means",
        response_model=Explanation,
        responses={404: {"description": "Not Found", "content": {MEDIA_TYPE: {"schema": _REFERENCE}}}},
    )
    _describe(app)


def _on_the_loop(draw: Any) -> Any:
    # A plain function would be sent to a thread, whose start costs more than the answer.
    async def handle(request: Request, error: Exception) -> Response:
        return draw(request, error)  # type: ignore[no-any-return]

    return handle


class Explanation(BaseModel):
    """What all problems of one kind have in common."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "type": "/problems/forbidden",
                "title": "The API key may not do this",
                "status": 403,
                "fault": "caller",
                "whatToDo": "Use a key with the scope that `requiredScope` names.",
            }
        }
    )

    type: str
    title: str
    status: int
    fault: Fault
    whatToDo: str  # noqa: N815 - as it is on the wire


async def _explain(kind: Annotated[str, Path(examples=["not-found"])]) -> JSONResponse:
    """Tell what the `type` of a problem means and what to do about it."""
    if kind not in KINDS:
        raise NotFound(f"No problem of ours is called {kind}")
    found = KINDS[kind]
    return JSONResponse(
        {
            "type": f"/problems/{kind}",
            "title": found.title,
            "status": found.status,
            "fault": found.fault,
            "whatToDo": found.advice,
        }
    )


_REFERENCE = {"$ref": "#/components/schemas/Problem"}


def problem_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the `responses` of a route that can end in these problems; 401, 403, 422 and 503 are a matter of course."""
    return {
        status: {
            "description": HTTPStatus(status).phrase,
            "content": {MEDIA_TYPE: {"schema": _REFERENCE}},
        }
        for status in sorted({401, 403, 422, 503, *statuses})
    }


def _describe(app: FastAPI) -> None:
    plain = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            _put_problems_into(plain())
        return app.openapi_schema or {}

    app.openapi = openapi  # type: ignore[method-assign]


def _put_problems_into(description: dict[str, Any]) -> None:
    """Replace FastAPI's own validation error, which no route of ours answers with."""
    schemas = description.setdefault("components", {}).setdefault("schemas", {})
    for model in ("HTTPValidationError", "ValidationError"):
        schemas.pop(model, None)
    problem = Problem.model_json_schema(mode="serialization", ref_template="#/components/schemas/{model}")
    schemas |= problem.pop("$defs", {}) | {"Problem": problem}
    description["components"].setdefault("responses", {})["Problem"] = {
        "description": "A problem document; `type` and `detail` say what is wrong.",
        "content": {MEDIA_TYPE: {"schema": _REFERENCE}},
    }
    for operations in description.get("paths", {}).values():
        for operation in operations.values():
            responses = operation.get("responses", {})
            if "422" in responses:
                responses["422"]["content"] = {MEDIA_TYPE: {"schema": _REFERENCE}}
            if "requestBody" in operation:
                for status in ("400", "413", "415"):
                    responses.setdefault(status, {"$ref": "#/components/responses/Problem"})
