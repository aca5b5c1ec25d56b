"""Compressed responses of the connector API."""

import gzip
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from starlette.responses import Response

from app.api.answers import Answers
from app.api.head_requests import HeadAsGet
from app.api.middleware.compression import Compression, accepts_gzip
from tests.conftest import open_client
from tests.fakes.clock import FakeClock

BODY = b'{"data": "' + b"a" * 5_000 + b'"}'
GZIP = {"Accept-Encoding": "br, gzip"}


async def stream() -> Any:
    yield b"data: 1\n\n"
    yield b"data: 2\n\n"


@pytest.fixture
def answers() -> Answers:
    return Answers(FakeClock())


@pytest.fixture
async def client(answers: Answers) -> Any:
    app = FastAPI()
    tagged = {"ETag": '"v1-9f8e7d6c5b4a"', "Vary": "Origin"}
    json = "application/json"
    app.add_api_route("/v1/long", lambda: Response(BODY, headers=tagged, media_type=json))
    app.add_api_route("/v1/problem", lambda: Response(BODY, 409, media_type="application/problem+json"))
    app.add_api_route("/v1/short", lambda: Response(b"{}", headers=tagged, media_type=json))
    app.add_api_route("/v1/audio", lambda: Response(BODY, media_type="audio/mpeg"))
    part = {"Content-Range": f"bytes 0-{len(BODY) - 1}/99999"}
    app.add_api_route("/v1/range", lambda: Response(BODY, 206, headers=part, media_type=json))
    app.add_api_route("/v1/none", lambda: Response(status_code=304, headers=tagged))
    app.add_api_route("/v1/stream", lambda: StreamingResponse(stream(), media_type="text/event-stream"))
    app.add_api_route("/v1/rows", lambda: StreamingResponse(stream(), media_type=json))
    app.add_middleware(HeadAsGet)
    app.add_middleware(Compression, answers=answers)
    async with open_client(app) as opened:
        yield opened


async def raw(client: httpx.AsyncClient, path: str, method: str = "GET", **headers: str) -> tuple[Any, bytes]:
    async with client.stream(method, path, headers={"Accept-Encoding": "gzip"} | headers) as answer:
        return answer, b"".join([part async for part in answer.aiter_raw()])


@pytest.mark.parametrize("path", ["/v1/long", "/v1/problem"])
async def test_long_json_is_compressed(client: httpx.AsyncClient, path: str) -> None:
    answer, body = await raw(client, path)
    assert gzip.decompress(body) == BODY
    assert answer.headers["content-encoding"] == "gzip"
    assert int(answer.headers["content-length"]) == len(body) < 200
    assert "Accept-Encoding" in answer.headers["vary"]


async def test_a_compressed_response_has_a_weak_etag(client: httpx.AsyncClient) -> None:
    answer, _ = await raw(client, "/v1/long")
    assert answer.headers["etag"] == 'W/"v1-9f8e7d6c5b4a"'
    plain, body = await raw(client, "/v1/long", **{"Accept-Encoding": "identity"})
    assert (plain.headers["etag"], body) == ('"v1-9f8e7d6c5b4a"', BODY)
    assert plain.headers.get_list("vary") == ["Origin", "Accept-Encoding"]


@pytest.mark.parametrize(
    "path", ["/v1/short", "/v1/audio", "/v1/range", "/v1/none", "/v1/stream", "/v1/rows"]
)
async def test_what_is_short_partial_binary_or_streamed_is_not(client: httpx.AsyncClient, path: str) -> None:
    answer, body = await raw(client, path)
    assert "content-encoding" not in answer.headers
    plain, same = await raw(client, path, **{"Accept-Encoding": "identity"})
    assert body == same
    assert answer.headers == plain.headers


async def test_a_stream_is_passed_on_piece_by_piece(answers: Answers) -> None:
    passed: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        assert passed == ["http.response.start"]
        await send({"type": "http.response.body", "body": b"x", "more_body": True})
        assert passed == ["http.response.start", "http.response.body"]
        await send({"type": "http.response.body", "body": b""})

    async def send(message: Any) -> None:
        passed.append(message["type"])

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/v1/changes/stream",
        "headers": [(b"accept-encoding", b"gzip")],
    }
    await Compression(app, answers)(scope, None, send)  # type: ignore[arg-type]
    assert len(passed) == 3


async def test_head_tells_of_the_uncompressed_response(client: httpx.AsyncClient) -> None:
    answer, body = await raw(client, "/v1/long", "HEAD")
    assert (answer.status_code, body) == (200, b"")
    assert "content-encoding" not in answer.headers
    assert answer.headers["content-length"] == str(len(BODY))


async def test_a_response_with_a_version_is_compressed_once(
    client: httpx.AsyncClient, answers: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, first = await raw(client, "/v1/long")
    monkeypatch.setattr(gzip, "compress", None)
    _, again = await raw(client, "/v1/long")
    assert again == first
    # Nothing of an erased call stays.
    answers.clear()
    assert not answers._kept


@pytest.mark.parametrize(
    ("header", "accepted"),
    [
        ("gzip", True),
        ("br, GZIP;q=0.5", True),
        ("*", True),
        ("x-gzip", True),
        ("gzip;q=0", False),
        ("gzip;q=0.0, *", False),
        ("identity", False),
        ("", False),
        ("gzipped", False),
        ("gzip;q=..", False),
    ],
)
def test_the_header_says_whether_gzip_is_accepted(header: str, accepted: bool) -> None:
    assert accepts_gzip(header.encode()) is accepted
