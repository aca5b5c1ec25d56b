"""A main call's projection has the notes of the other calls of its conversation, and followers hear of it."""

from datetime import timedelta
from typing import Any

import httpx
import pytest

from app.calls.model import Call, Stage
from app.db.engine import Database
from tests.factories_calls import raw_record, seed_call, seed_note, touch
from tests.fakes.clock import START

CONVERSATION = "conv_5d0f7a3e9b1c4d6f8a2e0c4b"


async def seed_pair(database: Database) -> tuple[Call, Call]:
    """A customer's call and the consultation before its transfer, both final."""
    common: dict[str, Any] = {"stage": Stage.FINAL, "conversation_id": CONVERSATION}
    main = await seed_call(database, **common, records=[raw_record()])
    consultation = await seed_call(
        database,
        **common,
        started_at=START + timedelta(minutes=1),
        internal=True,
        external_number=None,
        main_call_id=main.call_id,
    )
    return main, consultation


async def projection(client: httpx.AsyncClient, call: Call) -> Any:
    answer = await client.get(f"/v1/calls/{call.call_id}/projections/generic")
    assert answer.status_code == 200, answer.text
    return answer.json()


async def notes_in(client: httpx.AsyncClient, call: Call) -> str:
    return str((await projection(client, call))["request"]["body"]["notes"]["plain"])


async def changes(client: httpx.AsyncClient, **params: Any) -> list[Any]:
    answer = await client.get("/v1/changes", params={"types": "call.updated", **params})
    assert answer.status_code == 200, answer.text
    return list(answer.json()["data"])


async def test_a_note_on_a_consultation_reaches_the_projection_of_the_main_call(
    client: httpx.AsyncClient, database: Database
) -> None:
    main, consultation = await seed_pair(database)
    await seed_note(database, main.call_id, text="Dana asks for Ben")
    before = await projection(client, main)

    path = f"/v1/calls/{consultation.session_id}/notes"
    body = {"text": "Ben takes over", "author": "Ana Ruiz"}
    note = (await client.post(path, json=body)).json()
    after = await projection(client, main)
    text = after["request"]["body"]["notes"]["plain"]
    assert "Note\nDana asks for Ben\n\nNote, by Ana Ruiz (linked call)\nBen takes over" in text
    assert after["hash"] != before["hash"]
    assert after["callVersion"] == before["callVersion"] + 1
    assert "Dana asks for Ben" not in await notes_in(client, consultation)

    await client.patch(f"{path}/{note['id']}", json={"text": "Ben called back"})
    assert "Ben called back" in await notes_in(client, main)
    await client.delete(f"{path}/{note['id']}")
    assert (await projection(client, main))["hash"] == before["hash"]


async def test_followers_hear_that_the_main_call_changed(
    client: httpx.AsyncClient, database: Database
) -> None:
    main, consultation = await seed_pair(database)
    await client.post(f"/v1/calls/{consultation.session_id}/notes", json={"text": "Ben takes over"})
    (change,) = await changes(client)
    key_id = change["data"].pop("keyId")
    expected = {"stage": "final", "source": "linked-call", "conversationId": CONVERSATION}
    assert (change["callId"], change["data"]) == (main.call_id, expected)
    assert key_id
    assert await changes(client, exclude="own") == []
    shown = (await client.get(f"/v1/calls/{main.call_id}")).json()
    assert (shown["version"], shown["notes"]) == (change["version"], [])
    # A note of the main call itself is its own change, and no other.
    await client.post(f"/v1/calls/{main.session_id}/notes", json={"text": "Dana agreed"})
    assert len(await changes(client)) == 1


async def test_notes_of_a_batch_are_one_change_of_the_main_call(
    client: httpx.AsyncClient, database: Database
) -> None:
    main, consultation = await seed_pair(database)
    calls = [consultation.session_id, main.session_id, consultation.session_id]
    items = [{"call": one, "note": {"text": f"Note {at}"}} for at, one in enumerate(calls)]
    await client.post("/v1/attachments", json={"items": items})
    text = await notes_in(client, main)
    assert all(f"Note {at}" in text for at in range(3))
    answer = await client.get("/v1/changes", params={"types": ["call.updated", "note.*"]})
    told = [(one["type"], one["version"]) for one in answer.json()["data"] if one["callId"] == main.call_id]
    assert told == [("note.created", 2), ("call.updated", 3)]
    assert (await client.get(f"/v1/calls/{main.call_id}")).json()["version"] == 3


async def test_a_note_that_was_sent_for_both_calls_is_there_once(
    client: httpx.AsyncClient, database: Database
) -> None:
    main, consultation = await seed_pair(database)
    for call, text, minutes in ((main, "first", 0), (consultation, "latest", 1)):
        at = START + timedelta(minutes=minutes)
        await seed_note(database, call.call_id, text=text, external_id="engagement-1", at=at)
    text = await notes_in(client, main)
    assert "latest" in text
    assert "first" not in text


async def test_a_disposition_of_a_linked_call_counts_where_the_main_call_has_none(
    client: httpx.AsyncClient, database: Database
) -> None:
    main, consultation = await seed_pair(database)
    for call, code in ((consultation, "sold"), (main, "lost")):
        await client.put(f"/v1/calls/{call.session_id}/disposition", json={"code": code})
        assert (await projection(client, main))["request"]["body"]["disposition"] == code


@pytest.mark.parametrize("path", ["/v1/calls/{main}", "/v1/calls"])
async def test_an_included_projection_has_them_too(
    client: httpx.AsyncClient, database: Database, path: str
) -> None:
    main, consultation = await seed_pair(database)
    await seed_note(database, consultation.call_id, text="Ben takes over")
    answer = await client.get(path.format(main=main.call_id), params={"include": "projections.generic"})
    shown = answer.json()
    found = {one["id"]: one["included"]["projections"]["generic"] for one in shown.get("data", [shown])}
    assert found[main.call_id] == await projection(client, main)
    assert "Ben takes over" in found[main.call_id]["request"]["body"]["notes"]["plain"]


async def test_a_call_that_becomes_the_main_one_has_the_notes_of_the_others(
    client: httpx.AsyncClient, database: Database
) -> None:
    """The choice and the note come in one transaction: the new main call changes once."""
    main, consultation = await seed_pair(database)
    main.internal, main.external_number = True, None
    consultation.internal = False
    await touch(database, main, "call.reconciled", START)
    await touch(database, consultation, "call.reconciled", START)
    await client.post(f"/v1/calls/{main.session_id}/notes", json={"text": "Dana asks for Ben"})
    assert "Dana asks for Ben" in await notes_in(client, consultation)
    mine = [
        one["data"].get("source") for one in await changes(client) if one["callId"] == consultation.call_id
    ]
    assert mine == [None, "linked-call"]
