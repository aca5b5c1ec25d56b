"""The API's page: complete in itself, and held to that by its Content-Security-Policy."""

import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from app.main import create_app


@pytest.fixture
async def reader(make_settings: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A browser, as far as the page needs one. Nothing is opened: the page needs no database."""
    app = create_app(make_settings(database_url="sqlite:///unused.db"))
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://aftercall.test"
    ) as client:
        yield client


async def test_page_loads_only_our_files(reader: httpx.AsyncClient) -> None:
    page = await reader.get("/docs")
    assert page.status_code == 200
    loaded = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(loaded) == 6
    for address in loaded:
        assert "//" not in address
        assert (await reader.get(f"/{address}")).status_code == 200, address


async def test_content_security_policy_of_the_docs_page(reader: httpx.AsyncClient) -> None:
    page = await reader.get("/docs")
    policy = page.headers["content-security-policy"]
    allowed = dict(part.split(" ", 1) for part in policy.split("; "))
    assert allowed["default-src"] == "'none'"
    assert allowed["script-src"] == allowed["style-src"] == allowed["connect-src"] == "'self'"
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\bon\w+=", page.text)


async def test_docs_page_stores_no_key_and_calls_no_validator(reader: httpx.AsyncClient) -> None:
    script = (await reader.get("/dashboard/static/docs.js")).text
    assert "persistAuthorization: false" in script
    assert "validatorUrl: null" in script


async def test_pages_that_load_from_other_hosts_are_disabled(reader: httpx.AsyncClient) -> None:
    assert (await reader.get("/redoc")).status_code == 404
