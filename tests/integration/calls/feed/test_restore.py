"""After a restore from a backup, cursors and ETags of the lost history are detected; others stay valid."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import httpx
import pytest
from sqlalchemy import delete, select, update

from app.api.dependencies import Services
from app.calls.feed import following, positions
from app.clock import SystemClock
from app.db.engine import Database
from app.db.tables import metadata, timeline
from app.errors import HistoryChanged
from app.ids import AccountId
from tests.conftest import open_feeds
from tests.factories_calls import seed_call, touch
from tests.fakes.clock import START

Restore = Callable[[], Awaitable[None]]


async def back_up(database: Database) -> Restore:
    """Copy every row; what is returned puts the copy back, as a restore does."""
    async with database.read() as db:
        rows = {
            table: [dict(row) for row in (await db.execute(select(table))).mappings()]
            for table in metadata.sorted_tables
        }

    async def restore() -> None:
        async with database.write() as db:
            for table in reversed(metadata.sorted_tables):
                await db.execute(delete(table))
            for table, kept in rows.items():
                if kept:
                    await db.execute(table.insert(), kept)

    return restore


async def feed(client: httpx.AsyncClient, **params: Any) -> Any:
    answer = await client.get("/v1/changes", params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()


def refused(answer: httpx.Response) -> Any:
    assert answer.status_code == 410, answer.text
    body = answer.json()
    assert (body["type"], body["startFrom"]) == ("/problems/history-changed", "0")
    return body


@pytest.fixture
async def histories(client: httpx.AsyncClient, database: Database) -> dict[str, str]:
    """Twelve changes, a backup, twelve that are lost, and twelve others after it; returns their cursors."""
    for _ in range(12):
        await seed_call(database)
    early, backup = (await feed(client, limit=5))["nextCursor"], (await feed(client))["nextCursor"]
    restore = await back_up(database)
    for _ in range(12):
        await seed_call(database)
    lost = await feed(client, cursor=backup)
    await restore()
    for _ in range(12):
        await seed_call(database)
    return {"early": early, "backup": backup, "middle": lost["data"][5]["cursor"], "end": lost["nextCursor"]}


@pytest.mark.parametrize("path", ["/v1/changes", "/v1/changes/stream"])
@pytest.mark.parametrize("name", ["middle", "end"])
async def test_a_cursor_of_the_lost_history_is_refused(
    client: httpx.AsyncClient, histories: dict[str, str], path: str, name: str
) -> None:
    refused(await client.get(path, params={"cursor": histories[name]}))
    if path.endswith("stream"):
        refused(await client.get(path, headers={"Last-Event-ID": histories[name]}))
    else:
        refused(await client.get(path, params={"cursor": histories[name], "wait": 60}))
    start = refused(await client.get(path, params={"cursor": histories[name]}))["startFrom"]
    assert len((await feed(client, cursor=start))["data"]) == 24


@pytest.mark.parametrize(("name", "left"), [("early", 19), ("backup", 12)])
async def test_a_cursor_from_before_the_backup_stays_valid(
    client: httpx.AsyncClient, histories: dict[str, str], name: str, left: int
) -> None:
    told = await feed(client, cursor=histories[name])
    assert len(told["data"]) == left
    numbers = [change["seq"] for change in told["data"]]
    assert numbers == list(range(25 - left, 25))


async def test_a_cursor_of_an_earlier_version_is_refused_only_after_the_end(
    client: httpx.AsyncClient, histories: dict[str, str]
) -> None:
    assert len((await feed(client, cursor="20"))["data"]) == 4
    assert "ahead of this feed" in refused(await client.get("/v1/changes", params={"cursor": "25"}))["detail"]


async def test_the_same_change_again_is_another_history(
    client: httpx.AsyncClient, database: Database
) -> None:
    call = await seed_call(database)
    restore = await back_up(database)
    await touch(database, call, "call.updated", START)
    cursor = (await feed(client))["nextCursor"]
    await restore()
    call.version -= 1
    await touch(database, call, "call.updated", START)
    refused(await client.get("/v1/changes", params={"cursor": cursor}))


async def test_a_cursor_of_a_deleted_change_stays_valid(
    client: httpx.AsyncClient, database: Database
) -> None:
    for _ in range(3):
        await seed_call(database)
    first, second, third = (await feed(client))["data"]
    async with database.write() as db:
        await db.execute(delete(timeline).where(timeline.c.seq.in_([1, 2])))
    for cursor in (first["cursor"], second["cursor"]):
        assert [change["seq"] for change in (await feed(client, cursor=cursor))["data"]] == [3]
    async with database.write() as db:
        await db.execute(delete(timeline))
    assert (await feed(client, cursor=third["cursor"]))["data"] == []


async def test_changes_of_earlier_versions_have_a_mark(client: httpx.AsyncClient, database: Database) -> None:
    await seed_call(database)
    call = await seed_call(database)
    async with database.write() as db:
        await db.execute(update(timeline).values(mark=None))
    cursor = (await feed(client))["nextCursor"]
    assert (await feed(client, cursor=cursor))["data"] == []
    async with database.write() as db:
        await db.execute(update(timeline).where(timeline.c.call_id == call.call_id).values(type="call.final"))
    refused(await client.get("/v1/changes", params={"cursor": cursor}))


@pytest.mark.parametrize("order", ["-startTime", "startTime", "updatedAt", "-updatedAt"])
async def test_a_cursor_of_a_list_of_the_lost_history_is_refused(
    client: httpx.AsyncClient, database: Database, order: str
) -> None:
    for _ in range(3):
        await seed_call(database)
    restore = await back_up(database)
    kept = (await client.get("/v1/calls", params={"limit": 2, "order": order})).json()["nextCursor"]
    await seed_call(database)
    lost = (await client.get("/v1/calls", params={"limit": 2, "order": order})).json()["nextCursor"]
    await restore()
    await seed_call(database)
    assert (
        await client.get("/v1/calls", params={"limit": 2, "order": order, "cursor": kept})
    ).status_code == 200
    refused(await client.get("/v1/calls", params={"limit": 2, "order": order, "cursor": lost}))


async def test_an_etag_of_the_lost_history_matches_nothing(
    client: httpx.AsyncClient, database: Database
) -> None:
    call = await seed_call(database)
    path = f"/v1/calls/{call.call_id}"
    note = (await client.post(f"{path}/notes", json={"text": "one"})).headers["location"]
    restore = await back_up(database)
    of_note = (await client.patch(note, json={"text": "two"})).headers["etag"]
    of_call = (await client.get(path)).headers["etag"]
    await restore()
    other = await client.patch(note, json={"text": "zwei"})
    assert other.json()["version"] == 2
    assert other.headers["etag"] != of_note
    assert (await client.get(path, headers={"If-None-Match": of_call})).status_code == 200
    assert (await client.get(note, headers={"If-None-Match": of_note})).status_code == 200
    stale = await client.patch(note, json={"text": "three"}, headers={"If-Match": of_note})
    assert (stale.status_code, stale.json()["version"]) == (412, 2)
    assert (await client.delete(note, headers={"If-Match": of_note})).status_code == 412
    assert (await client.delete(note, headers={"If-Match": other.headers["etag"]})).status_code == 204


async def test_if_match_may_come_in_several_lines(client: httpx.AsyncClient, database: Database) -> None:
    call = await seed_call(database)
    path = f"/v1/calls/{call.call_id}/disposition"
    etag = (await client.put(path, json={"code": "sold"})).headers["etag"]
    lines = [("If-Match", '"v9"'), ("If-Match", f'"x", {etag}')]
    assert (await client.put(path, json={"code": "lost"}, headers=lines)).status_code == 200


async def test_waits_and_streams_end_after_a_restore(
    services: Services, client: httpx.AsyncClient, account: AccountId, database: Database
) -> None:
    live = open_feeds(replace(services, clock=SystemClock()))
    await seed_call(database)
    restore = await back_up(database)
    await seed_call(database)
    place = (await feed(client))["nextCursor"]
    stream = following.follow(live, account, positions.BEGINNING)
    async with asyncio.timeout(30):
        assert len(await anext(stream)) == 2
        streaming = asyncio.ensure_future(anext(stream))
        waiting = asyncio.ensure_future(
            following.wait_for_changes(live, account, place, limit=10, seconds=60)
        )
        await restore()
        for pending in (streaming, waiting):
            with pytest.raises(HistoryChanged):
                await pending


async def test_the_stream_says_why_it_ends(
    services: Services, client: httpx.AsyncClient, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def follow(*_: Any) -> Any:
        raise HistoryChanged.replaced()
        yield

    monkeypatch.setattr(following, "follow", follow)
    with suppress(httpx.HTTPError):
        answer = await client.get("/v1/changes/stream")
    assert "event: stream.history-changed" in answer.text
    told = next(line for line in answer.text.splitlines() if line.startswith("data:"))
    problem = json.loads(told.removeprefix("data:"))
    assert (problem["status"], problem["startFrom"], problem["instance"]) == (410, "0", "/v1/changes/stream")
