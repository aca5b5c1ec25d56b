"""The pipeline of every API request: faults, token, rate limit, scope and permission, then the handler."""

import json
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from app.simulator.platform import rate_limits as limits
from app.simulator.platform.errors import Refused, lacks_permission, lacks_scope, not_found
from app.simulator.platform.listing import Query
from app.simulator.platform.rate_limits import Verdict
from app.simulator.platform.request_log import ServedRequest
from app.simulator.platform.tokens import Session
from app.simulator.platform.views import Links
from app.simulator.scripting.company import READ_COMPANY_CALL_LOG, Extension
from app.simulator.scripting.model import Json
from app.simulator.simulator import Simulator

MAX_BODY_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class ApiRequest:
    """One request that may be handled, with the session of its token."""

    http: Request
    session: Session
    now: datetime
    query: Query

    @property
    def path(self) -> Mapping[str, str]:
        return self.http.path_params


Handler = Callable[[Simulator, ApiRequest], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Resource:
    """A path with its handler, its rate group and the scope and permission that it requires."""

    method: str
    path: str
    handler: Handler
    group: str
    scope: str | None = None
    permission: str | None = None


def route(simulator: Simulator, resource: Resource) -> Route:
    async def endpoint(request: Request) -> Response:
        return await _respond(simulator, resource, request)

    return Route(resource.path, endpoint, methods=[resource.method])


async def _respond(simulator: Simulator, resource: Resource, request: Request) -> Response:
    """Answer one API request and record it, whether it succeeds or is refused."""
    headers: dict[str, str] = {}
    user = ""
    try:
        # In this order a request without a valid token counts against no bucket, and a forbidden one does.
        await apply_faults(simulator)
        session = simulator.tokens.authenticate(
            request.headers.get("authorization"), request.query_params.get("access_token"), simulator.now()
        )
        user = session.user.extension_id
        headers = count_against_limit(simulator, user, resource.group)
        _check_rights(simulator, session, resource)
        query = Query((key, value) for key, value in request.query_params.multi_items())
        response = await resource.handler(simulator, ApiRequest(request, session, simulator.now(), query))
    except Refused as refusal:
        # Merged, not replaced: a refusal after the rate limit keeps the rate headers of the request.
        headers |= refusal.headers
        response = JSONResponse(refusal.body(), refusal.status)
    response.headers.update(headers)
    response.headers["RCRequestId"] = request_id()
    served = ServedRequest(
        group=resource.group,
        method=request.method,
        path=request.url.path,
        status=response.status_code,
        user=user,
        parameters=[name for name, _ in request.query_params.multi_items()],
    )
    simulator.requests.add(served, simulator.now())
    return response


async def apply_faults(simulator: Simulator) -> None:
    """Delay or refuse the request by the faults that concern every resource."""
    faults = simulator.faults
    if faults.latency_seconds > 0:
        await simulator.clock.sleep(faults.latency_seconds)
    if faults.global_limit:
        raise Refused(429, "CMN-310", "Request rate exceeded")
    if faults.unavailable_share and simulator.chance.random() < faults.unavailable_share:
        raise Refused(503, "CMN-201", "Service Temporary Unavailable")


def count_against_limit(simulator: Simulator, user: str, group: str) -> dict[str, str]:
    """Count the request in its bucket; returns the rate headers, raises Refused with CMN-301."""
    faults, limiter = simulator.faults, simulator.limiter
    rule = limiter.rule(group, simulator.clock.speed)
    if faults.rate_limits_enforced:
        verdict = limiter.admit(user, group, rule, simulator.now())
    else:
        verdict = Verdict(True, rule.limit)
    headers = limits.headers(
        group, rule, verdict, limit_headers=faults.rate_limit_headers, retry_after=faults.retry_after
    )
    if not verdict.allowed:
        raise Refused(429, "CMN-301", "Request rate exceeded", headers=headers)
    return headers


def _check_rights(simulator: Simulator, session: Session, resource: Resource) -> None:
    """Check the scope of the application, then the permission of the user; raises Refused."""
    if resource.scope is not None and resource.scope not in scopes_of(simulator, session):
        raise lacks_scope(resource.scope)
    if resource.permission is not None and resource.permission not in permissions_of(simulator, session):
        raise lacks_permission(resource.permission)


def scopes_of(simulator: Simulator, session: Session) -> set[str]:
    return set(session.scopes) - set(simulator.faults.missing_scopes)


def permissions_of(simulator: Simulator, session: Session) -> set[str]:
    return set(session.user.permissions) - set(simulator.faults.missing_permissions)


def request_id() -> str:
    return secrets.token_hex(12)


def account_of(simulator: Simulator, request: ApiRequest) -> str:
    if request.path["account"] not in ("~", simulator.company.account_id):
        raise not_found("accountId")
    return simulator.company.account_id


def extension_of(simulator: Simulator, request: ApiRequest) -> Extension:
    """Return the extension of the path; raises Refused if the user may not see its calls."""
    account_of(simulator, request)
    own = request.session.user.extension_id
    given = request.path["extension"]
    extension = simulator.company.extension(own if given == "~" else given)
    if extension is None:
        raise not_found("extensionId")
    if extension.id != own and READ_COMPANY_CALL_LOG not in permissions_of(simulator, request.session):
        raise Refused(403, "CMN-404", "Access to the extension is not allowed", top_code="AccessDenied")
    return extension


def level_of(simulator: Simulator, request: ApiRequest) -> str | None:
    """Return the extension id of an extension-level request, None at company level."""
    if "extension" in request.path:
        return extension_of(simulator, request).id
    account_of(simulator, request)
    return None


def level_address(links: Links, extension_id: str | None) -> str:
    return links.account if extension_id is None else links.extension(extension_id)


async def read_object(request: Request) -> Json:
    """Read the JSON object of the body, `{}` from an empty body; raises Refused with CMN-103."""
    body = await read_body(request)
    if not body.strip():
        return {}
    try:
        value = json.loads(body)
    except ValueError:
        raise Refused(400, "CMN-103", "Cannot parse the JSON body") from None
    if not isinstance(value, dict):
        raise Refused(400, "CMN-103", "The JSON body is not an object")
    return value


async def read_body(request: Request) -> bytes:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise Refused(413, "CMN-104", "Request body is too large")
    return body
