"""Notes, sentiments, dispositions and links over HTTP."""

import re
from datetime import datetime
from typing import Any

import httpx
import pytest
from sqlalchemy import insert

from app.api import keys
from app.api.known_keys import Scope
from app.calls.attachments.parking import bind_account, join_parked
from app.calls.ledger import open_ledger
from app.calls.model import Call
from app.db.engine import Database
from app.db.tables import call_aliases
from app.ids import UNBOUND_ACCOUNT, AccountId
from tests.conftest import open_client
from tests.factories_calls import ACCOUNT, call_values, seed_call
from tests.fakes.clock import START, FakeClock

SESSION = "1229016182016"
CALLS = "/v1/calls"
EVERYTHING_PUT = [
    ("sentiments/ringsense", {"label": "positive", "score": 0.62}, {"label": "negative"}),
    ("disposition", {"code": "callback", "label": "Call back"}, {"code": "sold"}),
    (
        "links/hubspot",
        {"objects": [{"type": "contact", "id": "501"}]},
        {"objects": [{"type": "deal", "id": "7"}]},
    ),
]
JSON = {"content-type": "application/json"}
PROBLEM = "application/problem+json"


async def arrive(database: Database, now: datetime = START, **fields: Any) -> Call:
    call = Call(**call_values(**fields))
    async with database.write() as db, open_ledger(db, ACCOUNT, now) as ledger:
        ledger.open(call, "call.started")
        ledger.name(call, [call.session_id])
        await join_parked(
            ledger, {name: call for name in (call.telephony_session_id, call.session_id) if name}
        )
    return call


async def timeline_of(client: httpx.AsyncClient, call: Call) -> list[tuple[int, str]]:
    answer = await client.get(f"{CALLS}/{call.call_id}/timeline")
    return [(event["version"], event["type"]) for event in answer.json()["data"]]


def refused(answer: httpx.Response, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == PROBLEM
    body: dict[str, Any] = answer.json()
    return body


async def test_a_note_on_a_known_call_increases_the_version_of_the_call(
    client: httpx.AsyncClient, database: Database
) -> None:
    call = await seed_call(database)
    sent = {
        "text": "Dana wants an offer — für 40 Plätze 🎉",
        "title": "Offer",
        "author": {"name": "Ana Ruiz"},
    }
    answer = await client.post(f"{CALLS}/{call.session_id}/notes", json=sent)
    assert answer.status_code == 201
    note = answer.json()
    assert answer.headers["location"] == f"{CALLS}/{call.session_id}/notes/{note['id']}"
    assert re.fullmatch(r'"v1-[0-9a-f]{12}"', answer.headers["etag"])
    assert {name: note[name] for name in sent} == sent
    assert (note["callId"], note["status"], note["source"]) == (call.call_id, "attached", "api")
    for name in (call.session_id, call.telephony_session_id, call.call_id):
        assert (await client.get(f"{CALLS}/{name}/notes")).json() == {"data": [note], "nextCursor": None}
    whole = (await client.get(f"{CALLS}/{call.call_id}")).json()
    assert (whole["version"], whole["notes"]) == (2, [note])
    assert await timeline_of(client, call) == [(1, "call.bootstrapped"), (2, "note.created")]


async def test_a_parked_note_keeps_its_url_when_its_call_is_known(
    client: httpx.AsyncClient, database: Database
) -> None:
    answer = await client.post(f"{CALLS}/{SESSION}/notes", json={"text": "Call back on Friday"})
    assert answer.status_code == 202
    note = answer.json()
    assert (note["status"], note["callId"], note["sessionRef"]) == ("parked", None, SESSION)
    assert "joins the call" in note["detail"]
    waiting = answer.headers["etag"]
    assert re.fullmatch(r'"v1-[0-9a-f]{12}-parked"', waiting)
    where = answer.headers["location"]
    assert (await client.get(where)).json() == note
    assert [item["id"] for item in (await client.get(f"{CALLS}/{SESSION}/notes")).json()["data"]] == [
        note["id"]
    ]

    call = await arrive(database, session_id=SESSION)
    found = await client.get(where, headers={"If-None-Match": waiting})
    assert found.status_code == 200
    assert (found.json()["status"], found.json()["callId"]) == ("attached", call.call_id)
    assert "detail" not in found.json()
    # What its author read of it while it was parked is still good to change it with.
    changed = await client.patch(where, json={"text": "On Monday"}, headers={"If-Match": waiting})
    assert (changed.status_code, changed.headers["etag"][:4]) == (200, '"v2-')
    assert await timeline_of(client, call) == [(1, "call.started"), (2, "note.joined"), (3, "note.updated")]


async def test_a_parked_note_can_be_changed_and_deleted_like_any_other(client: httpx.AsyncClient) -> None:
    where = (await client.post(f"{CALLS}/s-early/notes", json={"text": "one"})).headers["location"]
    changed = await client.patch(where, json={"text": "two"})
    assert (changed.status_code, changed.json()["version"], changed.json()["status"]) == (200, 2, "parked")
    assert (await client.delete(where)).status_code == 204
    refused(await client.get(where), 404)
    refused(await client.get(f"{CALLS}/s-early/notes"), 404)


async def test_notes_with_the_same_external_id_are_one_note(
    client: httpx.AsyncClient, database: Database
) -> None:
    call = await seed_call(database)
    where = f"{CALLS}/{call.session_id}/notes"
    sent = {"text": "first", "source": "hubspot", "externalId": "e-1"}
    first = await client.post(where, json=sent)
    again = await client.post(where, json=sent)
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json() == first.json()
    newer = await client.post(where, json=sent | {"text": "second"})
    assert (newer.status_code, newer.headers["etag"][:4]) == (200, '"v2-')
    assert newer.json()["id"] == first.json()["id"]
    other = await client.post(where, json=sent | {"source": "zoho"})
    assert other.status_code == 201
    texts = [note["text"] for note in (await client.get(where)).json()["data"]]
    assert sorted(texts) == ["first", "second"]
    assert [kind for _, kind in await timeline_of(client, call)] == [
        "call.bootstrapped",
        "note.created",
        "note.updated",
        "note.created",
    ]


async def test_a_patch_changes_only_its_own_fields(client: httpx.AsyncClient, database: Database) -> None:
    call = await seed_call(database)
    sent = {"text": "one", "title": "Title", "format": "markdown", "author": "Ana Ruiz"}
    made = await client.post(f"{CALLS}/{call.call_id}/notes", json=sent)
    where = made.headers["location"]
    merge = {"content-type": "application/merge-patch+json"}
    changed = await client.patch(where, content='{"title": null}', headers=merge)
    assert changed.json()["title"] is None
    kept = {"text": "one", "format": "markdown", "author": {"name": "Ana Ruiz"}, "version": 2}
    assert {name: changed.json()[name] for name in kept} == kept
    same = await client.patch(where, json={"text": "one"})
    assert (same.status_code, same.json()["version"]) == (200, 2)
    assert (await client.patch(where, json={})).json() == same.json()
    refused(await client.patch(where, json={"text": None}), 422)
    refused(await client.patch(where, json={"source": "zoho"}), 422)


async def test_an_outdated_if_match_changes_nothing(client: httpx.AsyncClient, database: Database) -> None:
    call = await seed_call(database)
    where = (await client.post(f"{CALLS}/{call.call_id}/notes", json={"text": "one"})).headers["location"]
    assert (await client.patch(where, json={"text": "two"}, headers={"If-Match": '"v1"'})).status_code == 200
    for stale in ('"v1"', '"v9"', '"something-else"', ""):
        problem = refused(await client.patch(where, json={"text": "3"}, headers={"If-Match": stale}), 412)
        assert problem["version"] == 2
        refused(await client.delete(where, headers={"If-Match": stale}), 412)
    assert (await client.get(where)).json()["text"] == "two"
    weak = {"If-Match": '"v1", W/"v2"'}
    assert (await client.patch(where, json={"text": "three"}, headers=weak)).status_code == 200
    assert (await client.delete(where, headers={"If-Match": "*"})).status_code == 204
    refused(await client.delete(where), 404)


async def test_the_current_etag_is_answered_with_304(client: httpx.AsyncClient, database: Database) -> None:
    call = await seed_call(database)
    where = (await client.post(f"{CALLS}/{call.call_id}/notes", json={"text": "one"})).headers["location"]
    etag = (await client.get(where)).headers["etag"]
    again = await client.get(where, headers={"If-None-Match": f'"v7", W/{etag}'})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
    assert (await client.get(where, headers={"If-None-Match": '"v2"'})).status_code == 200


async def test_a_note_is_found_only_under_its_own_call(client: httpx.AsyncClient, database: Database) -> None:
    mine, other = await seed_call(database), await seed_call(database)
    made = await client.post(f"{CALLS}/{mine.call_id}/notes", json={"text": "one"})
    refused(await client.get(f"{CALLS}/{other.call_id}/notes/{made.json()['id']}"), 404)
    refused(await client.patch(f"{CALLS}/s-unknown/notes/{made.json()['id']}", json={"text": "x"}), 404)
    refused(await client.get(f"{CALLS}/{mine.call_id}/notes/note_{'0' * 26}"), 404)
    refused(await client.get(f"{CALLS}/{mine.call_id}/notes/../{made.json()['id']}x"), 404)


async def test_an_ambiguous_name_returns_the_candidates(
    client: httpx.AsyncClient, database: Database
) -> None:
    parked = await client.post(f"{CALLS}/{SESSION}/notes", json={"text": "early"})
    one = await arrive(database, session_id=SESSION)
    two = await arrive(database, session_id=SESSION)
    for answer in (
        await client.post(f"{CALLS}/{SESSION}/notes", json={"text": "late"}),
        await client.get(f"{CALLS}/{SESSION}/notes"),
        await client.put(f"{CALLS}/{SESSION}/sentiments/agent", json={"score": 1}),
    ):
        assert refused(answer, 409)["candidates"] == sorted([one.call_id, two.call_id])
    found = await client.get(parked.headers["location"])
    assert (found.status_code, found.json()["callId"]) == (200, one.call_id)


async def test_an_impossible_name_of_a_call_is_refused_with_a_reason(client: httpx.AsyncClient) -> None:
    for name in ("0", "a%00b", "%20", "x" * 129, "sessionId:1"):
        for answer in (
            await client.post(f"{CALLS}/{name}/notes", json={"text": "one"}),
            await client.get(f"{CALLS}/{name}/notes"),
            await client.put(f"{CALLS}/{name}/disposition", json={"code": "sold"}),
            await client.get(f"{CALLS}/{name}/notes/note_{'0' * 26}"),
        ):
            assert refused(answer, 422)["detail"]


async def test_an_unknown_id_of_ours_is_not_found(client: httpx.AsyncClient) -> None:
    where = f"{CALLS}/call_01jp0v7s4v8x2m6c9q3t5r7w1e"
    refused(await client.post(f"{where}/notes", json={"text": "one"}), 404)
    refused(await client.get(f"{where}/notes"), 404)
    refused(await client.put(f"{where}/sentiments/agent", json={"score": 1}), 404)


BAD_NOTES = [
    '{"text": ""}',
    "{}",
    '{"text": "a\\u0000b"}',
    '{"text": "half \\ud83c of a pair"}',
    '{"text": "a", "title": "\\u0000"}',
    '{"text": "a", "author": {"name": "\\u0000"}}',
    '{"text": "a", "author": {}}',
    '{"text": "a", "externalId": "\\ud800"}',
    '{"text": "a", "externalID": "misspelt"}',
    '{"text": "a", "\\ud800": 1}',
    '{"text": "a", "body": "b"}',
    '{"text": "a", "format": "rtf"}',
    '{"text": "a", "source": "with space"}',
    '{"text": "a", "createdAt": "2026-03-10T18:07:41"}',
    '{"text": "a", "createdAt": "0001-01-01T00:00:00+14:00"}',
    '{"text": "a", "createdAt": 1773166061}',
    '{"text": NaN}',
    '["text"]',
    "null",
    '"text"',
]


async def test_an_unstorable_note_is_refused(client: httpx.AsyncClient) -> None:
    for body in BAD_NOTES:
        answer = await client.post(f"{CALLS}/s-early/notes", content=body, headers=JSON)
        assert answer.status_code == 422, body
        assert refused(answer, 422)["errors"]
    refused(await client.get(f"{CALLS}/s-early/notes"), 404)


async def test_the_longest_note_is_stored_exactly_and_a_longer_one_refused(
    client: httpx.AsyncClient,
) -> None:
    text = "ü" * 65_536
    made = await client.post(f"{CALLS}/s-early/notes", json={"text": text})
    assert (await client.get(made.headers["location"])).json()["text"] == text
    refused(await client.post(f"{CALLS}/s-early/notes", json={"text": text + "ü"}), 422)


async def test_a_note_may_have_its_own_time_and_the_field_body(client: httpx.AsyncClient) -> None:
    sent = {"body": "older", "createdAt": "2026-03-10T19:00:00+01:00"}
    made = await client.post(f"{CALLS}/s-early/notes", json=sent)
    assert (made.json()["text"], made.json()["createdAt"]) == ("older", "2026-03-10T18:00:00.000Z")
    await client.post(f"{CALLS}/s-early/notes", json={"text": "oldest", "createdAt": "2026-03-09T19:00:00Z"})
    texts = [note["text"] for note in (await client.get(f"{CALLS}/s-early/notes")).json()["data"]]
    assert texts == ["oldest", "older"]


@pytest.mark.parametrize(("path", "first", "second"), EVERYTHING_PUT)
async def test_attachments_are_created_replaced_read_and_deleted(
    client: httpx.AsyncClient, database: Database, path: str, first: dict[str, Any], second: dict[str, Any]
) -> None:
    call = await seed_call(database)
    where = f"{CALLS}/{call.telephony_session_id}/{path}"
    refused(await client.get(where), 404)
    made = await client.put(where, json=first)
    assert (made.status_code, made.headers["etag"][:4], made.json()["callId"]) == (201, '"v1-', call.call_id)
    assert {name: made.json()[name] for name in first} == first
    same = await client.put(where, json=first)
    assert (same.status_code, same.json()) == (200, made.json())
    replaced = await client.put(where, json=second, headers={"If-Match": '"v1"'})
    assert (replaced.status_code, replaced.headers["etag"][:4]) == (200, '"v2-')
    assert (await client.get(where)).json() == replaced.json()
    refused(await client.put(where, json=first, headers={"If-Match": '"v1"'}), 412)
    refused(await client.put(where, json=first, headers={"If-None-Match": "*"}), 412)
    refused(await client.delete(where, headers={"If-Match": '"v1"'}), 412)
    assert (await client.delete(where)).status_code == 204
    refused(await client.delete(where), 404)
    refused(await client.put(where, json=first, headers={"If-Match": '"v2"'}), 412)
    refused(await client.put(where, json=first, headers={"If-Match": "*"}), 412)
    word = path.split("/", 1)[0].rstrip("s")
    assert await timeline_of(client, call) == [
        (1, "call.bootstrapped"),
        (2, f"{word}.set"),
        (3, f"{word}.set"),
        (4, f"{word}.deleted"),
    ]


@pytest.mark.parametrize(("path", "first", "second"), EVERYTHING_PUT)
async def test_parked_attachments_are_on_the_call_when_it_is_known(
    client: httpx.AsyncClient, database: Database, path: str, first: dict[str, Any], second: dict[str, Any]
) -> None:
    where = f"{CALLS}/{SESSION}/{path}"
    assert (await client.put(where, json=first)).status_code == 202
    parked = await client.put(where, json=second)
    assert (parked.status_code, parked.json()["version"], parked.json()["status"]) == (202, 2, "parked")
    assert parked.json()["detail"]
    call = await arrive(database, session_id=SESSION)
    for name in (SESSION, call.call_id):
        found = (await client.get(f"{CALLS}/{name}/{path}")).json()
        assert {field: found[field] for field in second} == second
        assert (found["status"], found["version"]) == ("attached", 2)
    assert len(await timeline_of(client, call)) == 2


async def test_every_source_keeps_its_own_sentiment(client: httpx.AsyncClient, database: Database) -> None:
    call = await seed_call(database)
    where = f"{CALLS}/{call.call_id}/sentiments"
    assert (await client.get(where)).json()["data"] == []
    await client.put(f"{where}/agent:711000101", json={"label": "negative"})
    await client.put(f"{where}/ringsense", json={"score": 0.9})
    found = (await client.get(where)).json()["data"]
    assert {item["source"]: item["label"] for item in found} == {
        "agent:711000101": "negative",
        "ringsense": "positive",
    }
    whole = (await client.get(f"{CALLS}/{call.call_id}")).json()
    assert {item["source"] for item in whole["sentiments"]} == {"agent:711000101", "ringsense"}


READ_AS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"score": 0.21}, {"label": "positive", "score": 0.21, "original": None}),
    ({"score": 0.2}, {"label": "neutral"}),
    ({"score": -0.2}, {"label": "neutral"}),
    ({"score": -1}, {"label": "negative", "score": -1.0}),
    ({"label": "MIXED"}, {"label": "mixed", "score": None, "original": "MIXED"}),
    ({"label": "Very Negative"}, {"label": "negative", "original": "Very Negative"}),
    ({"label": "Frustrated", "score": -0.7}, {"label": "negative", "original": "Frustrated"}),
    (
        {"score": 0, "original": {"stars": [3, 4.5]}},
        {"label": "neutral", "original": {"stars": [3, 4.5]}},
    ),
    ({"label": "neutral"}, {"scope": {"type": "call"}, "confidence": None}),
    (
        {"label": "neutral", "scope": {"type": "party", "extensionId": "711000101"}},
        {"scope": {"type": "party", "extensionId": "711000101"}},
    ),
    (
        {"label": "neutral", "scope": {"type": "period", "from": 0, "to": 12.5}},
        {"scope": {"type": "period", "from": 0.0, "to": 12.5}},
    ),
]


async def test_a_sentiment_stores_the_original_word_and_the_label(
    client: httpx.AsyncClient,
) -> None:
    for sent, kept in READ_AS:
        await client.put(f"{CALLS}/s-early/sentiments/ringsense", json=sent)
        found = (await client.get(f"{CALLS}/s-early/sentiments/ringsense")).json()
        assert {name: found[name] for name in kept} == kept


BAD_SENTIMENTS = [
    "{}",
    '{"label": "frustrated"}',
    '{"score": 1.01}',
    '{"score": NaN}',
    '{"score": Infinity}',
    '{"score": "0.5"}',
    '{"score": true}',
    '{"score": 0.5, "confidence": -0.1}',
    '{"score": 0.5, "confidence": 1e999}',
    '{"score": 0.5, "original": {"deep": ["\\u0000"]}}',
    '{"score": 0.5, "original": {"\\ud800": 1}}',
    '{"score": 0.5, "original": [1e999]}',
    '{"score": 0.5, "scope": {"type": "call", "partyId": "p-1"}}',
    '{"score": 0.5, "scope": {"type": "party"}}',
    '{"score": 0.5, "scope": {"type": "period", "from": 3, "to": 3}}',
    '{"score": 0.5, "scope": {"type": "period", "from": 3}}',
    '{"score": 0.5, "scope": {"type": "period", "from": -1, "to": 3}}',
]


async def test_an_empty_or_contradictory_sentiment_is_refused(client: httpx.AsyncClient) -> None:
    where = f"{CALLS}/s-early/sentiments/ringsense"
    for body in BAD_SENTIMENTS:
        answer = await client.put(where, content=body, headers=JSON)
        assert answer.status_code == 422, body
        assert refused(answer, 422)["errors"]
    refused(await client.get(where), 404)


async def test_a_source_is_a_plain_word(client: httpx.AsyncClient) -> None:
    for source in ("with%20space", "%00", "x" * 65, "-", "%C3%BC"):
        for path, body in (("sentiments", {"score": 0}), ("links", {"objects": [{"type": "a", "id": "1"}]})):
            refused(await client.put(f"{CALLS}/s-early/{path}/{source}", json=body), 422)
            refused(await client.get(f"{CALLS}/s-early/{path}/{source}"), 422)


BAD_LINKS: list[list[dict[str, str]]] = [
    [],
    [{"type": "contact"}],
    [{"type": "contact", "id": "1", "url": "javascript:alert(1)"}],
    [{"type": "contact", "id": "1", "url": "https://"}],
    [{"type": "contact", "id": "1", "at": "yesterday"}],
]


async def test_a_link_without_a_target_is_refused(client: httpx.AsyncClient) -> None:
    for objects in BAD_LINKS:
        refused(await client.put(f"{CALLS}/s-early/links/hubspot", json={"objects": objects}), 422)


async def test_links_of_every_crm_are_listed(client: httpx.AsyncClient, database: Database) -> None:
    call = await seed_call(database)
    objects = [
        {
            "type": "task",
            "id": "88217",
            "url": "https://crm.example.com/t/1",
            "at": "2026-03-10T18:09:30.000Z",
        }
    ]
    await client.put(f"{CALLS}/{call.call_id}/links/hubspot", json={"objects": objects})
    await client.put(f"{CALLS}/{call.call_id}/links/zoho", json={"objects": [{"type": "call", "id": "9"}]})
    found = (await client.get(f"{CALLS}/{call.call_id}/links")).json()["data"]
    assert {item["crm"]: item["objects"] for item in found} == {
        "hubspot": objects,
        "zoho": [{"type": "call", "id": "9"}],
    }


async def test_a_read_only_key_cannot_write(
    client: httpx.AsyncClient, app: Any, database: Database, clock: FakeClock
) -> None:
    async with database.write() as db:
        key = await keys.create_key(db, UNBOUND_ACCOUNT, "reader", clock.now(), [Scope.CALLS_READ])
    where = (await client.post(f"{CALLS}/s-early/notes", json={"text": "one"})).headers["location"]
    async with open_client(app, key.plain) as reader:
        refused(await reader.post(f"{CALLS}/s-early/notes", json={"text": "two"}), 403)
        refused(await reader.patch(where, json={"text": "two"}), 403)
        refused(await reader.delete(where), 403)
        for path, body, _ in EVERYTHING_PUT:
            refused(await reader.put(f"{CALLS}/s-early/{path}", json=body), 403)
        assert (await reader.get(where)).json()["text"] == "one"
    async with open_client(app) as nobody:
        refused(await nobody.get(where), 401)


async def test_another_account_can_neither_read_nor_write(
    client: httpx.AsyncClient, app: Any, database: Database, clock: FakeClock
) -> None:
    async with database.write() as db:
        key = await keys.create_key(db, AccountId("111"), "other", clock.now())
    call = await seed_call(database)
    where = (await client.post(f"{CALLS}/{call.session_id}/notes", json={"text": "one"})).headers["location"]
    async with open_client(app, key.plain) as other:
        refused(await other.get(where), 404)
        refused(await other.delete(where), 404)
        assert (
            await other.post(f"{CALLS}/{call.session_id}/notes", json={"text": "theirs"})
        ).status_code == 202
    assert [
        note["text"] for note in (await client.get(f"{CALLS}/{call.session_id}/notes")).json()["data"]
    ] == ["one"]


async def test_attachments_of_an_unknown_account_are_there_after_its_binding(
    app: Any, database: Database, api_key: str, clock: FakeClock
) -> None:
    async with open_client(app, api_key) as early:
        where = (await early.post(f"{CALLS}/s-early/notes", json={"text": "one"})).headers["location"]
        async with database.write() as db:
            assert await bind_account(db, ACCOUNT, clock.now())
        assert (await early.get(where)).json()["status"] == "parked"
        call = await arrive(database, telephony_session_id="s-early")
        assert (await early.get(where)).json()["callId"] == call.call_id


async def test_a_note_can_be_attached_by_record_id(client: httpx.AsyncClient, database: Database) -> None:
    call = await seed_call(database)
    async with database.write() as db:
        row = {"account_id": ACCOUNT, "alias": "QX7f14l8Nt_2aVB", "call_id": call.call_id}
        await db.execute(insert(call_aliases).values(row))
    made = await client.post(f"{CALLS}/QX7f14l8Nt_2aVB/notes", json={"text": "one"})
    assert (made.status_code, made.json()["callId"]) == (201, call.call_id)


async def test_the_description_has_every_route_with_its_responses(client: httpx.AsyncClient) -> None:
    described = (await client.get("/openapi.json")).json()
    ours = {
        path: operations
        for path, operations in described["paths"].items()
        if path.startswith("/v1/calls/{call}/")
    }
    note = ours["/v1/calls/{call}/notes"]["post"]
    assert {"200", "201", "202", "400", "401", "403", "404", "409", "422", "503"} <= set(note["responses"])
    assert {parameter["name"] for parameter in note["parameters"]} == {"call", "Idempotency-Key"}
    example = described["components"]["schemas"]["NoteIn"]["examples"][0]
    assert "text" in described["components"]["schemas"]["NoteIn"]["properties"]
    assert (await client.post(f"{CALLS}/s-early/notes", json=example)).status_code == 202
    for path, model in (
        ("sentiments/ringsense", "SentimentIn"),
        ("disposition", "DispositionIn"),
        ("links/hubspot", "LinkIn"),
    ):
        for sent in described["components"]["schemas"][model]["examples"]:
            assert (await client.put(f"{CALLS}/s-early/{path}", json=sent)).status_code == 202
