"""The requests of a sign-in, as RFC 7636 and RingCentral's guides describe them."""

from urllib.parse import parse_qs, urlsplit

import pytest

from app.ringcentral.protocol.oauth import (
    account_info,
    authorize_address,
    challenge_of,
    decode_account_id,
    revoke_token,
    token_by_code,
    verifier_of,
)
from app.ringcentral.wire import Response
from tests.fakes.clock import START

RFC_BYTES = bytes(
    [
        116, 24, 223, 180, 151, 153, 224, 37, 79, 250, 96, 125, 216, 173, 187, 186,
        22, 212, 37, 77, 105, 214, 191, 240, 91, 88, 5, 88, 83, 132, 141, 121,
    ]
)  # fmt: skip


def test_verifier_and_challenge_match_the_rfc() -> None:
    verifier = verifier_of(RFC_BYTES)
    assert verifier == "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
    assert challenge_of(verifier) == "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"


@pytest.mark.parametrize("size", [0, 31, 97])
def test_a_verifier_of_invalid_length_is_rejected(size: int) -> None:
    with pytest.raises(ValueError, match="43 to 128"):
        verifier_of(bytes(size))


def test_the_browser_gets_the_challenge_and_never_the_verifier() -> None:
    verifier = verifier_of(RFC_BYTES)
    address = authorize_address(
        "https://rc.example.com",
        "app",
        redirect_uri="https://here.example.com/oauth/ringcentral/callback",
        state="a+b/c=",
        challenge=challenge_of(verifier),
    )
    parts = urlsplit(address)
    assert (parts.netloc, parts.path) == ("rc.example.com", "/restapi/oauth/authorize")
    assert parse_qs(parts.query) == {
        "response_type": ["code"],
        "client_id": ["app"],
        "redirect_uri": ["https://here.example.com/oauth/ringcentral/callback"],
        "state": ["a+b/c="],
        "code_challenge": [challenge_of(verifier)],
        "code_challenge_method": ["S256"],
    }
    assert verifier not in address


def test_a_code_is_exchanged_with_verifier_and_same_address_and_never_retried() -> None:
    request = token_by_code("app", "hidden", code="c", verifier="v", redirect_uri="https://here")
    assert request.form == {
        "grant_type": "authorization_code",
        "code": "c",
        "redirect_uri": "https://here",
        "code_verifier": "v",
    }
    assert not request.is_repeatable
    assert "hidden" not in repr(request)
    assert "hidden" not in repr(revoke_token("app", "hidden", "hidden-token"))


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"id": 908070001}', "908070001"),
        (b'{"uri": "https://x/restapi/v1.0/account/908070001"}', "908070001"),
        (b"{}", None),
        (b"oops", None),
    ],
)
def test_the_account_is_read_by_id_or_address(body: bytes, expected: str | None) -> None:
    assert decode_account_id(Response.of(200, {}, body, sent_at=START)) == expected
    assert account_info().group == "Light"
