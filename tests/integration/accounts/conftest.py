"""The whole service with one RingCentral and two companies, all on loopback, twenty times faster than real
time.
"""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from app.main import create_app
from app.process import Process, Role
from app.simulator import Simulator, SimulatorSettings, Timing, serving_accounts
from tests.conftest import SECRETS

SPEED = 20.0
TEA, COFFEE = "908070001", "908070002"
ADMIN = {"Authorization": f"Bearer {SECRETS['api_key']}"}
Json = dict[str, Any]


@dataclass
class Stage:
    """The two companies, the service, and a browser that keeps cookies."""

    tea: Simulator
    coffee: Simulator
    app: FastAPI
    address: str
    browser: httpx.AsyncClient

    @property
    def process(self) -> Process:
        process: Process = self.app.state.process
        return process

    async def ask(self, method: str, path: str, *, key: str | None = None, **given: Any) -> httpx.Response:
        """Send a request to our API, with the operator's key or another."""
        headers = {"Authorization": f"Bearer {key}"} if key else ADMIN
        async with httpx.AsyncClient(
            base_url=self.address, headers=headers, trust_env=False, timeout=30
        ) as client:
            return await client.request(method, path, **given)

    async def get(self, path: str, *, key: str | None = None, **params: Any) -> Json:
        answer = await self.ask("GET", path, key=key, params=params)
        assert answer.status_code == 200, answer.text
        body: Json = answer.json()
        return body

    async def account(self, account_id: str) -> Json | None:
        found = (await self.get("/v1/accounts"))["data"]
        return next((one for one in found if one["accountId"] == account_id), None)

    async def invitation(self) -> str:
        answer = await self.ask("POST", "/v1/accounts/invitations", json={})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["url"])

    async def to_ringcentral(self, start: str | None = None) -> str:
        """Start a sign-in; return where the browser is sent."""
        answer = await self.browser.get(start or await self.invitation())
        assert answer.status_code == 302, answer.text
        return answer.headers["location"]

    async def agree(self, address: str, user: str) -> str:
        """Sign in as this user on RingCentral's page; return where the browser is sent."""
        answer = await self.browser.get(f"{address}&{urlencode({'sim_user': user})}")
        assert answer.status_code == 302, answer.text
        return answer.headers["location"]

    async def sign_in(self, user: str) -> httpx.Response:
        """Connect an account, from the invitation to the last page."""
        back = await self.agree(await self.to_ringcentral(), user)
        return await self.browser.get(back)

    async def admin_key_of(self, account_id: str) -> str:
        return await self.key_of(account_id, "admin")

    async def key_of(self, account_id: str, scope: str = "calls:read") -> str:
        answer = await self.ask(
            "POST", "/v1/api-keys", json={"name": "crm", "accountId": account_id, "scopes": [scope]}
        )
        assert answer.status_code == 201, answer.text
        return str(answer.json()["key"])


def query_of(address: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}


class _Server(uvicorn.Server):
    def install_signal_handlers(self) -> None:
        """The test runner handles signals."""

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets=sockets)
        self.config.app.state.process.serving.set()  # type: ignore[union-attr]


def company(**fields: Any) -> SimulatorSettings:
    timing = Timing(provisional_share=0.0, straggler_share=0.0, correction_share=0.0)
    given: Json = {"port": 0, "media_port": 0, "speed": SPEED, "timing": timing}
    return SimulatorSettings(**(given | fields))


@asynccontextmanager
async def staged(make_settings: Any, database_url: str, role: Role, **values: Any) -> AsyncIterator[Stage]:
    companies = [
        company(account_id=TEA, jwt="tea"),
        company(account_id=COFFEE, jwt="coffee", seed=2),
    ]
    async with AsyncExitStack() as stack:
        tea, coffee = await stack.enter_async_context(serving_accounts(companies))
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        settings = make_settings(
            **{
                "database_url": database_url,
                "public_url": address,
                "rc_server_url": tea.links.platform,
                "rc_media_url": tea.links.media,
                "rc_client_id": "sim-client",
                "rc_client_secret": "sim-secret",
                "active_calls_window_seconds": 120 / SPEED,
                "active_calls_lag_min_seconds": 3 / SPEED,
                "active_calls_lag_max_seconds": 10 / SPEED,
                "call_end_quiet_seconds": 3 / SPEED,
                "rate_limit_window_seconds": 60 / SPEED,
                "rate_limit_penalty_seconds": 60 / SPEED,
                "subscription_check_seconds": 1.0,
            }
            | values
        )
        app = create_app(settings, role=role)
        config = uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=1)
        server = _Server(config)
        task = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            while not server.started:
                await asyncio.sleep(0.01)
                assert not task.done(), task.result()
            browser = await stack.enter_async_context(httpx.AsyncClient(trust_env=False, timeout=30))
            yield Stage(tea, coffee, app, address, browser)
        finally:
            server.should_exit = True
            await task


@pytest.fixture
async def stage(make_settings: Any, database_url: str) -> AsyncIterator[Stage]:
    """A vendor's service: an app, no account of its own, no background work."""
    async with staged(make_settings, database_url, Role.WEB) as opened:
        yield opened


@pytest.fixture
async def quick_stage(make_settings: Any, sqlite_url: str) -> AsyncIterator[Stage]:
    """The same on SQLite only, for tests in which storage does not matter."""
    async with staged(make_settings, sqlite_url, Role.WEB) as opened:
        yield opened


@pytest.fixture
async def busy_stage(make_settings: Any, database_url: str) -> AsyncIterator[Stage]:
    """A service with an account of its own, the tea company, and all its background work."""
    async with staged(make_settings, database_url, Role.ALL, rc_jwt="tea") as opened:
        yield opened
