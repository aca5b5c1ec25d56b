"""Turns every exception that reaches FastAPI into a problem response."""

import math
import secrets
from collections.abc import Collection, Mapping
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import compile_path

from app.api.head_requests import is_answered_as_get
from app.api.problems.description import describe
from app.api.problems.messages import describe_error, describe_unknown
from app.api.problems.responses import (
    caller_error_response,
    field_error,
    problem_response,
    validation_problem,
)
from app.api.problems.types import ProblemCode
from app.errors import (
    BadInput,
    CallerError,
    CredentialsRefused,
    FeatureMissing,
    ForeignHost,
    NoCredentials,
    NotFound,
    PayloadTooLarge,
    PermissionMissing,
    RateLimited,
    RingCentralError,
    StorageUnavailable,
)
from app.values.times import time_text

STORAGE_RETRY_SECONDS = 1
"""The `Retry-After` of a response that the database did not allow."""

MOST_ERRORS = 20
"""A body of a megabyte can hold a hundred thousand errors; only the first ones are named."""

log = structlog.get_logger(__name__)


def install(app: FastAPI) -> None:
    """Make `app` respond to every error with a problem, and describe and explain all types of problem."""
    handlers: dict[type[Exception], Any] = {
        CallerError: caller_error_response,
        RequestValidationError: _validation_response,
        HTTPException: _http_exception_response,
        NoCredentials: _no_credentials_response,
        StorageUnavailable: _storage_response,
        ClientDisconnect: _disconnect_response,
        RingCentralError: _ringcentral_response,
        Exception: _unexpected_response,
    }
    for error, respond in handlers.items():
        app.add_exception_handler(error, _as_coroutine(respond))
    describe(app)


def _as_coroutine(respond: Any) -> Any:
    # FastAPI would run a plain function in a thread, and starting that takes longer than the response.
    async def handle(request: Request, error: Exception) -> Response:
        return respond(request, error)  # type: ignore[no-any-return]

    return handle


def _validation_response(request: Request, error: RequestValidationError) -> Response:
    found = error.errors()
    for item in found:
        if item["type"] == "json_invalid":
            detail = f"The body stops being valid JSON at character {item['loc'][-1]}"
            return problem_response(request, ProblemCode.MALFORMED_JSON, detail)
        if item["type"] == "recursion_depth_exceeded":
            return _nesting_response(request)
    return validation_problem(
        request, [field_error(item["loc"], _detail_of(request, item)) for item in found[:MOST_ERRORS]]
    )


def _nesting_response(request: Request) -> Response:
    detail = "The body has too many levels of arrays and objects"
    return problem_response(request, ProblemCode.NESTED_TOO_DEEPLY, detail)


def _detail_of(request: Request, error: Mapping[str, Any]) -> str:
    place, *path = error["loc"]
    if error["type"] == "missing" and place == "body" and not path:
        return "A JSON body is required"
    if error["type"] == "extra_forbidden" and place == "body" and len(path) == 1:
        return describe_unknown("field", str(path[0]), _known_fields(request))
    return describe_error(error)


def _known_fields(request: Request) -> Collection[str]:
    """Return the names of the top-level fields in the body of the route."""
    model: Any = request.scope["route"].body_field.field_info.annotation
    return model.model_json_schema()["properties"] if hasattr(model, "model_json_schema") else ()


def _http_exception_response(request: Request, error: HTTPException) -> Response:
    path = request.scope["path"]
    if error.status_code == HTTPStatus.NOT_FOUND:
        detail = f"This service has no path {path}"
        return problem_response(request, NotFound.kind, detail, headers=error.headers)
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        detail = f"{path} does not support {request.method}"
        headers = _allow_header(request) or error.headers
        return problem_response(request, ProblemCode.METHOD_NOT_ALLOWED, detail, headers=headers)
    if error.status_code == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return problem_response(request, PayloadTooLarge.kind, str(error.detail), headers=error.headers)
    match error.__cause__:  # of a body that FastAPI could not read
        case UnicodeDecodeError(start=place):
            detail = f"The body stops being valid UTF-8 at byte {place}"
            return problem_response(request, ProblemCode.NOT_UTF_8, detail)
        case RecursionError():
            return _nesting_response(request)
        case ValueError():  # Python refuses to read integers of thousands of digits
            detail = "The body has a number that is too long; send it as a string"
            return validation_problem(request, [field_error(("body",), detail)])
    return problem_response(
        request,
        ProblemCode.HTTP_ERROR,
        str(error.detail),
        status=error.status_code,
        title=HTTPStatus(error.status_code).phrase,
        headers=error.headers,
    )


def _allow_header(request: Request) -> dict[str, str]:
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


def _no_credentials_response(request: Request, error: NoCredentials) -> Response:
    return problem_response(request, ProblemCode.NO_CREDENTIALS, error.detail)


def _storage_response(request: Request, error: StorageUnavailable) -> Response:
    log.debug("request refused: the database is not available", error=str(error))  # the outage is logged once
    return problem_response(
        request,
        ProblemCode.STORAGE_UNAVAILABLE,
        "The database did not respond. Nothing was stored; repeat the request",
        headers={"Retry-After": str(STORAGE_RETRY_SECONDS)},
    )


def _disconnect_response(request: Request, error: ClientDisconnect) -> Response:
    # Nobody reads it, but without a handler the disconnect would be logged as an error of ours.
    return problem_response(request, BadInput.kind, "The client disconnected before the body was complete")


def _ringcentral_response(request: Request, error: RingCentralError) -> Response:
    extra: dict[str, Any] = {
        "ringCentral": {"status": error.status, "code": error.code, "requestId": error.request_id}
    }
    headers = None
    match error:
        case RateLimited():
            code = ProblemCode.RINGCENTRAL_RATE_LIMITED
            extra["retryAt"] = time_text(error.retry_at)
            now = request.app.state.services.clock.now()
            # Rounded up: a request that is repeated a moment too early is refused again.
            headers = {"Retry-After": str(max(1, math.ceil((error.retry_at - now).total_seconds())))}
        case CredentialsRefused():
            code = ProblemCode.RINGCENTRAL_CREDENTIALS
        case PermissionMissing():
            code = ProblemCode.RINGCENTRAL_PERMISSION
            extra["permission"] = error.permission
        case FeatureMissing():
            code = ProblemCode.RINGCENTRAL_FEATURE
        case ForeignHost():
            code = ProblemCode.RINGCENTRAL_HOST
            extra["setting"] = error.setting
        case _ if error.status is None or error.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            code = ProblemCode.RINGCENTRAL_UNAVAILABLE
        case _:
            code = ProblemCode.RINGCENTRAL_REFUSED
    return problem_response(request, code, error.detail, headers=headers, extra=extra)


def _unexpected_response(request: Request, error: Exception) -> Response:
    error_id = secrets.token_hex(8)
    log.error("unexpected error", error_id=error_id, path=request.scope["path"], exc_info=error)
    return problem_response(
        request,
        ProblemCode.INTERNAL,
        "The service failed to process the request, which may have been carried out in part",
        extra={"errorId": error_id},
    )
