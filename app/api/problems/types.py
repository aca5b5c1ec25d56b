"""The catalogue of problem types: what each one means, whose fault it is, and what to do about it."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from app.errors import (
    AddressTooLong,
    AmbiguousCall,
    BadInput,
    CallErased,
    CallerError,
    Conflict,
    CursorExpired,
    Forbidden,
    HeadersTooLarge,
    HeldCalls,
    HistoryChanged,
    NotAcceptable,
    NotFound,
    OriginRefused,
    PayloadTooLarge,
    PreconditionFailed,
    PreconditionRequired,
    RangeNotSatisfiable,
    TooManyExports,
    TooManyRequests,
    Unauthenticated,
    Unprocessable,
    UnsupportedMediaType,
    VersionExpired,
)

Fault = Literal["caller", "service", "operator", "ringcentral", "limit"]


class ProblemCode(StrEnum):
    """The codes of problems that are not a `CallerError`, which carries its own code as `kind`."""

    MALFORMED_JSON = "malformed-json"
    NOT_UTF_8 = "not-utf-8"
    NESTED_TOO_DEEPLY = "nested-too-deeply"
    INVALID_REQUEST = "invalid-request"
    METHOD_NOT_ALLOWED = "method-not-allowed"
    REQUEST_TIMEOUT = "request-timeout"
    HTTP_ERROR = "http-error"
    STORAGE_UNAVAILABLE = "storage-unavailable"
    INTERNAL = "internal"
    RINGCENTRAL_UNAVAILABLE = "ringcentral-unavailable"
    RINGCENTRAL_REFUSED = "ringcentral-refused"
    NO_CREDENTIALS = "no-credentials"
    RINGCENTRAL_CREDENTIALS = "ringcentral-credentials"
    RINGCENTRAL_PERMISSION = "ringcentral-permission"
    RINGCENTRAL_FEATURE = "ringcentral-feature"
    RINGCENTRAL_HOST = "ringcentral-host"
    RINGCENTRAL_RATE_LIMITED = "ringcentral-rate-limited"


@dataclass(frozen=True, slots=True)
class ProblemType:
    """What all problems with one code share. `remedy`: what the client, or the operator, can do."""

    status: int
    title: str
    fault: Fault
    remedy: str


_CALLER_REMEDIES: dict[type[CallerError], str] = {
    BadInput: "Correct the request. Repeating it unchanged will not help.",
    Unprocessable: "The request is well-formed; `detail` says why it cannot be carried out.",
    Unauthenticated: "Send `Authorization: Bearer <API key>` with a key that has not been revoked.",
    Forbidden: "Use a key with the scope that `requiredScope` names.",
    OriginRefused: (
        "Ask the operator to add the origin to the key: `aftercall keys set <keyId> --origin <origin>`."
    ),
    TooManyRequests: (
        "Wait for `Retry-After` seconds. `RateLimit` tells how many requests are left, so slow down before."
    ),
    NotFound: "Check the id. A call exists from its first event on; notes can be attached before that.",
    NotAcceptable: "Send `Accept` with one of `available`, or leave it out.",
    Conflict: "Read the current state, then decide again.",
    AmbiguousCall: "Use the id of one of the `candidates`.",
    HistoryChanged: (
        "Read every change again from `cursor=<startFrom>`. Treat the state here as authoritative."
    ),
    VersionExpired: "Read the call as it is now, or a version from `oldestVersion` on.",
    CallErased: "Delete your own copy of the call. It does not come back.",
    HeldCalls: "End the legal hold of the calls, or erase the others with `spareHeld`.",
    CursorExpired: (
        "Read the state of all calls from `/v1/calls`, then the changes from `cursor=<startFrom>` on."
    ),
    PreconditionFailed: "Read the resource again, then repeat the request with its new ETag.",
    PreconditionRequired: "Send `If-Match` with the ETag that you read.",
    PayloadTooLarge: "Send less data, or split it into several requests.",
    AddressTooLong: "Ask for less at once, or use a route that takes a body.",
    HeadersTooLarge: "Send fewer or shorter headers. Cookies of other services are a common cause.",
    UnsupportedMediaType: "Send `Content-Type: application/json`.",
    RangeNotSatisfiable: "Request a range that starts before the end; `Content-Range` gives the size.",
    TooManyExports: "Wait until one has ended, or repeat the request after `Retry-After` seconds.",
}

PROBLEM_TYPES: dict[str, ProblemType] = {
    error.kind: ProblemType(error.status, error.title, "caller", remedy)
    for error, remedy in _CALLER_REMEDIES.items()
} | {
    ProblemCode.MALFORMED_JSON: ProblemType(
        400, "The body is not valid JSON", "caller", "Send a JSON document in UTF-8."
    ),
    ProblemCode.NOT_UTF_8: ProblemType(
        400, "The body is not valid UTF-8", "caller", "Encode the JSON document as UTF-8."
    ),
    ProblemCode.NESTED_TOO_DEEPLY: ProblemType(
        400, "The body is nested too deeply", "caller", "Send JSON with fewer levels; no field needs many."
    ),
    ProblemCode.INVALID_REQUEST: ProblemType(
        422, "Request validation failed", "caller", "Correct each field and parameter that `errors` names."
    ),
    ProblemCode.METHOD_NOT_ALLOWED: ProblemType(
        405, "This path does not support the method", "caller", "`Allow` lists the methods of this path."
    ),
    ProblemCode.REQUEST_TIMEOUT: ProblemType(
        408, "The request took too long to arrive", "caller", "Send the whole request at once."
    ),
    ProblemCode.HTTP_ERROR: ProblemType(
        400, "The request was refused", "caller", "`status` and `detail` say why."
    ),
    ProblemCode.STORAGE_UNAVAILABLE: ProblemType(
        503,
        "The database is not available",
        "service",
        "Nothing was stored. Repeat the request after `Retry-After` seconds.",
    ),
    ProblemCode.INTERNAL: ProblemType(
        500,
        "An internal error occurred",
        "service",
        "Send the operator the `errorId`, which is also in the log.",
    ),
    ProblemCode.RINGCENTRAL_UNAVAILABLE: ProblemType(
        502, "RingCentral is not available", "ringcentral", "Repeat the request later."
    ),
    ProblemCode.RINGCENTRAL_REFUSED: ProblemType(
        502,
        "RingCentral refused the request",
        "ringcentral",
        "`ringCentral` has RingCentral's status and code.",
    ),
    ProblemCode.NO_CREDENTIALS: ProblemType(
        503,
        "The service has no valid RingCentral credentials",
        "operator",
        "Ask the operator to run the command in `detail`. Calls, notes and the feed of changes work without.",
    ),
    ProblemCode.RINGCENTRAL_CREDENTIALS: ProblemType(
        502,
        "RingCentral refused the service's credentials",
        "operator",
        "The operator has to renew the credentials; `aftercall check` names them.",
    ),
    ProblemCode.RINGCENTRAL_PERMISSION: ProblemType(
        502,
        "A RingCentral permission is missing",
        "operator",
        "The operator has to grant the permission that `permission` names.",
    ),
    ProblemCode.RINGCENTRAL_FEATURE: ProblemType(
        502,
        "The RingCentral account does not have this feature",
        "operator",
        "The operator can ask RingCentral to enable the feature that `detail` names.",
    ),
    ProblemCode.RINGCENTRAL_HOST: ProblemType(
        502,
        "RingCentral returned a URL on a host that is not allowed",
        "operator",
        "If the host is RingCentral's, the operator has to set the variable that `setting` names to it.",
    ),
    ProblemCode.RINGCENTRAL_RATE_LIMITED: ProblemType(
        503,
        "RingCentral's rate limit is exhausted",
        "limit",
        "Repeat the request after `Retry-After` seconds.",
    ),
}
"""Every problem type, by its code."""
