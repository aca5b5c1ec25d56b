"""Which accounts a query reads."""

from collections.abc import Sequence

from sqlalchemy import ColumnElement, select, true
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.tables import accounts
from app.ids import UNBOUND_ACCOUNT


async def load_scope(db: AsyncConnection, account_id: str | None) -> list[str]:
    """Return the accounts that a viewer sees: all for None, else the one, and `~` if that is the same."""
    query = select(accounts.c.account_id, accounts.c.bound_to)
    known = {row.account_id: row.bound_to for row in await db.execute(query)}
    if account_id is None:
        return sorted(known)
    bound = known.get(UNBOUND_ACCOUNT)
    if bound and account_id in {UNBOUND_ACCOUNT, bound}:
        return sorted({UNBOUND_ACCOUNT, bound})
    return [account_id]


def among(column: ColumnElement[str], only: Sequence[str] | None) -> ColumnElement[bool]:
    """Select these accounts; None: all."""
    return true() if only is None else column.in_(only)
