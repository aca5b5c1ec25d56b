"""Tokens: how they are issued, refreshed, exchanged and revoked."""

import base64
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest

from app.simulator.platform.errors import Refused, TokenRefused
from app.simulator.platform.tokens import JWT_GRANT, TokenRules, Tokens
from app.simulator.scripting.company import ANA_ID, users_of
from app.simulator.scripting.model import Json
from app.simulator.settings import ALL_SCOPES

START = datetime(2026, 3, 10, tzinfo=UTC)
RULES = TokenRules("id", "secret", ALL_SCOPES, 3600.0, 604800.0, max_sessions=5)


@pytest.fixture
def tokens() -> Tokens:
    numbers = count(1)
    return Tokens(RULES, users_of("jwt"), make_token=lambda: f"token-number-{next(numbers)}")


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def log_in(tokens: Tokens, now: datetime = START, *, jwt: str = "jwt", **form: str) -> Json:
    return tokens.grant({"grant_type": JWT_GRANT, "assertion": jwt} | form, now, 1.0, refreshable=True)


def refresh(tokens: Tokens, token: str, now: datetime) -> Json:
    form = {"grant_type": "refresh_token", "refresh_token": token}
    return tokens.grant(form, now, 1.0, refreshable=True)


def use(tokens: Tokens, token: str, now: datetime) -> str:
    return tokens.authenticate(f"Bearer {token}", None, now).user.extension_id


def code_of_use(tokens: Tokens, token: str, now: datetime) -> str:
    with pytest.raises(Refused) as refusal:
        use(tokens, token, now)
    return refusal.value.code


def test_a_jwt_grant_returns_a_token_of_its_user(tokens: Tokens) -> None:
    response = log_in(tokens)
    assert (response["expires_in"], response["owner_id"], response["token_type"]) == (3600, ANA_ID, "bearer")
    assert use(tokens, response["access_token"], at(10)) == ANA_ID


def test_an_unknown_jwt_is_an_invalid_grant(tokens: Tokens) -> None:
    with pytest.raises(TokenRefused) as refusal:
        log_in(tokens, jwt="other")
    assert (refusal.value.status, refusal.value.error, refusal.value.code) == (
        400,
        "invalid_grant",
        "OAU-210",
    )


def test_retired_grants_are_refused_for_the_application(tokens: Tokens) -> None:
    with pytest.raises(TokenRefused) as refusal:
        tokens.grant({"grant_type": "password"}, START, 1.0, refreshable=True)
    assert (refusal.value.error, refusal.value.code) == ("unauthorized_client", "OAU-251")


@pytest.mark.parametrize(
    ("authorization", "code"),
    [
        (None, "OAU-123"),
        ("Bearer x", "OAU-123"),
        ("Basic !!!", "OAU-123"),
        ("Basic " + base64.b64encode(b"id:wrong").decode(), "OAU-140"),
    ],
)
def test_wrong_client_credentials_are_refused(tokens: Tokens, authorization: str | None, code: str) -> None:
    with pytest.raises(TokenRefused) as refusal:
        tokens.check_client(authorization, {})
    assert (refusal.value.status, refusal.value.code) == (401, code)


def test_right_client_credentials_are_accepted(tokens: Tokens) -> None:
    tokens.check_client("Basic " + base64.b64encode(b"id:secret").decode(), {})


def test_an_access_token_expires(tokens: Tokens) -> None:
    assert code_of_use(tokens, log_in(tokens)["access_token"], at(3600)) == "OAU-128"


def test_time_to_live_is_limited(tokens: Tokens) -> None:
    assert log_in(tokens, access_token_ttl="60")["expires_in"] == 600
    assert log_in(tokens, access_token_ttl="1200")["expires_in"] == 1200


def test_lifetimes_scale_with_speed(tokens: Tokens) -> None:
    form = {"grant_type": JWT_GRANT, "assertion": "jwt"}
    assert tokens.grant(form, START, 10.0, refreshable=False)["expires_in"] == 360


def test_refresh_tokens_can_be_switched_off(tokens: Tokens) -> None:
    form = {"grant_type": JWT_GRANT, "assertion": "jwt"}
    assert "refresh_token" not in tokens.grant(form, START, 1.0, refreshable=False)


def test_a_refresh_invalidates_the_old_access_token_at_once(tokens: Tokens) -> None:
    old = log_in(tokens)
    new = refresh(tokens, old["refresh_token"], at(60))
    assert code_of_use(tokens, old["access_token"], at(60)) == "OAU-213"
    assert use(tokens, new["access_token"], at(61)) == ANA_ID


def test_a_refresh_can_be_repeated_for_an_hour_while_the_new_token_is_unused(tokens: Tokens) -> None:
    old = log_in(tokens)
    new = refresh(tokens, old["refresh_token"], at(0))
    again = refresh(tokens, old["refresh_token"], at(3599))
    assert again["access_token"] == new["access_token"]
    with pytest.raises(TokenRefused):
        refresh(tokens, old["refresh_token"], at(3601))


def test_a_refresh_can_be_repeated_for_ten_seconds_after_the_new_token_is_used(tokens: Tokens) -> None:
    old = log_in(tokens)
    new = refresh(tokens, old["refresh_token"], at(0))
    use(tokens, new["access_token"], at(5))
    assert refresh(tokens, old["refresh_token"], at(14))["access_token"] == new["access_token"]
    with pytest.raises(TokenRefused):
        refresh(tokens, old["refresh_token"], at(16))


def test_the_sixth_session_ends_the_first(tokens: Tokens) -> None:
    logged_in = [log_in(tokens, at(second)) for second in range(6)]
    assert code_of_use(tokens, logged_in[0]["access_token"], at(10)) == "OAU-213"
    assert use(tokens, logged_in[1]["access_token"], at(10)) == ANA_ID


def test_sessions_of_other_users_do_not_count(tokens: Tokens) -> None:
    first = log_in(tokens)
    for second in range(5):
        log_in(tokens, at(second), jwt="jwt-second")
    assert use(tokens, first["access_token"], at(10)) == ANA_ID


def test_revoking_the_refresh_token_ends_the_access_token_too(tokens: Tokens) -> None:
    response = log_in(tokens)
    tokens.revoke(response["refresh_token"])
    assert code_of_use(tokens, response["access_token"], at(1)) == "OAU-213"


def test_tokens_can_be_expired_and_revoked(tokens: Tokens) -> None:
    first, second = log_in(tokens), log_in(tokens)
    assert tokens.expire_all() == 2
    assert code_of_use(tokens, first["access_token"], at(1)) == "OAU-128"
    assert tokens.revoke_all() == 2
    assert code_of_use(tokens, second["access_token"], at(1)) == "OAU-213"


def test_scopes_that_the_application_lacks_are_not_in_the_response(tokens: Tokens) -> None:
    form = {"grant_type": JWT_GRANT, "assertion": "jwt"}
    response = tokens.grant(form, START, 1.0, refreshable=True, withheld={"ReadCallLog"})
    assert response["scope"].split() == [scope for scope in RULES.scopes if scope != "ReadCallLog"]


def test_the_scope_can_be_narrowed(tokens: Tokens) -> None:
    assert log_in(tokens, scope="ReadCallLog Unknown")["scope"] == "ReadCallLog"


@pytest.mark.parametrize(
    ("authorization", "code"), [("Basic abc", "OAU-151"), (None, "OAU-149"), ("Bearer ", "OAU-149")]
)
def test_other_authorization_methods_are_refused(
    tokens: Tokens, authorization: str | None, code: str
) -> None:
    with pytest.raises(Refused) as refusal:
        tokens.authenticate(authorization, None, START)
    assert refusal.value.code == code


def test_a_token_in_the_query_is_accepted(tokens: Tokens) -> None:
    token = log_in(tokens)["access_token"]
    assert tokens.authenticate(None, token, at(1)).user.extension_id == ANA_ID


HERE = "https://here.example.com/callback"
VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"


def exchange(tokens: Tokens, code: str, now: datetime, **form: str) -> Json:
    given = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": HERE,
        "code_verifier": VERIFIER,
    }
    return tokens.grant(given | form, now, 1.0, refreshable=True)


def issue(tokens: Tokens, challenge: str | None = CHALLENGE) -> str:
    return tokens.issue_code(tokens.users["jwt"], HERE, challenge, START, 1.0)


def test_a_code_is_exchanged_for_tokens_of_its_user(tokens: Tokens) -> None:
    response = exchange(tokens, issue(tokens), at(30))
    assert use(tokens, response["access_token"], at(31)) == ANA_ID
    assert refresh(tokens, response["refresh_token"], at(40))["owner_id"] == ANA_ID


@pytest.mark.parametrize(
    ("form", "seconds", "code"),
    [
        ({}, 61, "OAU-101"),
        ({"redirect_uri": "https://elsewhere.example.com"}, 1, "OAU-109"),
        ({"code_verifier": "another" * 8}, 1, "OAU-102"),
        ({"code_verifier": ""}, 1, "OAU-102"),
    ],
)
def test_a_code_is_refused_late_or_from_another_client(
    tokens: Tokens, form: dict[str, str], seconds: int, code: str
) -> None:
    with pytest.raises(TokenRefused) as refusal:
        exchange(tokens, issue(tokens), at(seconds), **form)
    assert (refusal.value.error, refusal.value.code) == ("invalid_grant", code)


def test_a_code_works_once(tokens: Tokens) -> None:
    code = issue(tokens)
    exchange(tokens, code, at(1))
    with pytest.raises(TokenRefused):
        exchange(tokens, code, at(2))


def test_a_code_without_a_challenge_needs_no_verifier(tokens: Tokens) -> None:
    assert exchange(tokens, issue(tokens, None), at(1), code_verifier="")["owner_id"] == ANA_ID
