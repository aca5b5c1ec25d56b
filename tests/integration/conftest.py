"""What integration tests share beyond tests/conftest.py."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from app.api.dependencies import Services
from app.clock import SystemClock
from app.db.engine import Database
from app.ids import AccountId
from tests.conftest import build_app, open_client
from tests.fakes.clock import FakeClock
from tests.fakes.desk import Desk
from tests.fakes.reader_stage import Stage, simulated, staged


@pytest.fixture
def waiting_services(services: Services) -> Services:
    """The same services on the machine's clock, for requests that wait (a fraction of a second)."""
    return replace(services, clock=SystemClock())


@pytest.fixture
def waiting_app(waiting_services: Services) -> FastAPI:
    return build_app(waiting_services)


@pytest.fixture
async def waiting_client(
    waiting_app: FastAPI, account: AccountId, api_key: str
) -> AsyncIterator[httpx.AsyncClient]:
    async with open_client(waiting_app, api_key) as opened:
        yield opened


@pytest.fixture
def desk(database: Database, clock: FakeClock, account: AccountId, make_settings: Any) -> Desk:
    credentials = {"rc_client_id": "id", "rc_client_secret": "secret", "rc_jwt": "jwt"}
    return Desk(database, clock, make_settings(**credentials))


@pytest.fixture
async def stage(make_settings: Any, sqlite_url: str) -> AsyncIterator[Stage]:
    """On SQLite alone, where storage does not matter."""
    async with staged(make_settings, sqlite_url, simulated()) as opened:
        yield opened


@pytest.fixture
async def any_stage(make_settings: Any, database_url: str) -> AsyncIterator[Stage]:
    """On each database."""
    async with staged(make_settings, database_url, simulated()) as opened:
        yield opened
