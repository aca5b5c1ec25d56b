"""Carries a request out once, however often it is sent with the same `Idempotency-Key`.

The answer is kept in the transaction that does the work, so there is no answer without the work and no
work without the answer. All writes of an account take turns at its lock; of two requests at once with the
same key the second finds the first one's answer. A refused request leaves nothing behind and may be
repeated under its key.
"""

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.calls.ledger import Ledger
from app.db.tables import idempotency_keys
from app.errors import Unprocessable
from app.ids import UNBOUND_ACCOUNT

MAX_KEY = 255


@dataclass(frozen=True, slots=True)
class StoredResponse:
    """What was answered: enough to say it again."""

    status: int
    headers: dict[str, str]
    body: Any


def request_digest(*parts: Any) -> str:
    """Return what makes two requests the same: a digest of JSON values, whatever the order of their fields."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()


async def find_answer(ledger: Ledger, key_id: str, key: str, digest: str) -> StoredResponse | None:
    """Return what the API key `key_id` was answered under this key, None when the request is new.

    Raises Unprocessable when the key was used for another request.
    """
    query = select(idempotency_keys).where(
        # The answer may stem from the time when the account was still called `~`.
        idempotency_keys.c.account_id.in_({ledger.account_id, UNBOUND_ACCOUNT}),
        idempotency_keys.c.key_id == key_id,
        idempotency_keys.c.key == key,
    )
    row = (await ledger.db.execute(query)).first()
    if row is None:
        return None
    if row.request_digest != digest:
        raise Unprocessable("This Idempotency-Key was already used for another request.")
    return StoredResponse(row.status, row.headers, row.body)


async def keep_answer(ledger: Ledger, key_id: str, key: str, digest: str, answer: StoredResponse) -> None:
    """Remember an answer, in the transaction that did the work."""
    row = {
        "account_id": ledger.account_id,
        "key_id": key_id,
        "key": key,
        "request_digest": digest,
        "status": answer.status,
        "headers": answer.headers,
        "body": answer.body,
        "created_at": ledger.now,
    }
    await ledger.db.execute(insert(idempotency_keys).values(row))


async def forget_answers(db: AsyncConnection, before: datetime) -> int:
    """Forget what was answered before then; return how many answers that were."""
    result = await db.execute(delete(idempotency_keys).where(idempotency_keys.c.created_at < before))
    return result.rowcount
