"""What a list needs to know of an account's calls before bounds on one axis imply bounds on another."""

from datetime import datetime, timedelta

from sqlalchemy import Integer, bindparam, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.calls.listing.axes import OddCall
from app.db.tables import calls
from app.db.tables.calls import ODD
from app.db.types import UtcDateTime
from app.ids import AccountId

CLOCK_TOLERANCE = timedelta(seconds=60)
"""Events are numbered in commit order; their times, taken before the lock, may differ from it by this."""

_NEAR_ENOUGH = 64
_MOST_ODD = 500
_AT_MIDDLE = """(
    SELECT at FROM timeline WHERE account_id = :account AND seq > (low + high) / 2 ORDER BY seq LIMIT 1)"""
_IS_LATER = f"coalesce({_AT_MIDDLE} >= :moment, true)"
# A recursion halves the part of the timeline that is left, in one statement on both databases.
_SEARCH = (
    text(f"""
    WITH RECURSIVE search (low, high) AS (
        SELECT CAST(0 AS BIGINT), timeline_seq FROM accounts WHERE account_id = :account
        UNION ALL
        SELECT CASE WHEN {_IS_LATER} THEN low ELSE (low + high) / 2 END,
            CASE WHEN {_IS_LATER} THEN (low + high) / 2 ELSE high END
        FROM search WHERE high - low > {_NEAR_ENOUGH}
    )
    SELECT max(low) AS low FROM search""")  # noqa: S608 - no values in it
    .bindparams(bindparam("moment", type_=UtcDateTime))
    .columns(low=Integer)
)


async def find_seq_before(db: AsyncConnection, account_id: AccountId, moment: datetime) -> int:
    """Return a number of the timeline such that every change at `moment` or later has a greater number.

    Times have no index, but they follow the numbers closely enough for a binary search.
    """
    found = await db.scalar(_SEARCH, {"account": account_id, "moment": moment - CLOCK_TOLERANCE})
    return int(found or 0)


async def load_odd_calls(db: AsyncConnection, account_id: AccountId) -> list[OddCall] | None:
    """Return the calls of `ix_calls_odd`; None if they are too many to look at each."""
    query = select(calls.c.started_at, calls.c.ended_at, calls.c.changed_seq)
    is_odd = text(f"({ODD[db.dialect.name]})")
    mine = query.where(calls.c.account_id == account_id, is_odd)
    rows = [OddCall(*row) for row in await db.execute(mine.limit(_MOST_ODD + 1))]
    return rows if len(rows) <= _MOST_ODD else None
