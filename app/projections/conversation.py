"""What a CRM is told of a main call although people attached it to another call of the conversation.

A softphone that posts a note by the session of a consultation means the conversation, and only the main call
of that is written into a CRM.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.calls.attachments.stored import CONVERSATION_KINDS, DISPOSITION, NOTE, StoredAttachment
from app.db.lists import is_one_of
from app.db.tables import calls
from app.ids import AccountId

Json = Mapping[str, Any]
_Found = dict[str, dict[str, list[dict[str, Any]]]]


async def join_conversations(
    db: AsyncConnection, account_id: AccountId, shown: Sequence[Json]
) -> list[dict[str, Any]]:
    """Return the calls, main ones with the notes of their whole conversations, each once, oldest first.

    A note of another call has `fromLinkedCall`. A main call without a disposition has the latest of the
    others.
    """
    wanted = {
        call["id"]: call["conversation"]["id"]
        for call in shown
        if call["conversation"]["isMain"] and call["conversation"]["id"] is not None
    }
    found = await _load_of_others(db, account_id, wanted) if wanted else {}
    return [_join(call, found.get(call["id"], {})) for call in shown]


async def _load_of_others(db: AsyncConnection, account_id: AccountId, wanted: Mapping[str, str]) -> _Found:
    """Return what is attached to the other calls of conversations, by main call and kind."""
    found: _Found = {main: {} for main in wanted}
    for kind in CONVERSATION_KINDS:
        table = kind.table
        query = (
            select(table, calls.c.main_call_id)
            .join(calls, (calls.c.account_id == table.c.account_id) & (calls.c.call_id == table.c.subject))
            .where(
                calls.c.account_id == account_id,
                # The index of conversations leads to the few calls.
                is_one_of(calls.c.conversation_id, wanted.values()),
                is_one_of(calls.c.main_call_id, wanted),
            )
            .order_by(table.c.created_at, *(table.c[column] for column in kind.row_key))
        )
        for row in (await db.execute(query)).mappings():
            columns = {column.name: row[column] for column in table.c}
            one = StoredAttachment.read(kind, columns).to_json()
            found[row[calls.c.main_call_id]].setdefault(kind.word, []).append(one)
    return found


def _join(call: Json, others: Mapping[str, list[dict[str, Any]]]) -> dict[str, Any]:
    notes = [*call["notes"], *({**note, "fromLinkedCall": True} for note in others.get(NOTE.word, []))]
    dispositions = sorted(others.get(DISPOSITION.word, []), key=lambda one: (one["updatedAt"], one["callId"]))
    latest = dispositions[-1] if dispositions else None
    return {**call, "notes": _each_once(notes), "disposition": call["disposition"] or latest}


def _each_once(notes: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return notes, oldest first. Of one that was sent for several calls, the latest version stays."""
    kept: dict[tuple[str, str], dict[str, Any]] = {}
    for note in notes:
        name = ("", note["id"]) if note["externalId"] is None else (note["source"], note["externalId"])
        known = kept.get(name)
        if known is None or known["updatedAt"] < note["updatedAt"]:
            kept[name] = note
    return sorted(kept.values(), key=lambda note: (note["createdAt"], note["id"]))
