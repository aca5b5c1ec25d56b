"""/v1/accounts and /v1/api-keys over HTTP: JWT credentials, permissions, removal, a new secret key."""

from typing import Any

import httpx
import pytest
from sqlalchemy import select

from app.accounts.overview import load_overview
from app.accounts.token_refresh import TokenRefresher
from app.db.tables import credentials, erasures, rate_buckets
from app.erasure.model import Order, Subject, SubjectKind
from app.erasure.store import plan_erasure
from app.erasure.subjects import unseal
from app.ids import AccountId
from app.ops.secret_rotation import rotate
from app.process import Role
from app.ringcentral.ports import Priority
from app.vault import Vault
from tests.conftest import SECRETS
from tests.integration.accounts.conftest import COFFEE, TEA, Stage, staged


async def add(stage: Stage, jwt: str, **fields: Any) -> httpx.Response:
    return await stage.ask("POST", "/v1/accounts", json={"jwt": jwt} | fields)


async def test_a_jwt_credential_is_stored_for_its_account(stage: Stage) -> None:
    answer = await add(stage, "coffee")
    assert answer.status_code == 201, answer.text
    body = answer.json()
    assert body["accountId"] == COFFEE
    assert [(one["name"], one["kind"], one["level"]) for one in body["credentials"]] == [
        ("ext-711000101", "jwt", "account")
    ]
    assert "coffee" not in answer.text
    (connection,) = await stage.process.connections.all()
    assert (await connection.client.fetch_token()).owner_id == "711000101"
    assert len(stage.coffee.tokens.sessions) == 1, "the token bought to learn the account serves on"


async def test_an_app_of_its_own_can_come_with_the_credential(quick_stage: Stage) -> None:
    wrong = await add(quick_stage, "coffee", clientId="other", clientSecret="other")
    assert wrong.status_code == 422
    assert wrong.json()["ringCentral"]["code"] == "OAU-140"
    right = await add(quick_stage, "coffee", clientId="sim-client", clientSecret="sim-secret")
    assert right.status_code == 201
    assert (await add(quick_stage, "coffee", clientId="sim-client")).status_code == 422


async def test_a_refused_credential_is_reported_and_not_stored(stage: Stage) -> None:
    answer = await add(stage, "stale")
    assert answer.status_code == 422
    assert answer.json()["ringCentral"]["code"] == "OAU-210"
    assert (await stage.get("/v1/accounts"))["data"] == []


async def test_several_users_of_one_account_have_names_and_buckets_of_their_own(stage: Stage) -> None:
    for jwt in ("coffee", "coffee-second", "coffee-limited"):
        assert (await add(stage, jwt)).status_code == 201
    account = await stage.account(COFFEE)
    assert account is not None
    assert [(one["name"], one["level"]) for one in account["credentials"]] == [
        ("ext-711000101", "account"),
        ("ext-711000102", "extension"),
        ("ext-711000190", "account"),
    ]
    for connection in await stage.process.connections.all():
        await connection.client.fetch_active_calls_page(
            1, 1, extension_id=connection.extension_id, priority=Priority.CONTENT
        )
    async with stage.process.database.read() as db:
        rows = await db.scalars(select(rate_buckets.c.bucket).where(rate_buckets.c.account_id == COFFEE))
        heavy = sorted(bucket for bucket in rows if bucket.endswith("heavy"))
    assert heavy == ["ext-711000101:heavy", "ext-711000102:heavy", "ext-711000190:heavy"]


async def test_a_name_can_be_given_and_must_be_one(quick_stage: Stage) -> None:
    assert (await add(quick_stage, "coffee", name="backup")).json()["credentials"][0]["name"] == "backup"
    assert (await add(quick_stage, "coffee", name="own")).status_code == 422
    assert (await add(quick_stage, "coffee", name="a/b")).status_code == 422


async def test_a_user_is_stored_once_because_the_rate_limit_is_per_user(quick_stage: Stage) -> None:
    stage = quick_stage
    await add(stage, "coffee", name="backup")
    assert [one["name"] for one in (await add(stage, "coffee")).json()["credentials"]] == ["backup"]
    twice = await add(stage, "coffee", name="desk")
    assert twice.status_code == 422
    assert "named backup" in twice.json()["detail"]
    await stage.sign_in(f"{COFFEE}*101")
    account = await stage.account(COFFEE)
    assert account is not None
    assert [(one["name"], one["kind"]) for one in account["credentials"]] == [("backup", "oauth")]
    assert (await add(stage, "coffee-second")).json()["credentials"][1]["name"] == "ext-711000190"


async def test_the_user_of_the_environment_cannot_be_added_again(make_settings: Any, sqlite_url: str) -> None:
    async with staged(make_settings, sqlite_url, Role.WEB, rc_jwt="tea") as stage:
        await stage.process.onboarding.learn_own()
        await TokenRefresher(stage.process.connections, stage.process.clock).step()
        twice = await add(stage, "tea")
        assert twice.status_code == 422
        assert "RC_JWT" in twice.json()["detail"]
        assert (await add(stage, "tea-second")).status_code == 201


async def test_removed_credentials_are_deleted_here_and_revoked_at_ringcentral(stage: Stage) -> None:
    await add(stage, "coffee")
    (connection,) = await stage.process.connections.all()
    path = f"/v1/accounts/{COFFEE}/credentials/ext-711000101"
    assert (await stage.ask("DELETE", path)).status_code == 204
    assert stage.coffee.tokens.sessions == []
    assert await stage.process.connections.all() == []
    assert (await stage.ask("DELETE", path)).status_code == 404
    account = await stage.account(COFFEE)
    assert account is not None
    assert account["credentials"] == []
    await stage.process.connections.note(connection, None)
    async with stage.process.database.read() as db:
        assert await db.scalar(select(credentials.c.name)) is None, "nobody brings them back"


async def test_removing_credentials_wakes_the_other_connections(
    quick_stage: Stage,
) -> None:
    await add(quick_stage, "coffee")
    told: list[str] = []
    quick_stage.process.database.waker = told.extend
    await quick_stage.ask("DELETE", f"/v1/accounts/{COFFEE}/credentials/ext-711000101")
    assert {"polls", "readings", "subscriptions"} <= set(told)


async def test_credentials_are_removed_even_if_ringcentral_is_unreachable(quick_stage: Stage) -> None:
    await add(quick_stage, "coffee")
    for company in (quick_stage.tea, quick_stage.coffee):
        company.faults = company.faults.model_copy(update={"unavailable_share": 1.0, "token_status": 503})
    path = f"/v1/accounts/{COFFEE}/credentials/ext-711000101"
    assert (await quick_stage.ask("DELETE", path)).status_code == 204


async def test_a_key_of_one_account_administers_only_that_account(stage: Stage) -> None:
    await add(stage, "coffee")
    await add(stage, "tea")
    key = await stage.admin_key_of(COFFEE)
    assert [one["accountId"] for one in (await stage.get("/v1/accounts", key=key))["data"]] == [COFFEE]
    refused = [
        await stage.ask("POST", "/v1/accounts", key=key, json={"jwt": "tea"}),
        await stage.ask("POST", "/v1/accounts/invitations", key=key, json={}),
        await stage.ask("DELETE", f"/v1/accounts/{TEA}/credentials/ext-711000101", key=key),
        await stage.ask("GET", "/v1/api-keys", key=key, params={"accountId": TEA}),
        await stage.ask("GET", "/v1/api-keys", key=key, params={"accountId": "~"}),
        await stage.ask("POST", "/v1/api-keys", key=key, json={"accountId": "~"}),
        await stage.ask("DELETE", "/v1/api-keys/key_first", key=key, params={"accountId": "~"}),
    ]
    assert [answer.status_code for answer in refused] == [403] * len(refused)
    assert (
        await stage.ask("DELETE", f"/v1/accounts/{COFFEE}/credentials/ext-711000101", key=key)
    ).status_code == 204


@pytest.mark.parametrize("scope", ["calls:read", "notes:write"])
async def test_only_admin_keys_administer(quick_stage: Stage, scope: str) -> None:
    key = await quick_stage.key_of("~", scope)
    for method, path in (
        ("GET", "/v1/accounts"),
        ("POST", "/v1/accounts"),
        ("POST", "/v1/accounts/invitations"),
        ("DELETE", f"/v1/accounts/{COFFEE}/credentials/x"),
        ("GET", "/v1/api-keys"),
        ("POST", "/v1/api-keys"),
        ("DELETE", "/v1/api-keys/key_first"),
    ):
        answer = await quick_stage.ask(
            method, path, key=key, json=None if method in ("GET", "DELETE") else {}
        )
        assert answer.status_code in (403, 422), path
        assert answer.status_code == 403 or path == "/v1/accounts"
        assert (await quick_stage.ask(method, path, key="ak_unknown", json={})).status_code == 401


async def test_keys_are_made_listed_and_revoked(stage: Stage) -> None:
    await add(stage, "coffee")
    made = await stage.ask("POST", "/v1/api-keys", json={"name": "crm", "accountId": COFFEE})
    assert made.status_code == 201
    key = made.json()
    assert key["scopes"] == ["calls:read", "notes:write"]
    listed = (await stage.get("/v1/api-keys", accountId=COFFEE))["data"]
    assert [one["keyId"] for one in listed] == [key["keyId"]]
    assert "key" not in listed[0]
    assert (await stage.ask("GET", "/v1/calls", key=key["key"])).status_code == 200
    path = f"/v1/api-keys/{key['keyId']}"
    assert (await stage.ask("DELETE", path)).status_code == 404, "of the asker's own account there is none"
    assert (await stage.ask("DELETE", path, params={"accountId": COFFEE})).status_code == 204
    assert (await stage.ask("GET", "/v1/calls", key=key["key"])).status_code == 401
    changed = await stage.ask(
        "PATCH", path, params={"accountId": COFFEE}, json={"origins": ["https://crm.example.com"]}
    )
    assert (changed.status_code, changed.json()["fault"]) == (409, "caller"), "it is revoked"
    assert [one["origins"] for one in (await stage.get("/v1/api-keys", accountId=COFFEE))["data"]] == [[]]
    for unknown in (
        await stage.ask("POST", "/v1/api-keys", json={"name": "crm", "accountId": "1"}),
        await stage.ask("GET", "/v1/api-keys", params={"accountId": "1"}),
    ):
        assert (unknown.status_code, unknown.json()["detail"]) == (404, "There is no account 1")


async def test_a_new_secret_key_takes_over_without_signing_in_again(stage: Stage) -> None:
    await add(stage, "coffee")
    await stage.sign_in(f"{TEA}*101")
    new, old = "n" * 32, SECRETS["secret_key"]
    database, settings = stage.process.database, stage.process.settings
    subject = Subject(SubjectKind.PHONE_NUMBER, "+15550179001", ("+15550179001",))
    async with database.write() as db:
        order = Order("command")
        await plan_erasure(db, Vault(old), AccountId(TEA), subject, order, stage.process.clock.now())
    async with database.write() as db:
        done = await rotate(db, Vault(f"{new},{old}"))
        assert (done.renewed, done.kept, done.unreadable) == (5, 0, 0)
        again = await rotate(db, Vault(f"{new},{old}"))
        assert (again.renewed, again.kept, again.unreadable) == (0, 5, 0)
        lost = await rotate(db, Vault("x" * 32))
        assert lost.unreadable == 5
        sealed = await db.scalar(select(erasures.c.subject))
        assert sealed is not None
        assert unseal(Vault(new), sealed) == subject
    async with database.read() as db:
        fine = await load_overview(db, settings, Vault(new), stage.process.clock.now())
        assert any(account.members for account in fine)
        assert all(not member.problems for account in fine for member in account.members)
        broken = await load_overview(db, settings, Vault(old), stage.process.clock.now())
    problems = [problem["code"] for account in broken for one in account.members for problem in one.problems]
    assert problems == ["unreadable", "unreadable"]
