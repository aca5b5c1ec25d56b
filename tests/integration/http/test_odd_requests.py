"""Every route of the service is asked odd things, on both databases: each is answered, none with a 500."""

from collections.abc import AsyncIterator, Iterator
from typing import Any
from urllib.parse import quote

import pytest
from fastapi import FastAPI

from app.main import Role, create_app
from tests.conftest import SECRETS
from tests.factories_calls import seed_call

HEADERS = [(b"host", b"aftercall.test"), (b"authorization", f"Bearer {SECRETS['api_key']}".encode())]
JSON = (b"content-type", b"application/json")
STREAMS = {"/v1/changes/stream", "/dashboard/events"}
TEXTS = ["\0", "%", "\ud83d", "", "٣", "x" * 4_000, "1e400", "9" * 30]


class Asker:
    """Asks an app over bare ASGI, so that nothing is put right on the way."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app

    async def ask(
        self, method: str, path: str, query: bytes = b"", body: bytes = b"", headers: Any = ()
    ) -> tuple[int, bytes]:
        given = [(name, value) for name, value in HEADERS if name not in {name for name, _ in headers}]
        scope = {
            "type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1", "method": method,
            "scheme": "http", "path": path, "raw_path": quote(path, errors="replace").encode(), "root_path": "",
            "query_string": query, "headers": [*given, *headers], "server": ("aftercall.test", 80),
            "client": ("203.0.113.9", 50_000), "state": {},
        }  # fmt: skip
        sent = [{"type": "http.request", "body": body, "more_body": False}]
        answered: list[Any] = []

        async def receive() -> Any:
            return sent.pop(0) if sent else {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            answered.append(message)

        await self._app(scope, receive, send)
        text = b"".join(message.get("body", b"") for message in answered[1:])
        return answered[0]["status"], text


@pytest.fixture
async def app(make_settings: Any, database: Any, database_url: str, account: Any) -> AsyncIterator[FastAPI]:
    settings = make_settings(database_url=database_url)
    made = create_app(settings, role=Role.WEB)
    async with made.router.lifespan_context(made):
        await seed_call(database)
        yield made


def operations(app: FastAPI) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, found in app.openapi()["paths"].items():
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


async def test_no_path_is_answered_with_a_500(app: FastAPI) -> None:
    asker = Asker(app)
    for method, path, operation in operations(app):
        if "{" in path:
            for text in TEXTS:
                status, body = await asker.ask(
                    method, filled(path, operation, text), body=b"{}", headers=[JSON]
                )
                assert status != 500, (method, path, text, body)


async def test_no_method_is_answered_with_a_500(app: FastAPI) -> None:
    asker = Asker(app)
    for path in {filled(path, operation) for _, path, operation in operations(app)}:
        for method in ("HEAD", "OPTIONS", "PATCH", "DELETE", "QUERY"):
            status, told = await asker.ask(method, path, headers=[JSON], body=b"{}")
            assert status != 500, (method, path, told)
        for odd in (path + "/", path + "//", "/" + path, path + "/..", path.upper(), path + ";x=y"):
            status, told = await asker.ask("GET", odd)
            assert status != 500, (odd, told)
