"""State and cookie of a sign-in: sealed, bound to each other, and short-lived."""

from datetime import timedelta
from typing import Any

import pytest

from app.accounts.onboarding.oauth_sign_in import AuthorizationCode
from app.errors import SettingsError
from app.ops.accounts.oauth import SignInFlow, SignInRefused, SignInStart, cookie_name
from app.ringcentral.protocol.oauth import challenge_of
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


def state_of(started: SignInStart) -> str:
    return query_of(started.address)["state"]


def test_state_and_cookie_return_the_verifier(flow: SignInFlow) -> None:
    started = flow.start(HERE, START)
    nonce = flow.read_state(state_of(started), START + timedelta(minutes=9))
    assert cookie_name(nonce, HERE) == started.cookie_name
    found = flow.read_cookie(nonce, started.cookie)
    assert challenge_of(found.verifier) == query_of(started.address)["code_challenge"]
    assert found.redirect_uri == f"{HERE}/oauth/ringcentral/callback"


def test_sign_ins_are_unique(flow: SignInFlow) -> None:
    one, two = flow.start(HERE, START), flow.start(HERE, START)
    assert one.cookie_name != two.cookie_name
    first, second = query_of(one.address), query_of(two.address)
    assert all(first[name] != second[name] for name in ("state", "code_challenge"))


def test_cookie_of_another_sign_in_is_refused(flow: SignInFlow) -> None:
    one, two = flow.start(HERE, START), flow.start(HERE, START)
    nonce = flow.read_state(state_of(one), START)
    for cookie in (two.cookie, None, "", "forged", state_of(one)):
        with pytest.raises(SignInRefused, match="did not start"):
            flow.read_cookie(nonce, cookie)


def test_only_replicas_with_the_same_secret_accept_the_state(flow: SignInFlow, settings: Settings) -> None:
    started = flow.start(HERE, START)
    replica = SignInFlow(settings, Vault(f"{'n' * 32},{'k' * 32}"))
    assert replica.read_cookie(replica.read_state(state_of(started), START), started.cookie)
    with pytest.raises(SignInRefused, match="not started here"):
        SignInFlow(settings, Vault("x" * 32)).read_state(state_of(started), START)


@pytest.mark.parametrize("state", ["", "x", "gAAAAA", "é" * 10, "x" * 100_000])
def test_foreign_state_is_refused(flow: SignInFlow, state: str) -> None:
    with pytest.raises(SignInRefused, match="not started here"):
        flow.read_state(state, START)


def test_invitation_is_not_accepted_as_state(flow: SignInFlow) -> None:
    with pytest.raises(SignInRefused, match="not started here"):
        flow.read_state(flow.invite(START, timedelta(hours=1)), START)
    assert not flow.is_invited(state_of(flow.start(HERE, START)), START)


def test_state_expires_after_ten_minutes(flow: SignInFlow) -> None:
    with pytest.raises(SignInRefused, match="too long"):
        flow.read_state(state_of(flow.start(HERE, START)), START + timedelta(minutes=10))


def test_invitation_expires(flow: SignInFlow) -> None:
    invitation = flow.invite(START, timedelta(hours=1))
    assert flow.is_invited(invitation, START + timedelta(minutes=59))
    assert not flow.is_invited(invitation, START + timedelta(minutes=60))
    assert not flow.is_invited(None, START)


def test_cookie_is_bound_to_the_host_over_https() -> None:
    assert cookie_name("abcdefghijklmn", HERE) == "__Host-aftercall-oauth-abcdefghij"
    assert cookie_name("abcdefghijklmn", "http://127.0.0.1:8000") == "aftercall-oauth-abcdefghij"


def test_sign_in_needs_an_app(make_settings: Any) -> None:
    with pytest.raises(SettingsError, match="RC_CLIENT_ID"):
        SignInFlow(make_settings(), Vault("k" * 32)).start(HERE, START)


def test_secrets_are_not_in_reprs(flow: SignInFlow) -> None:
    started = flow.start(HERE, START)
    found = flow.read_cookie(flow.read_state(state_of(started), START), started.cookie)
    code = AuthorizationCode("EXAMPLE-CODE", found.verifier, found.redirect_uri)
    shown = f"{started!r} {found!r} {code!r}"
    assert all(secret not in shown for secret in (started.cookie, found.verifier, "EXAMPLE-CODE"))
