"""A call that was shown a moment ago takes a short way, on which nothing can be seen but its speed."""

from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import delete

from app.api import keys
from app.api.dependencies import Services
from app.api.known_keys import Scope
from app.calls.reading import unchanged
from app.db.engine import Database
from app.db.tables import calls
from app.ids import UNBOUND_ACCOUNT, AccountId
from tests.conftest import build_app, open_client
from tests.factories_calls import ACCOUNT, seed_call, touch
from tests.fakes.clock import START
from tests.fakes.statements import counted


@pytest.fixture
def short_ways(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether each request got its response on the short way."""
    taken: list[bool] = []
    find = unchanged._find_unchanged

    async def noted(request: Any) -> Any:
        response = await find(request)
        taken.append(response is not None)
        return response

    monkeypatch.setattr(unchanged, "_find_unchanged", noted)
    return taken


@pytest.mark.parametrize("name", ["call_id", "telephony_session_id"])
async def test_both_ways_lead_to_the_same_response(
    client: httpx.AsyncClient, database: Database, short_ways: list[bool], name: str
) -> None:
    path = f"/v1/calls/{getattr(await seed_call(database), name)}"
    usual = await client.get(path)
    with counted(database) as statements:
        short = await client.get(path)
    for one in (short, usual):
        assert one.headers.pop("RateLimit")
    assert (short.status_code, short.content, short.headers) == (200, usual.content, usual.headers)
    assert len(statements) == 1
    same = {"If-None-Match": usual.headers["ETag"]}
    unmodified = [
        await client.get(path, headers=same),
        await client.get(path, params={"wait": 0}, headers=same),
    ]
    assert [(one.status_code, one.content, one.headers["ETag"]) for one in unmodified] == [
        (304, b"", usual.headers["ETag"])
    ] * 2
    assert short_ways == [False, True, True, False]


async def test_a_change_by_another_replica_is_seen_at_once(
    client: httpx.AsyncClient, database: Database, short_ways: list[bool]
) -> None:
    call = await seed_call(database)
    path = f"/v1/calls/{call.call_id}"
    before = [(await client.get(path)).json()["version"] for _ in range(2)]
    # Nothing wakes this process: the change is committed without its knowledge.
    database.waker = None
    await touch(database, call, "call.updated", START + timedelta(seconds=1))
    after = [(await client.get(path)).json()["version"] for _ in range(2)]
    assert (before, after) == ([1, 1], [2, 2])
    assert short_ways == [False, True, False, True]


async def test_a_call_that_is_gone_is_not_shown(client: httpx.AsyncClient, database: Database) -> None:
    call = await seed_call(database)
    path = f"/v1/calls/{call.call_id}"
    assert [(await client.get(path)).status_code for _ in range(2)] == [200, 200]
    async with database.write() as db:
        await db.execute(delete(calls).where(calls.c.call_id == call.call_id))
    assert (await client.get(path)).status_code == 404


async def test_the_short_way_needs_a_key_with_access(
    client: httpx.AsyncClient, services: Services, database: Database, account: AccountId
) -> None:
    path = f"/v1/calls/{(await seed_call(database)).call_id}"
    assert [(await client.get(path)).status_code for _ in range(2)] == [200, 200]
    async with database.write() as db:
        writer = await keys.create_key(db, UNBOUND_ACCOUNT, "writer", START, [Scope.NOTES_WRITE])
        other = await keys.create_key(db, AccountId("555000111"), "other", START, [Scope.CALLS_READ])
    client.headers.pop("Authorization")
    for key, status in ((writer.plain, 403), (other.plain, 404), ("ak_unknown", 401), ("", 401)):
        headers = {"Authorization": f"Bearer {key}"}
        assert [(await client.get(path, headers=headers)).status_code for _ in range(2)] == [status] * 2
    assert (await client.get(path)).status_code == 401


async def test_a_revoked_key_is_refused_on_the_short_way(
    services: Services, database: Database, account: AccountId
) -> None:
    path = f"/v1/calls/{(await seed_call(database)).call_id}"
    async with database.write() as db:
        reader = await keys.create_key(db, AccountId(ACCOUNT), "reader", START, [Scope.CALLS_READ])
    async with open_client(build_app(services), reader.plain) as client:
        assert [(await client.get(path)).status_code for _ in range(2)] == [200, 200]
        async with database.write() as db:
            await keys.revoke_key(db, AccountId(ACCOUNT), reader.info.key_id, START)
        assert (await client.get(path)).status_code == 401
