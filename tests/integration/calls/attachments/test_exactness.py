"""JSON and texts are returned exactly as sent, or refused before anything is stored; on both databases."""

import json
from typing import Any

import httpx
import pytest
from sqlalchemy import func, select, text

from app.api import keys
from app.db.engine import Database
from app.db.tables import api_keys, notes, sentiments
from app.errors import Unprocessable
from app.ids import UNBOUND_ACCOUNT
from tests.factories_calls import seed_call
from tests.fakes.clock import START

JSON = {"content-type": "application/json"}
KEPT = [
    "18446744073709551617", "1.0", "1", "-0.0", "0.0", "-0", "1e300", "5e-324", "9" * 128, "true", "null",
    '"1.0"', '""',
    '{"a":1.0,"b":[-0.0,1e22,18446744073709551617],"c":{"":null}}', "[]", "{}", '{"$json":"1.0"}',
    '"\\ud83d\\ude00"',
    "[" * 60 + "]" * 60,
]  # fmt: skip
REFUSED = [
    "9" * 309, "9" * 5_000, "NaN", "-Infinity", "1e400", '"\\u0000"', '{"a\\u0000":1}', '"\\ud83d"',
    '"\\ude00\\ud83d"',
    "0.1234567890123456789", '{"a":1,"a":2}', "[" * 250 + "]" * 250,
    json.dumps({f"k{number}": number for number in range(100_000)}),
]  # fmt: skip


def written(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


@pytest.mark.parametrize("original", KEPT)
async def test_an_original_value_is_returned_as_it_was_sent(
    client: httpx.AsyncClient, database: Database, original: str
) -> None:
    call = await seed_call(database)
    path = f"/v1/calls/{call.call_id}"
    body = f'{{"label": "positive", "original": {original}}}'
    answer = await client.put(f"{path}/sentiments/crm", content=body, headers=JSON)
    assert answer.status_code == 201, answer.text
    expected = written(json.loads(original))
    for shown in (
        answer.json(),
        (await client.get(f"{path}/sentiments/crm")).json(),
        (await client.get(f"{path}/sentiments")).json()["data"][0],
        (await client.get(path)).json()["sentiments"][0],
        (await client.get("/v1/calls")).json()["data"][0]["sentiments"][0],
    ):
        assert written(shown["original"]) == expected
    for address in (f"{path}/timeline", "/v1/changes"):
        event = (await client.get(address)).json()["data"][-1]
        assert event["type"] == "sentiment.set"
        assert "original" not in event["data"]  # changes name what was set, they do not repeat it
    again = await client.put(f"{path}/sentiments/crm", content=body, headers=JSON)
    assert (again.status_code, again.json()["version"]) == (200, 1)


@pytest.mark.parametrize(("first", "then"), [("1", "1.0"), ("1", "true"), ("0.0", "-0.0"), ("[1]", "[1.0]")])
async def test_a_value_of_another_type_is_a_change(
    client: httpx.AsyncClient, database: Database, first: str, then: str
) -> None:
    call = await seed_call(database)
    path = f"/v1/calls/{call.call_id}/sentiments/crm"
    for original in (first, then):
        body = f'{{"label": "positive", "original": {original}}}'
        answer = await client.put(path, content=body, headers=JSON)
    assert answer.json()["version"] == 2
    assert written(answer.json()["original"]) == written(json.loads(then))


@pytest.mark.parametrize("original", REFUSED)
async def test_an_unstorable_original_value_is_refused(
    client: httpx.AsyncClient, database: Database, original: str
) -> None:
    call = await seed_call(database)
    path = f"/v1/calls/{call.call_id}"
    body = f'{{"label": "positive", "original": {original}}}'
    answer = await client.put(f"{path}/sentiments/crm", content=body, headers=JSON)
    assert answer.status_code == 422, answer.text
    assert answer.json()["type"] == "/problems/invalid-request"
    async with database.read() as db:
        assert await db.scalar(select(func.count()).select_from(sentiments)) == 0
    assert (await client.get(path)).json()["sentiments"] == []


async def test_ten_thousand_levels_are_refused(client: httpx.AsyncClient, database: Database) -> None:
    call = await seed_call(database)
    body = '{"label": "positive", "original": ' + "[" * 10_000 + "]" * 10_000 + "}"
    answer = await client.put(f"/v1/calls/{call.call_id}/sentiments/crm", content=body, headers=JSON)
    assert (answer.status_code, answer.json()["type"]) == (400, "/problems/nested-too-deeply")


@pytest.mark.parametrize("bad", ['"\\u0000"', '"Zoe \\ud83d"'])
@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "notes", '{"text": %s}'),
        ("POST", "notes", '{"text": "x", "author": {"name": %s}}'),
        ("POST", "notes", '{"text": "x", "externalId": %s}'),
        ("POST", "notes", '{"text": "x", "source": %s}'),
        ("PUT", "disposition", '{"code": %s}'),
        ("PUT", "sentiments/crm", '{"label": %s}'),
        ("PUT", "links/crm", '{"objects": [{"type": "contact", "id": %s}]}'),
        ("PUT", "links/crm", '{"objects": [{"type": "contact", "id": "1", "url": %s}]}'),
    ],
)
async def test_unstorable_text_is_refused_with_its_location(
    client: httpx.AsyncClient, database: Database, method: str, path: str, body: str, bad: str
) -> None:
    call = await seed_call(database)
    answer = await client.request(
        method, f"/v1/calls/{call.call_id}/{path}", content=body % bad, headers=JSON
    )
    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"][0]["pointer"]
    async with database.read() as db:
        assert await db.scalar(select(func.count()).select_from(notes)) == 0


async def test_a_hundred_thousand_unknown_fields_get_a_short_response(
    client: httpx.AsyncClient, database: Database
) -> None:
    call = await seed_call(database)
    body = json.dumps({f"{number:x}": 1 for number in range(80_000)})
    answer = await client.post(f"/v1/calls/{call.call_id}/notes", content=body, headers=JSON)
    assert answer.status_code == 422
    assert len(answer.json()["errors"]) == 20


async def test_values_of_earlier_versions_do_not_make_a_call_unreadable(
    client: httpx.AsyncClient, database: Database
) -> None:
    call = await seed_call(database)
    path = f"/v1/calls/{call.call_id}"
    await client.put(f"{path}/sentiments/crm", json={"label": "positive", "original": "x"})
    stored = "9e999" if database.is_sqlite else f"'{'9' * 309}'"
    async with database.write() as db:
        await db.execute(text(f"UPDATE sentiments SET original = {stored}"))  # noqa: S608
    for address in (path, f"{path}/sentiments", f"{path}/sentiments/crm", "/v1/calls"):
        assert (await client.get(address)).status_code == 200, address


@pytest.mark.parametrize("name", ["a\0b", "a\x1bb", "a\ud83d", "a\nb", "", "x" * 129])
async def test_the_name_of_a_key_is_printable(database: Database, name: str) -> None:
    with pytest.raises(Unprocessable, match="name"):
        async with database.write() as db:
            await keys.create_key(db, UNBOUND_ACCOUNT, name, START)
    async with database.read() as db:
        assert await db.scalar(select(func.count()).select_from(api_keys)) == 0


@pytest.mark.parametrize("account_id", ["9\0", "9\udcff"])
async def test_the_account_of_a_key_is_printable(database: Database, account_id: Any) -> None:
    with pytest.raises(Unprocessable, match="account"):
        async with database.write() as db:
            await keys.create_key(db, account_id, "crm", START)


@pytest.mark.parametrize("value", ["a\x85b", "tab\there"])
async def test_an_idempotency_key_is_printable(
    client: httpx.AsyncClient, database: Database, value: str
) -> None:
    call = await seed_call(database)
    answer = await client.post(
        f"/v1/calls/{call.call_id}/notes",
        json={"text": "x"},
        headers={b"Idempotency-Key": value.encode("latin-1")},
    )
    assert answer.status_code == 422


async def test_a_repeated_parameter_or_header_is_refused(
    client: httpx.AsyncClient, database: Database
) -> None:
    call = await seed_call(database)
    for query in ("limit=1&limit=2", "direction=Inbound&direction=Outbound", "hasNotes=true&hasNotes=true"):
        answer = await client.get(f"/v1/calls?{query}")
        assert answer.status_code == 422, query
        assert answer.json()["errors"][0]["parameter"] == query.partition("=")[0]
    assert (await client.get("/v1/calls?outcome=missed&outcome=answered")).status_code == 200
    answer = await client.post(
        f"/v1/calls/{call.call_id}/notes",
        json={"text": "x"},
        headers=[("Idempotency-Key", "a"), ("Idempotency-Key", "b")],
    )
    assert answer.status_code == 422
