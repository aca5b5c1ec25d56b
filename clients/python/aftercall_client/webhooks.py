"""Verifies webhooks signed as Standard Webhooks 1.0 says.

event = Webhook(os.environ["WEBHOOK_SECRET"]).verify(request.body, request.headers)
"""

import base64
import binascii
import hashlib
import hmac
import json
import time
from collections.abc import Iterable, Mapping
from typing import Any

from aftercall_client.errors import AftercallError

TOLERANCE_SECONDS = 300
_PREFIX = "whsec_"


class WebhookRejected(AftercallError):
    """The request is not from the service, was changed on its way, or is too old. Respond with 400."""


class Webhook:
    """Verifies the requests of one endpoint. While its secret rotates, give the old and the new one."""

    def __init__(self, *secrets: str, tolerance_seconds: float = TOLERANCE_SECONDS) -> None:
        if not secrets:
            raise ValueError("give the secret of the endpoint, `whsec_…`")
        self._keys = [_key_of(secret) for secret in secrets]
        self._tolerance = tolerance_seconds

    def verify(
        self, body: bytes | str, headers: Mapping[str, str], *, now: float | None = None
    ) -> dict[str, Any]:
        """Return the event. `body`: as it arrived, not parsed. `now`: seconds since 1970; None: the clock's.

        Raises WebhookRejected.
        """
        raw = body.encode() if isinstance(body, str) else body
        given = {name.lower(): value for name, value in headers.items()}
        try:
            message_id, sent_at = given["webhook-id"], given["webhook-timestamp"]
            signatures = given["webhook-signature"].split(" ")
        except KeyError as missing:
            raise WebhookRejected(f"the header {missing} is missing") from None
        self._check_time(sent_at, time.time() if now is None else now)
        content = b".".join((message_id.encode(), sent_at.encode(), raw))
        if not _is_signed(content, signatures, self._keys):
            raise WebhookRejected("no signature is that of the secret")
        try:
            event = json.loads(raw)
        except ValueError:
            raise WebhookRejected("the body is not JSON") from None
        if not isinstance(event, dict):
            raise WebhookRejected("the body is not an object")
        return event

    def _check_time(self, sent_at: str, now: float) -> None:
        if not (sent_at.isascii() and sent_at.isdigit() and len(sent_at) <= 15):
            raise WebhookRejected("webhook-timestamp is not a number of seconds")
        if abs(now - int(sent_at)) > self._tolerance:
            raise WebhookRejected("webhook-timestamp is too old, or in the future: compare the clocks")


def sign(secret: str, message_id: str, sent_at: int, body: bytes) -> str:
    """Return the signature of a message, for tests of a receiver."""
    content = b".".join((message_id.encode(), str(sent_at).encode(), body))
    return "v1," + base64.b64encode(_digest(_key_of(secret), content)).decode()


def _is_signed(content: bytes, signatures: Iterable[str], keys: Iterable[bytes]) -> bool:
    wanted = [_digest(key, content) for key in keys]
    found = False
    for signature in signatures:
        version, _, encoded = signature.partition(",")
        if version != "v1":
            continue  # of another kind, such as asymmetric ones
        try:
            given = base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError):
            continue
        for one in wanted:
            found |= hmac.compare_digest(given, one)
    return found


def _digest(key: bytes, content: bytes) -> bytes:
    return hmac.new(key, content, hashlib.sha256).digest()


def _key_of(secret: str) -> bytes:
    try:
        return base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except binascii.Error:
        raise ValueError("the secret must be `whsec_` and base64") from None
