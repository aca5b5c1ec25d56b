"""The request of a message, made at the moment of sending: nothing of it is stored."""

from datetime import datetime

import structlog
from cryptography.fernet import InvalidToken

from app.calls.views import load_views_by_id
from app.db.engine import Database
from app.push.endpoints.matching import CallTraits, missing_parts
from app.push.endpoints.model import Endpoint, Payload
from app.push.endpoints.secrets import keys_at, unseal
from app.push.payloads.rendering import render_call, render_thin
from app.push.payloads.signatures import headers_of
from app.push.sending.retry_plan import Answer
from app.push.sending.turns import Message, Turn
from app.push.spreading.plan import Kind
from app.push.spreading.rows import load_traits
from app.vault import Vault

UNREADABLE = Answer(error="secret-unreadable")
"""What an attempt brings if the secret was encrypted with a key that this process does not have."""

log = structlog.get_logger(__name__)


async def make_request(
    database: Database, vault: Vault, turn: Turn, message: Message, now: datetime
) -> tuple[dict[str, str], bytes] | None:
    """Return the headers and the body of a message; None if its endpoint's secret cannot be read."""
    try:
        keys = keys_at(unseal(vault, turn.sealed), now)
    except InvalidToken:
        log.exception(
            "the secret of a webhook endpoint cannot be decrypted", endpoint_id=turn.key.endpoint_id
        )
        return None
    body = await render(database, turn.endpoint, message)
    return headers_of(keys, message.message_id, int(now.timestamp()), body), body


async def render(database: Database, endpoint: Endpoint, message: Message) -> bytes:
    """Return the body, made from what is stored now: what was erased meanwhile is not sent.

    Raises StorageUnavailable.
    """
    assert message.change is not None  # noqa: S101 - the caller has looked
    call_id, is_complete = str(message.call_id), message.kind is Kind.COMPLETE
    wants_call = endpoint.rules.payload is Payload.CALL
    if not (is_complete or wants_call):
        return render_thin(message.type, message.change)
    account_id = endpoint.key.account_id
    async with database.read() as db:
        missing = None
        if is_complete:
            traits = (await load_traits(db, account_id, [call_id])).get(call_id, CallTraits(""))
            missing = missing_parts(endpoint.rules.complete.parts, traits)
        if not wants_call:
            return render_thin(message.type, message.change, missing)
        call = (await load_views_by_id(db, account_id, [call_id])).get(call_id)
    return render_call(message.type, message.change, call, missing)
