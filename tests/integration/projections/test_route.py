"""Projections over HTTP: names, options, ETags, time zones of people, and which calls belong in a CRM."""

from itertools import product
from typing import Any

import httpx
import pytest
from sqlalchemy import insert

from app.calls.model import Stage
from app.db.engine import Database
from app.db.tables import directories, extensions
from app.ids import AccountId
from app.projections.mappings.model import Crm
from app.projections.schemas import ProjectionOut
from app.projections.standing import ReasonCode
from tests.factories_calls import ACCOUNT, ANA, raw_record, seed_call, seed_link, seed_note
from tests.fakes.clock import START

PERSON = {
    "extensionId": ANA,
    "extensionNumber": "101",
    "name": "Ana Ruiz",
    "email": "ana.ruiz@northwind-tea.example",
    "role": "answered",
    "answeredAt": None,
    "talkSeconds": 90.0,
}


async def get(client: httpx.AsyncClient, path: str, **params: Any) -> Any:
    answer = await client.get(path, params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def seed_answered(database: Database, **fields: Any) -> Any:
    """A final call of Ana's, with a record."""
    known = {"details": {"agents": [PERSON], "talkSeconds": 90.0}, "agent_extension_id": ANA}
    return await seed_call(database, **{"records": [raw_record()], "stage": Stage.FINAL} | known | fields)


async def know_zones(database: Database, account: str | None, person: str | None) -> None:
    async with database.write() as db:
        row = {"account_id": ACCOUNT, "version": "dir_1", "time_zone": account}
        await db.execute(insert(directories).values(**row))
        people = {"account_id": ACCOUNT, "extension_id": ANA, "phone_numbers": [], "updated_at": START}
        await db.execute(insert(extensions).values(**people, time_zone=person))


@pytest.mark.parametrize("crm", list(Crm))
async def test_a_call_is_projected_for_every_crm(
    client: httpx.AsyncClient, database: Database, crm: Crm
) -> None:
    call = await seed_answered(database)
    await seed_note(database, call.call_id, text="Offer: $1,000")
    for name in (call.call_id, call.session_id, call.telephony_session_id):
        shown = await get(client, f"/v1/calls/{name}/projections/{crm}", appId="735264019863524")
        ProjectionOut.model_validate(shown)
        assert (shown["callId"], shown["safeToCreate"], shown["reasons"]) == (call.call_id, True, [])
        assert shown["externalId"]["value"]


async def test_an_unchanged_projection_is_not_sent_again(
    client: httpx.AsyncClient, database: Database
) -> None:
    call = await seed_answered(database)
    path = f"/v1/calls/{call.call_id}/projections/hubspot"
    first = await client.get(path)
    known = {"If-None-Match": first.headers["ETag"]}
    again = await client.get(path, headers=known)
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["ETag"] == first.headers["ETag"]
    other = await client.get(
        path, params={"durationOf": "talk"}, headers={"If-None-Match": first.headers["ETag"]}
    )
    assert other.status_code == 200
    assert other.json()["request"]["body"]["properties"]["hs_call_duration"] == "90000"


async def test_a_link_is_the_reason_not_to_write_it_again(
    client: httpx.AsyncClient, database: Database
) -> None:
    call = await seed_answered(database)
    path = f"/v1/calls/{call.call_id}/projections/hubspot"
    before = await get(client, path)
    await seed_link(database, call.call_id)
    after = await get(client, path)
    assert (before["hash"], after["safeToCreate"]) == (after["hash"], False)
    assert [one["code"] for one in after["reasons"]] == [ReasonCode.ALREADY_WRITTEN]
    assert after["objects"] == [{"type": "call", "id": "3901"}]


@pytest.mark.parametrize(
    ("common", "own", "asked", "local"),
    [
        ("America/Los_Angeles", "Asia/Kolkata", None, "2026-03-10T23:37:41+05:30"),
        ("America/Los_Angeles", None, None, "2026-03-10T11:07:41-07:00"),
        ("America/Los_Angeles", "Asia/Kolkata", "Europe/Berlin", "2026-03-10T19:07:41+01:00"),
        (None, None, None, "2026-03-10T18:07:41+00:00"),
        (None, "Mars/Olympus", None, "2026-03-10T18:07:41+00:00"),
    ],
)
async def test_local_times_are_the_owners(
    client: httpx.AsyncClient,
    database: Database,
    common: str | None,
    own: str | None,
    asked: str | None,
    local: str,
) -> None:
    call = await seed_answered(database)
    await know_zones(database, common, own)
    params = {} if asked is None else {"ownerTimeZone": asked}
    shown = await get(client, f"/v1/calls/{call.call_id}/projections/zoho", **params)
    (record,) = shown["request"]["body"]["data"]
    assert record["Call_Start_Time"] == local
    is_doubtful = "time-zone-unknown" in [one["code"] for one in shown["warnings"]]
    assert is_doubtful == local.endswith("+00:00")


@pytest.mark.parametrize(
    ("crm", "params", "path"),
    [
        ("hubspot", {"apiVersion": "v3"}, "/crm/v3/objects/calls"),
        ("hubspot", {"apiVersion": "2026-03"}, "/crm/objects/2026-03/calls"),
        ("hubspot", {"object": "call"}, "/crm/objects/2026-09/calls"),
        ("salesforce", {}, "/sobjects/Task"),
        ("salesforce", {"object": "task"}, "/sobjects/Task"),
    ],
)
async def test_options_choose_the_object_and_the_version(
    client: httpx.AsyncClient, database: Database, crm: str, params: Any, path: str
) -> None:
    call = await seed_answered(database)
    shown = await get(client, f"/v1/calls/{call.call_id}/projections/{crm}", **params)
    assert shown["request"]["path"] == path


@pytest.mark.parametrize(
    ("crm", "params", "status", "detail"),
    [
        ("hubspot", {"object": "task"}, 400, "The projection for hubspot has no object task: it has call"),
        (
            "hubspot",
            {"apiVersion": "2019-01"},
            400,
            "The projection for hubspot has no apiVersion 2019-01: it has 2026-09, 2026-03, v3",
        ),
        ("zoho", {"apiVersion": "v8"}, 400, "leave the parameter out"),
        ("zoho", {"ownerTimeZone": "California"}, 422, "Must be the IANA name of a time zone"),
        ("zoho", {"ownerTimeZone": "../../etc/passwd"}, 422, "Must be the IANA name of a time zone"),
        ("zoho", {"ownerTimeZone": "America"}, 422, "Must be the IANA name of a time zone"),
        ("zoho", {"recordingUrl": "http://calls.example/1.mp3"}, 422, "recordingUrl"),
        ("zoho", {"recordingUrl": 'https://calls.example/"onclick'}, 422, "Must be an address that"),
        ("zendesk", {"appId": "my app"}, 422, "appId"),
        ("zoho", {"durationOf": "ringing"}, 422, "durationOf"),
        ("zoho", {"colour": "red"}, 422, "colour"),
        ("act", {}, 422, "crm"),
    ],
)
async def test_options_that_make_no_sense_are_refused(
    client: httpx.AsyncClient, database: Database, crm: str, params: Any, status: int, detail: str
) -> None:
    call = await seed_answered(database)
    answer = await client.get(f"/v1/calls/{call.call_id}/projections/{crm}", params=params)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert detail in answer.text.replace("\\", "")


async def test_an_unknown_call_is_not_found(client: httpx.AsyncClient, account: AccountId) -> None:
    answer = await client.get("/v1/calls/1229016182016/projections/hubspot")
    assert (answer.status_code, answer.json()["type"]) == (404, "/problems/not-found")


async def test_a_call_that_belongs_in_a_crm_is_safe_to_create_and_no_other(
    client: httpx.AsyncClient, database: Database, account: AccountId
) -> None:
    """The rule of the list, as conditions of a query, and that of a projection are one."""
    main = await seed_answered(database)
    cases = product(
        (None, main.call_id),
        (None, True, False),
        (None, "not-found", "test-call"),
        ("+15550179001", None),
        (None, "Phone Call", "Conference Call", "SilentMonitoring"),
        ({"phoneNumber": "+15550100101"}, {"phoneNumber": "Conference"}, None),
    )
    # Every seventh of 432 has each value beside each other one.
    for of, internal, absent, number, action, callee in list(cases)[::7]:
        await seed_answered(
            database,
            main_call_id=of,
            internal=internal,
            absent_reason=absent,
            external_number=number,
            numbers=[],
            action=action,
            callee=callee,
            stage=Stage.ABSENT if absent else Stage.FINAL,
            records=(),
        )
    everything, wanted = await page(client), {one["id"] for one in await page(client, unlinkedCrm="hubspot")}
    assert 0 < len(wanted) < len(everything) == 63
    safe = set()
    for one in everything:
        shown = await get(client, f"/v1/calls/{one['id']}/projections/hubspot")
        safe |= {one["id"]} if shown["safeToCreate"] else set()
    assert safe == wanted


async def page(client: httpx.AsyncClient, **params: Any) -> list[Any]:
    found: list[Any] = []
    cursor: dict[str, str] = {}
    while True:
        shown = await get(client, "/v1/calls", limit=50, **params, **cursor)
        found += shown["data"]
        if shown["nextCursor"] is None:
            return found
        cursor = {"cursor": shown["nextCursor"]}


async def test_links_of_another_name_count_as_written_if_the_reader_names_them(
    client: httpx.AsyncClient, database: Database
) -> None:
    call = await seed_answered(database)
    path = f"/v1/calls/{call.call_id}/projections/generic"
    await seed_link(database, call.call_id, crm="practice")

    without = await get(client, path)
    assert (without["safeToCreate"], without["objects"]) == (True, [])

    named = await get(client, path, linkedCrm="practice")
    assert [one["code"] for one in named["reasons"]] == ["already-written"]
    assert "practice" in named["reasons"][0]["detail"]
    assert named["objects"] != []
    assert named["hash"] == without["hash"]

    assert (await client.get(path, params={"crm": "practice"})).status_code == 422
