"""Where RingCentral's webhooks come in: POST /webhooks/ringcentral.

A plain ASGI endpoint beside the FastAPI routers: it is the hot path, and RingCentral expects a response of at
most 1024 bytes, headers included, within 3 s (guide "Creating webhooks"). Deliveries are read after the
response, see `app.webhooks.folding.fold`.
"""

import hmac
from datetime import datetime
from typing import Any

import structlog
from fastapi import FastAPI, Request
from starlette.requests import ClientDisconnect
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from app import metrics
from app.api.middleware.request_limits import check_head
from app.clock import Clock
from app.errors import BadInput, PayloadTooLarge, Unauthenticated
from app.ids import as_text
from app.values.storable import BadJson
from app.webhooks.intake.days import day_of
from app.webhooks.intake.deliveries import Delivery
from app.webhooks.intake.inbox import Inbox
from app.webhooks.intake.refusals import Refusals
from app.webhooks.payloads.decoding import decode_body
from app.webhooks.payloads.notification import peek

PATH = "/webhooks/ringcentral"
_LONGEST_ECHO = 256
_MOST_REFUSED = 1000

log = structlog.get_logger(__name__)


class NotificationEndpoint:
    """Answers the handshake, and checks deliveries against the shared secret in constant time."""

    def __init__(self, inbox: Inbox, token: str, max_body_bytes: int, clock: Clock) -> None:
        self._inbox = inbox
        self._token = token.encode()
        self.max_body_bytes = max_body_bytes
        self._clock = clock
        self._refused: dict[str, datetime] = {}
        self.refusals = Refusals(clock.now)
        """Deliveries with the right secret that were not stored."""

    def take_refused(self) -> dict[str, datetime]:
        """Return the subscriptions whose deliveries had another secret since the last call, and since when.

        A forged delivery can name any subscription: compare the ids with ours.
        """
        refused, self._refused = self._refused, {}
        return refused

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        arrived_at = self._clock.now()
        try:
            echo = await self._receive(scope, receive)
        except BaseException as error:
            # Whatever the reason: a delivery that gets no 200 may be an event that we miss. Only deliveries
            # with the right secret count, so that nobody else can create gaps.
            if self._is_token(_presented(scope)):
                self.refusals.note(arrived_at, str(error) or type(error).__name__)
            raise
        await _answer(send, echo)

    async def _receive(self, scope: Scope, receive: Receive) -> bytes | None:
        """Store a delivery, or return the token to echo in a handshake."""
        body = await _read_body(receive, self.max_body_bytes)
        validation = _header(scope, b"validation-token")
        if validation is not None and not self._is_delivery(
            body, validation, _header(scope, b"verification-token")
        ):
            return _echo(validation)
        self._check(_presented(scope), body)
        delivery = self._delivery(body)
        await self._inbox.accept(delivery)
        log.debug(
            "delivery stored", account_id=delivery.account_id, uuid=delivery.uuid,
            telephony_session_id=delivery.telephony_session_id,
        )  # fmt: skip
        return None

    def _is_delivery(self, body: bytes, validation: bytes, verification: bytes | None) -> bool:
        """Distinguish a delivery from a handshake, whose body is empty or has no event."""
        if not body.strip():
            return False
        try:
            payload = decode_body(body)
        except BadJson:
            # Damaged on its way: only a delivery has the secret.
            return self._is_token(validation) or self._is_token(verification)
        return isinstance(payload, dict) and not payload.keys().isdisjoint(
            {"uuid", "event", "body", "pn_apns"}
        )

    def _is_token(self, presented: bytes | None) -> bool:
        return presented is not None and hmac.compare_digest(presented, self._token)

    def _check(self, presented: bytes | None, body: bytes) -> None:
        if not self._is_token(presented):
            self._note_refused(body)
            metrics.DELIVERIES.labels(outcome="unauthenticated").inc()
            raise Unauthenticated(
                "The Verification-Token of this delivery is missing or is not that of the subscription. "
                "Set AFTERCALL_WEBHOOK_TOKEN to the subscription's verificationToken, or create the "
                "subscription again."
            )

    def _note_refused(self, body: bytes) -> None:
        subscription_id = _subscription_of(body)
        if subscription_id is not None and len(self._refused) < _MOST_REFUSED:
            self._refused.setdefault(subscription_id, self._clock.now())

    def _delivery(self, body: bytes) -> Delivery:
        try:
            about = peek(decode_body(body))
        except BadJson:
            # Not JSON, but stored: folding makes it a dead letter (docs/decisions/always-200.md).
            return Delivery.bare(body, self._clock.now())
        now = self._clock.now()
        return Delivery(
            account_id=about.account_id,
            uuid=about.uuid,
            received_at=now,
            telephony_session_id=about.telephony_session_id,
            raw=body,
            day=day_of(now, about.sent_at),
        )


class IntakeApp(FastAPI):
    """FastAPI, with a shortcut for deliveries: its layers cost nearly as much as the endpoint.

    The app's own handlers render what the endpoint raises. Other methods of the path take the normal way.
    """

    intake: NotificationEndpoint | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_delivery = scope["type"] == "http" and scope["path"] == PATH and scope["method"] == "POST"
        if self.intake is None or not is_delivery:
            await super().__call__(scope, receive, send)
            return
        try:
            _check_head(scope, self.intake.max_body_bytes)
            await self.intake(scope, receive, send)
        except ClientDisconnect:
            return  # nobody waits for a response
        except Exception as error:  # noqa: BLE001 - rendered and logged like all other errors
            scope["app"] = self
            render: Any = next(
                self.exception_handlers[kind]
                for kind in type(error).__mro__
                if kind in self.exception_handlers
            )
            response = await render(Request(scope, receive), error)
            await response(scope, receive, send)


def mount(app: IntakeApp, endpoint: NotificationEndpoint) -> None:
    """Let `app` accept deliveries, on a route before all others, and describe that route."""
    app.intake = endpoint
    describe = app.openapi

    def openapi() -> dict[str, Any]:
        description = describe()
        description["paths"] = {PATH: OPENAPI, **description["paths"]}
        return description

    app.openapi = openapi  # type: ignore[method-assign]
    app.router.routes.insert(0, Route(PATH, endpoint, methods=["POST"], name="receive_notification"))


def _subscription_of(body: bytes) -> str | None:
    """Return the id of the subscription in a delivery."""
    try:
        payload = decode_body(body)
    except BadJson:
        return None
    return as_text(payload.get("subscriptionId")) if isinstance(payload, dict) else None


def _echo(token: bytes) -> bytes:
    """Check the token of a handshake: it goes into a response header, so it must be short printable ASCII."""
    if not 0 < len(token) <= _LONGEST_ECHO or not all(0x21 <= byte <= 0x7E for byte in token):
        metrics.DELIVERIES.labels(outcome="malformed").inc()
        raise BadInput(f"Validation-Token must be 1 to {_LONGEST_ECHO} printable ASCII characters.")
    metrics.DELIVERIES.labels(outcome="handshake").inc()
    return token


def _presented(scope: Scope) -> bytes | None:
    """Return the secret that a request carries.

    RingCentral's guide names its header Validation-Token on deliveries, its API description
    Verification-Token, which is what arrives. The former is accepted if the latter is missing.
    """
    verification = _header(scope, b"verification-token")
    return verification if verification is not None else _header(scope, b"validation-token")


def _header(scope: Scope, name: bytes) -> bytes | None:
    value: bytes
    for key, value in scope["headers"]:
        if key == name:
            return value
    return None


def _check_head(scope: Scope, limit: int) -> None:
    try:
        check_head(scope, limit)
    except PayloadTooLarge as error:
        raise _too_large(limit) from error


def _too_large(limit: int) -> PayloadTooLarge:
    metrics.DELIVERIES.labels(outcome="too-large").inc()
    return PayloadTooLarge(
        f"A delivery may have up to {limit} bytes; AFTERCALL_WEBHOOK_MAX_BODY_BYTES sets this limit."
    )


async def _read_body(receive: Receive, limit: int) -> bytes:
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > limit:
            raise _too_large(limit)
        chunks.append(chunk)
        if not message.get("more_body", False):
            return chunks[0] if len(chunks) == 1 else b"".join(chunks)


async def _answer(send: Send, echo: bytes | None = None) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", b"0")]
    if echo is not None:
        headers.append((b"validation-token", echo))
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


OPENAPI: dict[str, Any] = {
    "post": {
        "tags": ["webhooks"],
        "summary": "Receive a notification from RingCentral",
        "description": (
            "The target of the webhook subscription. A request with `Validation-Token` and no event is the "
            "handshake: the header is echoed. Any other request must carry the subscription's "
            "`Verification-Token`; it is stored before the 200, even if its event is not used. 503 asks "
            "RingCentral to send it again."
        ),
        "operationId": "receive_notification",
        "security": [],
        "parameters": [
            {
                "name": "Verification-Token",
                "in": "header",
                "required": False,
                "description": "The subscription's `verificationToken`, on every delivery.",
                "schema": {"type": "string"},
            },
            {
                "name": "Validation-Token",
                "in": "header",
                "required": False,
                "description": "Part of the handshake: 1 to 256 printable ASCII characters, echoed.",
                "schema": {"type": "string", "maxLength": _LONGEST_ECHO},
            },
        ],
        "requestBody": {
            "required": False,
            "content": {
                "application/json": {
                    "schema": {"description": "Any body is stored; it is interpreted later."},
                    "example": {
                        "uuid": "7841958329667892286",
                        "event": "/restapi/v1.0/account/908070001/telephony/sessions",
                        "timestamp": "2026-03-10T18:07:41.085Z",
                        "subscriptionId": "7d2c6f10-0b5e-4f43-9c8a-2a41b7e0c111",
                        "ownerId": "711000101",
                        "body": {
                            "sequence": 2,
                            "sessionId": "1229016182016",
                            "telephonySessionId": "s-a0c14f2b77d1ez1928b3f4c10z5e6f70000",
                            "eventTime": "2026-03-10T18:07:41.012Z",
                            "parties": [
                                {
                                    "id": "p-a0c14f2b77d1ez1928b3f4c10z5e6f70000-1",
                                    "direction": "Outbound",
                                    "status": {"code": "Setup"},
                                }
                            ],
                        },
                    },
                }
            },
        },
        "responses": {
            "200": {"description": "Stored now or before, or the handshake. The body is empty."},
            "400": {"$ref": "#/components/responses/Problem"},
            "401": {"$ref": "#/components/responses/Problem"},
            "413": {"$ref": "#/components/responses/Problem"},
            "503": {"$ref": "#/components/responses/Problem"},
        },
    }
}
