"""Removes the oldest changes of each account's timeline.

Numbers are removed from the lowest up, never with a hole, and `timeline_floor` of the account is the last
removed one. It changes in the transaction that removes, so a reader knows at once whether a cursor is too
old. Changes of calls that may not be removed stay, below the floor.
"""

from datetime import datetime
from itertools import takewhile

from sqlalchemy import and_, delete, select, update

from app.calls.removal.conditions import is_held
from app.clock import Clock
from app.db.engine import Database
from app.db.tables import accounts, calls, timeline
from app.ids import AccountId
from app.retention.accounts import AccountTurns
from app.retention.batches import BATCH, count_removed
from app.retention.rules import Kind, RetentionRules


class TimelineRemover:
    """Removes old changes."""

    kind = Kind.TIMELINE

    def __init__(self, database: Database, clock: Clock, rules: RetentionRules) -> None:
        self._database = database
        self._turns = AccountTurns(database)
        self._clock = clock
        self._kept = rules.timeline

    async def remove(self) -> bool:
        before = self._clock.now() - self._kept

        async def serve(account_id: AccountId) -> bool:
            return await self._remove(account_id, before)

        # Numbers follow the times, so the first change that is left decides.
        is_left = timeline.c.seq > accounts.c.timeline_floor
        mine = and_(timeline.c.account_id == accounts.c.account_id, is_left)
        first = select(timeline.c.at).where(mine).order_by(timeline.c.seq).limit(1).correlate(accounts)
        return await self._turns.serve(first.scalar_subquery() < before, serve)

    async def _remove(self, account_id: AccountId, before: datetime) -> bool:
        own = timeline.c.account_id == account_id
        floor = select(accounts.c.timeline_floor).where(accounts.c.account_id == account_id)
        query = select(timeline.c.seq, timeline.c.at).where(own, timeline.c.seq > floor.scalar_subquery())
        async with self._database.read() as db:
            rows = (await db.execute(query.order_by(timeline.c.seq).limit(BATCH))).all()
        old = [row.seq for row in takewhile(lambda row: row.at < before, rows)]
        if not old:
            return False
        stays = is_held(timeline.c.account_id, calls.c.call_id == timeline.c.call_id)
        async with self._database.write() as db:
            raised = update(accounts).where(
                accounts.c.account_id == account_id, accounts.c.timeline_floor < old[-1]
            )
            await db.execute(raised.values(timeline_floor=old[-1]))
            removed = await db.execute(
                delete(timeline).where(own, timeline.c.seq.between(old[0], old[-1]), ~stays)
            )
        count_removed(self.kind, removed.rowcount)
        return len(old) == BATCH
