"""Request ids in requests, responses and log lines, and few lines for an outage."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from structlog import get_logger
from structlog.contextvars import get_contextvars, merge_contextvars
from structlog.testing import capture_logs

from app import metrics
from app.clock import SystemClock
from app.db.engine import Database, after_commit
from app.errors import RingCentralUnreachable, StorageUnavailable
from app.main import create_app
from app.process import Role
from app.webhooks.intake.router import PATH
from app.work.failures import log_failure
from app.work.lanes import Lanes
from app.work.loops import Loop
from app.work.wakeups import Wakeups
from tests.conftest import SECRETS, open_client
from tests.factories import delivery
from tests.fakes.clock import FakeClock

TOKEN = {"Verification-Token": SECRETS["webhook_token"]}
KEY = SECRETS["api_key"]


@pytest.fixture
async def app(make_settings: Any, database_url: str) -> AsyncIterator[FastAPI]:
    app = create_app(make_settings(database_url=database_url), role=Role.WEB)
    async with app.router.lifespan_context(app):
        yield app


@pytest.fixture
async def caller(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with open_client(app, KEY) as opened:
        yield opened


def captured() -> Any:
    return capture_logs(processors=[merge_contextvars])


def size_of(answer: httpx.Response) -> int:
    head = sum(len(name) + len(value) + 4 for name, value in answer.headers.raw)
    return (
        len("HTTP/1.1 200 OK\r\n")
        + len("date: Sat, 28 Nov 2026 17:00:00 GMT\r\n")
        + head
        + 2
        + len(answer.content)
    )


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/calls"),
        ("GET", "/v1/calls/none"),
        ("GET", "/nowhere"),
        ("HEAD", "/v1/calls"),
        ("PUT", "/v1/calls"),
        ("GET", "/healthz"),
    ],
)
async def test_every_response_has_a_request_id(caller: httpx.AsyncClient, method: str, path: str) -> None:
    answer = await caller.request(method, path, headers={"X-Request-Id": "trace-7/b"})
    assert answer.headers.get_list("X-Request-Id") == ["trace-7/b"]
    if answer.headers["content-type"] == "application/problem+json":
        assert answer.json()["requestId"] == "trace-7/b"


@pytest.mark.parametrize("given", ["two words", "x" * 129, "", "h\u00fc", "tab\tbed"])
async def test_an_unloggable_request_id_is_replaced(caller: httpx.AsyncClient, given: str) -> None:
    headers = [(b"x-request-id", given.encode("latin-1"))]
    answer = await caller.get("/healthz", headers=headers)
    assert len(answer.headers["X-Request-Id"]) == 16
    assert answer.headers["X-Request-Id"].isalnum()


async def test_two_request_ids_are_ignored(caller: httpx.AsyncClient) -> None:
    answer = await caller.get("/healthz", headers=[("X-Request-Id", "a"), ("X-Request-Id", "b")])
    assert answer.headers["X-Request-Id"] not in {"a", "b"}


async def test_an_error_of_ours_carries_the_id_as_well(app: FastAPI, caller: httpx.AsyncClient) -> None:
    @app.get("/broken")
    async def broken() -> None:
        raise RuntimeError

    with captured() as lines:
        answer = await caller.get("/broken", headers={"X-Request-Id": "trace-8"})
    assert answer.status_code == 500
    assert answer.headers["X-Request-Id"] == answer.json()["requestId"] == "trace-8"
    assert {line["request_id"] for line in lines} == {"trace-8"}


async def test_answers_to_ringcentral_stay_within_1024_bytes(caller: httpx.AsyncClient) -> None:
    longest = {"X-Request-Id": "x" * 128}
    stored = await caller.post(PATH, json=delivery(), headers=TOKEN | longest)
    handshake = await caller.post(PATH, headers={"Validation-Token": "v" * 256} | longest)
    refused = await caller.post(PATH, json=delivery(), headers={"Verification-Token": "no"} | longest)
    for answer, status in ((stored, 200), (handshake, 200), (refused, 401)):
        assert answer.status_code == status
        assert answer.headers["X-Request-Id"] == "x" * 128
        assert size_of(answer) <= 1024


async def test_each_request_is_one_line_with_its_route_and_who_asked(caller: httpx.AsyncClient) -> None:
    with captured() as lines:
        await caller.get("/v1/calls/s-abc?x=%2B15550179001", headers={"X-Request-Id": "trace-9"})
        await caller.get("/v1/calls/+15550179001")
        await caller.get("/healthz")
        await caller.get("/metrics")
    told = [line for line in lines if line["event"] == "request" and line["log_level"] == "info"]
    first, second = told
    assert (first["route"], first["status"], first["call"]) == ("/v1/calls/{call}", 422, "s-abc")
    assert first["request_id"] == "trace-9"
    assert first["key_id"] == "key_first"
    assert first["account_id"]
    assert first["seconds"] >= 0
    assert "15550179001" not in repr(told)
    assert "call" not in second
    assert "key_id" not in get_contextvars()


async def test_requests_are_counted_by_route_and_class_of_status(caller: httpx.AsyncClient) -> None:
    def count(route: str, status: str) -> float:
        return float(metrics.API_REQUESTS.labels(route=route, status=status)._value.get())

    asked = [("GET /v1/calls/{call}", "4xx"), ("GET /v1/calls", "2xx"), ("other", "4xx")]
    before = [count(*one) for one in asked]
    await caller.get("/v1/calls/s-unknown")
    await caller.get("/v1/calls")
    await caller.head("/v1/calls")
    await caller.get("/nowhere/s-1")
    assert [count(*one) - known for one, known in zip(asked, before, strict=True)] == [1, 2, 1]
    page = (await caller.get("/metrics")).text
    assert 'aftercall_api_requests_total{route="POST /v1/calls/{call}/notes",status="5xx"} 0.0' in page
    assert PATH not in page


async def test_a_wrong_webhook_token_is_logged_once_a_minute(caller: httpx.AsyncClient) -> None:
    with captured() as lines:
        for _ in range(50):
            await caller.post(PATH, json=delivery(), headers={"Verification-Token": "wrong"})
        for _ in range(50):
            await caller.get("/v1/calls", headers={"Authorization": "Bearer ak_wrong"})
    told = [line for line in lines if line["log_level"] != "debug"]
    assert [(line["event"], line["status"], line["count"]) for line in told] == [
        ("deliveries refused", 401, 1),
        ("requests refused", 401, 1),
    ]
    assert "wrong" not in repr(told[1])


async def test_a_delivery_is_named_with_the_request_that_brought_it(caller: httpx.AsyncClient) -> None:
    payload = delivery()
    with captured() as lines:
        await caller.post(PATH, json=payload, headers=TOKEN | {"X-Request-Id": "rc-1"})
    (stored,) = [line for line in lines if line["event"] == "delivery stored"]
    assert stored["uuid"] == payload["uuid"]
    assert stored["telephony_session_id"] == payload["body"]["telephonySessionId"]
    assert stored["request_id"] == "rc-1"


async def test_an_outage_of_the_database_is_two_lines_for_all_loops(database: Database) -> None:
    clock = FakeClock()
    database.outage.clock = clock
    is_away = True

    async def step() -> float | None:
        async with database.read():
            if is_away:
                raise OSError("connection refused")
        return None

    loops = [Loop(name, step, (), 1.0) for name in metrics.LOOPS]
    with captured() as lines:
        for _ in range(100):
            for loop in loops:
                assert await loop._step() > 0
            clock.advance(1)
        is_away = False
        clock.advance(10)
        for loop in loops:
            await loop._step()
    told = [line for line in lines if line["log_level"] != "debug"]
    assert [line["event"] for line in told] == ["the database is away", "the database is away: over"]
    assert told[1]["tries"] == 100 * len(loops)
    assert told[1]["seconds"] == 110.0
    assert "exc_info" not in repr(told)


async def test_a_step_that_always_fails_shows_its_traceback_once() -> None:
    clock = FakeClock()
    is_broken = True

    async def step() -> float | None:
        if is_broken:
            raise ValueError("broken")
        return None

    loop = Loop("fold", step, (), 1.0)
    loop._outage.clock = clock
    with captured() as lines:
        for _ in range(100):
            await loop._step()
            clock.advance(1)
        is_broken = False
        clock.advance(100)
        await loop._step()
    told = [line for line in lines if line["log_level"] != "debug"]
    assert [line["event"] for line in told] == ["background step fails", "background step fails: over"]
    assert "exc_info" in told[0]
    assert told[0]["loop"] == "fold"
    assert told[1]["tries"] == 100


async def test_lines_of_a_lane_name_the_account_and_repeat_no_traceback() -> None:
    seen: list[Any] = []

    async def fail() -> float | None:
        seen.append(get_contextvars()["account_id"])
        raise ValueError("broken")

    lanes: Lanes[Any] = Lanes("readings", wake=lambda: None, longest_seconds=60)
    with captured() as lines:
        for _ in range(20):
            await lanes.run({("908070001", "own"): fail, "908070002": fail})
    assert set(seen) == {"908070001", "908070002"}
    assert sorted(line["account_id"] for line in lines) == ["908070001", "908070002"]


async def test_the_name_of_a_loop_is_on_its_lines() -> None:
    named: list[Any] = []

    async def step() -> float | None:
        named.append(get_contextvars().get("loop"))
        return None

    task = asyncio.create_task(Loop("sweeps", step, (), 60.0).run(Wakeups(), SystemClock()))
    async with asyncio.timeout(30):
        while not named:  # noqa: ASYNC110 - the loop knows of no event
            await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert named == ["sweeps"]


async def test_rolled_back_work_is_neither_counted_nor_logged(database: Database) -> None:
    done: list[str] = []

    async def fail() -> None:
        async with database.write() as db:
            after_commit(db, lambda: done.append("lost"))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await fail()
    assert done == []
    async with database.write() as db:
        after_commit(db, lambda: done.append("kept"))
        assert done == []
    assert done == ["kept"]


def test_failures_during_an_outage_log_no_further_warnings() -> None:
    with captured() as lines:
        for _ in range(30):
            log_failure(get_logger(), "poll failed", RingCentralUnreachable("no answer: ConnectError"))
            log_failure(get_logger(), "poll failed", StorageUnavailable("away"))
    assert {line["log_level"] for line in lines} == {"debug"}
