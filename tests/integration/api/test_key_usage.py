"""What a key is told of its limit, and the web pages that may use it."""

from typing import Any

import httpx
import pytest

from app.api import keys
from app.api.keys import KeyChanges
from app.db.engine import Database
from app.errors import Unprocessable
from app.ids import UNBOUND_ACCOUNT, AccountId
from tests.conftest import open_client
from tests.factories_calls import seed_call
from tests.fakes.clock import START, FakeClock

PAGE = "https://crm.example.com"


async def client_of(app: Any, database: Database, **changes: Any) -> httpx.AsyncClient:
    async with database.write() as db:
        created = await keys.create_key(db, UNBOUND_ACCOUNT, "browser", START)
        await keys.change_key(db, UNBOUND_ACCOUNT, created.info.key_id, KeyChanges(**changes))
    return open_client(app, created.plain)


async def test_a_key_that_asks_too_often_is_told_when_to_come_back(
    app: Any, database: Database, clock: FakeClock
) -> None:
    async with await client_of(app, database, requests_per_minute=12) as client:
        first = await client.get("/v1/calls")
        assert first.headers["ratelimit-policy"] == '"key";q=2;w=10'
        assert first.headers["ratelimit"] == '"key";r=1;t=5'
        assert (await client.get("/v1/calls")).status_code == 200
        refused = await client.get("/v1/calls")
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "5")
        assert refused.headers["ratelimit"] == '"key";r=0;t=10'
        assert (refused.json()["type"], refused.json()["retryAfterSeconds"]) == (
            "/problems/too-many-requests",
            5,
        )
        clock.advance(5)
        assert (await client.get("/v1/calls")).status_code == 200


async def test_a_call_that_is_read_again_and_again_counts_as_often(
    app: Any, database: Database, clock: FakeClock, account: AccountId
) -> None:
    path = f"/v1/calls/{(await seed_call(database)).call_id}"
    async with await client_of(app, database, requests_per_minute=18) as client:
        answers = [await client.get(path) for _ in range(4)]
        assert [one.status_code for one in answers] == [200, 200, 200, 429]
        assert [one.headers["ratelimit"].split(";")[1] for one in answers] == ["r=2", "r=1", "r=0", "r=0"]
        clock.advance(5)
        foreign = await client.get(path, headers={"Origin": PAGE})
        assert foreign.status_code == 403


async def test_a_key_without_a_limit_has_no_such_headers(app: Any, database: Database) -> None:
    async with await client_of(app, database, requests_per_minute=0) as client:
        answer = await client.get("/v1/calls")
    assert answer.status_code == 200
    assert "ratelimit" not in answer.headers


async def test_a_page_may_use_a_key_that_names_its_origin(app: Any, database: Database) -> None:
    async with await client_of(app, database, origins=[PAGE]) as client:
        asked = await client.options(
            "/v1/calls/1/notes",
            headers={
                "Origin": PAGE,
                "Access-Control-Request-Method": "POST",
                "Access-Control-Request-Headers": "authorization",
            },
        )
        assert (asked.status_code, asked.headers["access-control-allow-origin"]) == (204, PAGE)
        assert "POST" in asked.headers["access-control-allow-methods"]
        assert "Authorization" in asked.headers["access-control-allow-headers"]
        assert "access-control-allow-credentials" not in asked.headers
        answer = await client.get("/v1/calls", headers={"Origin": PAGE})
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, PAGE)
        assert "ETag" in answer.headers["access-control-expose-headers"]
        assert "Origin" in answer.headers["vary"]


@pytest.mark.parametrize("origin", ["https://evil.example.com", "null", f"{PAGE}.evil.example"])
async def test_a_page_of_another_origin_is_refused_and_writes_nothing(
    app: Any, database: Database, origin: str
) -> None:
    async with await client_of(app, database, origins=[PAGE]) as client:
        answer = await client.post("/v1/calls/s-1/notes", json={"text": "x"}, headers={"Origin": origin})
        assert (answer.status_code, answer.json()["type"]) == (403, "/problems/origin-refused")
        assert (await client.get("/v1/calls/s-1/notes")).status_code == 404


async def test_a_page_can_read_why_its_key_is_refused(anonymous: httpx.AsyncClient) -> None:
    answer = await anonymous.get("/v1/calls", headers={"Origin": PAGE})
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (401, PAGE)


async def test_a_change_of_a_key_replaces_only_what_it_names(database: Database) -> None:
    async with database.write() as db:
        created = await keys.create_key(db, UNBOUND_ACCOUNT, "browser", START)
        key_id = created.info.key_id
        await keys.change_key(db, UNBOUND_ACCOUNT, key_id, KeyChanges([PAGE], 60))
        limited = await keys.change_key(
            db, UNBOUND_ACCOUNT, key_id, KeyChanges(requests_per_minute=keys.DEFAULT_LIMIT)
        )
        assert limited is not None
        assert (limited.origins, limited.requests_per_minute) == ((PAGE,), None)
        bare = await keys.change_key(db, UNBOUND_ACCOUNT, key_id, KeyChanges(origins=[]))
        assert bare is not None
        assert bare.origins == ()
        with pytest.raises(Unprocessable):
            await keys.change_key(db, UNBOUND_ACCOUNT, key_id, KeyChanges(origins=["*"]))
        assert await keys.change_key(db, UNBOUND_ACCOUNT, "key_0", KeyChanges()) is None
