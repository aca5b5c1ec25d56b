"""Leaves erased calls out of a batch of deliveries, and deletes the deliveries that tell of them."""

from sqlalchemy import and_, delete
from sqlalchemy.ext.asyncio import AsyncConnection

from app import metrics
from app.calls import store
from app.calls.insights.model import Version
from app.calls.ledger import Ledger
from app.calls.lifetime.tombstones import find_erased, recording_name, session_names
from app.db.lists import is_one_of
from app.db.tables import deliveries
from app.ids import AccountId
from app.webhooks.folding.batches import Batch
from app.webhooks.payloads.notification import CallKey


async def leave_out_erased(ledger: Ledger, batch: Batch) -> None:
    """Take what a batch says about erased calls out of it, and note its deliveries in `batch.erased`."""
    asked = {name for key in batch.facts for name in _names_of_key(key)}
    asked |= {name for one in batch.insights.values() for name in _names_of(one.version)}
    erased = await find_erased(ledger.db, ledger.account_id, asked)
    if not erased:
        return
    keys = {key for key in batch.facts if not erased.isdisjoint(_names_of_key(key))}
    # Another call may have the same `sessionId`: a call that exists was not erased.
    sessions = {key.telephony_session_id for key in keys if key.telephony_session_id is not None}
    known = await store.load_by_sessions(ledger.db, ledger.account_id, sessions)
    gone = {key for key in keys if key.telephony_session_id not in known}
    for key in gone:
        del batch.facts[key]
    for uuid, statements in batch.statements.items():
        if any(key in gone for _, key in statements):
            batch.erased.add(uuid)
            batch.statements[uuid] = {(fact, key) for fact, key in statements if key not in gone}
    for uuid, arrival in list(batch.insights.items()):
        if not erased.isdisjoint(_names_of(arrival.version)):
            batch.erased.add(uuid)
            del batch.insights[uuid]


async def delete_erased(db: AsyncConnection, account_id: AccountId, batch: Batch) -> None:
    """Delete the deliveries of a batch that tell of erased calls, once all else of them is folded.

    `account_id` is the one under which they are stored. Sent again, they are stored again and end here again.
    """
    uuids = batch.erased & batch.notes.keys()
    if not uuids:
        return
    mine = and_(
        deliveries.c.account_id == account_id,
        is_one_of(deliveries.c.uuid, uuids),
        deliveries.c.folded_at.is_(None),
    )
    await db.execute(delete(deliveries).where(mine))
    metrics.DELIVERIES_FOLDED.labels(outcome="erased").inc(len(uuids))
    for uuid in uuids:
        del batch.notes[uuid]


def names_of_insights(telephony_session_id: str | None, recording_id: str | None) -> list[str]:
    """Return the names under which the call of insights may have been erased."""
    recording = [] if recording_id is None else [recording_name(recording_id)]
    return session_names(telephony_session_id, None) + recording


def _names_of(version: Version) -> list[str]:
    return names_of_insights(version.telephony_session_id, version.recording_id)


def _names_of_key(key: CallKey) -> list[str]:
    return session_names(key.telephony_session_id, key.session_id)
