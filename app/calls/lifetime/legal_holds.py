"""Legal holds: calls that nobody may delete, neither retention nor an erasure.

`is_held` and `is_session_held` are conditions for the statements of whoever deletes. The database refuses to
delete a held call in any case (a foreign key that restricts).
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, delete, exists, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.calls.model import Call
from app.db.engine import upsert_into
from app.db.lists import is_one_of
from app.db.tables import legal_holds
from app.ids import AccountId

_HOLD = legal_holds.c


def is_held(account_id: ColumnElement[str], call_id: ColumnElement[str]) -> ColumnElement[bool]:
    """Return the condition that the call of these columns is under legal hold."""
    return exists().where(_HOLD.account_id == account_id, _HOLD.call_id == call_id)


def is_session_held(
    account_id: ColumnElement[str], telephony_session_id: ColumnElement[str]
) -> ColumnElement[bool]:
    """Return the condition that the call of this session is under legal hold, for rows such as deliveries
    that name sessions."""
    return exists().where(_HOLD.account_id == account_id, _HOLD.telephony_session_id == telephony_session_id)


async def place_hold(
    db: AsyncConnection, call: Call, reason: str | None, placed_by: Mapping[str, Any], now: datetime
) -> Row[Any]:
    """Put a call under legal hold, under the ledger; return the hold.

    A hold that exists keeps its time and who placed it, and takes the new reason.
    """
    insert = upsert_into(db, legal_holds).values(
        account_id=call.account_id,
        call_id=call.call_id,
        telephony_session_id=call.telephony_session_id,
        reason=reason,
        placed_at=now,
        placed_by=dict(placed_by),
    )
    statement = insert.on_conflict_do_update(
        index_elements=["account_id", "call_id"], set_={"reason": insert.excluded.reason}
    )
    return (await db.execute(statement.returning(*legal_holds.c))).one()


async def release_hold(db: AsyncConnection, account_id: AccountId, call_id: str) -> bool:
    """End the legal hold of a call; return False if it had none."""
    mine = (_HOLD.account_id == account_id) & (_HOLD.call_id == call_id)
    return bool((await db.execute(delete(legal_holds).where(mine))).rowcount)


async def load_hold(db: AsyncConnection, account_id: AccountId, call_id: str) -> Row[Any] | None:
    """Return the legal hold of a call; None if it has none."""
    mine = (_HOLD.account_id == account_id) & (_HOLD.call_id == call_id)
    return (await db.execute(select(legal_holds).where(mine))).first()


async def find_held(db: AsyncConnection, account_id: AccountId, call_ids: Collection[str]) -> set[str]:
    """Return which of these calls are under legal hold."""
    if not call_ids:
        return set()
    mine = (_HOLD.account_id == account_id) & is_one_of(_HOLD.call_id, call_ids)
    return set(await db.scalars(select(_HOLD.call_id).where(mine)))


async def list_holds(
    db: AsyncConnection, account_id: AccountId, limit: int, after: str | None = None
) -> Sequence[Row[Any]]:
    """Return the legal holds of an account, by call id; those after the call `after`."""
    query = select(legal_holds).where(_HOLD.account_id == account_id)
    if after is not None:
        query = query.where(_HOLD.call_id > after)
    return (await db.execute(query.order_by(_HOLD.call_id).limit(limit))).all()
