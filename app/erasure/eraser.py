"""Carries out erasures: a batch in each transaction, resumed where a crash has left off.

What is erased, how much that was and how far it is are written in the same transaction. A replica holds the
lease of an erasure while it works on it. Every batch can be repeated: it finds what is still there.
"""

import asyncio
import tempfile
from datetime import timedelta
from pathlib import Path

import structlog

from app.calls.ledger import open_ledger
from app.clock import Clock
from app.db.engine import Database, wake
from app.db.tables import erasures
from app.enrichment.audio.archive_store import Archive
from app.enrichment.audio.download import part_of
from app.erasure import store
from app.erasure.mentions import Place, find_rows, take_out, write_key
from app.erasure.model import Counts, Erasure, Phase, Status
from app.erasure.removal import erase_around, erase_calls
from app.erasure.selection import accounts_of, count_calls, count_held, find_next_calls
from app.erasure.turns import Turn, open_turn
from app.errors import ArchiveUnavailable, LeaseLost
from app.ids import AccountId
from app.vault import Vault
from app.work.leases import Lease
from app.work.wakeups import ERASURES

BATCH = 25
"""Calls of one transaction. Other writers of the account wait meanwhile."""

_FILES = 25
_WINDOWS = 20
"""Stretches of a table without a hit that are looked at before it is written how far that is."""

_TURN = 40
"""Batches until the lease is renewed and other erasures have a turn."""

_WAIT = timedelta(seconds=5)
"""Until deliveries that wait are looked at again."""

_PAUSE = timedelta(minutes=5)
"""Until an archive that failed is tried again."""

_UNREADABLE = (
    "The subject was encrypted with a key that AFTERCALL_SECRET_KEY does not have any more. Add that key, or "
    "plan the erasure anew."
)
_NO_ARCHIVE = "Archived audio has to be deleted, but AFTERCALL_ARCHIVE_URL is not set."

Key = tuple[object, ...]

log = structlog.get_logger(__name__)


class Eraser:
    """The background work that carries out erasures."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        vault: Vault,
        archive: Archive | None,
        *,
        replica: str,
        lease_seconds: float,
        spool: Path | None = None,
    ) -> None:
        self._database = database
        self._clock = clock
        self._vault = vault
        self._archive = archive
        self._replica = replica
        self._lease_seconds = lease_seconds
        self._spool = spool or Path(tempfile.gettempdir()) / "aftercall-recordings"

    async def step(self) -> float | None:
        """Continue each erasure that is due for a while; return 0 when there may be more."""
        now = self._clock.now()
        async with self._database.read() as db:
            due = await store.find_due(db, now, 10)
        more = [await self.work_on(one) for one in due]
        if not due:
            async with self._database.write() as db:
                await store.delete_expired(db, now)
        if any(more):
            return 0.0
        async with self._database.read() as db:
            next_at = await store.find_next_due(db, now)
        return None if next_at is None else max(0.1, (next_at - now).total_seconds())

    async def work_on(self, erasure: Erasure) -> bool:
        """Continue an erasure for a while; return whether it can go on at once."""
        key = {"account_id": erasure.account_id, "erasure_id": erasure.erasure_id}
        lease = Lease(erasures, key, self._replica, self._lease_seconds, f"the erasure {erasure.erasure_id}")
        now = self._clock.now()
        async with self._database.write() as db:
            row = await lease.take(db, now, erasures.c.due_at <= now)
        if row is None:
            return False
        try:
            return await self._work_with(Erasure(**row._mapping), lease)  # noqa: SLF001 - as documented
        except LeaseLost:
            return False
        finally:
            async with self._database.write() as db:
                await lease.drop(db)

    async def _work_with(self, erasure: Erasure, lease: Lease) -> bool:
        turn = await self._begin(erasure, lease)
        if turn is None:
            return False
        for _ in range(_TURN):
            match turn.progress.phase:
                case Phase.CALLS:
                    goes_on = await self._erase_calls(turn)
                case Phase.MENTIONS:
                    goes_on = await self._look_through(turn)
                case Phase.FILES:
                    goes_on = await self._delete_files(turn)
                case Phase.CHECK:
                    goes_on = await self._check(turn)
            if not goes_on:
                return False
            await self._clock.sleep(0)
        return True

    async def _begin(self, erasure: Erasure, lease: Lease) -> Turn | None:
        async with self._database.read() as db:
            turn = await open_turn(db, self._vault, erasure, lease)
        if turn is None:
            await self._wait(lease, _PAUSE, _UNREADABLE)
        return turn

    async def _wait(self, lease: Lease, pause: timedelta, problem: str | None) -> None:
        async with self._database.write() as db:
            await lease.save(db, due_at=self._clock.now() + pause, problem=problem)

    async def _erase_calls(self, turn: Turn) -> bool:
        before, account_id = turn.erased, turn.account_id
        try:
            async with (
                self._database.write() as db,
                open_ledger(db, account_id, self._clock.now()) as ledger,
            ):
                found = await find_next_calls(db, account_id, turn.subject, BATCH)
                turn.erased = before + await erase_calls(ledger, found, turn.erasure_id)
                if not found:
                    turn.erased += await erase_around(ledger, turn.subject)
                progress = turn.progress.after_calls(len(found), turn.places)
                await turn.save(db, self._clock.now(), progress, problem=None)
        except BaseException:
            turn.erased = before  # it is not committed
            raise
        turn.advance(progress)
        return True

    async def _look_through(self, turn: Turn) -> bool:
        place = turn.places[turn.progress.place or ""]
        at: Key | None = turn.progress.after
        for _ in range(_WINDOWS):
            mine, hits, at = await self._look(turn, place, at)
            if hits or at is None:
                break
        before, waits = turn.erased, False
        try:
            async with (
                self._database.write() as db,
                open_ledger(db, turn.account_id, self._clock.now()) as ledger,
            ):
                if hits:
                    found = await take_out(ledger, mine, place, turn.spelling, hits, turn.erasure_id)
                    turn.erased, waits = before + found.counts, found.waits
                progress = turn.progress.after_rows(at, turn.places, waits=waits)
                await turn.save(db, self._clock.now(), progress)
        except BaseException:
            turn.erased = before  # it is not committed
            raise
        turn.advance(progress)
        return True

    async def _look(
        self, turn: Turn, place: Place, at: Key | None
    ) -> tuple[AccountId, list[Key], Key | None]:
        """Look at the next rows of a table: under which account, which of them may name the subject, and
        where to continue; None at the end."""
        async with self._database.read() as db:
            accounts = await accounts_of(db, turn.account_id)
            # The rows of `~` come after those of the account itself, in the same place.
            mine, after = _split(at, accounts)
            hits, last = await find_rows(db, mine, place, turn.spelling, after)
        following = accounts[accounts.index(mine) + 1 :]
        if last is not None:
            return mine, hits, (mine, *write_key(last))
        return mine, hits, (following[0],) if following else None

    async def _delete_files(self, turn: Turn) -> bool:
        async with self._database.read() as db:
            files = await store.load_files(db, turn.account_id, turn.erasure_id, _FILES)
        now = self._clock.now()
        due = [file for file in files if file.due_at <= now]
        if files and self._archive is None:
            await self._wait(turn.lease, _PAUSE, _NO_ARCHIVE)
            return False
        if files and not due:
            await self._wait(turn.lease, files[0].due_at - now, None)
            return False
        deleted = 0
        try:
            for file in due:
                deleted += await self._delete_file(turn.account_id, file.path, file.media_id)
        except (ArchiveUnavailable, OSError) as error:
            await self._wait(turn.lease, _PAUSE, str(error))
            return False
        progress = turn.progress if files else turn.progress.after_files()
        before, turn.erased = turn.erased, turn.erased + Counts(archivedFiles=deleted)
        try:
            async with self._database.write() as db:
                await store.forget_files(db, turn.account_id, [file.path for file in due])
                await turn.save(db, self._clock.now(), progress, problem=None)
        except BaseException:
            turn.erased = before  # it is not committed
            raise
        turn.advance(progress)
        return True

    async def _delete_file(self, account_id: AccountId, path: str, media_id: str) -> int:
        """Delete a file of the archive, and what this machine has of its download; return 1 if it existed."""
        assert self._archive is not None  # noqa: S101 - checked by the caller
        existed = await self._archive.size(path) is not None
        await self._archive.delete(path)
        part = part_of(self._spool, account_id, media_id)
        await asyncio.to_thread(part.unlink, missing_ok=True)
        return int(existed)

    async def _check(self, turn: Turn) -> bool:
        """Count again: the receipt states that nothing was left."""
        async with (
            self._database.write() as db,
            open_ledger(db, turn.account_id, self._clock.now()),
        ):
            now = self._clock.now()
            left = await count_calls(db, turn.account_id, turn.subject)
            progress = turn.progress.after_check(left)
            if progress is not None:
                pause = _WAIT if turn.progress.waits else timedelta()
                await turn.save(db, now, progress, due_at=now + pause)
            else:
                held = await count_held(db, turn.account_id, turn.subject)
                await turn.save(
                    db, now, turn.progress, status=Status.DONE.value, subject=None, completed_at=now,
                    due_at=None, held=held, problem=None,
                )  # fmt: skip
                await store.record_done(db, turn.account_id, turn.erasure_id, turn.erased, held, now)
                wake(db, ERASURES)  # each process forgets what it remembers
                log.info(
                    "an erasure is done", erasure_id=turn.erasure_id, calls=turn.erased["calls"], held=held
                )
        waits = turn.progress.waits
        if progress is not None:
            turn.advance(progress)
        return progress is not None and not waits


def _split(after: Key | None, accounts: list[AccountId]) -> tuple[AccountId, Key | None]:
    """Return whose rows come next, and after which key of them."""
    if after is None:
        return accounts[0], None
    account_id, *key = after
    mine = AccountId(account_id) if account_id in accounts else accounts[0]
    return mine, tuple(key) or None
