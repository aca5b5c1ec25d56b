"""Signing in with RingCentral, as functions of plain values. Does no input or output and reads no clock.

The authorization code flow with proof of possession (RFC 7636): the browser carries a challenge to RingCentral
and brings a code back; the code is worth nothing without the verifier, which never leaves this service but in a
sealed cookie. Facts are from RingCentral's guides "Authorization code flow", "PKCE" and "Refresh tokens".
"""

import base64
import hashlib
from typing import Any
from urllib.parse import urlencode

from app.ids import AccountId, as_text
from app.ringcentral.models import account_in_uri
from app.ringcentral.wire import AUTH, LIGHT, Request, Response, decode_object
from app.values.storable import BadJson

TOKEN_PATH = "/restapi/oauth/token"  # noqa: S105 - an address
AUTHORIZE_PATH = "/restapi/oauth/authorize"
REVOKE_PATH = "/restapi/oauth/revoke"
VERIFIER_BYTES = 48
"""Random bytes of a verifier: 64 characters, of 43 to 128 that RFC 7636 allows."""


def verifier_of(random_bytes: bytes) -> str:
    """Return the verifier that these bytes make. Raises ValueError for too few or too many."""
    verifier = _text(random_bytes)
    if not 43 <= len(verifier) <= 128:
        raise ValueError("a verifier has 43 to 128 characters")
    return verifier


def challenge_of(verifier: str) -> str:
    """Return the S256 challenge of a verifier."""
    return _text(hashlib.sha256(verifier.encode("ascii")).digest())


def authorize_address(
    server_url: str, client_id: str, *, redirect_uri: str, state: str, challenge: str
) -> str:
    """Return where the browser goes to sign in."""
    query = urlencode(
        {
            "response_type": "code",
            "client_id": client_id,
            "redirect_uri": redirect_uri,
            "state": state,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
    )
    return f"{server_url}{AUTHORIZE_PATH}?{query}"


def token_by_code(
    client_id: str, client_secret: str, *, code: str, verifier: str, redirect_uri: str
) -> Request:
    """Trade the code that the browser brought for a pair of tokens. A code works once, within a minute or so."""
    form = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": redirect_uri,
        "code_verifier": verifier,
    }
    return _token_request(client_id, client_secret, TOKEN_PATH, form, is_repeatable=False)


def token_by_refresh(client_id: str, client_secret: str, refresh_token: str) -> Request:
    """Trade a refresh token for a new pair.

    It works once, and the access token that it came with is dead at once. A repetition is answered with the same
    new pair, for an hour while that is unused and for some ten seconds after its first use.
    """
    form = {"grant_type": "refresh_token", "refresh_token": refresh_token}
    return _token_request(client_id, client_secret, TOKEN_PATH, form)


def revoke_token(client_id: str, client_secret: str, token: str) -> Request:
    """End the session that an access or refresh token belongs to. An error is to be ignored, not repeated."""
    return _token_request(client_id, client_secret, REVOKE_PATH, {"token": token})


def account_info() -> Request:
    """Ask whose account the token is of; spends nothing of Heavy, takes the app scope ReadAccounts."""
    path = "/restapi/v1.0/account/"
    return Request(method="GET", url=f"{path}~", route=f"{path}{{accountId}}", group=LIGHT)


def decode_account_id(answer: Response) -> AccountId | None:
    """Read the account's id out of the answer to `account_info`."""
    try:
        fields = decode_object(answer)
    except BadJson:
        return None
    found = as_text(fields.get("id"))
    return AccountId(found) if found else account_in_uri(fields.get("uri"))


def _token_request(
    client_id: str, client_secret: str, path: str, form: dict[str, str], *, is_repeatable: bool = True
) -> Request:
    basic = base64.b64encode(f"{client_id}:{client_secret}".encode()).decode()
    return Request(
        method="POST",
        url=path,
        route=path,
        group=AUTH,
        headers=_Header({"Authorization": f"Basic {basic}"}),
        form=form,
        is_repeatable=is_repeatable,
    )


def _text(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


class _Header(dict[str, Any]):
    """A header whose content must not show in logs and tracebacks."""

    def __repr__(self) -> str:
        return "{…}"
