"""Refused credentials are retried at once after a restart, or when an operator looks at the problem."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from app.accounts.connections import Connections, serving
from app.accounts.token_refresh import CHECK_SECONDS, TokenRefresher
from app.db.engine import Database
from app.db.tables import credentials
from app.ids import UNBOUND_ACCOUNT
from app.ringcentral.stored_tokens import load_refusal
from app.vault import Vault
from tests.fakes.clock import FakeClock

VAULT = Vault("0123456789abcdef0123456789abcdef")
DISABLED = {"error": "invalid_grant", "errors": [{"errorCode": "OAU-236", "message": "Extension disabled"}]}


class Site:
    """RingCentral's token endpoint, and processes of ours that start and stop."""

    def __init__(self, database: Database, clock: FakeClock, make_settings: Any) -> None:
        self.database, self.clock = database, clock
        self.settings = make_settings(rc_client_id="id", rc_client_secret="secret", rc_jwt="jwt")
        self.is_enabled = True
        self.asked = 0
        self.http = httpx.AsyncClient(transport=httpx.MockTransport(self._answer))

    def _answer(self, _: httpx.Request) -> httpx.Response:
        self.asked += 1
        if not self.is_enabled:
            return httpx.Response(400, json=DISABLED)
        return httpx.Response(
            200, json={"access_token": f"t{self.asked}", "expires_in": 60, "owner_id": "711"}
        )

    def start(self) -> tuple[Connections, TokenRefresher]:
        connections = Connections(
            self.settings, self.database, self.clock, VAULT, self.http, replica=f"r{self.asked}"
        )
        return connections, TokenRefresher(connections, self.clock)


@pytest.fixture
async def site(database: Database, clock: FakeClock, make_settings: Any) -> AsyncIterator[Site]:
    made = Site(database, clock, make_settings)
    yield made
    await made.http.aclose()


async def refused_for_long(site: Site) -> None:
    """Have the credentials refused until nobody retries for an hour."""
    site.is_enabled = False
    _, keeper = site.start()
    for _ in range(12):
        await keeper.step()
        site.clock.advance(CHECK_SECONDS)
    async with site.database.read() as db:
        refusal = load_refusal(await db.scalar(select(credentials.c.refused)))
    assert refusal is not None


async def test_a_restart_retries_at_once(site: Site) -> None:
    await refused_for_long(site)
    before = site.asked
    _, running = site.start()
    await running.step()
    site.clock.advance(30)
    site.is_enabled = True
    connections, keeper = site.start()
    await keeper.step()
    assert site.asked == before + 2
    (connection,) = await connections.of(UNBOUND_ACCOUNT)
    assert connection.access.problem is None
    assert serving([connection]) == [connection]


async def test_a_repeated_refusal_waits_as_long_as_before(site: Site) -> None:
    await refused_for_long(site)
    _, keeper = site.start()
    await keeper.step()
    before = site.asked
    site.clock.advance(CHECK_SECONDS)
    await keeper.step()
    assert site.asked == before, "the pause does not begin anew at five minutes"


async def test_looking_at_the_problem_retries_at_once(site: Site) -> None:
    await refused_for_long(site)
    connections, keeper = site.start()
    await keeper.step()
    site.clock.advance(60)
    site.is_enabled = True
    await keeper.step()
    (connection,) = await connections.of(UNBOUND_ACCOUNT)
    assert connection.access.problem is None


async def test_a_restart_loop_does_not_use_up_the_limit(site: Site) -> None:
    await refused_for_long(site)
    before = site.asked
    for _ in range(60):
        _, keeper = site.start()
        await keeper.step()
        site.clock.advance(1)
    assert site.asked - before <= 3
