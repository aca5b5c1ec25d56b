"""Removes notes that nobody has changed for a long time. That is a visible change of their calls."""

from typing import Any

from sqlalchemy import ColumnElement, Select, and_, exists, or_, select

from app.calls.attachments.store import remove_notes
from app.calls.ledger import open_ledger
from app.calls.removal.conditions import may_be_removed
from app.clock import Clock
from app.db.engine import Database
from app.db.lists import is_one_of
from app.db.tables import accounts, calls, notes
from app.ids import AccountId, first_id
from app.retention.accounts import AccountTurns
from app.retention.batches import count_removed
from app.retention.rules import Kind, RetentionRules

NOTES_AT_ONCE = 50


class NoteRemover:
    """Removes old notes, and their texts from the remembered responses."""

    kind = Kind.NOTES

    def __init__(self, database: Database, clock: Clock, rules: RetentionRules) -> None:
        self._database = database
        self._turns = AccountTurns(database)
        self._clock = clock
        self._kept = rules.notes

    async def remove(self) -> bool:
        if self._kept is None:
            return False
        before = self._clock.now() - self._kept
        # A note is not older than its id: so the primary key finds those that may be old.
        is_old = and_(notes.c.note_id < first_id("note", before), notes.c.updated_at < before)

        async def serve(account_id: AccountId) -> bool:
            return await self._remove(account_id, is_old)

        old = _old(accounts.c.account_id, is_old).correlate(accounts)
        return await self._turns.serve(old.exists(), serve)

    async def _remove(self, account_id: AccountId, is_old: ColumnElement[bool]) -> bool:
        query = _old(account_id, is_old)
        async with self._database.read() as db:
            found = list(await db.scalars(query.limit(NOTES_AT_ONCE)))
        now = self._clock.now()
        async with self._database.write() as db, open_ledger(db, account_id, now) as ledger:
            # Searched again under the lock: a note may have been changed since.
            left = list(await db.scalars(query.where(is_one_of(notes.c.note_id, found))))
            await remove_notes(ledger, left)
        count_removed(self.kind, len(left))
        return len(found) == NOTES_AT_ONCE


def _old(account_id: ColumnElement[str] | str, is_old: ColumnElement[bool]) -> Select[Any]:
    """Return the query for an account's notes that may be removed, by id."""
    its_call = exists().where(
        calls.c.account_id == notes.c.account_id, calls.c.call_id == notes.c.subject, may_be_removed()
    )
    may_go = or_(notes.c.parked.is_(True), its_call)
    return select(notes.c.note_id).where(notes.c.account_id == account_id, is_old, may_go)
