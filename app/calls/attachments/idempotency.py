"""Carries out a request once, however often it is sent with the same `Idempotency-Key`.

The response is stored in the transaction that does the work, so there is never one without the other. Writes
of an account take turns by its lock: of two concurrent requests with the same key, the second finds the
response of the first. A refused request stores nothing and may be repeated with its key.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, and_, insert, select, update

from app.calls.ledger import Ledger
from app.db.lists import is_one_of
from app.db.tables import idempotency_keys
from app.errors import Unprocessable
from app.ids import UNBOUND_ACCOUNT

MAX_KEY = 255

_WRITTEN = {"title": None, "text": "", "plainText": "", "author": None}
"""What people wrote into a note, as a response shows it once the note is deleted."""


@dataclass(frozen=True, slots=True)
class StoredResponse:
    """A response as it was sent and can be sent again."""

    status: int
    headers: dict[str, str]
    body: Any


def request_digest(*parts: Any) -> str:
    """Return a digest of JSON values that does not depend on the order of their fields."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()


async def find_response(ledger: Ledger, key_id: str, key: str, digest: str) -> StoredResponse | None:
    """Return the response to the API key `key_id` under this idempotency key; None if the request is new.

    Raises Unprocessable if the key was used for another request.
    """
    query = select(idempotency_keys).where(
        is_of_account(ledger),
        idempotency_keys.c.key_id == key_id,
        idempotency_keys.c.key == key,
    )
    row = (await ledger.db.execute(query)).first()
    if row is None:
        return None
    if row.request_digest != digest:
        raise Unprocessable("This Idempotency-Key was already used for another request")
    return StoredResponse(row.status, row.headers, row.body)


async def save_response(ledger: Ledger, key_id: str, key: str, digest: str, response: StoredResponse) -> None:
    """Store a response, in the transaction that does the work."""
    await ledger.db.execute(
        insert(idempotency_keys).values(stored_row(ledger, key_id, key, digest, response))
    )


def stored_row(
    ledger: Ledger, key_id: str, key: str, digest: str, response: StoredResponse
) -> dict[str, Any]:
    """Return the row of a stored response."""
    return {
        "account_id": ledger.account_id,
        "key_id": key_id,
        "key": key,
        "request_digest": digest,
        "status": response.status,
        "headers": response.headers,
        "body": response.body,
        "created_at": ledger.now,
    }


async def forget_notes(ledger: Ledger, note_ids: Iterable[str]) -> None:
    """Take what people wrote out of the stored responses that show these notes, which are being deleted.

    The rest of a response stays: a request that is sent again must not create its note anew.
    """
    stored = idempotency_keys
    shows_one = is_one_of(stored.c.body["id"].as_string(), note_ids)
    for row in (await ledger.db.execute(select(stored).where(is_of_account(ledger), shows_one))).all():
        own = and_(
            stored.c.account_id == row.account_id, stored.c.key_id == row.key_id, stored.c.key == row.key
        )
        await ledger.db.execute(update(stored).where(own).values(body={**row.body, **_WRITTEN}))


def is_of_account(ledger: Ledger) -> ColumnElement[bool]:
    """Match the account's responses, and those from before `~` was bound to it."""
    return idempotency_keys.c.account_id.in_({ledger.account_id, UNBOUND_ACCOUNT})
