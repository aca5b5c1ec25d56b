"""What integration tests share beyond tests/conftest.py."""

from collections.abc import AsyncIterator
from dataclasses import replace

import httpx
import pytest

from app.clock import SystemClock
from app.dependencies import Services
from app.ids import AccountId
from tests.conftest import build_app, open_client


@pytest.fixture
def waiting_services(services: Services) -> Services:
    """The same services on the machine's clock, for requests that wait (a fraction of a second)."""
    return replace(services, clock=SystemClock())


@pytest.fixture
async def waiting_client(
    waiting_services: Services, account: AccountId, api_key: str
) -> AsyncIterator[httpx.AsyncClient]:
    async with open_client(build_app(waiting_services), api_key) as opened:
        yield opened
