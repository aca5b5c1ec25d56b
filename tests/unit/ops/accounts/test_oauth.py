"""State and cookie of a sign-in: sealed, bound to each other, and short-lived."""

from datetime import timedelta
from typing import Any

import pytest

from app.accounts.onboarding import AuthorizationCode
from app.errors import SettingsError
from app.ops.accounts.oauth import SignInFlow, SignInRefused, SignInStart, cookie_name
from app.ringcentral.oauth import challenge_of
from app.settings import Settings
from app.vault import Vault
from tests.fakes.clock import START
from tests.integration.accounts.conftest import query_of

HERE = "https://calls.example.com"


@pytest.fixture
def settings(make_settings: Any) -> Settings:
    made: Settings = make_settings(
        rc_client_id="app", rc_client_secret="hidden", rc_server_url="https://rc.example.com"
    )
    return made


@pytest.fixture
def flow(settings: Settings) -> SignInFlow:
    return SignInFlow(settings, Vault("k" * 32))


def state_of(begun: SignInStart) -> str:
    return query_of(begun.address)["state"]


def test_state_and_cookie_belong_together_and_give_the_verifier_back(flow: SignInFlow) -> None:
    begun = flow.begin(HERE, START)
    nonce = flow.read_state(state_of(begun), START + timedelta(minutes=9))
    assert cookie_name(nonce, HERE) == begun.cookie_name
    found = flow.read_cookie(nonce, begun.cookie)
    assert challenge_of(found.verifier) == query_of(begun.address)["code_challenge"]
    assert found.redirect_uri == f"{HERE}/oauth/ringcentral/callback"


def test_no_two_sign_ins_are_alike(flow: SignInFlow) -> None:
    one, two = flow.begin(HERE, START), flow.begin(HERE, START)
    assert one.cookie_name != two.cookie_name
    first, second = query_of(one.address), query_of(two.address)
    assert all(first[name] != second[name] for name in ("state", "code_challenge"))


def test_the_cookie_of_another_sign_in_does_not_fit(flow: SignInFlow) -> None:
    one, two = flow.begin(HERE, START), flow.begin(HERE, START)
    nonce = flow.read_state(state_of(one), START)
    for cookie in (two.cookie, None, "", "forged", state_of(one)):
        with pytest.raises(SignInRefused, match="has not begun"):
            flow.read_cookie(nonce, cookie)


def test_another_replica_with_the_same_secret_takes_over_and_one_with_another_does_not(
    flow: SignInFlow, settings: Settings
) -> None:
    begun = flow.begin(HERE, START)
    replica = SignInFlow(settings, Vault(f"{'n' * 32},{'k' * 32}"))
    assert replica.read_cookie(replica.read_state(state_of(begun), START), begun.cookie)
    with pytest.raises(SignInRefused, match="not begun here"):
        SignInFlow(settings, Vault("x" * 32)).read_state(state_of(begun), START)


@pytest.mark.parametrize("state", ["", "x", "gAAAAA", "é" * 10, "x" * 100_000])
def test_a_state_that_is_none_of_ours_is_refused(flow: SignInFlow, state: str) -> None:
    with pytest.raises(SignInRefused, match="not begun here"):
        flow.read_state(state, START)


def test_an_invitation_cannot_pass_for_a_state(flow: SignInFlow) -> None:
    with pytest.raises(SignInRefused, match="not begun here"):
        flow.read_state(flow.invite(START, timedelta(hours=1)), START)
    assert not flow.is_invited(state_of(flow.begin(HERE, START)), START)


def test_a_state_lives_for_ten_minutes(flow: SignInFlow) -> None:
    with pytest.raises(SignInRefused, match="too long"):
        flow.read_state(state_of(flow.begin(HERE, START)), START + timedelta(minutes=10))


def test_an_invitation_lives_as_long_as_it_was_given(flow: SignInFlow) -> None:
    invitation = flow.invite(START, timedelta(hours=1))
    assert flow.is_invited(invitation, START + timedelta(minutes=59))
    assert not flow.is_invited(invitation, START + timedelta(minutes=60))
    assert not flow.is_invited(None, START)


def test_over_https_the_browser_holds_the_cookie_to_this_host() -> None:
    assert cookie_name("abcdefghijklmn", HERE) == "__Host-aftercall-oauth-abcdefghij"
    assert cookie_name("abcdefghijklmn", "http://127.0.0.1:8000") == "aftercall-oauth-abcdefghij"


def test_without_an_app_nothing_begins(make_settings: Any) -> None:
    with pytest.raises(SettingsError, match="RC_CLIENT_ID"):
        SignInFlow(make_settings(), Vault("k" * 32)).begin(HERE, START)


def test_what_a_sign_in_lives_by_does_not_show(flow: SignInFlow) -> None:
    begun = flow.begin(HERE, START)
    found = flow.read_cookie(flow.read_state(state_of(begun), START), begun.cookie)
    code = AuthorizationCode("EXAMPLE-CODE", found.verifier, found.redirect_uri)
    shown = f"{begun!r} {found!r} {code!r}"
    assert all(secret not in shown for secret in (begun.cookie, found.verifier, "EXAMPLE-CODE"))
