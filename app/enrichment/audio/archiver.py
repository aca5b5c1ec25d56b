"""Copies ready audio into the archive, once each: resumed, verified, retried.

The audio is downloaded into a file on this machine first, so that the download can continue after a failure
or a restart. The complete file is hashed (SHA-256), saved, and measured in the archive before the database
says that it is there.
"""

import asyncio
import tempfile
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import structlog

from app import errors
from app.accounts.connections import Connection
from app.accounts.context import AccountsContext
from app.calls import store
from app.calls.ledger import open_ledger
from app.calls.media.rows import LONGEST_PROBLEM
from app.enrichment.audio.archive_store import Archive, archive_path
from app.enrichment.audio.archived_kind import ArchivedKind, RowT
from app.enrichment.audio.download import MismatchError, delete_leftovers, download, measure, part_of
from app.enrichment.audio.retry_plan import RetryPlan
from app.enrichment.records.reasons import MissingReason
from app.ids import AccountId
from app.values import widths
from app.work.leases import renewed
from app.work.rounds import Agenda, Rounds

READY = frozenset({"ready"})
LEFTOVER_AFTER = timedelta(days=1)
"""A partial file that is older is not resumed: its audio is downloaded from the start."""

_PERMISSION_PAUSE = timedelta(hours=1)
_CLEANUP_SECONDS = 3600.0
_LONGEST_COPY_SECONDS = 6 * 3600.0
_DONE = {"due_at": None, "attempts": 0, "problem": None}
_OUTAGES = (
    errors.ArchiveUnavailable, OSError, errors.RingCentralUnreachable, errors.CredentialsRefused,
)  # fmt: skip
"""Failures that say nothing about the audio."""

log = structlog.get_logger(__name__)


class _GoneError(Exception):
    """No call names the audio any more: they were erased meanwhile."""


class _RefusedError(Exception):
    """RingCentral refused the audio to this connection."""

    def __init__(self, connection: Connection, error: errors.PermissionMissing) -> None:
        super().__init__(error.detail)
        self.connection = connection
        self.error = error


class AudioArchiver(ArchivedKind[RowT]):
    """The background work that fills the archive, one item of an account at a time."""

    def __init__(
        self, context: AccountsContext, archive: Archive, plan: RetryPlan, *, spool: Path | None = None
    ) -> None:
        super().__init__(context)
        self._archive = archive
        self._plan = plan
        self._cleaned_at: float | None = None
        self._spool = spool or Path(tempfile.gettempdir()) / "aftercall-recordings"
        self._rounds = Rounds(
            self.loop_name,
            context,
            Agenda(
                find_accounts=lambda db, now: self.table.find_due_accounts(db, READY, now),
                find_next=lambda db, now: self.table.find_next_due(db, READY, now),
                serve=self._serve,
            ),
            most_at_once=1,
            longest_seconds=_LONGEST_COPY_SECONDS,
        )

    @property
    def any_due(self) -> Any:
        """The condition, for the lookout, that something is to be archived."""
        return self.table.any_due(READY)

    async def step(self) -> float | None:
        """Archive one due item of each account; return in how many seconds the next is due."""
        if self._cleaned_at is None or self._clock.monotonic() - self._cleaned_at >= _CLEANUP_SECONDS:
            self._cleaned_at = self._clock.monotonic()
            await asyncio.to_thread(delete_leftovers, self._spool, self._clock.now() - LEFTOVER_AFTER)
        return await self._rounds.step()

    async def close(self) -> None:
        """Stop the copies that are under way; they are resumed later."""
        await self._rounds.close()

    async def _serve(self, account_id: AccountId) -> bool:
        now = self._clock.now()
        async with self._database.write() as db:
            media_id = await self.table.claim_due(db, account_id, READY, now, self._lease())
            rows = await self.load(db, account_id, media_id) if media_id else []
        if media_id is None:
            return False
        await self._copy(account_id, media_id, rows)
        return True

    def _lease(self) -> datetime:
        return self._clock.now() + timedelta(seconds=self._plan.lease)

    async def _copy(self, account_id: AccountId, media_id: str, rows: Sequence[RowT]) -> None:
        async def renew() -> None:
            await self._change(account_id, media_id, due_at=self._lease())

        try:
            async with renewed(renew, self._plan.lease / 3):
                columns = await self._archived_before(rows)
                if columns is None:
                    columns = await self._fetch_and_save(account_id, media_id, rows)
        except errors.RateLimited as error:
            await self._hold_back(account_id, media_id, error.retry_at)
        except _RefusedError as refused:
            await self._refused(account_id, media_id, rows, refused)
        except (
            errors.RingCentralError, errors.ArchiveUnavailable, MismatchError, OSError,
        ) as error:  # fmt: skip
            await self._failed(account_id, media_id, rows, error)
        except _GoneError:
            await self._delete_part(account_id, media_id)
        else:
            if not await self._change(account_id, media_id, **columns):
                await self._discard(account_id, media_id, columns["archive_path"])
                return
            self.outcomes.labels(outcome="archived").inc()
            log.info(f"archived a {self.kind}", media_id=media_id, bytes=columns["archive_bytes"])

    async def _hold_back(self, account_id: AccountId, media_id: str, until: datetime) -> None:
        self._rounds.hold_back(account_id, until)
        await self._change(account_id, media_id, due_at=until)

    async def _refused(
        self,
        account_id: AccountId,
        media_id: str,
        rows: Sequence[RowT],
        refused: _RefusedError,
    ) -> None:
        """Leave it to another connection that sees the call, or wait until the permission is granted."""
        if not await self.note_refusal(refused.connection, refused.error):
            await self._failed(account_id, media_id, rows, refused.error)
            return
        other = await self.find_connection(account_id, rows)
        if other is None or other.name == refused.connection.name:
            # Operators see the missing permission; the next try shows whether it was granted.
            await self._hold_back(account_id, media_id, self._clock.now() + _PERMISSION_PAUSE)
        else:
            await self._change(account_id, media_id, due_at=self._clock.now())

    async def _archived_before(self, rows: Sequence[RowT]) -> dict[str, Any] | None:
        """Return the columns of a recording that is archived already, for another call that names it."""
        row = next((row for row in rows if row.archive_path is not None), None)
        if row is None or await self._archive.size(str(row.archive_path)) != row.archive_bytes:
            return None
        copied = ("content_type", "archive_path", "archive_bytes", "archive_sha256", "archived_at")
        return _DONE | {name: getattr(row, name) for name in copied}

    async def _fetch_and_save(
        self, account_id: AccountId, media_id: str, rows: Sequence[RowT]
    ) -> dict[str, Any]:
        connection = await self.find_connection(account_id, rows)
        if connection is None:
            raise errors.CredentialsRefused(MissingReason.NO_CREDENTIALS)
        part = self._part(account_id, media_id)
        await asyncio.to_thread(self._spool.mkdir, parents=True, exist_ok=True, mode=0o700)
        content_uri = next((row.content_uri for row in rows if row.content_uri), None)
        if content_uri is None:
            raise errors.RequestRefused(f"RingCentral has not given the address of the {self.kind}")
        try:
            content_type = await download(self.source(connection, content_uri), part, self._clock)
        except errors.PermissionMissing as error:
            raise _RefusedError(connection, error) from error
        content_type = content_type or next((row.content_type for row in rows if row.content_type), None)
        if not await self._change(
            account_id, media_id, content_type=content_type and content_type[: widths.CONTENT_TYPE]
        ):
            raise _GoneError
        size, digest = await asyncio.to_thread(measure, part)
        path = archive_path(
            account_id, self.prefix + media_id, await self._started_at(account_id, rows), content_type
        )
        await self._archive.save(path, part)
        # The copy is measured before the partial file is deleted: until then it can be saved again.
        saved = await self._archive.size(path)
        if saved != size:
            raise errors.ArchiveUnavailable(f"{size} bytes were saved, {saved} are in the archive")
        await asyncio.to_thread(part.unlink, missing_ok=True)
        return _DONE | {
            "archive_path": path,
            "archive_bytes": size,
            "archive_sha256": digest,
            "archived_at": self._clock.now(),
        }

    async def _started_at(self, account_id: AccountId, rows: Sequence[RowT]) -> datetime:
        async with self._database.read() as db:
            calls = await store.load_by_ids(db, account_id, [row.call_id for row in rows])
        if not calls:
            raise _GoneError
        return min(call.started_at for call in calls.values())

    async def _failed(
        self,
        account_id: AccountId,
        media_id: str,
        rows: Sequence[RowT],
        error: Exception,
    ) -> None:
        """Plan the next try, or give up: RingCentral still has the recording for some time.

        Failures that say nothing about the recording are retried for days, one recording at a time.
        """
        why = (error.strerror if isinstance(error, OSError) else None) or str(error)
        log.warning(f"archiving a {self.kind} failed", media_id=media_id, why=why)
        now = self._clock.now()
        if isinstance(error, errors.RequestRefused) and error.status == 404:
            async with self._database.write() as db, open_ledger(db, account_id, now) as ledger:
                await self.note_not_found(ledger, media_id, rows)
            await self._delete_part(account_id, media_id)
            return
        attempts = max(row.attempts for row in rows) + 1
        is_outage = isinstance(error, _OUTAGES)
        if is_outage and now - min(row.created_at for row in rows) < self._plan.longest_outage:
            # After an outage the recording still has attempts of its own.
            attempts = min(attempts, len(self._plan.gaps) // 2)
            self._rounds.hold_back(account_id, now + self._plan.first_gap)
        gap = self._plan.next_gap(attempts)
        if gap is None:
            self.outcomes.labels(outcome="archive-failed").inc()
            await self._delete_part(account_id, media_id)
        due_at = None if gap is None else now + timedelta(seconds=gap)
        problem = why[:LONGEST_PROBLEM]
        await self._change(account_id, media_id, attempts=attempts, due_at=due_at, problem=problem)

    def _part(self, account_id: AccountId, media_id: str) -> Path:
        return part_of(self._spool, account_id, self.prefix + media_id)

    async def _delete_part(self, account_id: AccountId, media_id: str) -> None:
        await asyncio.to_thread(self._part(account_id, media_id).unlink, missing_ok=True)

    async def _discard(self, account_id: AccountId, media_id: str, path: str) -> None:
        """Delete a copy whose calls were erased while it was made."""
        await self._archive.delete(path)
        await self._delete_part(account_id, media_id)
        log.info(f"a {self.kind} was erased while it was archived", media_id=media_id)

    async def _change(self, account_id: AccountId, media_id: str, **values: Any) -> int:
        """Write columns for the calls where the recording is ready; the others still wait for it.

        Returns for how many calls: 0 if they were erased meanwhile.
        """
        async with self._database.write() as db:
            now = self._clock.now()
            return await self.table.change(db, account_id, media_id, states=READY, **values, updated_at=now)
