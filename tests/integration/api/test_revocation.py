"""Long responses end within seconds after their key is revoked, with a wake-up or without one."""

import asyncio
from dataclasses import replace
from typing import Any

import httpx
import pytest
from sqlalchemy import event, update

from app.api import keys
from app.api.auth import check_still_valid, watch
from app.api.dependencies import Services
from app.api.known_keys import Key, find_key
from app.calls.feed import following
from app.calls.feed.positions import BEGINNING
from app.clock import SystemClock
from app.db.engine import Database
from app.db.tables import api_keys
from app.errors import Unauthenticated
from app.ids import UNBOUND_ACCOUNT, AccountId
from tests.conftest import build_app, open_client, open_feeds, until
from tests.fakes.clock import START


@pytest.fixture
def live(services: Services) -> Services:
    return replace(services, clock=SystemClock())


async def load(database: Database, plain: str) -> Key:
    async with database.read() as db:
        key = await find_key(db, plain)
    assert key is not None
    return key


async def revoke(database: Database, key: Key, *, told: bool) -> None:
    async with database.write() as db:
        if told:
            await keys.revoke_key(db, UNBOUND_ACCOUNT, key.key_id, START)
        else:  # as another process on SQLite does it
            await db.execute(update(api_keys).values(revoked_at=START))


@pytest.mark.parametrize("told", [True, False])
async def test_the_feed_ends(
    live: Services, database: Database, account: AccountId, api_key: str, told: bool
) -> None:
    key = await load(database, api_key)
    stream = following.follow(open_feeds(live), account, BEGINNING, key)
    waiting = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0.1)
    await revoke(database, key, told=told)
    async with asyncio.timeout(30):
        with pytest.raises(Unauthenticated, match="revoked"):
            await waiting


@pytest.mark.parametrize("path", ["/v1/changes?wait=60", "/v1/calls/1229016182016?wait=60"])
async def test_a_long_poll_ends_with_401(
    live: Services, database: Database, account: AccountId, api_key: str, path: str
) -> None:
    key = await load(database, api_key)
    async with open_client(build_app(live), api_key) as client, asyncio.timeout(30):
        asked = asyncio.ensure_future(client.get(path))
        await until(lambda: bool(live.revocations._watched))
        await revoke(database, key, told=True)
        answer = await asked
    assert (answer.status_code, answer.json()["type"]) == (401, "/problems/unauthenticated")


async def test_the_stream_says_why_it_ends(
    services: Services, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def follow(*_: Any) -> Any:
        raise Unauthenticated("This API key was revoked")
        yield

    monkeypatch.setattr(following, "follow", follow)
    answer = await client.get("/v1/changes/stream")
    assert "event: stream.unauthenticated" in answer.text


async def test_a_key_with_a_new_value_counts_as_revoked(
    live: Services, database: Database, account: AccountId
) -> None:
    first = "ak_first-key-of-the-tests-0123456789"
    async with database.write() as db:
        await keys.ensure_first_key(db, first, START)
    key = await load(database, first)
    with watch(live, key):
        await check_still_valid(live, key)
        async with database.write() as db:
            await keys.ensure_first_key(db, first + "-rotated", START)
        with pytest.raises(Unauthenticated):
            await check_still_valid(live, key)


async def test_a_thousand_responses_need_one_query(
    services: Services, database: Database, account: AccountId, api_key: str
) -> None:
    key = await load(database, api_key)
    statements: list[str] = []
    event.listen(
        database.engine.sync_engine,
        "before_cursor_execute",
        lambda *args: statements.append(args[2]),
    )
    with watch(services, key):
        for _ in range(1_000):
            await check_still_valid(services, key)
    assert len([statement for statement in statements if "api_keys" in statement]) == 1
