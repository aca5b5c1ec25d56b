"""GET /v1/me tells any valid key what it is."""

import pytest
from fastapi import FastAPI

from app import __version__
from app.api import keys
from app.calls import accounts
from app.calls.regions import store_home_country
from app.db.engine import Database
from app.ids import UNBOUND_ACCOUNT, AccountId
from app.ops.accounts import me
from tests.conftest import open_client
from tests.fakes.clock import START


@pytest.fixture
def app(app: FastAPI) -> FastAPI:
    app.include_router(me.router)
    return app


@pytest.mark.parametrize("scope", ["calls:read", "notes:write", "admin"])
async def test_any_key_may_ask(app: FastAPI, database: Database, account: AccountId, scope: str) -> None:
    async with database.write() as db:
        made = await keys.create_key(db, UNBOUND_ACCOUNT, "crm", START, [scope])
        await store_home_country(db, "US")
    async with open_client(app, made.plain) as client:
        answer = await client.get("/v1/me")
    assert answer.status_code == 200, answer.text
    shown = me.Me.model_validate(answer.json())
    assert shown.key == me.MyKey(key_id=made.info.key_id, name="crm", scopes=[scope], origins=[])
    assert shown.account == me.MyAccount(account_id=account, home_country="US")
    assert shown.service_version == __version__
    assert made.plain not in answer.text


async def test_the_account_is_null_until_it_is_known(app: FastAPI, database: Database) -> None:
    async with database.write() as db:
        await accounts.open_unbound(db, START)
        made = await keys.create_key(db, UNBOUND_ACCOUNT, "crm", START)
    async with open_client(app, made.plain) as client:
        assert (await client.get("/v1/me")).json()["account"] == {"accountId": None, "homeCountry": None}
        async with database.write() as db:
            await accounts.bind(db, AccountId("908070001"), START)
        assert (await client.get("/v1/me")).json()["account"]["accountId"] == "908070001"


async def test_the_limits_are_those_that_requests_meet(
    app: FastAPI, account: AccountId, api_key: str
) -> None:
    async with open_client(app, api_key) as client:
        limits = (await client.get("/v1/me")).json()["limits"]
        for path, parameter, limit in (
            ("/v1/calls", "limit", limits["callsPerPage"]),
            ("/v1/changes", "limit", limits["changesPerPage"]),
            ("/v1/changes", "wait", limits["waitSeconds"]),
        ):
            # The stream of an empty feed would wait, so the refusal alone is tried for `wait`.
            if parameter != "wait":
                assert (await client.get(path, params={parameter: limit})).status_code == 200
            assert (await client.get(path, params={parameter: limit + 1})).status_code == 422


async def test_the_limit_of_the_key_is_shown(app: FastAPI, database: Database, account: AccountId) -> None:
    async with database.write() as db:
        made = await keys.create_key(db, UNBOUND_ACCOUNT, "crm", START)
    for wanted, shown in ((60, (60, 10)), (0, (None, None))):
        changes = keys.KeyChanges(requests_per_minute=wanted)
        async with database.write() as db:
            await keys.change_key(db, UNBOUND_ACCOUNT, made.info.key_id, changes)
        app.state.services.known_keys._known.clear()
        async with open_client(app, made.plain) as client:
            limits = (await client.get("/v1/me")).json()["limits"]
        assert (limits["requestsPerMinute"], limits["requestsAtOnce"]) == shown


async def test_a_key_sees_its_own_requests_alone(
    app: FastAPI, database: Database, account: AccountId
) -> None:
    async with database.write() as db:
        made = await keys.create_key(db, UNBOUND_ACCOUNT, "crm", START)
        other = await keys.create_key(db, UNBOUND_ACCOUNT, "other", START)
    told = {"method": "GET", "route": "/v1/calls", "status": 200, "milliseconds": 3, "request_id": "r1"}
    app.state.services.recent_requests.add((UNBOUND_ACCOUNT, made.info.key_id), told)
    async with open_client(app, made.plain) as client:
        (shown,) = (await client.get("/v1/me/requests")).json()["data"]
    assert (shown["requestId"], shown["route"], shown["status"]) == ("r1", told["route"], 200)
    async with open_client(app, other.plain) as client:
        assert (await client.get("/v1/me/requests")).json() == {"data": [], "nextCursor": None}
        # Another key's are for administrators.
        path = f"/v1/api-keys/{made.info.key_id}/requests"
        assert [one["requestId"] for one in (await client.get(path)).json()["data"]] == ["r1"]


async def test_without_a_key_it_is_refused(app: FastAPI, account: AccountId) -> None:
    async with open_client(app) as client:
        assert (await client.get("/v1/me")).status_code == 401
