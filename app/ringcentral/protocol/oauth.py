"""Tokens and signing in, as pure functions: no input or output, no clock.

The authorization code flow with PKCE (RFC 7636): the browser carries a challenge to RingCentral and brings a
code back. The code is worth nothing without the verifier, which leaves this service only inside a sealed
cookie. Facts are from RingCentral's guides "JWT flow", "Authorization code flow", "PKCE" and "Refresh
tokens".
"""

import base64
import hashlib
from urllib.parse import urlencode

from app.ids import AccountId, as_text
from app.ringcentral.models import Token, read_token
from app.ringcentral.models.fields import account_in_uri
from app.ringcentral.protocol.requests import Secret, get
from app.ringcentral.protocol.responses import read_with
from app.ringcentral.wire import AUTH, LIGHT, Request, Response, decode_object
from app.values.storable import BadJson

TOKEN_PATH = "/restapi/oauth/token"  # noqa: S105 - an address
AUTHORIZE_PATH = "/restapi/oauth/authorize"
REVOKE_PATH = "/restapi/oauth/revoke"
VERIFIER_BYTES = 48
"""Random bytes of a verifier. They make 64 characters; RFC 7636 allows 43 to 128."""


def verifier_of(random_bytes: bytes) -> str:
    """Return the verifier made of these bytes. Raises ValueError if it would be too short or too long."""
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
    """Return the address at which the user signs in."""
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


def token_by_jwt(client_id: str, client_secret: str, assertion: str) -> Request:
    """Request a token with the service user's JWT credential."""
    form = {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": assertion}
    return _token_request(client_id, client_secret, TOKEN_PATH, form)


def token_by_code(
    client_id: str, client_secret: str, *, code: str, verifier: str, redirect_uri: str
) -> Request:
    """Exchange the code from the browser for a pair of tokens. A code works once, for about a minute."""
    form = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": redirect_uri,
        "code_verifier": verifier,
    }
    return _token_request(client_id, client_secret, TOKEN_PATH, form, is_repeatable=False)


def token_by_refresh(client_id: str, client_secret: str, refresh_token: str) -> Request:
    """Exchange a refresh token for a new pair.

    It works once and ends its access token at once. A repetition returns the same new pair, for an hour while
    that pair is unused, and for about ten seconds after its first use.
    """
    form = {"grant_type": "refresh_token", "refresh_token": refresh_token}
    return _token_request(client_id, client_secret, TOKEN_PATH, form)


def revoke_token(client_id: str, client_secret: str, token: str) -> Request:
    """End the session of an access or refresh token. Ignore an error; do not repeat the request."""
    return _token_request(client_id, client_secret, REVOKE_PATH, {"token": token})


def decode_token(response: Response) -> Token:
    return read_with(response, read_token, "the token")


def account_info() -> Request:
    """Request the account of the token. Needs the app scope ReadAccounts; does not count against Heavy."""
    path = "/restapi/v1.0/account/"
    return get(f"{path}~", f"{path}{{accountId}}", LIGHT)


def decode_account_id(response: Response) -> AccountId | None:
    """Read the account's id from the response to `account_info`."""
    try:
        fields = decode_object(response)
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
        headers=Secret({"Authorization": f"Basic {basic}"}),
        form=form,
        is_repeatable=is_repeatable,
    )


def _text(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()
