"""The simulator's sign-in page, and several accounts behind one address, over real HTTP."""

from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from app.simulator import Simulator, SimulatorSettings, serving_accounts

AUTH = ("sim-client", "sim-secret")
JWT_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
HERE = "http://127.0.0.1:9/callback?kept=1"
TEA = SimulatorSettings(port=0, media_port=0, speed=50, jwt="tea")
COFFEE = TEA.model_copy(update={"account_id": "908070002", "jwt": "coffee", "seed": 2})


@pytest.fixture
async def pair() -> AsyncIterator[list[Simulator]]:
    async with serving_accounts([TEA, COFFEE]) as running:
        yield running


@pytest.fixture
async def browser(pair: list[Simulator]) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=pair[0].links.platform) as client:
        yield client


def asked(**changes: str) -> dict[str, str]:
    return {
        "response_type": "code",
        "client_id": "sim-client",
        "redirect_uri": HERE,
        "state": "s/1",
    } | changes


async def log_in(browser: httpx.AsyncClient, **form: str) -> dict[str, Any]:
    answer = await browser.post("/restapi/oauth/token", data=form, auth=AUTH)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def account_of(browser: httpx.AsyncClient, token: str) -> str:
    headers = {"Authorization": f"Bearer {token}"}
    answer = await browser.get("/restapi/v1.0/account/~", headers=headers)
    return str(answer.json()["id"])


async def test_the_token_selects_the_account_of_a_request(
    browser: httpx.AsyncClient, pair: list[Simulator]
) -> None:
    for jwt, simulator in (("tea", pair[0]), ("coffee", pair[1])):
        token = await log_in(browser, grant_type=JWT_GRANT, assertion=jwt)
        assert await account_of(browser, token["access_token"]) == simulator.company.account_id
        again = await log_in(browser, grant_type="refresh_token", refresh_token=token["refresh_token"])
        assert await account_of(browser, again["access_token"]) == simulator.company.account_id
    assert len(pair[1].tokens.sessions) == 1


async def test_users_of_both_accounts_sign_in_on_one_page(browser: httpx.AsyncClient) -> None:
    page = await browser.get("/restapi/oauth/authorize", params=asked())
    assert page.status_code == 200
    for user in ("908070001*101", "908070002*102"):
        assert user.replace("*", "%2A") in page.text
        back = await browser.get("/restapi/oauth/authorize", params=asked(sim_user=user))
        said = parse_qs(urlsplit(back.headers["location"]).query)
        assert (said["state"], said["kept"]) == (["s/1"], ["1"])
        token = await log_in(
            browser, grant_type="authorization_code", code=said["code"][0], redirect_uri=HERE
        )
        assert await account_of(browser, token["access_token"]) == user.partition("*")[0]


async def test_a_user_who_declines_is_redirected_without_a_code(browser: httpx.AsyncClient) -> None:
    back = await browser.get("/restapi/oauth/authorize", params=asked(sim_user="nobody"))
    said = parse_qs(urlsplit(back.headers["location"]).query)
    assert said["error"] == ["access_denied"]
    assert "code" not in said


@pytest.mark.parametrize(
    "wrong",
    [
        {"client_id": "other"},
        {"response_type": "token"},
        {"redirect_uri": "javascript:alert(1)"},
        {"code_challenge": "c", "code_challenge_method": "plain"},
        {"sim_user": "908070009*101"},
    ],
)
async def test_invalid_sign_ins_are_shown_to_the_user_without_a_redirect(
    browser: httpx.AsyncClient, wrong: dict[str, str]
) -> None:
    answer = await browser.get("/restapi/oauth/authorize", params=asked(**wrong))
    assert answer.status_code == 400
    assert "location" not in answer.headers


async def test_each_account_has_its_own_control_api(
    browser: httpx.AsyncClient, pair: list[Simulator]
) -> None:
    started = await browser.post("/_sim/accounts/908070002/calls", json={"script": "inbound_direct"})
    assert started.status_code < 300, started.text
    assert (len(pair[0].calls), len(pair[1].calls)) == (0, 1)


async def test_accounts_with_the_same_jwt_are_refused() -> None:
    with pytest.raises(ValueError, match="jwt"):
        async with serving_accounts([TEA, TEA.model_copy(update={"account_id": "1"})]):
            pass
