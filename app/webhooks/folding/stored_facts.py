"""Reads the facts of stored deliveries again."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.calls.evidence.facts import Fact
from app.db.lists import is_one_of
from app.db.tables import deliveries
from app.ids import AccountId
from app.webhooks.folding.batches import read_delivery
from app.webhooks.payloads.notification import PresenceEvent, TelephonyEvent


async def read_stored_facts(
    db: AsyncConnection,
    account_id: AccountId,
    *,
    session: str | None = None,
    since: datetime | None = None,
    keys: Sequence[str] | None = None,
) -> tuple[int, dict[str, list[Fact]]]:
    """Return how many deliveries tell of calls, and their facts by `telephonySessionId`.

    `session` and `keys` limit it to calls with these keys, `since` to later arrivals.
    """
    query = select(deliveries.c.raw, deliveries.c.received_at).where(
        deliveries.c.account_id == account_id, deliveries.c.folded_at.is_not(None)
    )
    if session is not None:
        query = query.where(deliveries.c.telephony_session_id == session)
    if since is not None:
        query = query.where(deliveries.c.received_at >= since)
    if keys is not None:
        query = query.where(is_one_of(deliveries.c.telephony_session_id, keys))
    read = 0
    facts: dict[str, list[Fact]] = {}
    for row in await db.execute(query):
        event = read_delivery(row.raw, row.received_at)
        if isinstance(event, TelephonyEvent | PresenceEvent):
            read += 1
            for call in event.calls:
                key = call.key.telephony_session_id
                # Presence tells of several calls at once, of which only the first is indexed.
                if key is not None and (keys is None or key in keys):
                    facts.setdefault(key, []).extend(call.facts)
    return read, facts
