"""The Host header of a request never gets into a URL that the service sends."""

from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from app.main import create_app
from app.process import Role
from tests.conftest import SECRETS

KEY = {"Authorization": f"Bearer {SECRETS['api_key']}"}
EVIL = {"Host": "evil.example"}


def make_app(make_settings: Any, url: str, **values: Any) -> Any:
    settings = make_settings(database_url=url, rc_client_id="id", rc_client_secret="secret", **values)
    return create_app(settings, role=Role.WEB)


@pytest.fixture
async def unnamed(make_settings: Any, sqlite_url: str) -> AsyncIterator[httpx.AsyncClient]:
    """A service that has not been told its address."""
    app = make_app(make_settings, sqlite_url)
    async with app.router.lifespan_context(app):
        yield httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="http://127.0.0.1:8000", headers=KEY
        )


@pytest.fixture
async def named(make_settings: Any, sqlite_url: str) -> AsyncIterator[httpx.AsyncClient]:
    app = make_app(make_settings, sqlite_url, public_url="https://calls.example.com")
    async with app.router.lifespan_context(app):
        yield httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://10.0.0.7", headers=KEY)


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "10.0.0.7:8000", "localhost.evil.example"]
)
async def test_the_host_header_does_not_decide_the_url_of_an_invitation(
    unnamed: httpx.AsyncClient, host: str
) -> None:
    headers = {"Host": host, "X-Forwarded-Host": "127.0.0.1"}
    answer = await unnamed.post("/v1/accounts/invitations", json={}, headers=headers)
    assert answer.status_code == 422
    assert "AFTERCALL_PUBLIC_URL" in answer.json()["detail"]


async def test_without_a_public_address_invitations_are_for_this_machine(unnamed: httpx.AsyncClient) -> None:
    answer = await unnamed.post(
        "/v1/accounts/invitations", json={}, headers={"X-Forwarded-Host": "evil.example"}
    )
    assert answer.json()["url"].startswith("http://127.0.0.1:8000/oauth/")


async def test_the_host_header_does_not_decide_where_sign_in_returns(unnamed: httpx.AsyncClient) -> None:
    link = (await unnamed.post("/v1/accounts/invitations", json={})).json()["url"]
    path = f"{urlsplit(link).path}?{urlsplit(link).query}"
    refused = await unnamed.get(path, headers=EVIL)
    assert refused.status_code == 400
    assert "AFTERCALL_PUBLIC_URL" in refused.text
    begun = await unnamed.get(path)
    assert begun.status_code == 302
    told = parse_qs(urlsplit(begun.headers["location"]).query)
    assert told["redirect_uri"] == ["http://127.0.0.1:8000/oauth/ringcentral/callback"]


async def test_the_public_url_is_used_whatever_the_host_header(named: httpx.AsyncClient) -> None:
    answer = await named.post("/v1/accounts/invitations", json={}, headers=EVIL)
    link = answer.json()["url"]
    assert link.startswith("https://calls.example.com/oauth/")
    begun = await named.get(f"{urlsplit(link).path}?{urlsplit(link).query}", headers=EVIL)
    told = parse_qs(urlsplit(begun.headers["location"]).query)
    assert told["redirect_uri"] == ["https://calls.example.com/oauth/ringcentral/callback"]


@pytest.mark.parametrize(
    "path", ["/", "/v1/calls/", "/dashboard/", "/v1/calls/?limit=1", "/docs", "/openapi.json", "/v1/changes/",
             "/dashboard", "/dashboard/sign-in", "/webhooks/ringcentral/", "//evil.example/v1/calls/",
             "/v1/calls"],
)  # fmt: skip
async def test_no_response_repeats_the_host(named: httpx.AsyncClient, path: str) -> None:
    answer = await named.get(f"http://10.0.0.7{path}", headers=EVIL)
    assert answer.status_code < 500
    location = answer.headers.get("location", "/")
    assert location.startswith("/")
    assert not location.startswith("//")
    assert "http://evil.example" not in answer.text + str(answer.headers)
