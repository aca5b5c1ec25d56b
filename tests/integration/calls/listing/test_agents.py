"""Calls by their owner's e-mail and extension number, as the directory of the account has them."""

from typing import Any

import httpx
import pytest
from sqlalchemy import insert

from app.db.engine import Database
from app.db.tables import directories, extensions
from tests.factories_calls import ACCOUNT, ANA, BEN, seed_call
from tests.fakes.clock import START

FORMER = "711000109"
EMAIL = "ana.ruiz@northwind-tea.example"


async def know_people(database: Database) -> None:
    """Ana with two extensions, one of which has left, and Ben."""
    row = {"account_id": ACCOUNT, "version": "dir_1", "source": "directory"}
    shared = {"account_id": ACCOUNT, "phone_numbers": [], "updated_at": START}
    people = [
        shared | {"extension_id": ANA, "number": "101", "email": "Ana.Ruiz@northwind-tea.example"},
        shared | {"extension_id": FORMER, "number": "109", "email": EMAIL, "left_at": START},
        shared | {"extension_id": BEN, "number": "102", "email": "ben@northwind-tea.example"},
    ]
    async with database.write() as db:
        await db.execute(insert(directories).values(**row))
        for person in people:
            await db.execute(insert(extensions).values(**person))


async def ids(client: httpx.AsyncClient, **params: Any) -> list[str]:
    answer = await client.get("/v1/calls", params=params)
    assert answer.status_code == 200, answer.text
    return sorted(call["id"] for call in answer.json()["data"])


async def test_calls_are_found_by_their_owners_e_mail_and_number(
    client: httpx.AsyncClient, database: Database
) -> None:
    await know_people(database)
    ana, former, ben = [
        (await seed_call(database, session_id=None, agent_extension_id=one)).call_id
        for one in (ANA, FORMER, BEN)
    ]
    await seed_call(database, session_id=None)
    assert await ids(client, agentEmail=EMAIL.upper()) == sorted([ana, former])
    assert await ids(client, agentExtensionNumber="102") == [ben]
    assert await ids(client, agentEmail=EMAIL, agentExtensionNumber="109") == [former]
    assert await ids(client, agentEmail=EMAIL, agent=ANA) == [ana]
    assert await ids(client, agentEmail=EMAIL, agent=BEN) == []
    assert await ids(client, agentEmail="nobody@northwind-tea.example") == []


@pytest.mark.parametrize("order", ["-startTime", "updatedAt", "endTime"])
async def test_pages_by_e_mail_lose_no_call(
    client: httpx.AsyncClient, database: Database, order: str
) -> None:
    await know_people(database)
    made = [
        await seed_call(database, session_id=None, agent_extension_id=one) for one in [ANA, FORMER, BEN] * 3
    ]
    found, cursor = [], None
    while True:
        given: dict[str, Any] = {
            "agentEmail": EMAIL if cursor is None else EMAIL.title(),
            "order": order,
            "limit": 2,
        }
        page = (await client.get("/v1/calls", params=given | ({"cursor": cursor} if cursor else {}))).json()
        found += [call["id"] for call in page["data"]]
        cursor = page["nextCursor"]
        if cursor is None:
            break
    assert sorted(found) == sorted(call.call_id for call in made if call.agent_extension_id != BEN)


async def test_without_a_directory_nobody_is_silently_missing(
    client: httpx.AsyncClient, database: Database
) -> None:
    await seed_call(database, agent_extension_id=ANA)
    for name, value in (("agentEmail", EMAIL), ("agentExtensionNumber", "101")):
        answer = await client.get("/v1/calls", params={name: value})
        assert answer.status_code == 422
        assert answer.json()["parameter"] == name
        assert "has not been read" in answer.json()["detail"]
