"""Removes RingCentral's raw records of calls whose records do not change any more.

Their age is that of the call's id, which contains when the service learnt of the call: so the primary key
finds what is left, without an index or a cursor of its own. All records of a call are removed together. From
then on the call stays as it was derived: see `app.calls.stored_records.are_removed`.
"""

from typing import Any

from sqlalchemy import ColumnElement, Select, and_, delete, exists, select

from app.calls import accounts as account_rows
from app.calls.model import Stage
from app.calls.removal.conditions import may_be_removed
from app.clock import Clock
from app.db.engine import Database
from app.db.lists import is_one_of
from app.db.tables import accounts, call_records, calls
from app.ids import AccountId, first_id
from app.retention.accounts import AccountTurns
from app.retention.batches import count_removed
from app.retention.rules import Kind, RetentionRules

CALLS_AT_ONCE = 100


class RecordRemover:
    """Removes the raw records of settled calls."""

    kind = Kind.RECORDS

    def __init__(self, database: Database, clock: Clock, rules: RetentionRules) -> None:
        self._database = database
        self._turns = AccountTurns(database)
        self._clock = clock
        self._kept = rules.records

    async def remove(self) -> bool:
        if self._kept is None:
            return False
        before = first_id("call", self._clock.now() - self._kept)

        async def serve(account_id: AccountId) -> bool:
            return await self._remove(account_id, before)

        old = _old(accounts.c.account_id, before).correlate(accounts)
        return await self._turns.serve(old.exists(), serve)

    async def _remove(self, account_id: AccountId, before: str) -> bool:
        query = _old(account_id, before).distinct().limit(CALLS_AT_ONCE)
        async with self._database.read() as db:
            call_ids = list(await db.scalars(query))
        of_calls = call_records.c.account_id == account_id, is_one_of(call_records.c.call_id, call_ids)
        is_settled = exists().where(_OF_CALL, _IS_SETTLED).correlate(call_records)
        async with self._database.write() as db:
            # Under the lock: nobody must derive a call from some of its records.
            await account_rows.lock(db, account_id, self._clock.now())
            removed = await db.execute(delete(call_records).where(*of_calls, is_settled))
        count_removed(self.kind, removed.rowcount)
        return len(call_ids) == CALLS_AT_ONCE and removed.rowcount > 0


_OF_CALL = and_(calls.c.account_id == call_records.c.account_id, calls.c.call_id == call_records.c.call_id)
_IS_SETTLED = and_(
    calls.c.stage.not_in((Stage.LIVE, Stage.ENDED)), calls.c.read_at.is_(None), may_be_removed()
)


def _old(account_id: ColumnElement[str] | str, before: str) -> Select[Any]:
    """Return the query for the calls of an account with records that may be removed, by id."""
    return (
        select(call_records.c.call_id)
        .join(calls, _OF_CALL)
        .where(call_records.c.account_id == account_id, call_records.c.call_id < before, _IS_SETTLED)
    )
