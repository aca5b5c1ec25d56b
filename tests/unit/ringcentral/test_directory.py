"""The people of an account, as the client requests them and as they are read."""

from typing import Any

import httpx
import pytest
import respx
from structlog.testing import capture_logs

from app.errors import PermissionMissing, RequestRefused
from app.ids import ExtensionId
from app.ringcentral.client import RingCentralClient
from app.ringcentral.models.directory import read_account_info, read_directory_entry, read_etag
from app.ringcentral.ports import Priority
from tests.unit.ringcentral.doubles import Ledger

ACCOUNT = "/restapi/v1.0/account/~"
ENTRIES = f"{ACCOUNT}/directory/entries"
ANA: dict[str, Any] = {
    "id": "711000101",
    "type": "User",
    "status": "Enabled",
    "extensionNumber": "101",
    "firstName": "Ana",
    "lastName": "Ruiz",
    "email": "ana.ruiz@northwind-tea.example",
    "phoneNumbers": [
        {"phoneNumber": "+15550100101", "usageType": "DirectNumber"},
        {"phoneNumber": "+15550166007", "usageType": "MobileNumber"},
    ],
}


def page(*entries: Any, has_next: bool = False, **headers: str) -> httpx.Response:
    navigation = {"nextPage": {"uri": "…"}} if has_next else {}
    body = {"records": list(entries), "paging": {"page": 1}, "navigation": navigation}
    return httpx.Response(200, json=body, headers=headers)


async def test_a_page_of_the_directory_is_requested_in_the_medium_group_with_the_lowest_priority(
    client: RingCentralClient, ringcentral: respx.MockRouter, budget: Ledger
) -> None:
    route = ringcentral.get(ENTRIES).mock(return_value=page(ANA, ETag='W/"a1"'))
    found = await client.fetch_directory_page(1)
    assert found is not None
    (entry,) = found.entries
    assert (entry.id, entry.name, entry.extension_number) == ("711000101", "Ana Ruiz", "101")
    assert [(one.phone_number, one.usage_type) for one in entry.phone_numbers] == [
        ("+15550100101", "DirectNumber"),
        ("+15550166007", "MobileNumber"),
    ]
    assert found.etag == 'W/"a1"'
    request = route.calls.last.request
    assert dict(request.url.params) == {"showFederated": "false", "page": "1", "perPage": "1000"}
    assert "If-None-Match" not in request.headers
    assert budget.acquired[-1][:2] == ("Medium", Priority.GLANCE)


async def test_an_unchanged_page_is_none_and_no_fault(
    client: RingCentralClient, ringcentral: respx.MockRouter, budget: Ledger
) -> None:
    route = ringcentral.get(ENTRIES).mock(return_value=httpx.Response(304, headers={"ETag": 'W/"a1"'}))
    with capture_logs() as logs:
        assert await client.fetch_directory_page(1, etag='W/"a1"') is None
    assert route.calls.last.request.headers["If-None-Match"] == 'W/"a1"'
    assert budget.statuses[-1] == 304
    assert [line["event"] for line in logs if line["log_level"] in {"warning", "error"}] == []


async def test_a_304_that_was_not_asked_for_is_refused(
    client: RingCentralClient, ringcentral: respx.MockRouter
) -> None:
    ringcentral.get(ENTRIES).mock(return_value=httpx.Response(304))
    with pytest.raises(RequestRefused):
        await client.fetch_directory_page(1)


async def test_a_missing_scope_is_named(client: RingCentralClient, ringcentral: respx.MockRouter) -> None:
    inner = {"errorCode": "CMN-401", "message": "m", "permissionName": "ReadAccounts"}
    body = {"errorCode": "InsufficientPermissions", "message": "m", "errors": [inner]}
    ringcentral.get(ENTRIES).mock(return_value=httpx.Response(403, json=body))
    with pytest.raises(PermissionMissing) as refusal:
        await client.fetch_directory_page(1)
    assert (refusal.value.code, refusal.value.permission) == ("CMN-401", "ReadAccounts")


async def test_the_list_of_extensions_has_its_fields_in_other_places(
    client: RingCentralClient, ringcentral: respx.MockRouter, budget: Ledger
) -> None:
    contact = {"firstName": "Ben", "lastName": "Cho", "email": "ben@x.example", "mobilePhone": "5550166008"}
    extension = {"id": 711000102, "extensionNumber": 102, "contact": contact, "type": "User"}
    ringcentral.get(f"{ACCOUNT}/extension").mock(return_value=page(extension))
    found = await client.fetch_extensions_page(1)
    assert found is not None
    (entry,) = found.entries
    assert (entry.id, entry.extension_number, entry.name) == ("711000102", "102", "Ben Cho")
    assert entry.email == "ben@x.example"
    assert [(one.phone_number, one.usage_type) for one in entry.phone_numbers] == [
        ("5550166008", "MobileNumber")
    ]
    assert budget.acquired[-1][:2] == ("Medium", Priority.GLANCE)


async def test_an_extension_has_its_time_zone(
    client: RingCentralClient, ringcentral: respx.MockRouter, budget: Ledger
) -> None:
    zone = {"timezone": {"id": "58", "name": "America/Los_Angeles"}}
    ringcentral.get(f"{ACCOUNT}/extension/711000101").mock(
        return_value=httpx.Response(200, json={"id": 711000101, "regionalSettings": zone})
    )
    ringcentral.get(f"{ACCOUNT}/extension/1").mock(return_value=httpx.Response(404, json={}))
    found = await client.fetch_extension(ExtensionId("711000101"))
    assert found is not None
    assert found.time_zone == "America/Los_Angeles"
    assert await client.fetch_extension(ExtensionId("1")) is None
    assert budget.groups[-2:] == ["Light", "Light"]


async def test_the_account_has_its_country_and_main_number(
    client: RingCentralClient, ringcentral: respx.MockRouter, budget: Ledger
) -> None:
    settings = {
        "homeCountry": {"id": "1", "isoCode": "us", "callingCode": "1"},
        "timezone": {"name": "America/Denver"},
    }
    body = {"id": 908070001, "mainNumber": "15550100100", "regionalSettings": settings}
    ringcentral.get(ACCOUNT).mock(return_value=httpx.Response(200, json=body))
    account = await client.fetch_account()
    assert account.id == "908070001"
    assert (account.main_number, account.home_country, account.calling_code) == ("15550100100", "US", "1")
    assert account.time_zone == "America/Denver"
    assert budget.acquired[-1][:2] == ("Light", Priority.GLANCE)


@pytest.mark.parametrize("body", [b"", b"[]", b'{"records": {}}', b"\xff", b'{"id": 1}'])
async def test_a_page_that_is_no_list_is_a_fault_of_ringcentral(
    client: RingCentralClient, ringcentral: respx.MockRouter, body: bytes
) -> None:
    ringcentral.get(ENTRIES).mock(return_value=httpx.Response(200, content=body))
    with pytest.raises(Exception, match="RingCentral answered 200, but"):
        await client.fetch_directory_page(1)


def test_an_entry_without_id_is_left_out_and_its_neighbours_are_read() -> None:
    read = [read_directory_entry(item) for item in ({}, None, {"id": ""}, ANA)]
    assert [one and one.id for one in read] == [None, None, None, "711000101"]


def test_a_name_is_made_of_its_parts_where_there_is_none() -> None:
    names: list[dict[str, Any]] = [
        {"name": " Sales "},
        {"firstName": "Ana"},
        {"lastName": "Ruiz", "firstName": ""},
        {"name": 7},
    ]
    read = [read_directory_entry({"id": "1", **name}) for name in names]
    assert [one and one.name for one in read] == ["Sales", "Ana", "Ruiz", "7"]


def test_a_number_that_is_listed_twice_is_read_once() -> None:
    entry = read_directory_entry({"id": "1", "phoneNumbers": [ANA["phoneNumbers"][0]] * 3 + [None, 7, {}]})
    assert entry is not None
    assert len(entry.phone_numbers) == 1


@pytest.mark.parametrize("country", [{"isoCode": "USA"}, {"isoCode": "ÄÖ"}, {"isoCode": 1}, [], None, "US"])
def test_a_country_that_is_no_code_is_none(country: Any) -> None:
    assert read_account_info({"regionalSettings": {"homeCountry": country}}).home_country is None


@pytest.mark.parametrize(
    ("given", "read"),
    [('"a"', '"a"'), (' W/"a" ', 'W/"a"'), ("", None), (None, None), ('"ä"', None), ("x" * 300, None)],
)
def test_only_an_etag_that_can_be_sent_back_is_kept(given: str | None, read: str | None) -> None:
    assert read_etag(given) == read
