"""Verification of signed webhooks by the Python client (Standard Webhooks 1.0)."""

import base64
import hashlib
import hmac
from typing import Any

import pytest

from aftercall_client import Webhook, WebhookRejected, sign

KEY = b"0123456789abcdef01234567"
SECRET = "whsec_" + base64.b64encode(KEY).decode()
OTHER = "whsec_" + base64.b64encode(b"another key of 24 bytes.").decode()
NOW = 1_796_083_200
BODY = b'{"type": "call.final", "name": "Zo\xc3\xab"}'


def headers(body: bytes = BODY, sent_at: int = NOW, secret: str = SECRET) -> dict[str, str]:
    return {
        "Webhook-Id": "4711-9f8e7d6c5b4a",
        "Webhook-Timestamp": str(sent_at),
        "Webhook-Signature": sign(secret, "4711-9f8e7d6c5b4a", sent_at, body),
    }


def test_a_signature_is_that_of_the_standard() -> None:
    digest = hmac.new(KEY, b"msg_1.1796083200.{}", hashlib.sha256).digest()
    assert sign(SECRET, "msg_1", NOW, b"{}") == "v1," + base64.b64encode(digest).decode()


@pytest.mark.parametrize("body", [BODY, BODY.decode()])
def test_a_signed_event_is_returned(body: Any) -> None:
    assert Webhook(SECRET).verify(body, headers(), now=NOW) == {"type": "call.final", "name": "Zoë"}


def test_while_a_secret_rotates_either_is_accepted() -> None:
    both = f"v1a,AAAA {sign(OTHER, '4711-9f8e7d6c5b4a', NOW, BODY)} {headers()['Webhook-Signature']}"
    assert Webhook(SECRET).verify(BODY, headers() | {"Webhook-Signature": both}, now=NOW)
    assert Webhook(OTHER, SECRET).verify(BODY, headers(), now=NOW)


@pytest.mark.parametrize(
    ("body", "given", "why"),
    [
        (BODY + b" ", headers(), "no signature"),
        (BODY, headers(secret=OTHER), "no signature"),
        (BODY, headers() | {"Webhook-Id": "4712"}, "no signature"),
        (BODY, headers() | {"Webhook-Signature": ""}, "no signature"),
        (BODY, headers() | {"Webhook-Signature": "v1,not base64 v1,"}, "no signature"),
        (BODY, headers(sent_at=NOW - 301), "too old"),
        (BODY, headers(sent_at=NOW + 301), "in the future"),
        (BODY, headers() | {"Webhook-Timestamp": "soon"}, "not a number"),
        (BODY, headers() | {"Webhook-Timestamp": "１"}, "not a number"),
        (b"[]", headers(b"[]"), "not an object"),
        (b"x", headers(b"x"), "not JSON"),
        (BODY, {"Webhook-Id": "1"}, "is missing"),
    ],
)
def test_anything_else_is_rejected(body: bytes, given: dict[str, str], why: str) -> None:
    with pytest.raises(WebhookRejected, match=why):
        Webhook(SECRET).verify(body, given, now=NOW)


def test_the_tolerance_is_five_minutes() -> None:
    for sent_at in (NOW - 300, NOW + 300):
        assert Webhook(SECRET).verify(BODY, headers(sent_at=sent_at), now=NOW)


@pytest.mark.parametrize("secrets", [(), ("whsec_no base64!",)])
def test_a_secret_has_to_be_one(secrets: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="secret"):
        Webhook(*secrets)
