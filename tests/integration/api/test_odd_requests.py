"""Every route of the service is asked odd things, on both databases: each is answered soon, none with a 500.

Values take turns: each parameter and each route meets some of them, each value meets many parameters and
routes.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from itertools import cycle, islice
from typing import Any
from urllib.parse import quote

import pytest
from fastapi import FastAPI

from app.main import create_app
from app.ops.dashboard import sign_in as signin
from app.process import Role
from tests.conftest import SECRETS
from tests.described import describe
from tests.factories_calls import seed_call

HEADERS = [(b"host", b"aftercall.test"), (b"authorization", f"Bearer {SECRETS['api_key']}".encode())]
JSON = (b"content-type", b"application/json")
STREAMS = {"/v1/changes/stream", "/dashboard/events"}
TEXTS = [
    "\0", "%", "%zz", "\ud83d", "../../etc/passwd", "", "٣", "\u202e", "x" * 4_000, "-1", "1e400", "NaN",
    "9" * 19, "9" * 30,
    "9" * 4_301, "a\r\nX: y", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59.999999-14:00", "now",
    "call_" + "0" * 26,
]  # fmt: skip
QUERIES = [
    b"%", b"%zz=%00", b"=&&=", b"\xff=\xff", b"x=\xd9\xa3", b"a" * 8_000, b"&" * 8_000, b"limit=1;limit=2",
    b"limit=1&limit=2",
]  # fmt: skip
BODIES = [
    b"", b"null", b"[]", b"{}", b"0", b'""', b"{", b"\xff\xfe{\x00}\x00", b"\xef\xbb\xbf{}",
    '{"a": 1}'.encode("utf-16"),
    b"\xff", b"[" * 10_000, b"1" * 5_000, b'{"text": null}', b'{"label": NaN}', b'{"\\ud83d": "\\u0000"}',
    b'{"a":1,"a":2}',
    json.dumps({"calls": ["\0"]}).encode(), json.dumps({"ids": ["x"] * 1_000}).encode(),
    json.dumps({"objects": [{"type": "x", "id": "y"}] * 101}).encode(), b'{"hours": 1e308}',
    b'{"name": "\\u0001"}',
]  # fmt: skip
ODD_HEADERS = [
    (b"content-type", b"\xff"), (b"content-type", b"application/json; charset=utf-16"),
    (b"content-type", b"text/plain"),
    (b"accept", b"*/"), (b"accept", b"x" * 4_000), (b"if-match", b""), (b"if-match", b'"v99999999999"'),
    (b"if-match", b"*, *"),
    (b"if-match", b'"v1", ' * 2_000), (b"if-none-match", b"\xff"), (b"if-none-match", b'W/"v1",,'),
    (b"range", b"bytes=-"),
    (b"range", b"bytes=9" + b"9" * 4_000 + b"-"), (b"range", b"bytes=0-0," * 500), (b"if-range", b"\xff"),
    (b"idempotency-key", b"\x01"), (b"idempotency-key", b"x" * 256), (b"last-event-id", b"\xff"),
    (b"last-event-id", b"x" * 4_000),
    (b"cookie", b"aftercall=\xff; ="), (b"cookie", b"aftercall=e30.e30"), (b"authorization", b"Bearer \xff"),
    (b"origin", b"http://[::1"), (b"sec-fetch-site", b"\xff"), (b"x-forwarded-for", b"\xff"),
    (b"expect", b"x"),
]  # fmt: skip


class Asker:
    """Asks an app over bare ASGI, so that nothing is put right on the way."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app

    async def ask(
        self, method: str, path: str, query: bytes = b"", body: bytes = b"", headers: Any = ()
    ) -> tuple[int, bytes]:
        given = [(name, value) for name, value in HEADERS if name not in {name for name, _ in headers}]
        scope = {
            "type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1",
            "method": method,
            "scheme": "http", "path": path, "raw_path": quote(path, errors="replace").encode(),
            "root_path": "",
            "query_string": query, "headers": [*given, *headers], "server": ("aftercall.test", 80),
            "client": ("203.0.113.9", 50_000), "state": {},
        }  # fmt: skip
        sent = [{"type": "http.request", "body": body, "more_body": False}]
        answered: list[Any] = []

        async def receive() -> Any:
            return sent.pop(0) if sent else {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            answered.append(message)

        async with asyncio.timeout(30):
            await self._app(scope, receive, send)
        text = b"".join(message.get("body", b"") for message in answered[1:])
        return answered[0]["status"], text


@pytest.fixture
async def app(
    make_settings: Any, database: Any, database_url: str, account: Any, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[FastAPI]:
    monkeypatch.setattr(signin, "REFUSAL_SECONDS", 0.0)
    settings = make_settings(database_url=database_url)
    made = create_app(settings, role=Role.WEB)
    async with made.router.lifespan_context(made):
        await seed_call(database)
        yield made


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, found in describe()["paths"].items():
        for method, operation in found.items():
            if path not in STREAMS:
                yield method.upper(), path, operation
    for path in (
        "/dashboard",
        "/dashboard/sign-in",
        "/oauth/ringcentral/start",
        "/oauth/ringcentral/callback",
        "/docs",
        "/",
    ):
        yield "GET", path, {}
    for path in ("/dashboard/sign-in", "/dashboard/sign-out"):
        yield "POST", path, {}


def filled(path: str, operation: dict[str, Any], value: str | None = None) -> str:
    for parameter in operation.get("parameters", ()):
        if parameter["in"] == "path":
            examples = parameter.get("examples") or parameter["schema"].get("examples") or ["x"]
            path = path.replace(f"{{{parameter['name']}}}", str(examples[0]) if value is None else value)
    return path


def names(operation: dict[str, Any]) -> list[str]:
    return [parameter["name"] for parameter in operation.get("parameters", ()) if parameter["in"] == "query"]


async def test_no_path_causes_a_500(app: FastAPI) -> None:
    asker, texts = Asker(app), cycle(TEXTS)
    for method, path, operation in operations():
        if "{" in path:
            for text in islice(texts, 2):
                status, body = await asker.ask(
                    method, filled(path, operation, text), body=b"{}", headers=[JSON]
                )
                assert status != 500, (method, path, text, body)


async def test_no_query_causes_a_500(app: FastAPI) -> None:
    asker, texts, odd = Asker(app), cycle(TEXTS), cycle(QUERIES)
    for method, path, operation in operations():
        if method != "GET":
            continue
        others = () if operation else ("state", "code", "invitation", "numbers")
        named = [
            f"{name}={quote(text, errors='replace')}".encode()
            for name in (*names(operation), *others)
            for text in islice(texts, 2)
        ]
        for query in (*named, *islice(odd, 1)):
            status, body = await asker.ask(method, filled(path, operation), query)
            assert status != 500, (path, query[:100], body)


async def test_a_url_with_unescaped_bytes_is_refused(app: FastAPI) -> None:
    asker = Asker(app)
    for path in (
        "/v1/calls",
        "/v1/changes/stream",
        "/dashboard",
        "/dashboard/events",
        "/oauth/ringcentral/start",
    ):
        for query in (b"\xff=\xff", b"phoneNumber=\xd9\xa3"):
            status, body = await asker.ask("GET", path, query)
            assert (status, json.loads(body)["type"]) == (400, "/problems/bad-request"), path


async def test_no_body_causes_a_500(app: FastAPI) -> None:
    asker, bodies = Asker(app), cycle(BODIES)
    for method, path, operation in operations():
        if method in {"GET", "HEAD"}:
            continue
        for body in islice(bodies, 5):
            status, told = await asker.ask(method, filled(path, operation), body=body, headers=[JSON])
            assert status != 500, (method, path, body[:100], told)


async def test_no_header_causes_a_500(app: FastAPI) -> None:
    asker, odd = Asker(app), cycle(ODD_HEADERS)
    for method, path, operation in operations():
        for header in islice(odd, 3):
            headers = [header] if header[0] == b"content-type" else [JSON, header]
            status, told = await asker.ask(
                method, filled(path, operation), body=b'{"text": "x"}', headers=headers
            )
            assert status != 500, (method, path, header, told)


async def test_no_method_causes_a_500(app: FastAPI) -> None:
    asker = Asker(app)
    ways = cycle(("/", "//", "/..", ";x=y"))
    methods = cycle(("HEAD", "OPTIONS", "PATCH", "DELETE", "QUERY"))
    for path in sorted({filled(path, operation) for _, path, operation in operations()}):
        for method in islice(methods, 1):
            status, told = await asker.ask(method, path, headers=[JSON], body=b"{}")
            assert status != 500, (method, path, told)
        for odd in ("/" + path, path.upper(), path + next(ways)):
            status, told = await asker.ask("GET", odd)
            assert status != 500, (odd, told)
