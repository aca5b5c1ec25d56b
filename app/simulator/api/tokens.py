"""The token endpoint, whose errors have the OAuth form."""

from collections.abc import Awaitable, Callable
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from app.simulator.api.pipeline import count_against_limit, read_body, request_id
from app.simulator.platform import rate_limits as limits
from app.simulator.platform.errors import Refused, TokenRefused
from app.simulator.platform.request_log import ServedRequest
from app.simulator.simulator import Simulator


async def token_request(simulator: Simulator, request: Request) -> Response:
    form = dict(parse_qsl((await read_body(request)).decode(errors="replace"), keep_blank_values=True))
    status = simulator.faults.token_status
    if status is not None:
        raise TokenRefused(status, "temporarily_unavailable", "CMN-201", "The token endpoint is unavailable")
    simulator.tokens.check_client(request.headers.get("authorization"), form)
    # The client is checked first: a request with wrong credentials counts against no user.
    headers = count_against_limit(simulator, simulator.tokens.user_of_grant(form), limits.AUTH)
    tokens = simulator.tokens.grant(
        form,
        simulator.now(),
        simulator.clock.speed,
        refreshable=simulator.faults.refresh_tokens,
        withheld=simulator.faults.missing_scopes,
    )
    return JSONResponse(tokens, headers=headers | {"Cache-Control": "no-store"})


async def revoke_request(simulator: Simulator, request: Request) -> Response:
    form = dict(parse_qsl((await read_body(request)).decode(errors="replace")))
    simulator.tokens.check_client(request.headers.get("authorization"), form)
    simulator.tokens.revoke(form.get("token") or request.query_params.get("token", ""))
    return Response(status_code=200)


def token_route(
    simulator: Simulator, path: str, handle: Callable[[Simulator, Request], Awaitable[Response]]
) -> Route:
    async def endpoint(request: Request) -> Response:
        try:
            if simulator.faults.latency_seconds > 0:
                await simulator.clock.sleep(simulator.faults.latency_seconds)
            response = await handle(simulator, request)
        except TokenRefused as refusal:
            response = JSONResponse(refusal.body(), refusal.status)
        except Refused as refusal:
            response = JSONResponse(refusal.body(), refusal.status, refusal.headers)
        response.headers["RCRequestId"] = request_id()
        served = ServedRequest(
            group=limits.AUTH,
            method=request.method,
            path=request.url.path,
            status=response.status_code,
            user="",
        )
        simulator.requests.add(served, simulator.now())
        return response

    return Route(path, endpoint, methods=["POST"])
