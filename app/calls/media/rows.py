"""Rows of audio that calls name, recordings and voicemails alike: what is due, and who works on it.

Several calls may name the same audio: it has a row for each, and the rows are checked together.
"""

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Column, ColumnElement, Row, Table, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.engine import upsert_into
from app.db.lists import is_one_of
from app.ids import AccountId
from app.work.lookout import is_past

LONGEST_PROBLEM = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaRow:
    """What recordings and voicemails have in common; the tables say what each field is."""

    account_id: str
    call_id: str
    content_uri: str | None = None
    content_type: str | None = None
    duration_seconds: float | None = None
    attempts: int = 0
    due_at: datetime | None = None
    problem: str | None = None
    archive_path: str | None = None
    archive_bytes: int | None = None
    archive_sha256: str | None = None
    archived_at: datetime | None = None
    created_at: datetime
    updated_at: datetime


class MediaTable:
    """The statements that both tables need. `written` are the columns that records know."""

    def __init__(self, table: Table, media_id: str, written: Sequence[str]) -> None:
        self._table = table
        self._columns = table.c
        self._id: Column[str] = table.c[media_id]
        self._written = written

    async def rows_of_calls(
        self, db: AsyncConnection, account_id: AccountId, call_ids: Collection[str]
    ) -> Sequence[Row[Any]]:
        """Return the rows that these calls name, by id."""
        mine = (self._columns.account_id == account_id) & is_one_of(self._columns.call_id, call_ids)
        return (await db.execute(select(self._table).where(mine).order_by(self._id))).all()

    async def rows(self, db: AsyncConnection, account_id: AccountId, media_id: str) -> Sequence[Row[Any]]:
        """Return the rows of one id, one per call that names it; there may be none."""
        mine = (self._columns.account_id == account_id) & (self._id == media_id)
        return (await db.execute(select(self._table).where(mine).order_by(self._columns.call_id))).all()

    async def save(self, db: AsyncConnection, rows: Sequence[MediaRow]) -> None:
        """Write rows that records have changed; of rows that exist, only what records know."""
        if not rows:
            return
        statement = upsert_into(db, self._table)
        statement = statement.on_conflict_do_update(
            index_elements=["account_id", self._id.name, "call_id"],
            set_={name: statement.excluded[name] for name in self._written},
        )
        await db.execute(statement, [asdict(row) for row in rows])

    async def change(
        self,
        db: AsyncConnection,
        account_id: AccountId,
        media_id: str,
        call_ids: Collection[str] | None = None,
        *,
        states: Collection[str] | None = None,
        **values: Any,
    ) -> int:
        """Change the rows of the given calls, or of all; only those in one of `states`, if given.

        Returns how many rows there were.
        """
        mine = (self._columns.account_id == account_id) & (self._id == media_id)
        if call_ids is not None:
            mine &= is_one_of(self._columns.call_id, call_ids)
        if states is not None:
            mine &= self._is_in(states)
        return (await db.execute(update(self._table).where(mine).values(values))).rowcount

    def any_due(self, states: Collection[str]) -> ColumnElement[bool]:
        """Return the condition, for the lookout, that a row in one of these states is due."""
        return is_past(self._columns.due_at, self._is_in(states))

    def _is_in(self, states: Collection[str]) -> ColumnElement[bool]:
        return self._columns.state.in_(sorted(states))

    async def find_due_accounts(
        self, db: AsyncConnection, states: Collection[str], now: datetime
    ) -> list[AccountId]:
        """Return the accounts with due rows in one of these states."""
        query = select(self._columns.account_id).where(self._columns.due_at <= now, self._is_in(states))
        return [AccountId(account_id) for account_id in await db.scalars(query.distinct())]

    async def find_next_due(
        self, db: AsyncConnection, states: Collection[str], now: datetime
    ) -> datetime | None:
        """Return the next time after `now` at which a row in one of these states is due."""
        query = select(func.min(self._columns.due_at)).where(self._columns.due_at > now, self._is_in(states))
        due_at: datetime | None = await db.scalar(query)
        return due_at

    async def claim_due(
        self,
        db: AsyncConnection,
        account_id: AccountId,
        states: Collection[str],
        now: datetime,
        until: datetime,
    ) -> str | None:
        """Claim the id that has been due longest, so that no other replica does before `until`.

        The new due time is the lease: if this replica crashes, the id is due again at `until`.
        """
        wanted = (
            (self._columns.account_id == account_id) & (self._columns.due_at <= now) & self._is_in(states)
        )
        order = (self._columns.due_at, self._id)
        media_id: str | None = await db.scalar(select(self._id).where(wanted).order_by(*order).limit(1))
        if media_id is None:
            return None
        # Another replica may have claimed it since the query: then the condition matches no row.
        taken = update(self._table).where(wanted, self._id == media_id).values(due_at=until)
        return media_id if (await db.execute(taken)).rowcount else None
