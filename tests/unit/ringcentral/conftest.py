"""A client with test doubles, and a RingCentral made of respx routes."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
import respx

from app.ringcentral.auth import AuthConfig, MemoryTokenStore
from app.ringcentral.client import RingCentralClient, connect
from app.ringcentral.transport import ClientConfig
from tests.fakes.clock import FakeClock
from tests.unit.ringcentral.doubles import NOON, Ledger

SERVER = "https://rc.example.com"
MEDIA = "https://media.example.com"
CONFIG = ClientConfig(
    server_url=SERVER, media_url=MEDIA, tries=3, backoff_seconds=2.0, answer_limit_bytes=100_000
)
AUTH = AuthConfig(client_id="app", client_secret="hidden-secret", jwt="hidden-jwt", server_url=SERVER)


def token_answer(name: str = "token-1", **fields: Any) -> httpx.Response:
    body = {
        "access_token": name,
        "token_type": "bearer",
        "expires_in": 3600,
        "scope": "ReadCallLog",
        "owner_id": "711000101",
    }
    return httpx.Response(200, json=body | fields)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(NOON)


@pytest.fixture
def budget() -> Ledger:
    return Ledger()


@pytest.fixture
def store() -> MemoryTokenStore:
    return MemoryTokenStore()


@pytest.fixture
def ringcentral() -> Iterator[respx.MockRouter]:
    """RingCentral's server: the token endpoint issues token-1, token-2, …; the test adds everything else."""
    with respx.mock(base_url=SERVER, assert_all_called=False) as router:
        numbers = iter(range(1, 100))
        router.post("/restapi/oauth/token", name="token").mock(
            side_effect=lambda _: token_answer(f"token-{next(numbers)}")
        )
        yield router


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(follow_redirects=True) as http:
        yield http


@pytest.fixture
def client(
    http: httpx.AsyncClient,
    store: MemoryTokenStore,
    budget: Ledger,
    clock: FakeClock,
    ringcentral: respx.MockRouter,
) -> RingCentralClient:
    return connect(http, CONFIG, AUTH, store=store, budget=budget, clock=clock)
