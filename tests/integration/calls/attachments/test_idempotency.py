"""A request with an `Idempotency-Key` is carried out once, however often it is sent."""

import asyncio
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from app.api import keys
from app.calls.attachments import idempotency
from app.calls.attachments.idempotency import StoredResponse, request_digest
from app.calls.attachments.parking import bind_account
from app.calls.ledger import open_ledger
from app.db.engine import Database
from app.db.tables import metadata
from app.ids import UNBOUND_ACCOUNT
from tests.conftest import build_app, open_client
from tests.factories_calls import ACCOUNT, seed_call
from tests.fakes.clock import START, FakeClock

NOTES = "/v1/calls/1229016182016/notes"
KEY = {"Idempotency-Key": "5e0c0f6e-5a5f-4f0a-8d0a-0b3f1c2d9e77"}


async def test_a_repeated_request_gets_the_same_response_and_creates_one_note(
    client: httpx.AsyncClient, database: Database
) -> None:
    call = await seed_call(database, session_id="1229016182016")
    first = await client.post(NOTES, json={"text": "one", "author": "Ana Ruiz"}, headers=KEY)
    again = await client.post(NOTES, json={"author": "Ana Ruiz", "body": "one"}, headers=KEY)
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json() == first.json()
    for header in ("location", "etag"):
        assert again.headers[header] == first.headers[header]
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    whole = (await client.get(f"/v1/calls/{call.call_id}")).json()
    assert (len(whole["notes"]), whole["version"]) == (1, 2)


async def test_a_replayed_response_stays_the_same_after_the_note_changes(
    client: httpx.AsyncClient,
) -> None:
    first = await client.post(NOTES, json={"text": "one"}, headers=KEY)
    await client.patch(first.headers["location"], json={"text": "two"})
    again = await client.post(NOTES, json={"text": "one"}, headers=KEY)
    assert (again.status_code, again.json()) == (202, first.json())
    assert (await client.get(first.headers["location"])).json()["text"] == "two"


async def test_a_deleted_note_leaves_its_text_in_no_column_and_is_not_created_anew(
    client: httpx.AsyncClient, database: Database
) -> None:
    await seed_call(database, session_id="1229016182016")
    note = {"title": "marked-title", "text": "marked-text", "author": "marked-author", "externalId": "7"}
    first = await client.post(NOTES, json=note, headers=KEY)
    other = await client.post(NOTES, json={"text": "other"}, headers={"Idempotency-Key": "other"})
    await client.post(NOTES, json={**note, "text": "marked-later"}, headers={"Idempotency-Key": "later"})
    assert (await client.delete(first.headers["location"])).status_code == 204
    async with database.read() as db:
        for table in metadata.sorted_tables:
            for row in (await db.execute(select(table))).all():
                assert "marked" not in repr(row), table.name
    again = await client.post(NOTES, json=note, headers=KEY)
    assert again.headers["idempotency-replayed"] == "true"
    shown = again.json()
    assert (shown["id"], shown["title"], shown["text"], shown["author"]) == (
        first.json()["id"],
        None,
        "",
        None,
    )
    repeated = await client.post(NOTES, json={"text": "other"}, headers={"Idempotency-Key": "other"})
    assert repeated.json() == other.json()
    assert [one["text"] for one in (await client.get(NOTES)).json()["data"]] == ["other"]


@pytest.mark.parametrize(
    ("path", "body"), [(NOTES, {"text": "two"}), ("/v1/calls/s-other/notes", {"text": "one"})]
)
async def test_the_key_of_another_request_is_refused(
    client: httpx.AsyncClient, path: str, body: dict[str, Any]
) -> None:
    await client.post(NOTES, json={"text": "one"}, headers=KEY)
    answer = await client.post(path, json=body, headers=KEY)
    assert answer.status_code == 422
    assert "Idempotency-Key" in answer.json()["detail"]
    assert len((await client.get(NOTES)).json()["data"]) == 1


async def test_without_a_key_two_notes_are_two_notes(client: httpx.AsyncClient) -> None:
    for _ in range(2):
        assert (await client.post(NOTES, json={"text": "one"})).status_code == 202
    assert len((await client.get(NOTES)).json()["data"]) == 2


async def test_a_refused_request_may_be_repeated_under_its_key(
    client: httpx.AsyncClient, database: Database
) -> None:
    for _ in range(2):
        await seed_call(database, session_id="1229016182016")
    assert (await client.post(NOTES, json={"text": "one"}, headers=KEY)).status_code == 409
    answer = await client.post("/v1/calls/s-other/notes", json={"text": "one"}, headers=KEY)
    assert answer.status_code == 202


@pytest.mark.parametrize("key", ["", "x" * 256])
async def test_an_unstorable_idempotency_key_is_refused(client: httpx.AsyncClient, key: str) -> None:
    answer = await client.post(NOTES, json={"text": "one"}, headers={"Idempotency-Key": key})
    assert answer.status_code == 422


async def test_concurrent_requests_with_one_key_create_one_note(client: httpx.AsyncClient) -> None:
    answers = await asyncio.gather(
        *(client.post(NOTES, json={"text": "one"}, headers=KEY) for _ in range(12))
    )
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert [answer.headers.get("idempotency-replayed") for answer in answers].count(None) == 1
    assert len((await client.get(NOTES)).json()["data"]) == 1


async def test_two_api_keys_may_use_the_same_idempotency_key(
    client: httpx.AsyncClient, services: Any, database: Database, clock: FakeClock
) -> None:
    async with database.write() as db:
        other_key = await keys.create_key(db, UNBOUND_ACCOUNT, "other", clock.now())
    await client.post(NOTES, json={"text": "one"}, headers=KEY)
    async with open_client(build_app(services), other_key.plain) as other:
        answer = await other.post(NOTES, json={"text": "one"}, headers=KEY)
    assert "idempotency-replayed" not in answer.headers
    assert len((await client.get(NOTES)).json()["data"]) == 2


async def test_a_response_from_before_the_binding_is_replayed(
    services: Any, database: Database, api_key: str, clock: FakeClock
) -> None:
    async with open_client(build_app(services), api_key) as client:
        first = await client.post(NOTES, json={"text": "one"}, headers=KEY)
        async with database.write() as db:
            await bind_account(db, ACCOUNT, clock.now())
        again = await client.post(NOTES, json={"text": "one"}, headers=KEY)
    assert (again.json(), again.headers["idempotency-replayed"]) == (first.json(), "true")


async def test_a_response_is_found_by_its_own_key_only(database: Database) -> None:
    digest = request_digest("POST", {"text": "one"})
    response = StoredResponse(201, {"ETag": '"v1"'}, {"id": "note_1"})
    async with database.write() as db, open_ledger(db, ACCOUNT, START) as ledger:
        await idempotency.save_response(ledger, "key_1", "k", digest, response)
    async with database.write() as db, open_ledger(db, ACCOUNT, START) as ledger:
        assert await idempotency.find_response(ledger, "key_1", "k", digest) == response
        assert await idempotency.find_response(ledger, "key_2", "k", digest) is None
        assert await idempotency.find_response(ledger, "key_1", "other", digest) is None


def test_a_digest_does_not_depend_on_the_order_of_fields() -> None:
    assert request_digest({"a": 1, "b": 2}) == request_digest({"b": 2, "a": 1})
    assert request_digest({"a": 1}) != request_digest({"a": "1"})
