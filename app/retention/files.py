"""Deletes files of the archive after the rows that named them are gone.

The paths are noted in the transaction that changes the rows, under the account's lock: a legal hold that is
placed meanwhile finds a call with its file, or neither. The files are deleted after the commit, since no
transaction is open while an archive is waited for. What a crash or an unreachable archive leaves is deleted
in a later pass.
"""

from collections.abc import Collection, Sequence
from datetime import datetime

from sqlalchemy import Table, delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.calls import accounts
from app.calls.ledger import Ledger
from app.clock import Clock
from app.db.engine import Database, upsert_into
from app.db.lists import is_one_of
from app.db.tables import recordings, voicemails, work
from app.enrichment.audio.archive_store import Archive
from app.ids import AccountId

KIND = "files-to-delete"
AUDIO: Sequence[Table] = (recordings, voicemails)


async def note_files(ledger: Ledger, paths: Collection[str]) -> None:
    """Note that files are to be deleted, which no row names any more. Runs under the ledger."""
    if paths:
        noted = await _load(ledger.db, ledger.account_id)
        await _save(ledger.db, ledger.account_id, noted | set(paths))


class FileDeletion:
    """Deletes the files that are noted."""

    def __init__(self, database: Database, clock: Clock, archive: Archive) -> None:
        self._database = database
        self._clock = clock
        self._archive = archive

    async def run(self) -> None:
        """Delete all of them. Raises ArchiveUnavailable; what is left stays noted."""
        async with self._database.read() as db:
            found = list(await db.scalars(select(work.c.account_id).where(work.c.kind == KIND)))
        for account_id in found:
            await self._delete(AccountId(account_id), self._clock.now())

    async def _delete(self, account_id: AccountId, now: datetime) -> None:
        async with self._database.read() as db:
            noted = await _load(db, account_id)
            # Audio that was archived again has the same path.
            unnamed = noted - await find_named(db, account_id, noted)
        for path in sorted(unnamed):
            await self._archive.delete(path)
        async with self._database.write() as db:
            await accounts.lock(db, account_id, now)
            await _save(db, account_id, await _load(db, account_id) - noted)


async def find_named(
    db: AsyncConnection, account_id: AccountId, paths: Collection[str], but_calls: Collection[str] = ()
) -> set[str]:
    """Return those of these paths that calls name, others than `but_calls`."""
    found: set[str] = set()
    for table in AUDIO if paths else ():
        mine = (table.c.account_id == account_id) & is_one_of(table.c.archive_path, paths)
        found.update(
            await db.scalars(select(table.c.archive_path).where(mine, ~is_one_of(table.c.call_id, but_calls)))
        )
    return found


async def _load(db: AsyncConnection, account_id: AccountId) -> set[str]:
    mine = (work.c.account_id == account_id) & (work.c.kind == KIND)
    state = await db.scalar(select(work.c.state).where(mine))
    return set(state["paths"]) if state else set()


async def _save(db: AsyncConnection, account_id: AccountId, paths: Collection[str]) -> None:
    if not paths:
        mine = (work.c.account_id == account_id) & (work.c.kind == KIND)
        await db.execute(delete(work).where(mine))
        return
    state = {"paths": sorted(paths)}
    insert = upsert_into(db, work).values(account_id=account_id, kind=KIND, state=state)
    await db.execute(
        insert.on_conflict_do_update(index_elements=["account_id", "kind"], set_={"state": state})
    )
