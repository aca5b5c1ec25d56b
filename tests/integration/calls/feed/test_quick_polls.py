"""A plain long poll takes a short way, on which nothing can be seen but its speed."""

import asyncio
from typing import Any

import httpx
import pytest

from app.api import keys
from app.api.known_keys import Scope
from app.calls.feed import quick_polls
from app.calls.feed.quick_polls import LongPoll, read_query
from app.db.engine import Database
from app.ids import AccountId
from tests.factories_calls import seed_call
from tests.fakes.clock import START

PATH = "/v1/changes"


@pytest.fixture
def short_ways(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether each request got its response on the short way."""
    taken: list[bool] = []
    answer = quick_polls._answer

    async def noted(request: Any) -> Any:
        response = await answer(request)
        taken.append(response is not None)
        return response

    monkeypatch.setattr(quick_polls, "_answer", noted)
    return taken


async def test_both_ways_lead_to_the_same_response(
    waiting_client: httpx.AsyncClient, database: Database, short_ways: list[bool]
) -> None:
    for _ in range(4):
        await seed_call(database)
    first = (await waiting_client.get(PATH, params={"limit": 1})).json()["nextCursor"]
    for more in ({}, {"limit": "2"}):
        # A number may be written in many ways, of which the short way knows the plain ones.
        usual = await waiting_client.get(PATH, params={"cursor": first, "wait": " 5"} | more)
        short = await waiting_client.get(PATH, params={"cursor": first, "wait": "5"} | more)
        for one in (usual, short):
            assert one.headers.pop("RateLimit")
        assert (short.status_code, short.content, short.headers) == (200, usual.content, usual.headers)
        assert len(short.json()["data"]) == int(more.get("limit", 3))
    assert short_ways == [False, False, True, False, True]


async def test_a_change_ends_the_wait_of_all(
    waiting_client: httpx.AsyncClient, database: Database, short_ways: list[bool]
) -> None:
    await seed_call(database)
    cursor = (await waiting_client.get(PATH)).json()["nextCursor"]
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        asked = [
            group.create_task(waiting_client.get(PATH, params={"cursor": cursor, "wait": 60}))
            for _ in range(5)
        ]
        await asyncio.sleep(0.05)
        call = await seed_call(database)
    assert [[one["callId"] for one in task.result().json()["data"]] for task in asked] == [[call.call_id]] * 5
    assert short_ways == [False] + [True] * 5


async def test_what_is_wrong_is_told_as_on_the_usual_way(
    waiting_client: httpx.AsyncClient, database: Database, account: AccountId, short_ways: list[bool]
) -> None:
    await seed_call(database)
    async with database.write() as db:
        writer = await keys.create_key(db, account, "writer", START, [Scope.NOTES_WRITE])
    plain = {"cursor": "0", "wait": "5"}

    async def refused(status: int, params: dict[str, str], **headers: str) -> Any:
        response = await waiting_client.get(PATH, params=params, headers=headers)
        assert response.status_code == status, response.text
        return response.json()

    assert (await refused(410, plain | {"cursor": "9"}))["startFrom"] == "0"
    assert (await refused(410, plain | {"cursor": "1-0123456789ab"}))["startFrom"] == "0"
    assert (await refused(422, plain | {"wait": "61"}))["errors"]
    assert (await refused(422, plain | {"limit": "501"}))["errors"]
    assert (await refused(422, plain | {"cursors": "1"}))["errors"]
    await refused(401, plain, Authorization="Bearer ak_no-such-key")
    denied = await refused(403, plain, Authorization=f"Bearer {writer.plain}")
    assert denied["requiredScope"] == Scope.CALLS_READ
    assert not any(short_ways)


async def test_a_revoked_key_ends_the_wait(
    waiting_client: httpx.AsyncClient, database: Database, account: AccountId
) -> None:
    await seed_call(database)
    async with database.write() as db:
        made = await keys.create_key(db, account, "poller", START, [Scope.CALLS_READ])
    authorization = {"Authorization": f"Bearer {made.plain}"}
    cursor = (await waiting_client.get(PATH, headers=authorization)).json()["nextCursor"]
    params = {"cursor": cursor, "wait": 60}
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        waiting = group.create_task(waiting_client.get(PATH, params=params, headers=authorization))
        await asyncio.sleep(0.1)
        async with database.write() as db:
            assert await keys.revoke_key(db, account, made.info.key_id, START)
    assert waiting.result().status_code == 401


@pytest.mark.parametrize(
    ("query", "asked"),
    [
        (b"wait=60&cursor=17-0123456789ab", LongPoll("17-0123456789ab", 100, 60.0)),
        (b"cursor=0&wait=0.5&limit=500", LongPoll("0", 500, 0.5)),
        (b"", None),
        (b"wait=5", None),
        (b"cursor=5", None),
        (b"wait=0&cursor=5", None),
        (b"wait=60.1&cursor=5", None),
        (b"wait=nan&cursor=5", None),
        (b"wait=1e1&cursor=5", None),
        (b"wait=5&cursor=now", None),
        (b"wait=5&cursor=", None),
        (b"wait=5&cursor=%31", None),
        (b"wait=5&cursor=5&limit=0", None),
        (b"wait=5&cursor=5&limit=501", None),
        (b"wait=5&cursor=5&types=call.final", None),
        (b"wait=5&wait=5&cursor=5", None),
        (b"wait=5&cursor=5&", None),
    ],
)
def test_only_plain_queries_are_read(query: bytes, asked: LongPoll | None) -> None:
    assert read_query(query) == asked
