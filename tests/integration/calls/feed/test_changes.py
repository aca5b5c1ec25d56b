"""The feed: every change once and in order, by pages, by long polls, and as a stream."""

import asyncio
import json
import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import event

from app import metrics
from app.api.dependencies import Services
from app.calls import accounts
from app.calls.feed import following as following_
from app.calls.feed.feeds import Feeds
from app.calls.feed.positions import BEGINNING
from app.calls.feed.schemas import Change, Changes
from app.clock import SystemClock
from app.db.engine import Database
from app.errors import StorageUnavailable
from app.ids import UNBOUND_ACCOUNT, AccountId
from tests.conftest import build_app, open_feeds, until
from tests.factories_calls import ACCOUNT, seed_call, touch
from tests.fakes.clock import START

ENDED = "2026-03-10T18:07:41.500Z"
OTHER_ACCOUNT = AccountId("555000111")


async def feed(client: httpx.AsyncClient, **params: Any) -> Any:
    answer = await client.get("/v1/changes", params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_the_feed_has_every_change_in_order_and_matches_its_schema(
    client: httpx.AsyncClient, database: Database
) -> None:
    one = await seed_call(database, event="call.live")
    two = await seed_call(database, event="call.live")
    await touch(
        database, one, "call.ended", START + timedelta(seconds=1), reason="all-parties-left", endedAt=ENDED
    )
    await seed_call(database, OTHER_ACCOUNT)
    told = await feed(client)
    Changes.model_validate(told)
    assert set(told["data"][0]) == {field.alias for field in Change.model_fields.values()}
    assert [(change["seq"], change["type"], change["callId"]) for change in told["data"]] == [
        (1, "call.live", one.call_id),
        (2, "call.live", two.call_id),
        (3, "call.ended", one.call_id),
    ]
    last = told["data"][2]
    assert (last["version"], last["sessionId"], last["at"]) == (2, one.session_id, "2026-03-10T18:07:42.000Z")
    assert last["data"]["reason"] == "all-parties-left"
    assert re.fullmatch("3-[0-9a-f]{12}", told["nextCursor"])
    assert (last["cursor"], told["hasMore"]) == (told["nextCursor"], False)


async def test_reading_continues_from_the_cursor(client: httpx.AsyncClient, database: Database) -> None:
    for _ in range(5):
        await seed_call(database)
    first = await feed(client, limit=2)
    assert first["hasMore"]
    rest = await feed(client, cursor=first["nextCursor"])
    assert [change["seq"] for change in first["data"] + rest["data"]] == [1, 2, 3, 4, 5]
    nothing = await feed(client, cursor=rest["nextCursor"])
    assert nothing == {"data": [], "nextCursor": rest["nextCursor"], "hasMore": False}


async def test_now_starts_after_past_changes(client: httpx.AsyncClient, database: Database) -> None:
    await seed_call(database)
    begun = await feed(client, cursor="now")
    end = (await feed(client))["nextCursor"]
    assert begun == {"data": [], "nextCursor": end, "hasMore": False}
    await seed_call(database)
    assert [change["seq"] for change in (await feed(client, cursor=begun["nextCursor"]))["data"]] == [2]


@pytest.mark.parametrize("path", ["/v1/changes", "/v1/changes/stream"])
async def test_an_invalid_cursor_is_refused_without_waiting(
    client: httpx.AsyncClient, database: Database, path: str
) -> None:
    await seed_call(database)
    for cursor in (
        "99999999999999999999",
        "-1",
        "1.0",
        "x",
        "٣",
        "",
        "\0",
        "1-",
        "1-x",
        "1-ab-cd",
        "1-" + "a" * 13,
    ):
        waiting = {} if path.endswith("stream") else {"wait": "60"}
        answer = await client.get(path, params={"cursor": cursor} | waiting)
        assert answer.status_code == 400, cursor
        assert answer.json()["parameter"] == "cursor"


async def test_a_wait_ends_with_the_next_change(
    waiting_client: httpx.AsyncClient, database: Database
) -> None:
    waiting = asyncio.create_task(feed(waiting_client, wait=30))
    await asyncio.sleep(0.05)
    call = await seed_call(database)
    async with asyncio.timeout(20):
        told = await waiting
    assert [change["callId"] for change in told["data"]] == [call.call_id]


async def test_a_wait_that_times_out_returns_no_changes(waiting_client: httpx.AsyncClient) -> None:
    assert await feed(waiting_client, wait=0.05) == {"data": [], "nextCursor": "0", "hasMore": False}


# Following


@pytest.fixture
def following(services: Services) -> Feeds:
    return open_feeds(replace(services, clock=SystemClock()))


async def each(batches: AsyncGenerator[Any]) -> AsyncGenerator[Any]:
    """What the feed shows of each change."""
    try:
        async for batch in batches:
            for change in batch:
                yield change.shown
    finally:
        await batches.aclose()


def follow(feeds: Feeds, account_id: AccountId) -> AsyncGenerator[Any]:
    return each(following_.follow(feeds, account_id, BEGINNING))


async def take(stream: AsyncIterator[Any], count: int) -> list[Any]:
    async with asyncio.timeout(20):
        return [await anext(stream) for _ in range(count)]


async def test_a_stream_sends_past_changes_and_then_new_ones(
    following: Feeds, database: Database, account: AccountId
) -> None:
    await seed_call(database)
    stream = follow(following, account)
    assert [change["seq"] for change in await take(stream, 1)] == [1]
    waiting = asyncio.create_task(take(stream, 2))
    await asyncio.sleep(0.05)
    await seed_call(database)
    await seed_call(database)
    assert [change["seq"] for change in await waiting] == [2, 3]
    await stream.aclose()


async def test_a_stream_can_start_before_the_account_is_known(following: Feeds, database: Database) -> None:
    async with database.write() as db:
        await accounts.open_unbound(db, START)
    stream = follow(following, UNBOUND_ACCOUNT)
    waiting = asyncio.create_task(take(stream, 1))
    await asyncio.sleep(0.05)
    async with database.write() as db:
        await accounts.bind(db, ACCOUNT, START)
    call = await seed_call(database)
    assert (await waiting)[0]["callId"] == call.call_id
    await stream.aclose()


async def test_a_stream_continues_after_a_database_outage(
    following: Feeds, database: Database, account: AccountId, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, refusals = database.read, iter([True, True])

    @asynccontextmanager
    async def flaky() -> AsyncIterator[Any]:
        if next(refusals, False):
            raise StorageUnavailable("gone for a moment")
        async with read() as db:
            yield db

    monkeypatch.setattr(database, "read", flaky)
    await seed_call(database)
    stream = follow(following, account)
    assert [change["seq"] for change in await take(stream, 1)] == [1]
    await stream.aclose()


async def test_only_one_batch_is_read_ahead_of_a_slow_client(
    following: Feeds, database: Database, account: AccountId, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following_, "_BATCH", 3)
    for _ in range(10):
        await seed_call(database)
    reads: list[str] = []
    event.listen(
        database.engine.sync_engine,
        "before_cursor_execute",
        lambda *received: reads.append(received[2]) if "timeline.seq >=" in received[2] else None,
    )
    stream = follow(following, account)
    assert [change["seq"] for change in await take(stream, 2)] == [1, 2]
    assert len(reads) == 1
    assert [change["seq"] for change in await take(stream, 8)] == list(range(3, 11))
    await stream.aclose()


async def test_a_stream_ends_when_the_process_stops(following: Feeds, account: AccountId) -> None:
    stream = follow(following, account)
    waiting = asyncio.create_task(take(stream, 1))
    await asyncio.sleep(0.05)
    following.services.stopping.set()
    async with asyncio.timeout(20):
        with pytest.raises(StopAsyncIteration):
            await waiting


# The stream on the wire


class Reader:
    """One request to the app that reads its answer while it is being sent."""

    def __init__(self, app: FastAPI, api_key: str, headers: dict[str, str], query: str = "") -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.text = ""
        self._gone = asyncio.Event()
        self._asked = False
        sent = {"authorization": f"Bearer {api_key}", **headers}
        self._scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": "GET",
            "scheme": "http",
            "path": "/v1/changes/stream",
            "raw_path": b"/v1/changes/stream",
            "root_path": "",
            "query_string": query.encode(),
            "headers": [(name.lower().encode(), value.encode()) for name, value in sent.items()],
            "server": ("aftercall.test", 80),
            "client": ("127.0.0.1", 1),
        }
        self.task = asyncio.create_task(self._run(app))

    async def _run(self, app: FastAPI) -> None:
        await app(self._scope, self._receive, self._send)

    async def _receive(self) -> dict[str, Any]:
        if self._asked:
            await self._gone.wait()
            return {"type": "http.disconnect"}
        self._asked = True
        return {"type": "http.request", "body": b"", "more_body": False}

    async def _send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        else:
            self.text += message.get("body", b"").decode()

    def leave(self) -> None:
        self._gone.set()

    def events(self) -> list[dict[str, str]]:
        """All whole events so far, as fields; comments are left out."""
        blocks = self.text.split("\n\n")[:-1]
        found = [
            dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
            for block in blocks
        ]
        return [fields for fields in found if "data" in fields]


@pytest.fixture
async def open_stream(following: Feeds, account: AccountId, api_key: str) -> AsyncIterator[Any]:
    app = build_app(following.services)
    app.state.feeds = following
    readers: list[Reader] = []

    def open_one(query: str = "", **headers: str) -> Reader:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        readers.append(Reader(app, api_key, named, query))
        return readers[-1]

    yield open_one
    for reader in readers:
        reader.leave()
    async with asyncio.timeout(20):
        await asyncio.gather(*(reader.task for reader in readers))


def open_streams() -> float:
    return float(metrics.STREAMS._value.get())


async def test_the_stream_sends_each_change_as_an_event_with_its_cursor(
    open_stream: Any, database: Database
) -> None:
    call = await seed_call(database, event="call.live")
    reader = open_stream()
    async with asyncio.timeout(20):
        await until(lambda: len(reader.events()) == 1)
        await touch(database, call, "call.ended", START, endedAt=ENDED)
        await until(lambda: len(reader.events()) == 2)
    assert reader.status == 200
    assert reader.headers["content-type"].startswith("text/event-stream")
    assert reader.headers["cache-control"] == "no-cache"
    first, second = reader.events()
    assert (first["event"], first["id"].partition("-")[0]) == ("call.live", "1")
    assert (second["event"], second["id"].partition("-")[0]) == ("call.ended", "2")
    Change.model_validate(json.loads(second["data"]))
    assert json.loads(second["data"])["callId"] == call.call_id


async def test_a_stream_resumes_after_a_disconnect(open_stream: Any, database: Database) -> None:
    for _ in range(3):
        await seed_call(database)
    reader = open_stream("cursor=1", Last_Event_ID="2")
    async with asyncio.timeout(20):
        await until(lambda: bool(reader.events()))
    assert [fields["id"].partition("-")[0] for fields in reader.events()] == ["3"]


async def test_an_idle_stream_is_kept_open_by_comments(
    open_stream: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following_, "KEEP_ALIVE_SECONDS", 0.02)
    reader = open_stream()
    async with asyncio.timeout(20):
        await until(lambda: reader.text.count(": ping") >= 2)
    assert reader.events() == []


async def test_a_disconnected_client_is_released(open_stream: Any) -> None:
    before = open_streams()
    reader = open_stream()
    async with asyncio.timeout(20):
        await until(lambda: open_streams() == before + 1)
        reader.leave()
        await until(lambda: open_streams() == before)


async def test_shutdown_ends_a_stream(open_stream: Any, following: Feeds) -> None:
    reader = open_stream()
    async with asyncio.timeout(20):
        await until(lambda: reader.status == 200)
        following.services.stopping.set()
        await reader.task
    assert reader.text.endswith("\n\n")
