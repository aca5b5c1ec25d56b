"""Remembers what became of the items of a batch with an `Idempotency-Key`, an item a row.

So what erases a call, or deletes a note, finds the remembered item of a batch as it finds the response to a
single request: by the ids in its body. Items have no texts.
"""

import hashlib
from collections.abc import Sequence
from typing import Any

from sqlalchemy import select

from app.api.problems import problem_body
from app.calls.attachments.batch.schemas import shown_item
from app.calls.attachments.idempotency import (
    StoredResponse,
    find_response,
    is_of_account,
    save_response,
    stored_row,
)
from app.calls.ledger import Ledger
from app.db.lists import insert_rows, is_one_of
from app.db.tables import idempotency_keys
from app.errors import CallErased


async def find_items(ledger: Ledger, key_id: str, key: str, digest: str) -> list[dict[str, Any]] | None:
    """Return what became of the items of this request; None if it is new.

    Raises Unprocessable if the key was used for another request.
    """
    batch = await find_response(ledger, key_id, key, digest)
    if batch is None:
        return None
    keys = [_key_of_item(key, index) for index in range(batch.body["items"])]
    stored = idempotency_keys.c
    query = select(stored.key, stored.body).where(
        is_of_account(ledger), stored.key_id == key_id, is_one_of(stored.key, keys)
    )
    found = {row.key: row.body for row in await ledger.db.execute(query)}
    return [_item(index, found.get(one)) for index, one in enumerate(keys)]


def _item(index: int, body: dict[str, Any] | None) -> dict[str, Any]:
    empty = shown_item(index)
    if body is not None:
        return {name: body.get(name) for name in empty}
    detail = "The call of this item was erased after the request. Nothing of it is stored."
    problem = problem_body("/v1/attachments", CallErased.kind, detail)
    return empty | {"status": problem["status"], "problem": problem}


async def save_items(
    ledger: Ledger, key_id: str, key: str, digest: str, items: Sequence[dict[str, Any]]
) -> None:
    """Remember what became of the items, in the transaction that wrote them."""
    await save_response(ledger, key_id, key, digest, StoredResponse(200, {}, {"items": len(items)}))
    rows = [
        stored_row(
            ledger, key_id, _key_of_item(key, item["index"]), digest, StoredResponse(item["status"], {}, item)
        )
        for item in items
    ]
    await insert_rows(ledger.db, idempotency_keys, rows)


def _key_of_item(key: str, index: int) -> str:
    # A line break: no key of a request has one.
    return f"\n{hashlib.sha256(key.encode()).hexdigest()}:{index}"
