"""The control API under `/_sim`: start calls, read their truth, switch faults, move the clock, read counts.

It requires no token and returns plain JSON. Keep the simulator on loopback.
"""

import json
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route

from app.simulator.platform.views import iso
from app.simulator.scripting.casting import CallOptions, UnknownNumberError
from app.simulator.scripting.catalogue import SCRIPTS, describe
from app.simulator.scripting.model import Json
from app.simulator.settings import Faults
from app.simulator.simulator import Simulator

MAX_CALLS_AT_ONCE = 10_000


class _Body(BaseModel):
    model_config = ConfigDict(
        extra="forbid", alias_generator=to_camel, validate_by_name=True, validate_by_alias=True
    )


class StartCalls(_Body):
    """The calls to start. All seconds are simulated ones."""

    script: str = "inbound_direct"
    count: Annotated[int, Field(ge=1, le=MAX_CALLS_AT_ONCE)] = 1
    start_in_seconds: Annotated[float, Field(ge=0.0)] = 0.0
    apart_seconds: Annotated[float, Field(ge=0.0)] = 0.0
    talk_seconds: Annotated[float, Field(gt=0.0)] | None = None
    ring_seconds: Annotated[float, Field(gt=0.0)] | None = None
    hold_seconds: Annotated[float, Field(gt=0.0)] | None = None
    agent: str | None = None
    colleague: str | None = None
    customer: str | None = None
    recorded: bool | None = None

    def options(self) -> CallOptions:
        return CallOptions(**{name: getattr(self, name) for name in CallOptions.__dataclass_fields__})


class ChangeClock(_Body):
    """Change the speed of future calls and all other durations, or move the clock by real seconds."""

    speed: Annotated[float, Field(gt=0.0)] | None = None
    advance_seconds: Annotated[float, Field(ge=0.0)] = 0.0


class ChangeCompany(_Body):
    """How busy the company is from now on. Omitted fields stay as they are."""

    calls_per_minute: Annotated[float, Field(ge=0.0)] = 0.0
    calls: Annotated[int, Field(ge=0)] | None = None
    talk_seconds: Annotated[float, Field(gt=0.0)] = 60.0
    mix: dict[str, float] = Field(default_factory=dict)


class ChangeTokens(_Body):
    action: Literal["expire", "revoke"]


class ChangeSubscription(_Body):
    action: Literal["suspend", "recover", "expire"]
    reason: str = "Response code: 503 Service Unavailable"


class PurgeRecordings(_Body):
    """The recordings to delete, all of them by default."""

    ids: list[str] | None = None


class PurgeVoicemails(_Body):
    """The voicemails to delete, all of them by default."""

    ids: list[str] | None = None


class _NotFoundError(LookupError):
    """The script, call or subscription does not exist."""


Handler = Callable[[Simulator, Request, Any], Awaitable[Json | list[Json]]]


def _route(simulator: Simulator, method: str, path: str, handler: Handler) -> Route:
    async def endpoint(request: Request) -> Response:
        try:
            raw = await request.body()
            body = json.loads(raw) if raw.strip() else {}
            return JSONResponse(await handler(simulator, request, body))
        except _NotFoundError as error:
            return JSONResponse({"error": str(error)}, 404)
        except ValidationError as error:
            return JSONResponse({"error": json.loads(error.json(include_url=False))}, 422)
        except (ValueError, UnknownNumberError) as error:
            return JSONResponse({"error": str(error)}, 422)

    return Route(path, endpoint, methods=[method])


async def overview(simulator: Simulator, request: Request, body: Any) -> Json:
    settings = simulator.settings
    return {
        "url": simulator.links.platform,
        "mediaUrl": simulator.links.media,
        "accountId": simulator.company.account_id,
        "now": iso(simulator.now()),
        "speed": simulator.clock.speed,
        "seed": settings.seed,
        "credentials": {
            "RC_SERVER_URL": simulator.links.platform,
            "RC_MEDIA_URL": simulator.links.media,
            "RC_CLIENT_ID": settings.client_id,
            "RC_CLIENT_SECRET": settings.client_secret,
            "RC_JWT": settings.jwt,
        },
        "users": {jwt: user.extension_id for jwt, user in simulator.users.items()},
        "extensions": [
            {"id": one.id, "number": one.number, "name": one.name, "directNumber": one.direct_number}
            for one in simulator.company.extensions
        ],
        "customers": [{"number": one.number, "name": one.name} for one in simulator.company.customers],
    }


async def list_scripts(simulator: Simulator, request: Request, body: Any) -> list[Json]:
    return [{"name": name, "about": describe(name)} for name in SCRIPTS]


async def start_calls(simulator: Simulator, request: Request, body: Any) -> list[Json]:
    order = StartCalls.model_validate(body)
    if order.script not in SCRIPTS:
        raise _NotFoundError(f"unknown script: {order.script}")
    calls = [
        simulator.start_call(
            order.script,
            order.options(),
            delay_seconds=order.start_in_seconds + place * order.apart_seconds,
        )
        for place in range(order.count)
    ]
    return [simulator.truth(call) for call in calls]


async def list_calls(simulator: Simulator, request: Request, body: Any) -> list[Json]:
    """List all calls in order of their start; with `?over=true` only those that have ended."""
    now, over = simulator.now(), request.query_params.get("over") == "true"
    calls = sorted(simulator.calls, key=lambda call: call.started_at)
    return [simulator.truth(call) for call in calls if not over or call.ended_at <= now]


async def read_call(simulator: Simulator, request: Request, body: Any) -> Json:
    """Return a call by its id, a `sessionId` or a `telephonySessionId`."""
    name = request.path_params["call"]
    call = simulator.calls.find(name)
    if call is None:
        raise _NotFoundError(f"unknown call: {name}")
    return simulator.truth(call)


async def read_faults(simulator: Simulator, request: Request, body: Any) -> Json:
    return simulator.faults.model_dump(mode="json", by_alias=True)


async def change_faults(simulator: Simulator, request: Request, body: Any) -> Json:
    """Change the given switches and leave the others as they are."""
    # Validated as a whole, then only the given switches are copied.
    changed = Faults.model_validate(body).model_dump(exclude_unset=True)
    simulator.faults = simulator.faults.model_copy(update=changed)
    return simulator.faults.model_dump(mode="json", by_alias=True)


async def replace_faults(simulator: Simulator, request: Request, body: Any) -> Json:
    """Set the given switches, and all others to their defaults; `{}` turns all faults off."""
    simulator.faults = Faults.model_validate(body)
    return simulator.faults.model_dump(mode="json", by_alias=True)


async def read_clock(simulator: Simulator, request: Request, body: Any) -> Json:
    return {"now": iso(simulator.now()), "speed": simulator.clock.speed}


async def change_clock(simulator: Simulator, request: Request, body: Any) -> Json:
    change = ChangeClock.model_validate(body)
    simulator.clock.speed = change.speed or simulator.clock.speed
    simulator.advance(change.advance_seconds)
    return {"now": iso(simulator.now()), "speed": simulator.clock.speed}


async def read_company(simulator: Simulator, request: Request, body: Any) -> Json:
    generator, traffic = simulator.traffic, simulator.traffic.traffic
    return {
        "callsPerMinute": traffic.calls_per_minute,
        "calls": traffic.calls,
        "talkSeconds": traffic.talk_seconds,
        "mix": dict(traffic.mix),
        "started": generator.started,
        "isDone": generator.is_done,
        "allEnded": simulator.all_ended,
    }


async def change_company(simulator: Simulator, request: Request, body: Any) -> Json:
    change = ChangeCompany.model_validate(body)
    simulator.change_traffic(**change.model_dump(exclude_unset=True))
    return await read_company(simulator, request, {})


async def change_tokens(simulator: Simulator, request: Request, body: Any) -> Json:
    change = ChangeTokens.model_validate(body)
    tokens = simulator.tokens
    return {"sessions": tokens.expire_all() if change.action == "expire" else tokens.revoke_all()}


async def list_subscriptions(simulator: Simulator, request: Request, body: Any) -> list[Json]:
    now, platform = simulator.now(), simulator.links.platform
    return [
        one.show(platform, now) | {"failures": one.failures, "listed": one.listed}
        for one in simulator.subscriptions.values()
    ]


async def change_subscription(simulator: Simulator, request: Request, body: Any) -> Json:
    change, name = ChangeSubscription.model_validate(body), request.path_params["subscription"]
    subscription = simulator.subscriptions.get(name)
    if subscription is None:
        raise _NotFoundError(f"unknown subscription: {name}")
    now = simulator.now()
    if change.action == "suspend":
        subscription.suspend(change.reason, now)
    elif change.action == "recover":
        subscription.recover()
    else:
        subscription.expires_at = now
    return subscription.show(simulator.links.platform, now)


async def purge_recordings(simulator: Simulator, request: Request, body: Any) -> Json:
    return {"purged": simulator.purge_recordings(PurgeRecordings.model_validate(body).ids)}


async def purge_voicemails(simulator: Simulator, request: Request, body: Any) -> Json:
    return {"purged": simulator.calls.purge_messages(PurgeVoicemails.model_validate(body).ids)}


async def read_statistics(simulator: Simulator, request: Request, body: Any) -> Json:
    return simulator.statistics()


async def list_requests(simulator: Simulator, request: Request, body: Any) -> list[Json]:
    return list(simulator.requests.latest)


async def list_deliveries(simulator: Simulator, request: Request, body: Any) -> list[Json]:
    return list(simulator.webhooks.latest)


async def reset(simulator: Simulator, request: Request, body: Any) -> Json:
    simulator.reset()
    return simulator.statistics()


_CONTROLS: tuple[tuple[str, str, Handler], ...] = (
    ("GET", "/", overview),
    ("GET", "/scripts", list_scripts),
    ("POST", "/calls", start_calls),
    ("GET", "/calls", list_calls),
    ("GET", "/calls/{call}", read_call),
    ("GET", "/faults", read_faults),
    ("PATCH", "/faults", change_faults),
    ("PUT", "/faults", replace_faults),
    ("GET", "/clock", read_clock),
    ("PATCH", "/clock", change_clock),
    ("GET", "/company", read_company),
    ("PATCH", "/company", change_company),
    ("POST", "/tokens", change_tokens),
    ("GET", "/subscriptions", list_subscriptions),
    ("POST", "/subscriptions/{subscription}", change_subscription),
    ("POST", "/recordings/purge", purge_recordings),
    ("POST", "/voicemails/purge", purge_voicemails),
    ("GET", "/statistics", read_statistics),
    ("GET", "/requests", list_requests),
    ("GET", "/deliveries", list_deliveries),
    ("POST", "/reset", reset),
)


def control_routes(simulator: Simulator) -> list[BaseRoute]:
    """Return the routes of the control API for the platform host."""
    routes = [_route(simulator, method, path, handler) for method, path, handler in _CONTROLS]
    return [Mount("/_sim", routes=routes)]
