"""Removes calls, and keeps count of what had become of them.

The count is written in the transaction that removes, so `ended` of a day stays the same, and "did we lose a
call on that day?" has the same answer afterwards. It names nobody.
"""

from collections.abc import Collection
from typing import Any

from sqlalchemy import RowMapping, and_, case, delete, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.calls import accounts
from app.calls.attachments.idempotency import forget_notes
from app.calls.attachments.stored import KINDS
from app.calls.ledger import Ledger
from app.calls.model import Source
from app.db.engine import upsert_into
from app.db.lists import is_one_of
from app.db.tables import calls, deliveries, notes, removed_calls, sweeps, timeline
from app.db.time_functions import Epoch, Steps
from app.ids import UNBOUND_ACCOUNT

_DAY_SECONDS = 86_400


async def remove_calls(ledger: Ledger, call_ids: Collection[str]) -> None:
    """Remove calls with their records, audio rows, attachments, changes and raw deliveries, and count them.

    Archived audio is not touched: its files have to be noted before, and are deleted afterwards. The caller
    checks `may_be_removed`.
    """
    if not call_ids:
        return
    db, account_id = ledger.db, ledger.account_id
    mine = and_(calls.c.account_id == account_id, is_one_of(calls.c.call_id, call_ids))
    await count_calls(db, account_id, call_ids)
    query = select(calls.c.telephony_session_id, calls.c.conversation_id).where(mine)
    found = (await db.execute(query)).all()
    await _remove_attachments(ledger, call_ids)
    own = deliveries.c.account_id.in_({account_id, UNBOUND_ACCOUNT})
    of_session = is_one_of(deliveries.c.telephony_session_id, [row.telephony_session_id for row in found])
    await db.execute(delete(deliveries).where(own, of_session, deliveries.c.folded_at.is_not(None)))
    changes = timeline.c.account_id == account_id, is_one_of(timeline.c.call_id, call_ids)
    await db.execute(delete(timeline).where(*changes))
    # All other tables of a call refer to it, and their rows go with it.
    await db.execute(delete(calls).where(mine))
    ledger.regroup(*(row.conversation_id for row in found))


async def _remove_attachments(ledger: Ledger, call_ids: Collection[str]) -> None:
    db, account_id = ledger.db, ledger.account_id
    own = notes.c.account_id == account_id, is_one_of(notes.c.subject, call_ids)
    note_ids = list(await db.scalars(select(notes.c.note_id).where(*own)))
    if note_ids:
        await forget_notes(ledger, note_ids)
    for kind in KINDS:
        table = kind.table
        attached = table.c.account_id == account_id, is_one_of(table.c.subject, call_ids)
        await db.execute(delete(table).where(*attached))


async def count_calls(db: AsyncConnection, account_id: str, call_ids: Collection[str]) -> None:
    """Add calls that ended to the numbers of their days, and to those of the sweeps that found them.

    Whoever removes calls does so in the same transaction, before they are gone.
    """
    day = Steps(Epoch(calls.c.ended_at) / _DAY_SECONDS).label("day")
    swept = case((calls.c.source == Source.SWEEP, 1), else_=0).label("swept")
    reason = func.coalesce(calls.c.absent_reason, "").label("absent_reason")
    keys = (day, calls.c.stage, reason, swept)
    mine = and_(
        calls.c.account_id == account_id, is_one_of(calls.c.call_id, call_ids), calls.c.ended_at.is_not(None)
    )
    query = select(*keys, func.count().label("number")).where(mine).group_by(*keys)
    rows = [_as_row(account_id, row) for row in (await db.execute(query)).mappings()]
    if not rows:
        return
    added = upsert_into(db, removed_calls)
    added = added.on_conflict_do_update(
        index_elements=["account_id", "day", "stage", "absent_reason", "swept"],
        set_={"number": removed_calls.c.number + added.excluded.number},
    )
    await db.execute(added, rows)
    if any(row["swept"] for row in rows):
        await _count_for_sweeps(db, account_id, call_ids)


def _as_row(account_id: str, counted: RowMapping) -> dict[str, Any]:
    return {**counted, "account_id": account_id, "swept": bool(counted["swept"])}


async def _count_for_sweeps(db: AsyncConnection, account_id: str, call_ids: Collection[str]) -> None:
    """Add calls that no event had announced to the sweeps of their time."""
    holders = {account_id}
    if await accounts.resolve(db, UNBOUND_ACCOUNT) == account_id:
        holders.add(UNBOUND_ACCOUNT)
    in_its_time = (
        calls.c.account_id == account_id,
        is_one_of(calls.c.call_id, call_ids),
        calls.c.source == Source.SWEEP,
        calls.c.started_at >= sweeps.c.from_at,
        or_(sweeps.c.to_at.is_(None), calls.c.started_at <= sweeps.c.to_at),
    )
    number = select(func.count()).select_from(calls).where(*in_its_time).scalar_subquery()
    touched = select(calls.c.call_id).where(*in_its_time).exists()
    statement = update(sweeps).where(sweeps.c.account_id.in_(holders), touched)
    await db.execute(statement.values(removed=sweeps.c.removed + number))
