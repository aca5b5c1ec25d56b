"""Puts the service together: `create_app(settings)` returns it as an ASGI app."""

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from functools import cache

import httpx
from fastapi import APIRouter, Depends, FastAPI
from fastapi.responses import RedirectResponse

from app.api import head_requests, problems, strictness
from app.api.middleware import (
    compression,
    deprecation_headers,
    key_headers,
    redirects,
    request_limits,
    request_log,
)
from app.calls.feed.feeds import Feeds
from app.clock import Clock, SystemClock
from app.ops import api_docs, api_routes
from app.ops.accounts import oauth
from app.ops.dashboard import log_page
from app.ops.dashboard import router as dashboard
from app.ops.health import router as health
from app.ops.listening import router as listening
from app.ops.prometheus import router as metrics_router
from app.process import Process, Role
from app.settings import Settings
from app.webhooks.intake import router as webhooks


class _App(request_log.LogsRequests, webhooks.IntakeApp):
    """Logs every request, then passes deliveries to the intake and the rest to FastAPI."""


def create_app(
    settings: Settings,
    *,
    role: Role = Role.ALL,
    clock: Clock | None = None,
    transport: httpx.AsyncBaseTransport | None = None,
) -> FastAPI:
    """Return the service as an ASGI app. Nothing is opened before its lifespan begins.

    `transport` carries the requests to RingCentral; None: the network.

    Raises SettingsError when the service cannot start with these settings.
    """
    process = Process(settings, role, clock or SystemClock(), transport)
    feeds = Feeds(process.services)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with process.open(), aclosing(feeds):
            yield

    app = _App(
        **api_docs.ABOUT,
        lifespan=lifespan,
        generate_unique_id_function=api_docs.name_operation,
        docs_url=None,  # FastAPI's page would load its scripts from another host
        redoc_url=None,
    )
    app.state.services = process.services
    app.state.feeds = feeds
    app.state.process = process
    app.router.routes.extend(shared_routes().routes)
    app.mount(dashboard.STATIC_PATH, dashboard.static_files())
    app.state.dashboard = dashboard.Dashboard(process.services)
    app.add_route("/", lambda _: RedirectResponse(dashboard.PATH), include_in_schema=False)
    app.add_middleware(deprecation_headers.DeprecationHeaders)
    app.add_middleware(redirects.RelativeRedirects)
    app.add_middleware(key_headers.KeyHeaders)
    app.add_middleware(compression.Compression, answers=process.services.answers)
    # Outside of it: HEAD has the length of what GET sends.
    app.add_middleware(head_requests.HeadAsGet)
    app.add_middleware(request_limits.RequestLimits, but=frozenset({webhooks.PATH}))
    problems.install(app)
    api_docs.install(app)
    # Last: its route goes before all others, and its description is complete already.
    webhooks.mount(app, process.intake.endpoint)
    app.request_log = request_log.RequestLog(process.clock, webhooks.PATH, process.services.recent_requests)
    app.request_log.learn_routes(app.routes)
    return app


@cache
def shared_routes() -> APIRouter:
    """Return the routes of all apps of this process.

    FastAPI reads the signatures behind an included router at its first request, which takes a quarter of a
    second. What a route needs of its app, it finds in the request.
    """
    # Names are taken from the router that includes a route, not from the app.
    shared = APIRouter(generate_unique_id_function=api_docs.name_operation)
    for router in api_routes.API_ROUTERS:
        shared.include_router(router, dependencies=[Depends(strictness.refuse_misunderstandings)])
    pages = (dashboard.router, log_page.router, listening.router)
    for router in (oauth.router, health.router, metrics_router.router, *pages):
        shared.include_router(router, dependencies=[Depends(strictness.refuse_repeated)])
    return shared
