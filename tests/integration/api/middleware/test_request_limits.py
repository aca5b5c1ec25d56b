"""Requests that are too large, too slow or malformed, over real connections, on every kind of route."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
import uvicorn
from structlog.testing import capture_logs

from app.api.middleware.http_protocol import patient_protocol
from app.main import create_app
from app.process import Role
from app.settings import Settings

INTAKE = "/webhooks/ringcentral"
API = "/v1/calls/1229016182016/notes"
SIGN_IN = "/dashboard/sign-in"
Address = tuple[str, int]


@asynccontextmanager
async def serving(settings: Settings, request_seconds: float) -> AsyncIterator[Address]:
    config = uvicorn.Config(
        create_app(settings, role=Role.WEB),
        port=0,
        log_config=None,
        http=patient_protocol(request_seconds),
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    running = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - uvicorn knows of no event
        await asyncio.sleep(0.01)
    host, port = server.servers[0].sockets[0].getsockname()[:2]
    yield host, port
    server.should_exit = True
    await running


@pytest.fixture
async def served(make_settings: Any, sqlite_url: str) -> AsyncIterator[Address]:
    async with serving(make_settings(database_url=sqlite_url), 60.0) as address:
        yield address


@pytest.fixture
async def impatient(make_settings: Any, sqlite_url: str) -> AsyncIterator[Address]:
    async with serving(make_settings(database_url=sqlite_url), 0.3) as address:
        yield address


async def say(address: Address, *pieces: bytes, pause: float = 0.0) -> bytes:
    """Send pieces one after the other and return all that is answered until the connection is closed."""
    reader, writer = await asyncio.open_connection(*address)
    async with asyncio.timeout(60):
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(pause)
        answer = await reader.read()
    writer.close()
    return answer


def problem(answer: bytes) -> tuple[int, str]:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"application/problem+json" in head, answer
    told = json.loads(body)
    assert told["fault"] == "caller"
    return int(head.split()[1]), told["type"].removeprefix("/problems/")


def head(path: str, *headers: str, method: str = "POST", host: str = "Host: aftercall.test") -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", host, *headers, "", ""]).encode("latin-1")


@pytest.mark.parametrize("path", [INTAKE, API, SIGN_IN, "/healthz", "/nowhere"])
async def test_a_head_that_is_too_large_is_refused(served: Address, path: str) -> None:
    big = "x" * 1_000
    many = [f"X-{number}: 1" for number in range(200)]
    assert problem(await say(served, head(path, *[f"X-{n}: {big}" for n in range(100)]))) == (
        431,
        "headers-too-large",
    )
    assert problem(await say(served, head(path, *many))) == (431, "headers-too-large")
    assert problem(await say(served, head(path, "Cookie: " + "x" * 100_000))) == (431, "headers-too-large")
    assert problem(await say(served, head(f"{path}?{'x' * 10_000}"))) == (414, "address-too-long")


@pytest.mark.parametrize("path", [INTAKE, API, SIGN_IN, "/healthz"])
async def test_a_body_announced_as_too_large_is_refused_unread(served: Address, path: str) -> None:
    answer = await say(served, head(path, "Content-Length: 10485760", "Expect: 100-continue"))
    assert problem(answer) == (413, "payload-too-large")
    assert b"connection: close" in answer.lower()


@pytest.mark.parametrize("path", [INTAKE, API])
async def test_a_chunked_body_is_limited(served: Address, path: str) -> None:
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    reader, writer = await asyncio.open_connection(*served)
    headers = ("Transfer-Encoding: chunked", "Content-Type: application/json", "Authorization: Bearer x")
    writer.write(head(path, *headers))
    async with asyncio.timeout(60):
        for _ in range(20):
            writer.write(chunk)
        answer = await reader.readuntil(b"\r\n")
    writer.close()
    assert answer.split()[1] == b"413"


async def test_an_endless_header_is_not_collected(served: Address) -> None:
    endless = [b"GET / HTTP/1.1\r\nX: ", *[b"x" * 100_000] * 10]
    assert problem(await say(served, *endless)) == (431, "headers-too-large")


@pytest.mark.parametrize("path", [INTAKE, API])
async def test_a_request_whose_body_does_not_arrive_times_out(impatient: Address, path: str) -> None:
    start = head(path, "Content-Length: 100", "Content-Type: application/json")
    assert problem(await say(impatient, start, b'{"a', pause=0.01)) == (408, "request-timeout")


async def test_a_slow_head_times_out(impatient: Address) -> None:
    pieces = [b"GET /healthz HTTP/1.1\r\n", *[b"X: 1\r\n"] * 5]
    assert problem(await say(impatient, *pieces, pause=0.01)) == (408, "request-timeout")


async def test_a_connection_without_a_request_is_closed_silently(impatient: Address) -> None:
    assert await say(impatient) == b""


async def test_a_slow_response_is_not_a_slow_request(make_settings: Any, sqlite_url: str) -> None:
    settings = make_settings(database_url=sqlite_url)
    async with (
        serving(settings, 0.2) as (host, port),
        httpx.AsyncClient(base_url=f"http://{host}:{port}") as client,
    ):
        key = {"Authorization": f"Bearer {settings.api_key.get_secret_value()}"}
        answer = await client.get("/v1/changes?wait=1", headers=key)
        assert answer.status_code == 200
        for _ in range(3):
            assert (await client.get("/healthz")).status_code == 200


@pytest.mark.parametrize("path", [INTAKE, API, SIGN_IN])
async def test_a_client_that_disconnects_is_not_an_error(served: Address, path: str) -> None:
    with capture_logs() as logs:
        for started in (b"", b'{"a'):
            _, writer = await asyncio.open_connection(*served)
            writer.write(head(path, "Content-Length: 100", "Content-Type: application/json") + started)
            await writer.drain()
            writer.close()
        assert (await say(served, head("/healthz", "Connection: close", method="GET"))).startswith(
            b"HTTP/1.1 200"
        )
    assert [line for line in logs if line["log_level"] in {"error", "warning", "critical"}] == []


@pytest.mark.parametrize(
    "host",
    ["Host: [::1", "Host: a b", "Host: evil.example/x", "Host: a\r\nHost: b", "Host: a@b", "Host: a:b"],
)
@pytest.mark.parametrize("path", [INTAKE, "/dashboard", "/v1/calls", "/oauth/ringcentral/start"])
async def test_an_invalid_host_is_refused(served: Address, path: str, host: str) -> None:
    method = "POST" if path == INTAKE else "GET"
    answer = await say(served, head(path, "Connection: close", method=method, host=host))
    assert answer.split()[1] == b"400", answer


async def test_a_url_with_unescaped_bytes_is_refused(served: Address) -> None:
    told = await say(served, b"GET /dashboard?\xff=\xff HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert told.startswith(b"HTTP/1.1 400 ")
