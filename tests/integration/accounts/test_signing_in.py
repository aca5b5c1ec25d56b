"""Connecting an account by signing in to RingCentral, as a browser does it, on both databases."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from app.accounts.connections import Connections
from app.accounts.token_refresh import TokenRefresher
from app.db.tables import credentials
from app.errors import CredentialsRefused
from app.process import Role
from app.ringcentral.protocol.oauth import challenge_of
from tests.conftest import SECRETS, answer_to
from tests.integration.accounts.conftest import COFFEE, SPEED, TEA, Stage, query_of, staged

ANA, BEN = "711000101", "711000102"


async def stored(stage: Stage) -> list[tuple[str, str, str]]:
    async with stage.process.database.read() as db:
        rows = await db.execute(select(credentials).order_by(credentials.c.account_id, credentials.c.name))
        return [(row.account_id, row.name, row.kind) for row in rows]


async def test_an_invited_administrator_connects_the_account(stage: Stage) -> None:
    page = await stage.sign_in(f"{COFFEE}*101")
    assert page.status_code == 200
    assert "The account is connected" in page.text
    assert COFFEE in page.text
    assert await stored(stage) == [(COFFEE, f"ext-{ANA}", "oauth")]
    account = await stage.account(COFFEE)
    assert account is not None
    assert (account["isOwn"], account["problem"]) == (False, None)
    (held,) = account["credentials"]
    assert (held["level"], held["ownerId"], held["kind"], held["problems"]) == ("account", ANA, "oauth", [])
    assert "ReadCallLog" in held["scopes"]


async def test_stored_secrets_are_unreadable_in_the_database(stage: Stage) -> None:
    await stage.sign_in(f"{COFFEE}*101")
    async with stage.process.database.read() as db:
        row = (await db.execute(select(credentials))).one()
    (session,) = stage.coffee.tokens.sessions
    assert session.refresh_token
    secrets = [session.access_token, session.refresh_token, "sim-secret"]
    assert all(secret.encode() not in row.secret + row.token for secret in secrets)
    listed = (await stage.ask("GET", "/v1/accounts")).text
    assert all(secret not in listed for secret in secrets)


async def test_signing_in_again_replaces_the_users_credentials(stage: Stage) -> None:
    await stage.sign_in(f"{COFFEE}*101")
    page = await stage.sign_in(f"{COFFEE}*101")
    assert "connected again" in page.text
    assert len(await stored(stage)) == 1
    (connection,) = await stage.process.connections.all()
    assert (await connection.client.fetch_token()).owner_id == ANA


async def test_users_of_two_accounts_are_distinguished(stage: Stage) -> None:
    await stage.sign_in(f"{TEA}*101")
    await stage.sign_in(f"{COFFEE}*101")
    assert [row[0] for row in await stored(stage)] == [TEA, COFFEE]


async def test_a_user_without_company_rights_connects_his_own_extension(quick_stage: Stage) -> None:
    page = await quick_stage.sign_in(f"{COFFEE}*102")
    assert page.status_code == 200
    assert "your own extension" in page.text
    account = await quick_stage.account(COFFEE)
    assert account is not None
    (held,) = account["credentials"]
    assert (held["level"], held["extensionId"], held["problems"]) == ("extension", BEN, [])


async def test_missing_app_permissions_are_reported_and_stored_as_a_problem(quick_stage: Stage) -> None:
    stage = quick_stage
    stage.coffee.faults = stage.coffee.faults.model_copy(update={"missing_scopes": ("ReadCallLog",)})
    page = await stage.sign_in(f"{COFFEE}*101")
    assert "ReadCallLog" in page.text
    account = await stage.account(COFFEE)
    assert account is not None
    ((problem,),) = [one["problems"] for one in account["credentials"]]
    assert problem["code"] == "CMN-401"


async def test_ringcentral_gets_the_challenge_and_nobody_gets_the_verifier(quick_stage: Stage) -> None:
    address = await quick_stage.to_ringcentral()
    asked = query_of(address)
    assert asked["code_challenge_method"] == "S256"
    (cookie,) = [one for one in quick_stage.browser.cookies.jar if "oauth" in one.name]
    assert cookie.value
    vault = quick_stage.process.vault
    begun = vault.unseal("oauth-browser", cookie.value).decode()
    verifier = begun.split('"verifier": "')[1].split('"')[0]
    assert challenge_of(verifier) == asked["code_challenge"]
    assert verifier not in address
    assert verifier not in cookie.value
    assert asked["redirect_uri"] == f"{quick_stage.address}/oauth/ringcentral/callback"


async def test_the_cookie_is_inaccessible_to_scripts_and_other_sites(quick_stage: Stage) -> None:
    answer = await quick_stage.browser.get(await quick_stage.invitation())
    (cookie,) = answer.headers.get_list("set-cookie")
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert "Max-Age=600" in cookie
    assert answer.headers["referrer-policy"] == "no-referrer"


async def test_another_browser_cannot_complete_a_sign_in(quick_stage: Stage) -> None:
    back = await quick_stage.agree(await quick_stage.to_ringcentral(), f"{COFFEE}*101")
    async with httpx.AsyncClient(trust_env=False) as stranger:
        page = await stranger.get(back)
    assert page.status_code == 400
    assert "did not start this sign-in" in page.text
    assert await stored(quick_stage) == []


async def test_a_changed_or_foreign_state_is_refused(quick_stage: Stage) -> None:
    stage = quick_stage
    first = query_of(await stage.to_ringcentral())
    back = await stage.agree(await stage.to_ringcentral(), f"{COFFEE}*101")
    code = query_of(back)["code"]
    callback = f"{stage.address}/oauth/ringcentral/callback"
    for state in ("", "x", first["state"][:-6] + "AAAAA="):
        page = await stage.browser.get(callback, params={"code": code, "state": state})
        assert page.status_code == 400
        assert "not started here" in page.text
    # Of the other tab's sign-in: its verifier does not fit this code.
    page = await stage.browser.get(callback, params={"code": code, "state": first["state"]})
    assert page.status_code == 502
    assert await stored(stage) == []


async def test_a_callback_works_once(quick_stage: Stage) -> None:
    back = await quick_stage.agree(await quick_stage.to_ringcentral(), f"{COFFEE}*101")
    assert (await quick_stage.browser.get(back)).status_code == 200
    again = await quick_stage.browser.get(back)
    assert again.status_code == 400
    assert "it is." in again.text
    assert len(await stored(quick_stage)) == 1


async def test_two_tabs_of_one_browser_do_not_interfere(quick_stage: Stage) -> None:
    one, two = await quick_stage.to_ringcentral(), await quick_stage.to_ringcentral()
    for address, user in ((two, f"{TEA}*101"), (one, f"{COFFEE}*101")):
        page = await quick_stage.browser.get(await quick_stage.agree(address, user))
        assert page.status_code == 200, page.text
    assert len(await stored(quick_stage)) == 2


async def test_a_sign_in_that_took_too_long_is_refused(
    quick_stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    back = await quick_stage.agree(await quick_stage.to_ringcentral(), f"{COFFEE}*101")
    clock = quick_stage.process.clock
    late = clock.now() + timedelta(minutes=11)
    monkeypatch.setattr(clock, "now", lambda: late)
    page = await quick_stage.browser.get(back)
    assert page.status_code == 400
    assert "took too long" in page.text


async def test_a_declined_sign_in_is_reported(quick_stage: Stage) -> None:
    page = await quick_stage.sign_in("nobody")
    assert page.status_code == 200
    assert "was not connected" in page.text


async def test_ringcentrals_message_is_escaped(quick_stage: Stage) -> None:
    state = query_of(await quick_stage.to_ringcentral())["state"]
    page = await quick_stage.browser.get(
        f"{quick_stage.address}/oauth/ringcentral/callback",
        params={"state": state, "error": "<script>", "error_description": "<b>no</b>"},
    )
    assert "<script>" not in page.text.split("<body>")[1]
    assert "&lt;script&gt;" in page.text
    assert "script-src 'self'" in page.headers["content-security-policy"]


async def test_a_failing_token_endpoint_is_reported_and_nothing_is_stored(quick_stage: Stage) -> None:
    back = await quick_stage.agree(await quick_stage.to_ringcentral(), f"{COFFEE}*101")
    quick_stage.coffee.faults = quick_stage.coffee.faults.model_copy(update={"token_status": 503})
    page = await quick_stage.browser.get(back)
    assert page.status_code == 502
    assert await stored(quick_stage) == []


async def test_an_app_without_refresh_tokens_is_told_to_issue_them(quick_stage: Stage) -> None:
    quick_stage.coffee.faults = quick_stage.coffee.faults.model_copy(update={"refresh_tokens": False})
    page = await quick_stage.sign_in(f"{COFFEE}*101")
    assert page.status_code == 502
    assert "refresh tokens" in page.text
    assert await stored(quick_stage) == []


async def test_without_an_invitation_only_an_operator_may_sign_in(quick_stage: Stage) -> None:
    stage = quick_stage
    start = f"{stage.address}/oauth/ringcentral/start"
    assert (await stage.browser.get(start)).status_code == 302, (
        "at this machine, of a service for this machine"
    )
    proxied = {"X-Forwarded-For": "203.0.113.9"}
    assert (await stage.browser.get(start, headers=proxied)).status_code == 403
    assert (await stage.browser.get(f"{start}?invitation=forged", headers=proxied)).status_code == 403
    key = await stage.key_of("~")
    await stage.browser.post(f"{stage.address}/dashboard/sign-in", data={"key": key})
    assert (await stage.browser.get(start, headers=proxied)).status_code == 403, "no admin"
    await stage.browser.post(f"{stage.address}/dashboard/sign-in", data={"key": SECRETS["api_key"]})
    assert (await stage.browser.get(start, headers=proxied)).status_code == 302


async def test_an_invitation_expires(quick_stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    link = await quick_stage.invitation()
    clock = quick_stage.process.clock
    late = clock.now() + timedelta(hours=25)
    monkeypatch.setattr(clock, "now", lambda: late)
    page = await quick_stage.browser.get(link)
    assert page.status_code == 403
    assert "no longer valid" in page.text


async def test_without_an_app_the_page_says_what_to_set(make_settings: Any, sqlite_url: str) -> None:
    async with staged(make_settings, sqlite_url, Role.WEB, rc_client_id=None) as stage:
        page = await stage.browser.get(f"{stage.address}/oauth/ringcentral/start")
        assert page.status_code == 503
        assert "RC_CLIENT_ID" in page.text
        assert (await stage.ask("POST", "/v1/accounts/invitations", json={})).status_code == 422


async def test_a_sign_in_is_kept_alive_without_calls(stage: Stage) -> None:
    tokens = stage.coffee.tokens
    tokens.rules = replace(tokens.rules, access_seconds=SPEED)  # a second
    await stage.sign_in(f"{COFFEE}*101")
    (session,) = tokens.sessions
    first = session.refresh_token
    keeper = TokenRefresher(stage.process.connections, stage.process.clock)

    async def traded() -> bool:
        await keeper.step()
        return session.refresh_token != first

    await answer_to(traded)
    assert tokens.sessions == [session], "the pair was traded, nobody signed in"


async def test_an_ended_sign_in_is_a_problem_and_is_not_retried(stage: Stage) -> None:
    await stage.sign_in(f"{COFFEE}*101")
    stage.coffee.tokens.revoke_all()
    connections = stage.process.connections
    for _ in range(3):
        (connection,) = await connections.all()
        with pytest.raises(CredentialsRefused) as refusal:
            await connection.client.fetch_active_calls_page(1, 1)
        await connections.note(connection, refusal.value)
    trades = [one for one in stage.tea.requests if one["path"].endswith("/token")]
    assert [one["status"] for one in trades] == [400]
    account = await stage.account(COFFEE)
    assert account is not None
    ((problem,),) = [one["problems"] for one in account["credentials"]]
    assert problem["code"] == "sign-in-again"
    assert "/oauth/ringcentral/start" in problem["detail"]
    summary = await stage.get("/v1/ops/summary", key=await stage.admin_key_of(COFFEE))
    assert [one["code"] for one in summary["problems"]] == ["sign-in-again"]
    of_operator = await stage.get("/v1/ops/summary")
    assert [(one["accountId"], one["code"]) for one in of_operator["problems"]] == [(COFFEE, "sign-in-again")]
    await stage.sign_in(f"{COFFEE}*101")
    (connection,) = await connections.all()
    assert (await connection.client.fetch_active_calls_page(1, 1)).account_id == COFFEE
    healed = await stage.account(COFFEE)
    assert healed is not None
    assert healed["credentials"][0]["problems"] == []


async def test_replicas_on_one_database_exchange_the_pair_once(stage: Stage) -> None:
    await stage.sign_in(f"{COFFEE}*101")
    process = stage.process
    async with httpx.AsyncClient(trust_env=False) as http:
        replicas = [
            Connections(
                process.settings,
                process.database,
                process.clock,
                process.vault,
                http,
                replica=f"replica-{name}",
            )
            for name in "abc"
        ]
        held = [(await replica.all())[0].client for replica in replicas]
        assert len({(await client.fetch_token()).access_token for client in held}) == 1
        stage.coffee.tokens.expire_all()
        pages = await asyncio.gather(*(client.fetch_active_calls_page(1, 1) for client in held))
    assert {page.account_id for page in pages} == {COFFEE}
    trades = [one for one in stage.coffee.requests if one["path"].endswith("/token")]
    assert len(trades) == 2, "the code, and one refresh token"
