"""People's and machines' sentiments, notes with markup, and repeated receipts over HTTP."""

import httpx

from app.db.engine import Database
from tests.factories_calls import seed_call

CALLS = "/v1/calls"


async def test_a_machine_never_overwrites_a_person(client: httpx.AsyncClient, database: Database) -> None:
    call = await seed_call(database)
    path = f"{CALLS}/{call.call_id}/sentiments/hubspot"
    human = await client.put(path, json={"label": "negative", "madeBy": "person"})
    assert (human.status_code, human.json()["madeBy"]) == (201, "person")
    machine = await client.put(path, json={"label": "positive"})
    assert (machine.status_code, machine.json()["madeBy"]) == (201, "machine")
    assert machine.json()["overruledBy"] == {"source": "hubspot", "label": "negative"}
    whole = (await client.get(f"{CALLS}/{call.call_id}")).json()
    assert [(one["madeBy"], one["label"]) for one in whole["sentiments"]] == [
        ("machine", "positive"),
        ("person", "negative"),
    ]
    assert whole["sentiment"] == {
        "source": "hubspot",
        "madeBy": "person",
        "label": "negative",
        "score": None,
    }
    assert (await client.get(path)).json()["label"] == "negative"
    assert (await client.get(path, params={"madeBy": "machine"})).json()["label"] == "positive"
    # Nor does a machine delete a person's.
    assert (await client.delete(path)).status_code == 204
    assert (await client.delete(path)).status_code == 404
    assert (await client.get(path)).json()["label"] == "negative"
    assert (await client.delete(path, params={"madeBy": "person"})).status_code == 204


async def test_a_machine_is_told_of_the_person_of_another_source(
    client: httpx.AsyncClient, database: Database
) -> None:
    call = await seed_call(database)
    path = f"{CALLS}/{call.call_id}/sentiments"
    alone = await client.put(f"{path}/acme-ai", json={"score": 0.9})
    assert "overruledBy" not in alone.json()
    human = await client.put(f"{path}/agent:711000101", json={"label": "negative"})
    assert "overruledBy" not in human.json()
    again = await client.put(f"{path}/acme-ai", json={"score": 0.8})
    assert again.json()["overruledBy"] == {"source": "agent:711000101", "label": "negative"}


async def test_readers_get_what_was_written_and_its_plain_text(
    client: httpx.AsyncClient, database: Database
) -> None:
    call = await seed_call(database)
    path = f"{CALLS}/{call.call_id}/notes"
    markdown = {"text": "**40** seats", "format": "markdown", "source": "a", "externalId": "1"}
    html = {"text": "<p onclick=x>40 <i>seats</i></p>", "format": "html"}
    noted = (await client.post(path, json=markdown)).json()
    assert (noted["text"], noted["plainText"], noted["format"]) == ("**40** seats", "40 seats", "markdown")
    shown = (await client.post(path, json=html)).json()
    assert (shown["text"], shown["plainText"]) == ("<p>40 <i>seats</i></p>", "40 seats")
    plain = (await client.post(path, json={"text": "<b>"})).json()
    assert (plain["text"], plain["plainText"], plain["format"]) == ("<b>", "<b>", "plain")
    again = await client.post(path, json=markdown)
    assert (again.json()["version"], again.headers["attachment-effect"]) == (1, "unchanged")
    # Another format of the same text: what is stored follows.
    changed = await client.patch(f"{path}/{plain['id']}", json={"format": "markdown"})
    assert (changed.json()["plainText"], changed.headers["attachment-effect"]) == ("<b>", "changed")
    bold = await client.patch(f"{path}/{noted['id']}", json={"text": "_50_"})
    assert (bold.json()["plainText"], bold.json()["version"]) == ("50", 2)
    refused = await client.patch(f"{path}/{plain['id']}", json={"format": "html"})
    assert refused.status_code == 422


async def test_a_repeated_receipt_is_no_change(client: httpx.AsyncClient, database: Database) -> None:
    call = await seed_call(database)
    path = f"{CALLS}/{call.call_id}/links/hubspot"
    task = {"type": "task", "id": "88217", "at": "2026-03-10T18:09:30Z"}
    first = await client.put(path, json={"objects": [task]})
    assert first.headers["attachment-effect"] == "created"
    again = await client.put(path, json={"objects": [task | {"at": "2026-03-10T18:11:00Z"}]})
    assert (again.status_code, again.headers["attachment-effect"]) == (200, "unchanged")
    assert again.headers["etag"] == first.headers["etag"]
    assert again.json() == first.json()
    assert (await client.get(f"{CALLS}/{call.call_id}")).json()["version"] == call.version + 1
    other = await client.put(path, json={"objects": [task, task | {"id": "2"}]})
    assert (other.json()["version"], other.headers["attachment-effect"]) == (2, "changed")
