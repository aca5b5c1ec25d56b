"""API keys: created once, shown once, refused when revoked, and resolved to their account."""

from datetime import timedelta

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import select

from app.api import keys
from app.api.auth import CallsReader
from app.api.known_keys import Scope, find_key, key_digest
from app.calls import accounts
from app.db.engine import Database
from app.db.tables import api_keys
from app.errors import Unprocessable
from app.ids import UNBOUND_ACCOUNT
from tests.conftest import open_client
from tests.factories_calls import ACCOUNT
from tests.fakes.clock import START, FakeClock

FIRST = "ak_the-key-of-the-environment"


async def test_a_new_key_is_found_by_its_value_which_is_not_stored(database: Database) -> None:
    async with database.write() as db:
        new = await keys.create_key(db, ACCOUNT, "connector", START, [Scope.CALLS_READ])
    async with database.read() as db:
        found = await find_key(db, new.plain)
        stored = (await db.execute(select(api_keys))).one()
    assert new.plain.startswith("ak_")
    assert len(new.plain) == 3 + 43
    assert found is not None
    assert (found.key_id, found.account_id, found.scopes) == (
        new.info.key_id,
        ACCOUNT,
        frozenset({"calls:read"}),
    )
    assert new.plain not in str(stored)
    assert stored.digest == key_digest(new.plain)


@pytest.mark.parametrize("scopes", [[], ["everything"], ["calls:read", "everything"]])
async def test_a_key_must_have_known_scopes(database: Database, scopes: list[str]) -> None:
    async with database.write() as db:
        with pytest.raises(Unprocessable):
            await keys.create_key(db, ACCOUNT, "connector", START, scopes)


async def test_a_revoked_key_is_refused_and_still_listed(database: Database) -> None:
    async with database.write() as db:
        new = await keys.create_key(db, ACCOUNT, "connector", START)
        assert await keys.revoke_key(db, ACCOUNT, new.info.key_id, START)
        assert await keys.revoke_key(db, ACCOUNT, new.info.key_id, START + timedelta(hours=1))
        assert not await keys.revoke_key(db, ACCOUNT, "key_unknown", START)
    async with database.read() as db:
        assert await find_key(db, new.plain) is None
        (listed,) = await keys.list_keys(db, ACCOUNT)
    assert (listed.key_id, listed.revoked_at) == (new.info.key_id, START)


async def test_an_account_cannot_revoke_the_key_of_another(database: Database) -> None:
    async with database.write() as db:
        new = await keys.create_key(db, ACCOUNT, "connector", START)
        assert not await keys.revoke_key(db, UNBOUND_ACCOUNT, new.info.key_id, START)
        assert await find_key(db, new.plain) is not None


async def test_the_first_key_is_created_once_and_stays_revoked(database: Database) -> None:
    async with database.write() as db:
        await keys.ensure_first_key(db, FIRST, START)
        await keys.ensure_first_key(db, FIRST, START + timedelta(days=1))
        (listed,) = await keys.list_keys(db, UNBOUND_ACCOUNT)
        assert (listed.created_at, set(listed.scopes)) == (START, set(Scope))
        await keys.revoke_key(db, UNBOUND_ACCOUNT, listed.key_id, START)
        await keys.ensure_first_key(db, FIRST, START + timedelta(days=2))
        assert await find_key(db, FIRST) is None


async def test_a_new_first_key_replaces_the_former_one(database: Database) -> None:
    async with database.write() as db:
        await keys.ensure_first_key(db, FIRST, START)
        await keys.ensure_first_key(db, FIRST + "-rotated", START + timedelta(days=1))
        assert await find_key(db, FIRST) is None
        found = await find_key(db, FIRST + "-rotated")
    assert found is not None
    assert found.allows(Scope.ADMIN)


async def test_a_key_of_the_own_account_follows_its_binding(database: Database) -> None:
    async with database.write() as db:
        await accounts.open_unbound(db, START)
        await keys.ensure_first_key(db, FIRST, START)
        before = await find_key(db, FIRST)
        await accounts.bind(db, ACCOUNT, START)
        after = await find_key(db, FIRST)
    assert before is not None
    assert after is not None
    assert (before.owner, before.account_id) == (UNBOUND_ACCOUNT, UNBOUND_ACCOUNT)
    assert (after.owner, after.account_id) == (UNBOUND_ACCOUNT, ACCOUNT)


def with_a_guarded_route(app: FastAPI) -> FastAPI:
    async def route(key: CallsReader) -> dict[str, str]:
        return {"key": key.key_id}

    app.add_api_route("/guarded", route)
    return app


@pytest.mark.parametrize(
    "authorization", [None, "", "Bearer", "Bearer ", "Basic YTpi", "Bearer ak_unknown", "Bearer " + "x" * 600]
)
async def test_a_missing_or_invalid_key_is_401(app: FastAPI, authorization: str | None) -> None:
    headers = {} if authorization is None else {"Authorization": authorization}
    async with open_client(with_a_guarded_route(app)) as client:
        answer = await client.get("/guarded", headers=headers)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["type"] == "/problems/unauthenticated"


async def test_a_missing_scope_is_named(app: FastAPI, database: Database, clock: FakeClock) -> None:
    async with database.write() as db:
        new = await keys.create_key(db, ACCOUNT, "writer", clock.now(), [Scope.NOTES_WRITE])
    async with open_client(with_a_guarded_route(app), new.plain) as client:
        answer = await client.get("/guarded")
    assert answer.status_code == 403
    assert answer.json()["requiredScope"] == "calls:read"


async def test_an_administrators_key_may_do_everything(
    app: FastAPI, database: Database, clock: FakeClock
) -> None:
    async with database.write() as db:
        new = await keys.create_key(db, ACCOUNT, "operator", clock.now(), [Scope.ADMIN])
    client: httpx.AsyncClient
    async with open_client(with_a_guarded_route(app), new.plain) as client:
        answer = await client.get("/guarded")
    assert answer.json() == {"key": new.info.key_id}
