"""Sparse calls by `fields`, and calls with more by `include`: alone, in lists, with ETags."""

from typing import Any

import httpx

from app.calls.insights import store as insights_store
from app.calls.insights.model import Version
from app.calls.ledger import open_ledger
from app.calls.model import Call, Stage
from app.calls.reading.included import IN_LISTS, Included
from app.calls.schemas import CallOut
from app.db.engine import Database
from app.projections.mappings.model import Crm
from tests.factories_calls import ACCOUNT, raw_record, seed_call, seed_note
from tests.factories_insights import insights
from tests.fakes.clock import START
from tests.fakes.statements import counted

LEG = {"startTime": "2026-03-10T18:07:41.000Z", "duration": 96, "legType": "Accept", "master": True}


async def get(client: httpx.AsyncClient, path: str, **params: Any) -> Any:
    answer = await client.get(path, params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def seed_rich_call(database: Database) -> Call:
    call = await seed_call(database, stage=Stage.FINAL, records=[raw_record("R", legs=[LEG, LEG])])
    await seed_note(database, call.call_id, text="Wants an offer")
    raw = insights()
    version = Version(
        telephony_session_id=call.telephony_session_id,
        recording_id="3019664700",
        last_modified_at=START,
        raw=raw,
    )
    arrival = insights_store.InsightsArrival(version, insights_store.BY_READING, START)
    async with database.write() as db, open_ledger(db, ACCOUNT, START) as ledger:
        await insights_store.take(ledger, [arrival])
    return call


async def test_a_call_has_only_the_chosen_fields(client: httpx.AsyncClient, database: Database) -> None:
    call = await seed_rich_call(database)
    whole = await get(client, f"/v1/calls/{call.call_id}")
    shown = await get(
        client, f"/v1/calls/{call.call_id}", fields="id,from.phoneNumber,notes.text,records.result"
    )
    assert shown == {
        "id": call.call_id,
        "from": {"phoneNumber": whole["from"]["phoneNumber"]},
        "notes": [{"text": "Wants an offer"}],
        "records": [{"result": whole["records"][0]["result"]}],
    }


async def test_an_unknown_field_is_refused_with_those_that_exist(client: httpx.AsyncClient) -> None:
    for path in ("/v1/calls", "/v1/calls/call_01jp0v7s4v8x2m6c9q3t5r7w1e"):
        answer = await client.get(path, params={"fields": "id,form"})
        assert answer.status_code == 422
        (error,) = answer.json()["errors"]
        assert error["parameter"] == "fields"
        assert "There is no field `form`; there are absentReason, accountId," in error["detail"]


async def test_fields_cost_no_statement_and_leave_kept_calls_whole(
    client: httpx.AsyncClient, database: Database
) -> None:
    call = await seed_rich_call(database)
    for path in (f"/v1/calls/{call.call_id}", "/v1/calls"):
        with counted(database) as of_whole:
            whole = await get(client, path)
        with counted(database) as of_sparse:
            await get(client, path, fields="id")
        assert len(of_sparse) <= len(of_whole)
        assert await get(client, path) == whole


async def test_a_sparse_call_has_an_etag_of_its_own(client: httpx.AsyncClient, database: Database) -> None:
    call = await seed_rich_call(database)
    path = f"/v1/calls/{call.call_id}"
    whole = await client.get(path)
    sparse = await client.get(path, params={"fields": "id"})
    assert sparse.headers["ETag"] != whole.headers["ETag"]
    headers = {"If-None-Match": sparse.headers["ETag"]}
    assert (await client.get(path, params={"fields": "id"}, headers=headers)).status_code == 304
    assert (await client.get(path, headers=headers)).status_code == 200


async def test_included_parts_are_those_of_their_own_routes(
    client: httpx.AsyncClient, database: Database
) -> None:
    call = await seed_rich_call(database)
    path = f"/v1/calls/{call.call_id}"
    shown = await get(client, path, include=[part.value for part in Included], fields="id")
    CallOut.model_validate(await get(client, path, include="insights,legs"))
    assert set(shown) == {"id", "provenance", "included"}
    included = shown["included"]
    assert included["insights"] == await get(client, f"{path}/insights")
    assert included["insights"]["data"], "not empty by chance"
    assert included["legs"] == (await get(client, f"{path}/legs"))["data"]
    assert len(included["legs"]) == 2
    assert included["conversation"] == await get(client, f"/v1/conversations/{call.call_id}")
    for crm in Crm:
        assert included["projections"][crm] == await get(client, f"{path}/projections/{crm}")


async def test_a_list_includes_the_parts_of_each_call(client: httpx.AsyncClient, database: Database) -> None:
    rich, plain = await seed_rich_call(database), await seed_call(database, session_id=None)
    parts = ["insights", "legs", "projections.hubspot"]
    with counted(database) as statements:
        shown = {call["id"]: call for call in (await get(client, "/v1/calls", include=parts))["data"]}
    assert shown.keys() == {rich.call_id, plain.call_id}
    for call_id, call in shown.items():
        alone = await get(client, f"/v1/calls/{call_id}", include=parts)
        assert call == alone
    await seed_call(database, session_id=None)
    with counted(database) as of_more:
        await get(client, "/v1/calls", include=parts)
    assert len(of_more) <= len(statements)


async def test_a_list_refuses_parts_that_cost_a_statement_each(client: httpx.AsyncClient) -> None:
    answer = await client.get("/v1/calls", params={"include": "provenance"})
    assert answer.status_code == 422
    for part in IN_LISTS:
        assert part in answer.json()["errors"][0]["detail"]


async def test_a_cursor_goes_on_with_other_fields(client: httpx.AsyncClient, database: Database) -> None:
    for _ in range(3):
        await seed_call(database, session_id=None)
    first = await get(client, "/v1/calls", limit=1, fields="id")
    rest = await get(client, "/v1/calls", cursor=first["nextCursor"], fields="id,stage", include="legs")
    assert len({call["id"] for call in first["data"] + rest["data"]}) == 3


def test_every_crm_can_be_included() -> None:
    projected = {part.removeprefix("projections.") for part in Included if part.startswith("projections.")}
    assert projected == set(Crm)


async def test_a_call_is_served_as_a_vcon(client: httpx.AsyncClient, database: Database) -> None:
    call = await seed_rich_call(database)
    path = f"/v1/calls/{call.call_id}"
    headers = {"Accept": "application/vcon+json"}
    answer = await client.get(path, headers=headers)
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "application/vcon+json")
    assert answer.headers["Vary"] == "Accept, Origin"
    shown = answer.json()
    assert (shown["vcon"], shown["attachments"][0]["body"]) == ("0.4.0", "Wants an offer")
    assert {one["type"] for one in shown["analysis"]} >= {"transcript", "summary", "sentiment"}
    unchanged = await client.get(path, headers=headers | {"If-None-Match": answer.headers["ETag"]})
    assert unchanged.status_code == 304
    plain = await client.get(path, headers={"If-None-Match": answer.headers["ETag"]})
    assert (plain.status_code, plain.headers["Content-Type"]) == (200, "application/json")


async def test_forms_that_cannot_be_served_are_refused(client: httpx.AsyncClient, database: Database) -> None:
    call = await seed_call(database)
    path = f"/v1/calls/{call.call_id}"
    refused = await client.get(path, headers={"Accept": "text/csv"})
    assert (refused.status_code, refused.json()["type"]) == (406, "/problems/not-acceptable")
    assert refused.headers["Content-Type"] == "application/problem+json"
    mixed = await client.get(path, params={"fields": "id"}, headers={"Accept": "application/vcon+json"})
    assert mixed.status_code == 400
