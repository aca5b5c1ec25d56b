"""The people of an account over the API: filters, pages, and what is missing."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import httpx
import pytest

from app.accounts.directory import store
from app.accounts.directory.comparing import Source
from app.accounts.directory.reading import DirectoryRead, People
from app.api import keys
from app.api.dependencies import Services
from app.api.known_keys import Scope
from app.calls.regions import store_home_country
from app.db.engine import Database
from app.extensions_api.schemas import ExtensionOut, ExtensionPage
from app.ids import AccountId
from app.ringcentral.models.directory import read_account_info, read_directory_entry
from tests.conftest import build_app, open_client
from tests.factories_calls import ACCOUNT
from tests.fakes.clock import START

TEA = AccountId(ACCOUNT)
PATH = "/v1/extensions"
Json = dict[str, Any]


def person(number: int, name: str, **fields: Any) -> Json:
    numbers = [
        {"phoneNumber": f"+15550100{number}", "usageType": "DirectNumber"},
        {"phoneNumber": f"555016{number + 5906}", "usageType": "MobileNumber"},
    ]
    made = {"id": f"711000{number}", "extensionNumber": str(number), "name": name, "phoneNumbers": numbers}
    email = f"{name.lower().replace(' ', '.')}@northwind-tea.example"
    return made | {"type": "User", "status": "Enabled", "email": email} | fields


PEOPLE = [
    person(101, "Ana Ruiz"),
    person(102, "Ben Cho"),
    person(109, "Ida Petrov", status="Disabled"),
    person(900, "Sales", type="Department", email=None, phoneNumbers=[]),
]


async def learn(database: Database, people: list[Json], account_id: AccountId = TEA, **at: Any) -> None:
    country = {"homeCountry": {"isoCode": "US"}, "timezone": {"name": "America/Denver"}}
    account = read_account_info({"mainNumber": "15550100100", "regionalSettings": country})
    entries = [read_directory_entry(one) for one in people]
    listed = People(Source.DIRECTORY, tuple(one for one in entries if one is not None))
    async with database.write() as db:
        await store.save_read(db, account_id, DirectoryRead(account, listed), at.get("now", START))


async def page(client: httpx.AsyncClient, **params: Any) -> Json:
    answer = await client.get(PATH, params=params)
    assert answer.status_code == 200, answer.text
    ExtensionPage.model_validate(answer.json())
    body: Json = answer.json()
    return body


async def names(client: httpx.AsyncClient, **params: Any) -> list[str]:
    return [one["name"] for one in (await page(client, **params))["data"]]


@pytest.fixture
async def people(database: Database, account: AccountId) -> None:
    await learn(database, PEOPLE)


@pytest.mark.usefixtures("people")
async def test_an_extension_is_shown_with_its_numbers_in_e164(client: httpx.AsyncClient) -> None:
    body = await page(client)
    assert body["data"][0] == {
        "id": "711000101",
        "extensionNumber": "101",
        "name": "Ana Ruiz",
        "email": "ana.ruiz@northwind-tea.example",
        "type": "User",
        "status": "Enabled",
        "timeZone": None,
        "phoneNumbers": [
            {"phoneNumber": "+15550100101", "rawPhoneNumber": None, "usageType": "DirectNumber"},
            {"phoneNumber": "+15550166007", "rawPhoneNumber": "5550166007", "usageType": "MobileNumber"},
        ],
        "leftAt": None,
    }
    assert body["directory"] == {
        "state": "ready",
        "source": "directory",
        "readAt": "2026-03-10T18:07:41.000Z",
        "missing": None,
        "code": None,
        "detail": None,
        "since": None,
        "mainNumber": "+15550100100",
        "homeCountry": "US",
        "timeZone": "America/Denver",
    }


@pytest.mark.usefixtures("people")
@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({"number": "101"}, ["Ana Ruiz"]),
        ({"number": "+15550100102"}, ["Ben Cho"]),
        ({"number": "(555) 010-0102"}, ["Ben Cho"]),
        ({"number": "+1 555 016 6007"}, ["Ana Ruiz"]),
        ({"number": "15550100100*102"}, ["Ben Cho"]),
        ({"number": "+15550100100"}, []),
        ({"number": "999"}, []),
        ({"email": "ANA.RUIZ@Northwind-Tea.example"}, ["Ana Ruiz"]),
        ({"type": "department"}, ["Sales"]),
        ({"type": ["Department", "User"], "status": "Disabled"}, ["Ida Petrov"]),
        ({"status": "enabled", "type": "User"}, ["Ana Ruiz", "Ben Cho"]),
        ({"email": "ana.ruiz@northwind-tea.example", "number": "102"}, []),
    ],
)
async def test_filters_match_in_any_spelling(
    client: httpx.AsyncClient, given: Json, found: list[str]
) -> None:
    assert await names(client, **given) == found


@pytest.mark.usefixtures("people")
@pytest.mark.parametrize("number", ["anonymous", "*80", "Ana", "?"])
async def test_what_cannot_be_a_number_is_refused(client: httpx.AsyncClient, number: str) -> None:
    answer = await client.get(PATH, params={"number": number})
    assert (answer.status_code, answer.json()["parameter"]) == (400, "number")


@pytest.mark.usefixtures("people")
async def test_pages_neither_skip_nor_repeat(client: httpx.AsyncClient) -> None:
    first = await client.get(PATH, params={"limit": 3})
    assert first.headers["Link"].startswith(f"<{PATH}?limit=3&cursor=")
    second = await page(client, limit=3, cursor=first.json()["nextCursor"])
    found = [one["name"] for one in [*first.json()["data"], *second["data"]]]
    assert found == [one["name"] for one in PEOPLE]
    assert second["nextCursor"] is None


@pytest.mark.usefixtures("people")
async def test_a_cursor_belongs_to_its_filters(client: httpx.AsyncClient) -> None:
    cursor = (await page(client, limit=1))["nextCursor"]
    for params in ({"cursor": cursor, "type": "User"}, {"cursor": "x"}, {"cursor": cursor[:-4]}):
        answer = await client.get(PATH, params=params)
        assert (answer.status_code, answer.json()["parameter"]) == (400, "cursor")


@pytest.mark.usefixtures("people")
async def test_who_has_left_is_listed_on_request_and_found_by_id(
    client: httpx.AsyncClient, database: Database
) -> None:
    await learn(database, PEOPLE[:1] + PEOPLE[2:], now=START + timedelta(hours=1))
    assert "Ben Cho" not in await names(client)
    assert "Ben Cho" in await names(client, includeLeft=True)
    answer = await client.get(f"{PATH}/711000102")
    ExtensionOut.model_validate(answer.json())
    assert (answer.json()["name"], answer.json()["leftAt"]) == ("Ben Cho", "2026-03-10T19:07:41.000Z")
    assert await names(client, number="+15550100102", includeLeft=True) == []


@pytest.mark.usefixtures("people")
async def test_an_unknown_extension_is_404_and_what_is_no_id_is_refused(client: httpx.AsyncClient) -> None:
    assert (await client.get(f"{PATH}/1")).status_code == 404
    assert (await client.get(f"{PATH}/ana")).status_code == 422
    assert (await client.get(PATH, params={"nmber": "101"})).status_code == 422


@pytest.mark.usefixtures("people")
async def test_an_account_sees_its_own_people_only(services: Services, database: Database) -> None:
    other = AccountId("908070002")
    await learn(database, [person(101, "Zoe Park")], other)
    async with database.write() as db:
        key = await keys.create_key(db, other, "other", START, scopes=(Scope.CALLS_READ,))
    async with open_client(build_app(services), key.plain) as reader:
        assert await names(reader) == ["Zoe Park"]
        assert (await reader.get(f"{PATH}/711000102")).status_code == 404


async def test_a_key_that_may_not_read_calls_may_not_read_people(
    services: Services, database: Database, account: AccountId
) -> None:
    async with database.write() as db:
        key = await keys.create_key(db, account, "writer", START, scopes=(Scope.NOTES_WRITE,))
    async with open_client(build_app(services), key.plain) as writer:
        assert (await writer.get(PATH)).status_code == 403


async def test_before_the_first_read_the_directory_is_pending(client: httpx.AsyncClient) -> None:
    body = await page(client)
    assert (body["data"], body["nextCursor"], body["directory"]["state"]) == ([], None, "pending")
    assert "GET /v1/extensions" in (await client.get(f"{PATH}/1")).json()["detail"]


async def test_a_missing_permission_is_named_beside_an_empty_list(
    client: httpx.AsyncClient, database: Database
) -> None:
    problem = {"code": "CMN-401", "detail": "grant it to the app", "permission": "ReadAccounts"}
    async with database.write() as db:
        await store.save_problem(db, TEA, problem, START)
    body = await page(client)
    assert body["data"] == []
    directory = body["directory"]
    assert (directory["state"], directory["missing"], directory["code"]) == (
        "unavailable",
        "ReadAccounts",
        "CMN-401",
    )
    assert directory["detail"] == "grant it to the app"
    assert directory["since"] == "2026-03-10T18:07:41.000Z"
    await learn(database, PEOPLE)
    async with database.write() as db:
        await store.save_problem(db, TEA, problem, START)
    assert (await page(client))["directory"]["state"] == "outdated"


@pytest.mark.usefixtures("people")
async def test_a_directory_that_is_switched_off_says_so(services: Services, api_key: str) -> None:
    settings = services.settings.model_copy(update={"directory_refresh_seconds": 0.0})
    async with open_client(build_app(replace(services, settings=settings)), api_key) as reader:
        body = await page(reader)
    assert (body["directory"]["state"], len(body["data"])) == ("off", 4)


async def test_the_setting_decides_in_which_country_numbers_are_read(
    client: httpx.AsyncClient, database: Database
) -> None:
    numbers = [{"phoneNumber": "030 23125 101", "usageType": "DirectNumber"}]
    await learn(database, [person(101, "Ana Ruiz", phoneNumbers=numbers)])
    async with database.write() as db:
        await store_home_country(db, "DE")
    body = await page(client, number="030 23125101")
    assert body["data"][0]["phoneNumbers"][0]["phoneNumber"] == "+493023125101"
    assert body["directory"]["homeCountry"] == "DE"
    one = (await client.get(f"{PATH}/711000101")).json()
    assert one["phoneNumbers"] == body["data"][0]["phoneNumbers"]
