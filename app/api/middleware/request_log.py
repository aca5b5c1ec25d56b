"""A request id in and out, one line of the log and one count for each request.

`X-Request-Id` of a request is taken over if it can stand in a header and in a log line as it is; otherwise one is made.
Every answer carries it, problems have it in their body, and each line that is logged meanwhile has `request_id`.
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
from app.clock import Clock
from app.repeats import Repeats

HEADER = b"x-request-id"
_SANE = re.compile(rb"[\x21-\x7e]{1,128}")
_BOUND = ("key_id", "account_id")
"""What answering a request may bind: see `dependencies.current_key`."""
_PROBES = frozenset({"/healthz", "/readyz", "/metrics"})
_REFUSED = (401, 429)
_WHY_REFUSED = {
    400: "not a delivery of RingCentral's",
    401: "the verification token is missing or wrong; compare AFTERCALL_WEBHOOK_TOKEN with the subscription's",
    413: "larger than AFTERCALL_WEBHOOK_MAX_BODY_BYTES",
}
_TOLD_ELSEWHERE = frozenset({401, 429, 503})
"""Statuses that come by the hundred: wrong keys, used-up limits and outages have lines of their own, see `repeats`."""

_CALL = re.compile(r"call_\w{1,64}|s-[\w-]{1,128}|\d{13,32}")

log = structlog.get_logger(__name__)


class RequestLog:
    """Stands before a whole app, and so sees answers that no middleware does. `intake` is the path of deliveries: they
    are counted and logged there."""

    def __init__(self, clock: Clock, intake: str) -> None:
        self._clock = clock
        self._intake = intake
        self._routes: list[Route] = []
        self._repeats = Repeats(clock)

    def learn_routes(self, routes: list[Any]) -> None:
        """Declare what the metrics of requests can name: methods and path templates."""
        self._routes = list(_flat(routes))
        names = [f"{method} {route.path}" for route in self._routes for method in route.methods or ()]
        told = [name for name in names if not name.startswith("HEAD ") or name[5:] not in _gets(names)]
        told = [name for name in told if not name.endswith(f" {self._intake}")]
        metrics.API_REQUESTS.declare(route=told)
        metrics.API_SECONDS.declare(route=told)

    async def serve(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        """Let `app` answer one request."""
        request_id = read_request_id(scope)
        is_delivery = scope["path"] == self._intake
        began, status, seconds = self._clock.monotonic(), 0, 0.0

        async def noted(message: Message) -> None:
            nonlocal status, seconds
            if message["type"] == "http.response.start":
                status, seconds = message["status"], self._clock.monotonic() - began
                header = (HEADER, request_id.encode())
                message = {**message, "headers": [*message.get("headers", ()), header]}
            await send(message)

        # Not `bound_contextvars`: it copies the whole context, which costs more than storing a delivery.
        tokens = bind_contextvars(request_id=request_id)
        try:
            await app(scope, receive, noted)
        finally:
            if is_delivery:
                self._note_delivery(status)
            else:
                self._note(scope, status, seconds, self._clock.monotonic() - began)
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
        is_quiet = path in _PROBES or status in _TOLD_ELSEWHERE
        write = log.debug if is_quiet else log.info
        write(
            "request",
            method=scope["method"],
            route=path or None,
            status=status or None,  # none: the caller left first
            seconds=round(whole_seconds, 4),
            **_named_call(scope),
        )

    def _note_delivery(self, status: int) -> None:
        if status >= 400 and status != 503:
            why = _WHY_REFUSED.get(status, "see the answer")
            self._repeats.tell(log.warning, "deliveries refused", key=status, status=status, why=why)

    def _route_of(self, scope: Scope) -> str:
        """Return method and path template as the metrics name them; an unknown path is empty."""
        method, route = scope["method"], scope.get("route")
        if route is None and method == "HEAD":  # answered as GET, in a scope of its own
            as_get = {**scope, "method": "GET"}
            route = next((one for one in self._routes if one.matches(as_get)[0] is Match.FULL), None)
            method = "GET"
        path = getattr(route, "path", None)
        return f"{method} {path}" if path else ""


def read_request_id(scope: Scope) -> str:
    """Return the id that a request brought, or a new one."""
    came = [value for name, value in scope["headers"] if name == HEADER]
    if len(came) == 1 and _SANE.fullmatch(came[0]):
        return bytes(came[0]).decode("ascii")
    return secrets.token_hex(8)


def _flat(routes: Iterable[Any]) -> Iterator[Route]:
    """Return all routes, those of included routers too: FastAPI keeps these together, under a path of their own."""
    for route in routes:
        included = getattr(route, "original_router", None)
        if included is not None:
            yield from _flat(included.routes)
        elif isinstance(route, Route):
            yield route


def _gets(names: list[str]) -> set[str]:
    return {name[4:] for name in names if name.startswith("GET ")}


def _named_call(scope: Scope) -> dict[str, str]:
    """Return the name of the call that a request is about, if it is an id and nothing else."""
    named = (scope.get("path_params") or {}).get("call")
    return {"call": named} if isinstance(named, str) and _CALL.fullmatch(named) else {}


class LogsRequests:
    """To be put before FastAPI among the bases of an app: lets each request pass the log, if there is one."""

    request_log: RequestLog | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        serve: ASGIApp = super().__call__  # type: ignore[misc]
        if self.request_log is None or scope["type"] != "http":
            await serve(scope, receive, send)
        else:
            await self.request_log.serve(serve, scope, receive, send)
