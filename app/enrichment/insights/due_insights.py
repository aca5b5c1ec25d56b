"""Finds the calls whose insights are due. Whose turn it is follows from `insights_at`."""

from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.calls import store
from app.calls.ledger import Ledger
from app.calls.media import recordings
from app.calls.model import Call
from app.db.tables import calls
from app.ids import AccountId
from app.work.lookout import is_past

_MOST_CLOSED = 500


ANY_DUE = is_past(calls.c.insights_at)


async def find_due_accounts(db: AsyncConnection, now: datetime) -> list[AccountId]:
    """Return the accounts with calls whose insights are due."""
    query = select(calls.c.account_id).where(calls.c.insights_at <= now).distinct()
    return [AccountId(account_id) for account_id in await db.scalars(query)]


async def find_next_due(db: AsyncConnection, now: datetime) -> datetime | None:
    """Return when the next insights are due that are not yet."""
    query = select(func.min(calls.c.insights_at)).where(calls.c.insights_at > now)
    due_at: datetime | None = await db.scalar(query)
    return due_at


async def claim_due(ledger: Ledger, until: datetime) -> Call | None:
    """Take the call that has been due longest, so that no other replica does before `until`."""
    query = (
        select(calls)
        .where(calls.c.account_id == ledger.account_id, calls.c.insights_at <= ledger.now)
        .order_by(calls.c.insights_at, calls.c.call_id)
        .limit(1)
    )
    row = (await ledger.db.execute(query)).first()
    if row is None:
        return None
    call = store.read_row(row)
    call.insights_at = until
    ledger.keep(call)
    return call


async def find_others_waiting(ledger: Ledger, call: Call) -> list[Call]:
    """Return the other calls of the account whose insights are still to be requested."""
    query = (
        select(calls)
        .where(
            calls.c.account_id == ledger.account_id,
            calls.c.insights_at.is_not(None),
            calls.c.call_id != call.call_id,
        )
        .order_by(calls.c.insights_at)
        .limit(_MOST_CLOSED)
    )
    return [store.read_row(row) for row in await ledger.db.execute(query)]


async def load_recording_ids(db: AsyncConnection, account_id: AccountId, call_id: str) -> list[str]:
    """Return the ids of a call's recordings."""
    return sorted((await recordings.load_of_calls(db, account_id, [call_id]))[call_id])
