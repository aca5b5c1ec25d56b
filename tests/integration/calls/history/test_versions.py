"""Earlier versions of calls over HTTP, and what is left of them after the retention of changes."""

from datetime import timedelta
from typing import Any

import httpx
from sqlalchemy import delete

from app.calls.history.schemas import CallVersions
from app.calls.model import Call
from app.db.engine import Database
from app.db.tables import timeline
from tests.factories_calls import seed_call, touch
from tests.fakes.clock import START


async def get(client: httpx.AsyncClient, path: str, status: int = 200, **params: Any) -> Any:
    answer = await client.get(path, params=params)
    assert answer.status_code == status, answer.text
    return answer.json()


async def seed_history(database: Database, client: httpx.AsyncClient) -> Call:
    """A call with a change of its own, and a note that came and went."""
    call = await seed_call(database)
    await touch(
        database, call, "call.updated", START + timedelta(seconds=1), source="webhook", fields=["from"]
    )
    made = await client.post(f"/v1/calls/{call.call_id}/notes", json={"text": "Secret", "source": "hubspot"})
    assert made.status_code == 201, made.text
    note = made.json()["id"]
    assert (await client.delete(f"/v1/calls/{call.call_id}/notes/{note}")).status_code == 204
    return call


async def test_each_version_shows_what_was_known_then(client: httpx.AsyncClient, database: Database) -> None:
    call = await seed_history(database, client)
    shown = await get(client, f"/v1/calls/{call.session_id}/versions")
    CallVersions.model_validate(shown)
    current = (await get(client, f"/v1/calls/{call.call_id}"))["version"]
    versions = [one["version"] for one in shown["data"]]
    assert shown["currentVersion"] == current == versions[-1]
    assert versions == list(range(versions[0], current + 1))
    with_note, without = shown["data"][-2:]
    assert (with_note["type"], len(with_note["notes"]), with_note["keyId"] is not None) == (
        "note.created",
        1,
        True,
    )
    assert (without["type"], without["notes"]) == ("note.deleted", [])
    assert "Secret" not in str(shown)
    for one in shown["data"]:
        assert await get(client, f"/v1/calls/{call.call_id}/versions/{one['version']}") == one


async def test_versions_come_in_pages(client: httpx.AsyncClient, database: Database) -> None:
    call = await seed_history(database, client)
    path = f"/v1/calls/{call.call_id}/versions"
    whole = (await get(client, path))["data"]
    found, cursor = [], None
    while True:
        page = await get(client, path, limit=1, **({"cursor": cursor} if cursor else {}))
        found += page["data"]
        cursor = page["nextCursor"]
        if cursor is None:
            break
    assert found == whole


async def test_versions_past_retention_are_refused_with_the_oldest_kept(
    client: httpx.AsyncClient, database: Database
) -> None:
    call = await seed_history(database, client)
    path = f"/v1/calls/{call.call_id}/versions"
    whole = await get(client, path)
    current = whole["currentVersion"]
    async with database.write() as db:
        gone = (timeline.c.call_id == call.call_id, timeline.c.version < current - 1)
        await db.execute(delete(timeline).where(*gone))
    problem = await get(client, f"{path}/{whole['oldestVersion']}", 410)
    assert (problem["type"], problem["oldestVersion"]) == ("/problems/version-expired", current - 1)
    left = await get(client, path)
    assert left["oldestVersion"] == current - 1
    assert [one["version"] for one in left["data"]] == [current - 1, current]
    missing = await get(client, f"{path}/{current + 1}", 404)
    assert f"it has version {current}" in missing["detail"]


async def test_versions_of_unknown_calls_are_not_found(client: httpx.AsyncClient) -> None:
    await get(client, "/v1/calls/1229016182016/versions", 404)
    await get(client, "/v1/calls/1229016182016/versions/1", 404)
