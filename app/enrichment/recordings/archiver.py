"""Copies the audio of ready recordings into the archive: resumed where it broke off, checked, retried, once.

A download goes into a file of its own on this machine first, so that it can go on after a failure or a restart;
what is whole is hashed (SHA-256), saved, and measured in its place before the database says that it is there.
"""

import asyncio
import hashlib
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import structlog
from sqlalchemy import Row

from app import metrics
from app.accounts.connections import Connection
from app.accounts.context import AccountsContext, AccountsWorker
from app.calls import recordings, store
from app.calls.ledger import open_ledger
from app.calls.recordings import State
from app.clock import Clock
from app.enrichment.recordings.archive_store import Archive
from app.enrichment.recordings.audio_stream import AudioStream, OutOfRangeError, open_audio_stream
from app.enrichment.recordings.byte_ranges import ByteRange
from app.enrichment.recordings.watcher import (
    RecordingPlan,
    find_recording_connection,
    note_missing_permission,
    take_not_found,
)
from app.errors import (
    AccessReason,
    ArchiveUnavailable,
    CredentialsRefused,
    PermissionMissing,
    RateLimited,
    RequestRefused,
    RingCentralError,
    RingCentralUnreachable,
)
from app.ids import AccountId
from app.values import widths
from app.work.leases import renewed
from app.work.rounds import Agenda, Rounds

READY = frozenset({State.READY})
LARGEST_BYTES = 4 * 1024**3
_RIGHT_AGAIN = timedelta(hours=1)
LEFTOVER_AFTER = timedelta(days=1)
"""Nobody adds to such a partial file any more; should somebody want to, he begins anew as well."""

_TIDY_SECONDS = 3600.0
_OVERLAP_BYTES = 16 * 1024
"""So much of a partial file is fetched again and compared: RingCentral tells no version of a sound, and two halves of
different ones are none."""

_PIECE_BYTES = 64 * 1024
_PIECE_SECONDS = 1.0
"""As much as that of a download, or what came in that time, may be lost with the process."""

_READ_BYTES = 1024 * 1024
_LONGEST_COPY_SECONDS = 6 * 3600.0
_SUFFIXES = {
    "audio/mpeg": "mp3",
    "audio/mp3": "mp3",
    "audio/wav": "wav",
    "audio/x-wav": "wav",
    "audio/wave": "wav",
}

_DONE = {"due_at": None, "attempts": 0, "problem": None}

log = structlog.get_logger(__name__)


def suffix_of(content_type: str | None) -> str:
    """Return the usual ending of a file with this content."""
    return _SUFFIXES.get((content_type or "").partition(";")[0].strip().lower(), "bin")


def place_of(account_id: str, recording_id: str, started_at: datetime, content_type: str | None) -> str:
    """Return the path of a recording in the archive: account, year, month, id."""
    account, name = (quote(part, safe="").replace(".", "%2E") for part in (account_id, recording_id))
    return f"{account}/{started_at:%Y/%m}/{name}.{suffix_of(content_type)}"


class _Unlike(Exception):
    """What came does not fit what there was."""


class _Denied(Exception):
    """RingCentral refused a sound to this connection."""

    def __init__(self, connection: Connection, error: PermissionMissing) -> None:
        super().__init__(error.detail)
        self.connection = connection
        self.error = error


_AWAY = (ArchiveUnavailable, OSError, RingCentralUnreachable, CredentialsRefused)
"""Failures that say nothing of the recording."""


class Archiver(AccountsWorker):
    """The background work that fills the archive, one recording of an account at a time."""

    def __init__(
        self, context: AccountsContext, archive: Archive, plan: RecordingPlan, *, spool: Path | None = None
    ) -> None:
        super().__init__(context)
        self._archive = archive
        self._plan = plan
        self._tidied_at: float | None = None
        self._spool = spool or Path(tempfile.gettempdir()) / "aftercall-recordings"
        self._rounds = Rounds(
            "archive",
            context,
            Agenda(
                find_accounts=lambda db, now: recordings.find_due_accounts(db, READY, now),
                find_next=lambda db, now: recordings.find_next_due(db, READY, now),
                serve=self._serve,
            ),
            most_at_once=1,
            longest_seconds=_LONGEST_COPY_SECONDS,
        )

    async def step(self) -> float | None:
        """Archive one recording of each account that has one due; say in how many seconds the next is."""
        if self._tidied_at is None or self._clock.monotonic() - self._tidied_at >= _TIDY_SECONDS:
            self._tidied_at = self._clock.monotonic()
            await asyncio.to_thread(_tidy, self._spool, self._clock.now() - LEFTOVER_AFTER)
        return await self._rounds.step()

    async def close(self) -> None:
        """Stop the copies that are under way; they go on where they were."""
        await self._rounds.close()

    async def _serve(self, account_id: AccountId) -> bool:
        now = self._clock.now()
        async with self._database.write() as db:
            recording_id = await recordings.claim_due(db, account_id, READY, now, self._lease())
            rows = await recordings.load(db, account_id, recording_id) if recording_id else []
        if recording_id is None:
            return False
        await self._copy(account_id, recording_id, rows)
        return True

    def _part(self, account_id: AccountId, recording_id: str) -> Path:
        return self._spool / f"{quote(account_id, safe='')}-{quote(recording_id, safe='')}.part"

    def _lease(self) -> datetime:
        return self._clock.now() + timedelta(seconds=self._plan.lease)

    async def _copy(self, account_id: AccountId, recording_id: str, rows: Sequence[Row[Any]]) -> None:
        async def renew() -> None:
            await self._change(account_id, recording_id, due_at=self._lease())

        try:
            async with renewed(renew, self._plan.lease / 3):
                values = await self._kept_for_another(rows) or await self._fetch_and_save(
                    account_id, recording_id, rows
                )
        except RateLimited as error:
            await self._hold_back(account_id, recording_id, error.retry_at)
        except _Denied as denied:
            await self._refused(account_id, recording_id, rows, denied)
        except (RingCentralError, ArchiveUnavailable, OutOfRangeError, _Unlike, OSError) as error:
            await self._failed(account_id, recording_id, rows, error)
        else:
            await self._change(account_id, recording_id, **values)
            metrics.RECORDINGS.labels(outcome="archived").inc()
            log.info("archived a recording", recording_id=recording_id, bytes=values["archive_bytes"])

    async def _hold_back(self, account_id: AccountId, recording_id: str, until: datetime) -> None:
        self._rounds.hold_back(account_id, until)
        await self._change(account_id, recording_id, due_at=until)

    async def _refused(
        self, account_id: AccountId, recording_id: str, rows: Sequence[Row[Any]], denied: _Denied
    ) -> None:
        """Leave it to another user who sees the call, or wait until the right is granted."""
        if not await note_missing_permission(self._connections, denied.connection, denied.error):
            await self._failed(account_id, recording_id, rows, denied.error)
            return
        other = await self._find_hearer(account_id, rows)
        if other is None or other.name == denied.connection.name:
            # Whoever has to grant the right is told by the connection; the next try shows whether somebody has.
            await self._hold_back(account_id, recording_id, self._clock.now() + _RIGHT_AGAIN)
        else:
            await self._change(account_id, recording_id, due_at=self._clock.now())

    async def _kept_for_another(self, rows: Sequence[Row[Any]]) -> dict[str, Any] | None:
        """Return what says that a recording is archived if it is already, for another call that names it."""
        kept = next((row for row in rows if row.archive_path is not None), None)
        if kept is None or await self._archive.size(kept.archive_path) != kept.archive_bytes:
            return None
        copied = ("content_type", "archive_path", "archive_bytes", "archive_sha256", "archived_at")
        return _DONE | {name: getattr(kept, name) for name in copied}

    async def _fetch_and_save(
        self, account_id: AccountId, recording_id: str, rows: Sequence[Row[Any]]
    ) -> dict[str, Any]:
        connection = await self._find_hearer(account_id, rows)
        if connection is None:
            raise CredentialsRefused(AccessReason.NO_CREDENTIALS)
        part = self._part(account_id, recording_id)
        await asyncio.to_thread(self._spool.mkdir, parents=True, exist_ok=True, mode=0o700)
        content_uri = next((row.content_uri for row in rows if row.content_uri), None)
        if content_uri is None:
            raise RequestRefused("RingCentral has not said where the recording is")
        try:
            said = await _download(connection, content_uri, part, self._clock)
        except PermissionMissing as error:
            raise _Denied(connection, error) from error
        content_type = said or next((row.content_type for row in rows if row.content_type), None)
        await self._change(
            account_id, recording_id, content_type=content_type and content_type[: widths.CONTENT_TYPE]
        )
        size, digest = await asyncio.to_thread(_measure, part)
        path = place_of(account_id, recording_id, await self._started_at(account_id, rows), content_type)
        await self._archive.save(path, part)
        kept = await self._archive.size(path)
        if kept != size:
            raise ArchiveUnavailable(f"{size} bytes were saved, {kept} are there")
        await asyncio.to_thread(part.unlink, missing_ok=True)
        return _DONE | {
            "archive_path": path,
            "archive_bytes": size,
            "archive_sha256": digest,
            "archived_at": self._clock.now(),
        }

    async def _find_hearer(self, account_id: AccountId, rows: Sequence[Row[Any]]) -> Connection | None:
        now, call_ids = self._clock.now(), [row.call_id for row in rows]
        return await find_recording_connection(self._database, self._connections, account_id, call_ids, now)

    async def _started_at(self, account_id: AccountId, rows: Sequence[Row[Any]]) -> datetime:
        async with self._database.read() as db:
            calls = await store.load_by_ids(db, account_id, [row.call_id for row in rows])
        return min(call.started_at for call in calls.values())

    async def _failed(
        self, account_id: AccountId, recording_id: str, rows: Sequence[Row[Any]], error: Exception
    ) -> None:
        """Plan the next try, or leave the recording where it is: RingCentral keeps it for some time.

        What is not the recording's fault is tried for days, one recording at a time.
        """
        why = (error.strerror if isinstance(error, OSError) else None) or str(error)
        log.warning("archiving a recording failed", recording_id=recording_id, why=why)
        now = self._clock.now()
        if isinstance(error, RequestRefused) and error.status == 404:
            async with self._database.write() as db, open_ledger(db, account_id, now) as ledger:
                await take_not_found(ledger, recording_id, rows)
            await self._forget(account_id, recording_id)
            return
        attempts = max(row.attempts for row in rows) + 1
        is_away = isinstance(error, _AWAY)
        if is_away and now - min(row.created_at for row in rows) < self._plan.longest_outage:
            # An outage leaves it tries of its own.
            attempts = min(attempts, len(self._plan.gaps) // 2)
            self._rounds.hold_back(account_id, now + timedelta(seconds=self._plan.gaps[0]))
        gap = self._plan.next_gap(attempts)
        if gap is None:
            metrics.RECORDINGS.labels(outcome="archive-failed").inc()
            await self._forget(account_id, recording_id)
        due_at = None if gap is None else now + timedelta(seconds=gap)
        await self._change(account_id, recording_id, attempts=attempts, due_at=due_at, problem=why[:256])

    async def _forget(self, account_id: AccountId, recording_id: str) -> None:
        """Throw away what came of a recording that will not be archived."""
        await asyncio.to_thread(self._part(account_id, recording_id).unlink, missing_ok=True)

    async def _change(self, account_id: AccountId, recording_id: str, **values: Any) -> None:
        """Write what became of a recording, for the calls that know it to be ready: the others still look for it."""
        async with self._database.write() as db:
            now = self._clock.now()
            await recordings.change(db, account_id, recording_id, states=READY, **values, updated_at=now)


async def _download(connection: Connection, content_uri: str, part: Path, clock: Clock) -> str | None:
    """Bring the partial file to its full length; return the type of the sound if it was said.

    Raises OutOfRangeError or _Unlike, and throws the file away, if that is not the sound that there is now.
    """
    have = await asyncio.to_thread(_size, part)
    asked = ByteRange(have - _OVERLAP_BYTES, None) if have > _OVERLAP_BYTES else None
    try:
        async with open_audio_stream(connection.client, content_uri, asked, deadline=clock.now()) as sound:
            await _write(sound, part, clock)
            return sound.content_type
    except (OutOfRangeError, _Unlike):
        await asyncio.to_thread(part.unlink, missing_ok=True)
        raise


async def _write(sound: AudioStream, part: Path, clock: Clock) -> None:
    """Append what comes to what is there, which has to begin alike where they overlap."""
    place = sound.span.first
    known = await asyncio.to_thread(_read_from, part, place) if place else b""
    await asyncio.to_thread(_cut_to, part, place + len(known))
    async for chunk in _gathered(sound.chunks, clock):
        place += len(chunk)
        if place > LARGEST_BYTES:
            raise RequestRefused(f"the recording has more than {LARGEST_BYTES} bytes")
        if not (chunk.startswith(known) or known.startswith(chunk)):
            raise _Unlike("the recording has changed since half of it came")
        await asyncio.to_thread(_append, part, chunk[len(known) :])
        known = known[len(chunk) :]
    if known:
        raise _Unlike("half of the recording is longer than the whole")
    if sound.span.total not in {None, place}:
        raise _Unlike(f"{place} of {sound.span.total} bytes came")


async def _gathered(chunks: AsyncIterator[bytes], clock: Clock) -> AsyncIterator[bytes]:
    """Join small chunks, so that the disk is asked seldom; give what there is also when they break off."""
    buffer, since = bytearray(), clock.monotonic()
    try:
        async for chunk in chunks:
            buffer += chunk
            if len(buffer) >= _PIECE_BYTES or clock.monotonic() - since >= _PIECE_SECONDS:
                yield bytes(buffer)
                buffer.clear()
                since = clock.monotonic()
    except RingCentralError:
        if buffer:
            yield bytes(buffer)
        raise
    if buffer:
        yield bytes(buffer)


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0


def _tidy(spool: Path, before: datetime) -> None:
    """Remove what nobody has added to since a moment: of calls that were erased, of a crash before the last try."""
    for part in spool.glob("*.part"):
        with suppress(FileNotFoundError):
            if part.stat().st_mtime < before.timestamp():
                part.unlink()


def _cut_to(file: Path, size: int) -> None:
    with file.open("ab") as opened:
        opened.truncate(size)


def _read_from(file: Path, place: int) -> bytes:
    with file.open("rb") as opened:
        opened.seek(place)
        return opened.read()


def _append(file: Path, chunk: bytes) -> None:
    with file.open("ab") as opened:
        opened.write(chunk)


def _measure(file: Path) -> tuple[int, str]:
    """Return the size of a file and its SHA-256."""
    digest = hashlib.sha256()
    size = 0
    with file.open("rb") as opened:
        while chunk := opened.read(_READ_BYTES):
            digest.update(chunk)
            size += len(chunk)
    return size, digest.hexdigest()
