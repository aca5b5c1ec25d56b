"""Readers of the feed choose types of changes, and leave out their own."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import httpx
import pytest

from app.api.dependencies import Services
from app.calls.feed import following, selection
from app.calls.feed.positions import BEGINNING
from app.calls.feed.selection import Selection
from app.clock import SystemClock
from app.db.engine import Database
from app.ids import AccountId
from tests.conftest import open_feeds
from tests.factories_calls import ACCOUNT, seed_call, touch
from tests.fakes.clock import START


async def feed(client: httpx.AsyncClient, **params: Any) -> Any:
    answer = await client.get("/v1/changes", params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()


def types_of(page: Any) -> list[str]:
    return [change["type"] for change in page["data"]]


async def test_types_and_words_select_changes(client: httpx.AsyncClient, database: Database) -> None:
    call = await seed_call(database, event="call.live")
    await touch(database, call, "call.updated", START + timedelta(seconds=1))
    assert (await client.post(f"/v1/calls/{call.call_id}/notes", json={"text": "hello"})).status_code == 201
    assert types_of(await feed(client)) == ["call.live", "call.updated", "note.created"]
    assert types_of(await feed(client, types="call.*")) == ["call.live", "call.updated"]
    assert types_of(await feed(client, types=["note.*", "call.live"])) == ["call.live", "note.created"]
    nothing = await feed(client, types="recording.ready")
    assert (nothing["data"], nothing["hasMore"]) == ([], False)
    assert nothing["nextCursor"] == (await feed(client))["nextCursor"]


@pytest.mark.parametrize("pattern", ["calls.*", "call", "call.", "*", "call.*.x", "note.Created", ""])
async def test_a_pattern_that_names_nothing_is_refused(
    client: httpx.AsyncClient, database: Database, pattern: str
) -> None:
    await seed_call(database)
    for path in ("/v1/changes", "/v1/changes/stream"):
        answer = await client.get(path, params={"types": pattern})
        assert answer.status_code == 400, answer.text
        assert answer.json()["parameter"] == "types"
        assert "call.*" in answer.json()["detail"]


async def test_own_changes_are_left_out(client: httpx.AsyncClient, database: Database) -> None:
    call = await seed_call(database, event="call.live")
    path = f"/v1/calls/{call.call_id}"
    assert (await client.post(f"{path}/notes", json={"text": "hello"})).status_code == 201
    assert (await client.put(f"{path}/disposition", json={"code": "sold"})).status_code == 201
    whole = await feed(client)
    keys = {change["data"].get("keyId") for change in whole["data"]}
    assert len(keys) == 2
    assert None in keys
    others = await feed(client, exclude="own")
    assert (types_of(others), others["nextCursor"]) == (["call.live"], whole["nextCursor"])


async def test_a_long_wait_passes_what_is_not_wanted(
    waiting_client: httpx.AsyncClient, database: Database
) -> None:
    call = await seed_call(database, event="call.live")
    waiting = asyncio.create_task(feed(waiting_client, types="call.final", wait=30))
    await asyncio.sleep(0.1)
    await touch(database, call, "call.updated", START + timedelta(seconds=1))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    await touch(database, call, "call.final", START + timedelta(seconds=2))
    async with asyncio.timeout(30):
        found = await waiting
    assert types_of(found) == ["call.final"]


async def test_much_that_is_not_wanted_is_passed_in_parts(
    client: httpx.AsyncClient, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "_MOST_PASSED", 4)
    call = await seed_call(database, event="call.live")
    for number in range(10):
        await touch(database, call, "call.updated", START + timedelta(seconds=number))
    await touch(database, call, "call.final", START + timedelta(seconds=20))
    cursor, requests = "0", 0
    while not (page := await feed(client, types="call.final", cursor=cursor, limit=2))["data"]:
        assert page["hasMore"]
        cursor, requests = page["nextCursor"], requests + 1
    assert (types_of(page), requests) == (["call.final"], 2)


async def test_a_stream_sends_the_selection(
    services: Services, database: Database, account: AccountId
) -> None:
    feeds = open_feeds(replace(services, clock=SystemClock()))
    call = await seed_call(database, event="call.live")
    wanted = Selection(selection.expand(["call.final"]))
    stream = following.follow(feeds, ACCOUNT, BEGINNING, wanted=wanted)
    sent = asyncio.ensure_future(anext(stream))
    await touch(database, call, "call.updated", START + timedelta(seconds=1))
    await touch(database, call, "call.final", START + timedelta(seconds=2))
    async with asyncio.timeout(30):
        assert [entry.seq for entry in await sent] == [3]
    await stream.aclose()
