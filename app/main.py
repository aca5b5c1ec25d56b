"""Puts the service together: `create_app(settings)` returns it as an ASGI app."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import Depends, FastAPI
from fastapi.responses import RedirectResponse

from app import __version__
from app.api import head_requests, problems, strictness
from app.api.middleware import redirects, request_limits, request_log
from app.clock import Clock, SystemClock
from app.ops import api_docs, api_routes
from app.ops.accounts import oauth
from app.ops.dashboard import router as dashboard
from app.ops.health import router as health
from app.ops.prometheus import router as metrics_router
from app.process import Process, Role
from app.settings import Settings
from app.webhooks.intake import router as webhooks


class _App(request_log.LogsRequests, webhooks.IntakeApp):
    """Logs every request, then passes deliveries to the intake and the rest to FastAPI."""


_DESCRIPTION = """
From hang-up to enriched call record. RingCentral notifies this service of calls. Connectors read the enriched
record here and attach notes and sentiment, by `sessionId` or `telephonySessionId`, even before the record
exists.

Every error is a problem document (RFC 9457) that says whose fault it is and what to do.
"""


def create_app(settings: Settings, *, role: Role = Role.ALL, clock: Clock | None = None) -> FastAPI:
    """Return the service as an ASGI app. Nothing is opened before its lifespan begins.

    Raises SettingsError when the service cannot start with these settings.
    """
    process = Process(settings, role, clock or SystemClock())

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with process.open():
            yield

    app = _App(
        title="Aftercall",
        version=__version__,
        description=_DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,  # FastAPI's page would load its scripts from another host
        redoc_url=None,
    )
    app.state.services = process.services
    app.state.process = process
    for router in api_routes.API_ROUTERS:
        app.include_router(router, dependencies=[Depends(strictness.refuse_misunderstandings)])
    for router in (oauth.router, health.router, metrics_router.router, dashboard.router):
        app.include_router(router, dependencies=[Depends(strictness.refuse_repeated)])
    app.mount(dashboard.STATIC_PATH, dashboard.static_files())
    app.state.dashboard = dashboard.Dashboard(process.services)
    app.add_route("/", lambda _: RedirectResponse(dashboard.PATH), include_in_schema=False)
    app.add_middleware(head_requests.HeadAsGet)
    app.add_middleware(redirects.RelativeRedirects)
    app.add_middleware(request_limits.RequestLimits, but=frozenset({webhooks.PATH}))
    problems.install(app)
    api_docs.install(app)
    # Last: its route goes before all others, and its description is complete already.
    webhooks.mount(app, process.intake.endpoint)
    app.request_log = request_log.RequestLog(process.clock, webhooks.PATH)
    app.request_log.learn_routes(app.routes)
    return app
