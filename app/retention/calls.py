"""Removes calls that ended long ago, with all that belongs to them, and their files in the archive.

Which calls may go is decided under the account's lock, in the transaction that removes them: a legal hold
that is placed meanwhile keeps a call with its files. Calls of one conversation go together, once the last of
them is old.
"""

from collections.abc import Collection
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, Table, and_, exists, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.calls.ledger import open_ledger
from app.calls.media.recordings import State
from app.calls.removal.conditions import (
    closed_before,
    ended_before,
    is_over_since,
    joins_only,
    may_be_removed,
)
from app.calls.removal.remove import remove_calls
from app.clock import Clock
from app.db.engine import Database
from app.db.lists import is_one_of
from app.db.tables import accounts, calls
from app.enrichment.audio.archive_store import Archive
from app.ids import AccountId
from app.retention.accounts import AccountTurns
from app.retention.batches import count_removed
from app.retention.files import AUDIO, FileDeletion, find_named, note_files
from app.retention.rules import Kind, RetentionRules

CALLS_AT_ONCE = 20
"""Calls of one transaction, besides the rest of their conversations. Each has about fifty rows."""

_OTHER = calls.alias("other")


class CallRemover:
    """Removes old calls. Calls with archived audio stay while there is no archive to delete it from."""

    kind = Kind.CALLS

    def __init__(
        self, database: Database, clock: Clock, rules: RetentionRules, archive: Archive | None
    ) -> None:
        self._database = database
        self._turns = AccountTurns(database)
        self._clock = clock
        self._kept = rules.calls
        self._files = None if archive is None else FileDeletion(database, clock, archive)

    async def remove(self) -> bool:
        if self._kept is None:
            return False
        before = self._clock.now() - self._kept
        if self._files is not None:
            await self._files.run()

        async def serve(account_id: AccountId) -> bool:
            return await self._remove(account_id, before)

        old = [one.correlate(accounts).exists() for one in self._old(accounts.c.account_id, before)]
        return await self._turns.serve(or_(*old), serve)

    async def _remove(self, account_id: AccountId, before: datetime) -> bool:
        async with self._database.read() as db:
            call_ids: set[str] = set()
            for query in self._old(account_id, before):
                call_ids.update(await db.scalars(query.limit(CALLS_AT_ONCE)))
            call_ids |= await _find_conversations(db, account_id, call_ids)
        now, chosen = self._clock.now(), is_one_of(calls.c.call_id, call_ids)
        async with self._database.write() as db, open_ledger(db, account_id, now) as ledger:
            # Searched again under the lock: a call may have been changed or held since.
            removable = [
                call_id
                for query in self._old(account_id, before)
                for call_id in await db.scalars(query.where(chosen))
            ]
            await note_files(ledger, await _find_files(db, account_id, removable))
            await remove_calls(ledger, removable)
        count_removed(self.kind, len(removable))
        if self._files is not None:
            await self._files.run()
        return len(call_ids) >= CALLS_AT_ONCE and bool(removable)

    def _old(self, account_id: ColumnElement[str] | str, before: datetime) -> tuple[Select[Any], Select[Any]]:
        """Return the two queries for the calls that may be removed now, by id."""
        everyone = joins_only(and_(is_over_since(before, _OTHER), may_be_removed(_OTHER)), _OTHER)
        conditions = [calls.c.account_id == account_id, may_be_removed(), everyone, ~_is_being_archived()]
        if self._files is None:
            conditions.append(~_is_archived())
        query = select(calls.c.call_id).where(*conditions)
        return query.where(ended_before(before)), query.where(closed_before(before))


def _of_call(table: Table) -> ColumnElement[bool]:
    return and_(table.c.account_id == calls.c.account_id, table.c.call_id == calls.c.call_id)


def _is_archived() -> ColumnElement[bool]:
    return or_(*(exists().where(_of_call(table), table.c.archive_path.is_not(None)) for table in AUDIO))


def _is_being_archived() -> ColumnElement[bool]:
    """Whether a copy of the call's audio may be on its way: its file would stay in the archive."""
    return or_(
        *(
            exists().where(_of_call(table), table.c.due_at.is_not(None), table.c.state == State.READY.value)
            for table in AUDIO
        )
    )


async def _find_conversations(
    db: AsyncConnection, account_id: AccountId, call_ids: Collection[str]
) -> set[str]:
    """Return all calls of the conversations of these calls."""
    mine = and_(calls.c.account_id == account_id, is_one_of(calls.c.call_id, call_ids))
    query = select(calls.c.conversation_id).where(mine, calls.c.conversation_id.is_not(None)).distinct()
    conversation_ids = list(await db.scalars(query))
    if not conversation_ids:
        return set()
    theirs = and_(
        calls.c.account_id == account_id, is_one_of(calls.c.conversation_id, conversation_ids),
        calls.c.conversation_id.is_not(None),
    )  # fmt: skip
    return set(await db.scalars(select(calls.c.call_id).where(theirs)))


async def _find_files(db: AsyncConnection, account_id: AccountId, call_ids: Collection[str]) -> set[str]:
    """Return the paths of archived files that these calls name, and no other call."""
    paths: set[str] = set()
    for table in AUDIO:
        mine = table.c.account_id == account_id, is_one_of(table.c.call_id, call_ids)
        named = select(table.c.archive_path).where(*mine, table.c.archive_path.is_not(None))
        paths.update(await db.scalars(named))
    return paths - await find_named(db, account_id, paths, but_calls=call_ids)
