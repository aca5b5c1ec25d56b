"""The operator's routes on services that the test has opened."""

from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI

from app.api.dependencies import Services
from app.ops import router
from app.ops.dashboard import router as dashboard
from app.ops.dashboard.router import Dashboard
from app.ops.health import router as health
from app.ops.prometheus import router as metrics_router


@pytest.fixture
def app(app: FastAPI) -> FastAPI:
    for module in (health, metrics_router, router, dashboard):
        app.include_router(module.router)
    app.mount(dashboard.STATIC_PATH, dashboard.static_files())
    return app


@pytest.fixture
def board(services: Services) -> Dashboard:
    return Dashboard(services)


@pytest.fixture
async def here(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """A browser at this machine."""
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app, raise_app_exceptions=False), base_url="http://127.0.0.1"
    ) as opened:
        yield opened


@pytest.fixture
async def elsewhere(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """A browser that reaches us over the network."""
    transport = httpx.ASGITransport(app, raise_app_exceptions=False, client=("203.0.113.9", 50_000))
    async with httpx.AsyncClient(transport=transport, base_url="https://aftercall.test") as opened:
        yield opened
