"""Many attachments with one request."""

from typing import Any

import httpx
import pytest
from sqlalchemy import func, select

from app.calls.ledger import open_ledger
from app.db.engine import Database
from app.db.tables import idempotency_keys, notes, timeline
from app.erasure.removal import erase_calls
from tests.factories_calls import ACCOUNT, seed_call
from tests.fakes.clock import START

BATCH = "/v1/attachments"
SESSION = "1229016182016"
NOTE: dict[str, Any] = {"call": SESSION, "note": {"text": "one", "source": "hubspot", "externalId": "e-1"}}
ALL: list[dict[str, Any]] = [
    NOTE,
    {"call": SESSION, "sentiment": {"source": "acme-ai", "label": "positive"}},
    {"call": SESSION, "disposition": {"code": "callback"}},
    {"call": SESSION, "link": {"crm": "hubspot", "objects": [{"type": "contact", "id": "501"}]}},
]


async def send(client: httpx.AsyncClient, items: list[Any], **headers: str) -> dict[str, Any]:
    answer = await client.post(BATCH, json={"items": items}, headers=headers)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    assert [item["index"] for item in body["data"]] == list(range(len(items)))
    assert body["failed"] == sum(item["problem"] is not None for item in body["data"])
    return body


def column(body: dict[str, Any], name: str) -> list[Any]:
    return [item[name] for item in body["data"]]


async def test_a_batch_writes_what_single_requests_would(
    client: httpx.AsyncClient, database: Database
) -> None:
    call = await seed_call(database, session_id=SESSION)
    body = await send(client, ALL)
    assert column(body, "status") == [201] * 4
    assert column(body, "kind") == ["note", "sentiment", "disposition", "link"]
    assert column(body, "callId") == [call.call_id] * 4
    whole = (await client.get(f"/v1/calls/{call.call_id}")).json()
    # Each is a change of its call, and none of them has overwritten another one's.
    assert whole["version"] == call.version + 4
    assert [whole["notes"][0]["text"], whole["sentiment"]["label"]] == ["one", "positive"]
    assert [whole["disposition"]["code"], whole["links"][0]["crm"]] == ["callback", "hubspot"]
    for item, path in zip(
        body["data"],
        [f"notes/{body['data'][0]['id']}", "sentiments/acme-ai", "disposition", "links/hubspot"],
        strict=True,
    ):
        single = await client.get(f"/v1/calls/{SESSION}/{path}")
        assert single.headers["etag"] == item["etag"]


async def test_a_repeated_batch_changes_nothing(client: httpx.AsyncClient, database: Database) -> None:
    call = await seed_call(database, session_id=SESSION)
    await send(client, ALL)
    contact = {"crm": "hubspot", "objects": [{"type": "contact", "id": "501"}]}
    again = [*ALL[:3], {"call": call.call_id, "link": contact}]
    body = await send(client, again)
    assert column(body, "effect") == ["unchanged"] * 4
    assert column(body, "status") == [200] * 4
    assert (await client.get(f"/v1/calls/{call.call_id}")).json()["version"] == call.version + 4


async def test_items_for_calls_to_come_wait_for_them(client: httpx.AsyncClient) -> None:
    body = await send(client, [one | {"call": "s-early"} for one in ALL])
    assert column(body, "status") == [202] * 4
    assert column(body, "sessionRef") == ["s-early"] * 4
    assert column(body, "callId") == [None] * 4
    assert (await client.get("/v1/calls/s-early/notes")).json()["data"][0]["status"] == "parked"


async def test_a_bad_item_fails_alone(client: httpx.AsyncClient, database: Database) -> None:
    await seed_call(database, session_id=SESSION)
    bad: list[Any] = [
        {"call": "call_01jp0v7s4v8x2m6c9q3t5r7w1e", "note": {"text": "x"}},
        {"call": "0", "note": {"text": "x"}},
        {"call": SESSION},
        {"call": SESSION, "note": {"text": "x"}, "disposition": {"code": "x"}},
        {"call": SESSION, "notes": {"text": "x"}},
        {"call": SESSION, "note": {"text": ""}},
        {"call": SESSION, "note": {"text": "<script>x</script>", "format": "html"}},
        "nothing",
    ]
    body = await send(client, [*bad, NOTE])
    assert column(body, "status") == [404, 422, 422, 422, 422, 422, 422, 422, 201]
    problems = column(body, "problem")[:-1]
    assert [one["type"].rpartition("/")[2] for one in problems] == [
        "not-found", "unprocessable", *["invalid-request"] * 4, "unprocessable", "invalid-request"
    ]  # fmt: skip
    assert problems[5]["errors"][0]["pointer"] == "/items/5/note/text"
    assert "did you mean `note`?" in problems[4]["detail"]
    assert {one["fault"] for one in problems} == {"caller"}
    async with database.read() as db:
        assert await db.scalar(select(func.count()).select_from(notes)) == 1


async def test_a_repeated_key_returns_the_first_response_and_writes_nothing(
    client: httpx.AsyncClient, database: Database
) -> None:
    call = await seed_call(database, session_id=SESSION)
    items = [{"call": SESSION, "note": {"text": "no externalId"}}, {"call": SESSION}]
    first = await client.post(BATCH, json={"items": items}, headers={"Idempotency-Key": "k1"})
    second = await client.post(BATCH, json={"items": items}, headers={"Idempotency-Key": "k1"})
    assert second.json() == first.json()
    assert "idempotency-replayed" not in first.headers
    assert second.headers["idempotency-replayed"] == "true"
    other = await client.post(BATCH, json={"items": items[:1]}, headers={"Idempotency-Key": "k1"})
    assert other.status_code == 422
    async with database.read() as db:
        assert await db.scalar(select(func.count()).select_from(notes)) == 1
        noted = timeline.c.call_id == call.call_id, timeline.c.type == "note.created"
        assert await db.scalar(select(func.count()).where(*noted)) == 1


async def test_what_is_remembered_of_a_batch_goes_with_its_call(
    client: httpx.AsyncClient, database: Database
) -> None:
    call = await seed_call(database, session_id=SESSION)
    items = [{"call": SESSION, "note": {"text": "Dana"}}, {"call": "s-other", "note": {"text": "Ben"}}]
    first = await send(client, items, **{"Idempotency-Key": "k1"})
    async with database.read() as db:
        bodies = list(await db.scalars(select(idempotency_keys.c.body)))
    assert "Dana" not in str(bodies)
    async with database.write() as db, open_ledger(db, ACCOUNT, START) as ledger:
        await erase_calls(ledger, [call.call_id], "erasure_1")
    again = await send(client, items, **{"Idempotency-Key": "k1"})
    assert column(again, "status") == [410, 202]
    assert again["data"][1] == first["data"][1]
    assert call.call_id not in str(again)


@pytest.mark.parametrize("items", [[], [NOTE] * 201, "none", None])
async def test_a_batch_of_the_wrong_size_is_refused_whole(client: httpx.AsyncClient, items: Any) -> None:
    answer = await client.post(BATCH, json={"items": items})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"].startswith("/items")


async def test_two_spellings_of_a_call_in_one_batch_are_one_call(
    client: httpx.AsyncClient, database: Database
) -> None:
    call = await seed_call(database, session_id=SESSION)
    names = [SESSION, call.call_id, call.telephony_session_id]
    body = await send(client, [{"call": name, "note": {"text": name}} for name in names])
    assert column(body, "callId") == [call.call_id] * 3
    whole = (await client.get(f"/v1/calls/{call.call_id}")).json()
    assert (whole["version"], len(whole["notes"])) == (call.version + 3, 3)
