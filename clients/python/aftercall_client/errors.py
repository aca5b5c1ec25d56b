"""The problems of the service (RFC 9457) as exceptions."""

import errno
from collections.abc import Iterator
from typing import Any

import httpx

TEMPORARY = frozenset({408, 425, 429, 500, 502, 503, 504})
"""The statuses after which a repetition may help."""


class AftercallError(Exception):
    """The base of everything that this package raises on purpose."""


class Unreachable(AftercallError):
    """The service did not respond, also after the retries. The message and `__cause__` say why."""


class Problem(AftercallError):
    """The service refused a request. `problem` is the whole document; its `type` says what is wrong."""

    def __init__(self, status: int, problem: dict[str, Any], headers: httpx.Headers) -> None:
        self.status = status
        self.problem = problem
        self.type: str = problem.get("type", "about:blank")
        self.detail: str = problem.get("detail", "")
        self.fault: str | None = problem.get("fault")
        self.request_id: str | None = problem.get("requestId") or headers.get("x-request-id")
        self.headers = headers
        super().__init__(f"{status} {self.type}: {self.detail}")


class Unauthenticated(Problem):
    """401: the API key is missing, wrong or revoked."""


class Forbidden(Problem):
    """403: the key lacks the scope `problem["requiredScope"]`."""


class NotFound(Problem):
    """404."""


class AmbiguousCall(Problem):
    """409: several calls have this name; `problem["candidates"]` has their ids."""


class CallErased(Problem):
    """410: the call was erased. Delete your copy."""


class CursorLost(Problem):
    """410: the changes after the cursor cannot be read. `start_from` is the cursor to continue with."""

    @property
    def start_from(self) -> str:
        return str(self.problem["startFrom"])


class CursorExpired(CursorLost):
    """The changes were removed after their retention: read the state of all calls first."""


class HistoryChanged(CursorLost):
    """The database was restored: the state here counts, also where you know a later one."""


class PreconditionFailed(Problem):
    """412: it was changed since you read it."""


class Invalid(Problem):
    """422, or 400: the request is wrong; `problem.get("errors")` says where."""


class Busy(Problem):
    """429: too many requests. The client has waited and tried again already."""


class ServiceFailed(Problem):
    """5xx: the service, or RingCentral behind it, cannot respond now."""


_BY_TYPE: dict[str, type[Problem]] = {
    "/problems/ambiguous-call": AmbiguousCall,
    "/problems/call-erased": CallErased,
    "/problems/cursor-expired": CursorExpired,
    "/problems/history-changed": HistoryChanged,
}
_BY_STATUS: dict[int, type[Problem]] = {
    400: Invalid,
    401: Unauthenticated,
    403: Forbidden,
    404: NotFound,
    412: PreconditionFailed,
    422: Invalid,
    429: Busy,
}


def is_temporary(error: BaseException) -> bool:
    """Whether the same request may succeed later: the service did not respond, is busy, or has failed."""
    return isinstance(error, Unreachable) or (isinstance(error, Problem) and error.status in TEMPORARY)


def unreachable(what: str, cause: BaseException | None) -> Unreachable:
    """Return the exception for a request without a response, with its cause."""
    error = Unreachable(f"{what}: {_reason(cause)}" if cause is not None else what)
    error.__cause__ = cause
    return error


def _reason(cause: BaseException) -> str:
    """Return why there was no response, in short: `ECONNREFUSED 127.0.0.1:8000`."""
    codes = [one.errno for one in _chain(cause) if isinstance(one, OSError) and one.errno in errno.errorcode]
    name = errno.errorcode[codes[-1]] if codes and codes[-1] is not None else ""
    try:
        url = cause.request.url if isinstance(cause, httpx.RequestError) else None
    except RuntimeError:  # it knows of no request
        url = None
    words = [name or type(cause).__name__, *([url.netloc.decode()] if url is not None else [])]
    return " ".join(words) if name or not str(cause) else f"{' '.join(words)}: {cause}"


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception and those that led to it."""
    yield error
    if isinstance(error, BaseExceptionGroup):
        for one in error.exceptions:
            yield from _chain(one)
    behind = error.__cause__ or error.__context__
    if behind is not None:
        yield from _chain(behind)


def problem_of(response: httpx.Response) -> Problem:
    """Return the exception for a response that is no success, whoever sent it."""
    try:
        document = response.json()
    except ValueError:
        document = {}
    if not isinstance(document, dict) or "type" not in document:
        # A proxy's page, perhaps.
        document = {"type": "about:blank", "detail": response.text[:200]}
    status = response.status_code
    kind = _BY_TYPE.get(document["type"]) or _BY_STATUS.get(status)
    if kind is None:
        kind = ServiceFailed if status >= 500 else Problem
    return kind(status, document, response.headers)
