"""Request ids, and one log line and one count for each request.

The `X-Request-Id` of a request is used if it is safe in a header and in a log line; otherwise an id is
generated. Every response has it, problems have it in their body, and each line that is logged meanwhile has
`request_id`.
"""

import re
import secrets
from collections.abc import Iterable, Iterator
from typing import Any

import structlog
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bind_contextvars, reset_contextvars, unbind_contextvars

from app import metrics
from app.api.usage.recent import RecentRequests
from app.api.usage.use import KeyUse, use_of
from app.clock import Clock
from app.log_repeats import Repeats

HEADER = b"x-request-id"
_SANE = re.compile(rb"[\x21-\x7e]{1,128}")
_BOUND = ("key_id", "account_id")
"""What authentication binds: see `app.api.auth.current_key`."""
_PROBES = frozenset({"/healthz", "/readyz", "/metrics"})
_REFUSED = (401, 429)
_WHY_REFUSED = {
    400: "not a RingCentral delivery",
    401: "the verification token is missing or wrong; it must be AFTERCALL_WEBHOOK_TOKEN",
    413: "larger than AFTERCALL_WEBHOOK_MAX_BODY_BYTES",
}
_LOGGED_ELSEWHERE = frozenset({401, 429, 503})
"""Frequent statuses: invalid keys, exhausted limits and outages have log lines of their own."""

_CALL = re.compile(r"call_\w{1,64}|s-[\w-]{1,128}|\d{13,32}")

log = structlog.get_logger(__name__)


class RequestLog:
    """Wraps a whole app, so that it also sees responses that middleware does not see.

    `intake` is the path of deliveries, which are counted and logged there.
    """

    def __init__(self, clock: Clock, intake: str, recent: RecentRequests | None = None) -> None:
        """`recent` collects the requests of each key."""
        self._clock = clock
        self._recent = recent
        self._intake = intake
        self._routes: list[Route] = []
        self._repeats = Repeats(clock)

    def learn_routes(self, routes: list[Any]) -> None:
        """Declare the values of the label `route`: methods and path templates."""
        self._routes = list(_flat(routes))
        names = [f"{method} {route.path}" for route in self._routes for method in route.methods or ()]
        gets = {name[4:] for name in names if name.startswith("GET ")}
        labels = [name for name in names if not name.startswith("HEAD ") or name[5:] not in gets]
        labels = [name for name in labels if not name.endswith(f" {self._intake}")]
        metrics.API_REQUESTS.declare(route=labels)
        metrics.API_SECONDS.declare(route=labels)

    async def serve(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request to `app`, and count and log it."""
        request_id = read_request_id(scope)
        is_delivery = scope["path"] == self._intake
        use = use_of(scope)
        started, status, seconds = self._clock.monotonic(), 0, 0.0

        async def noted(message: Message) -> None:
            nonlocal status, seconds
            if message["type"] == "http.response.start":
                status, seconds = message["status"], self._clock.monotonic() - started
                header = (HEADER, request_id.encode())
                message = {**message, "headers": [*message.get("headers", ()), header]}
            await send(message)

        # Not `bound_contextvars`: it copies the whole context, which takes longer than storing a delivery.
        tokens = bind_contextvars(request_id=request_id)
        try:
            await app(scope, receive, noted)
        finally:
            if is_delivery:
                self._note_delivery(status)
            else:
                whole_seconds = self._clock.monotonic() - started
                self._note(scope, status, seconds, whole_seconds)
                self._collect(scope, use, status, whole_seconds, request_id)
                unbind_contextvars(*_BOUND)
            reset_contextvars(**tokens)

    def _note(self, scope: Scope, status: int, seconds: float, whole_seconds: float) -> None:
        route = self._route_of(scope)
        if status:
            metrics.API_REQUESTS.labels(route=route, status=f"{status // 100}xx").inc()
            metrics.API_SECONDS.labels(route=route).observe(seconds)
        _, _, path = route.partition(" ")
        if status in _REFUSED:
            self._repeats.tell(
                log.warning, "requests refused", key=(status, path), status=status, route=path or None
            )
        is_quiet = path in _PROBES or status in _LOGGED_ELSEWHERE
        write = log.debug if is_quiet else log.info
        write(
            "request",
            method=scope["method"],
            route=path or None,
            status=status or None,  # none: the client disconnected first
            seconds=round(whole_seconds, 4),
            **_named_call(scope),
        )

    def _collect(self, scope: Scope, use: KeyUse, status: int, seconds: float, request_id: str) -> None:
        """Keep a request of a key for its author."""
        if self._recent is None or use.owner is None or use.key_id is None:
            return
        told = {
            "method": scope["method"],
            "route": self._route_of(scope).partition(" ")[2] or None,
            "status": status or None,
            "milliseconds": round(seconds * 1000),
            "request_id": request_id,
        }
        self._recent.add((use.owner, use.key_id), told)

    def _note_delivery(self, status: int) -> None:
        if status >= 400 and status != 503:
            why = _WHY_REFUSED.get(status, "see the response")
            self._repeats.tell(log.warning, "deliveries refused", key=status, status=status, why=why)

    def _route_of(self, scope: Scope) -> str:
        """Return the label `route`: method and path template; empty for an unknown path."""
        method, route = scope["method"], scope.get("route")
        if route is None and method == "HEAD":  # handled as GET, in a scope of its own
            as_get = {**scope, "method": "GET"}
            route = next((one for one in self._routes if one.matches(as_get)[0] is Match.FULL), None)
            method = "GET"
        path = getattr(route, "path", None)
        return f"{method} {path}" if path else ""


def read_request_id(scope: Scope) -> str:
    """Return the id that a request has, or a new one."""
    sent = [value for name, value in scope["headers"] if name == HEADER]
    if len(sent) == 1 and _SANE.fullmatch(sent[0]):
        return bytes(sent[0]).decode("ascii")
    return secrets.token_hex(8)


def _flat(routes: Iterable[Any]) -> Iterator[Route]:
    """Yield all routes, including those of included routers, which FastAPI stores as one object each."""
    for route in routes:
        included = getattr(route, "original_router", None)
        if included is not None:
            yield from _flat(included.routes)
        elif isinstance(route, Route):
            yield route


def _named_call(scope: Scope) -> dict[str, str]:
    """Return the name of the call in the path, if it is an id and so contains nothing private."""
    named = (scope.get("path_params") or {}).get("call")
    return {"call": named} if isinstance(named, str) and _CALL.fullmatch(named) else {}


class LogsRequests:
    """A base class to put before FastAPI: passes each request through the request log, if there is one."""

    request_log: RequestLog | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        serve: ASGIApp = super().__call__  # type: ignore[misc]
        if self.request_log is None or scope["type"] != "http":
            await serve(scope, receive, send)
        else:
            await self.request_log.serve(serve, scope, receive, send)
