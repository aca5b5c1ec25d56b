"""Deprecated routes, parameters and fields, on routes of this test's own."""

from datetime import date
from typing import Annotated, Any

import httpx
import pytest
from fastapi import APIRouter, Depends, FastAPI, Query
from pydantic import Field

from app.api.auth import current_key
from app.api.deprecations import Deprecation, describe_deprecations
from app.api.middleware.deprecation_headers import DeprecationHeaders
from app.api.schemas import ApiInput, ApiModel
from app.api.strictness import refuse_misunderstandings

OLD = Deprecation(date(2026, 12, 1), date(2027, 12, 1), "Use `new`.")
OLDER = Deprecation(date(2026, 11, 1), date(2028, 1, 1), "Use `/new`.")
HEADERS = {
    "deprecation": "@1796083200",
    "sunset": "Wed, 01 Dec 2027 00:00:00 GMT",
    "link": '</docs>; rel="deprecation"; type="text/html"',
}


class Sent(ApiInput):
    """A request."""

    new: str = "x"
    old_name: str | None = Field(None, description="As before.", json_schema_extra=OLD.of_field())


class Shown(ApiModel):
    """A response."""

    old: str = Field(json_schema_extra=OLD.of_field())


router = APIRouter(dependencies=[Depends(refuse_misunderstandings)])


@router.get("/old", **OLDER.of_route())
async def list_old(old: Annotated[str | None, Query(json_schema_extra=OLD.of_field())] = None) -> Shown:
    """What was."""
    return Shown(old=old or "")


@router.get("/new")
async def list_new(
    new: str = "", old: Annotated[str | None, Query(json_schema_extra=OLD.of_field())] = None
) -> Shown:
    """What is."""
    return Shown(old=new or old or "")


@router.put("/new")
async def put_new(sent: Sent) -> Shown:
    """What will be."""
    return Shown(old=sent.new)


def make_app() -> FastAPI:
    app = FastAPI()
    app.include_router(router)
    app.add_middleware(DeprecationHeaders)
    app.dependency_overrides[current_key] = lambda: None
    return app


async def headers_of(method: str, path: str, body: Any = None) -> httpx.Headers:
    transport = httpx.ASGITransport(make_app())
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        return (await client.request(method, path, json=body)).headers


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [("GET", "/new?old=1", None), ("GET", "/new?old=1&wrong=2", None), ("PUT", "/new", {"oldName": "a"})],
)
async def test_a_request_that_uses_something_deprecated_is_told(method: str, path: str, body: Any) -> None:
    headers = await headers_of(method, path, body)
    assert {name: headers.get(name) for name in HEADERS} == HEADERS


async def test_a_deprecated_route_is_told_with_the_earliest_dates_of_all() -> None:
    alone, both = await headers_of("GET", "/old"), await headers_of("GET", "/old?old=1")
    assert (alone["deprecation"], alone["sunset"]) == ("@1793491200", "Sat, 01 Jan 2028 00:00:00 GMT")
    assert (both["deprecation"], both["sunset"]) == ("@1793491200", HEADERS["sunset"])


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [("GET", "/new", None), ("GET", "/new?new=1", None), ("PUT", "/new", {"new": "a"}), ("PUT", "/new", [])],
)
async def test_other_requests_are_told_nothing(method: str, path: str, body: Any) -> None:
    assert HEADERS.keys() & (await headers_of(method, path, body)).keys() == set()


def test_the_description_says_what_is_deprecated() -> None:
    description = make_app().openapi()
    describe_deprecations(description)
    route = description["paths"]["/old"]["get"]
    text = "Deprecated since 2026-12-01, until 2027-12-01. Use `new`."
    assert (route["deprecated"], route["x-sunset"]) == (True, "2028-01-01")
    assert route["description"] == "What was. Deprecated since 2026-11-01, until 2028-01-01. Use `/new`."
    assert {"Deprecation", "Sunset"} <= route["responses"]["200"]["headers"].keys()
    new, old = description["paths"]["/new"]["get"]["parameters"]
    assert (old["deprecated"], old["description"]) == (True, text)
    assert "deprecated" not in new
    schemas = description["components"]["schemas"]
    assert schemas["Sent"]["properties"]["oldName"]["description"] == f"As before. {text}"
    assert schemas["Shown"]["properties"]["old"]["deprecated"] is True
    assert "x-deprecation" not in str(description)


def test_what_is_deprecated_stays_for_half_a_year() -> None:
    with pytest.raises(ValueError, match="180 days"):
        Deprecation(date(2026, 12, 1), date(2027, 5, 29), "Use `new`.")
