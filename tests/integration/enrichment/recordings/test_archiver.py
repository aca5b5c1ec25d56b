"""Filling the archive from RingCentral, and hearing recordings out of it."""

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete

from app.accounts.access import Access, Level
from app.accounts.connections import Connection
from app.calls.media import recordings
from app.clock import Clock, SystemClock
from app.db.tables import credentials
from app.db.tables import recordings as recordings_table
from app.enrichment.audio.archive_store import FolderArchive
from app.enrichment.audio.audio_stream import AudioStream
from app.enrichment.audio.byte_ranges import Span
from app.enrichment.audio.download import download
from app.enrichment.recordings.archiver import Archiver
from app.enrichment.recordings.recording_plan import RecordingPlan
from app.enrichment.recordings.watcher import RecordingWatcher
from app.errors import ArchiveUnavailable, PermissionMissing
from app.ids import ExtensionId
from tests.factories_calls import ACCOUNT, ANA
from tests.fakes.context import accounts_context
from tests.fakes.reader_stage import Stage

PLAN = RecordingPlan(gaps=(60.0, 120.0, 300.0), archives=True)


class Moving(SystemClock):
    """Goes on by itself, and as far ahead as it is advanced."""

    ahead = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead


class Desk:
    """A stage with an archive."""

    def __init__(self, stage: Stage, folder: Path) -> None:
        self.stage = stage
        self.kept = folder / "kept"
        self.spool = folder / "spool"
        self.archive = FolderArchive(self.kept)
        process = stage.process
        process.archive = self.archive
        process.playback._archive = self.archive
        self.archiver = self.replica()
        self.watcher = RecordingWatcher(
            accounts_context(process.database, process.clock, process.connections), PLAN
        )

    def replica(self, clock: Clock | None = None) -> Archiver:
        """Another archiver of the same machine, whom no failure holds back yet."""
        process = self.stage.process
        return Archiver(
            accounts_context(process.database, clock or process.clock, process.connections),
            self.archive,
            PLAN,
            spool=self.spool,
        )

    async def again(self, recording_id: str) -> Any:
        """Let time pass until the next try is due, and try."""
        await self.make_due(recording_id)
        await self.replica().step()
        return await self.row(recording_id)

    async def due(self, **wishes: Any) -> str:
        """Let a recorded call happen whose recording is to be archived now."""
        recording_id = await self.stage.recorded(**wishes)
        await self.stage.know(recording_id, due_at=self.stage.process.clock.now())
        return recording_id

    async def row(self, recording_id: str) -> Any:
        row, *_ = await self.stage.process.playback.load(ACCOUNT, recording_id)
        return row

    def part(self, recording_id: str) -> Path:
        self.spool.mkdir(exist_ok=True)
        return self.spool / f"{ACCOUNT}-{recording_id}.part"

    async def make_due(self, recording_id: str) -> None:
        async with self.stage.database.write() as db:
            now = self.stage.process.clock.now()
            await recordings.change(db, ACCOUNT, recording_id, due_at=now)


@pytest.fixture(autouse=True)
def _short_overlap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Simulated sounds are short."""
    monkeypatch.setattr("app.enrichment.audio.download._OVERLAP_BYTES", 16)


@pytest.fixture
def desk(stage: Stage, tmp_path: Path) -> Desk:
    return Desk(stage, tmp_path)


@pytest.fixture
def any_desk(any_stage: Stage, tmp_path: Path) -> Desk:
    return Desk(any_stage, tmp_path)


async def test_what_is_found_ready_is_archived_with_its_checksum(any_desk: Desk) -> None:
    desk = any_desk
    recording_id = await desk.stage.recorded()
    await desk.stage.know(recording_id, recordings.State.PENDING, due_at=desk.stage.process.clock.now())
    await desk.watcher.step()
    await desk.archiver.step()
    row, whole = await desk.row(recording_id), await desk.stage.whole(recording_id)
    assert (desk.kept / row.archive_path).read_bytes() == whole
    assert (row.archive_bytes, row.archive_sha256) == (len(whole), hashlib.sha256(whole).hexdigest())
    assert (row.due_at, row.problem) == (None, None)
    assert list(desk.spool.iterdir()) == []
    shown = (await desk.stage.reader.get(f"/v1/recordings/{recording_id}")).json()
    assert shown["archived"]["sha256"] == row.archive_sha256


async def test_archived_audio_is_played_without_asking_ringcentral(desk: Desk) -> None:
    recording_id = await desk.due()
    await desk.archiver.step()
    whole = await desk.stage.whole(recording_id)
    desk.stage.simulator.purge_recordings([recording_id])
    asked = len(desk.stage.asked())
    url = f"/v1/recordings/{recording_id}/content"
    answer = await desk.stage.reader.get(url)
    assert (answer.status_code, answer.content) == (200, whole)
    assert answer.headers["etag"] == f'"{hashlib.sha256(whole).hexdigest()}"'
    part = await desk.stage.reader.get(url, headers={"Range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, whole[10:20])
    assert part.headers["content-range"] == f"bytes 10-19/{len(whole)}"
    beyond = await desk.stage.reader.get(url, headers={"Range": "bytes=99999999-"})
    assert (beyond.status_code, beyond.headers["content-range"]) == (416, f"bytes */{len(whole)}")
    head = await desk.stage.reader.head(url)
    assert head.headers["content-length"] == str(len(whole))
    assert len(desk.stage.asked()) == asked


async def test_a_lost_archive_file_is_fetched_from_ringcentral_again(desk: Desk) -> None:
    recording_id = await desk.due()
    await desk.archiver.step()
    (desk.kept / (await desk.row(recording_id)).archive_path).unlink()
    answer = await desk.stage.reader.get(f"/v1/recordings/{recording_id}/content")
    assert answer.content == await desk.stage.whole(recording_id)


@pytest.mark.parametrize("habit", ["supported", "ignored", "unasked"])
async def test_a_download_resumes_where_it_stopped(desk: Desk, habit: str) -> None:
    recording_id = await desk.due()
    whole = await desk.stage.whole(recording_id)
    desk.part(recording_id).write_bytes(whole[:40])
    desk.stage.faults(recording_range=habit)
    await desk.archiver.step()
    assert (desk.kept / (await desk.row(recording_id)).archive_path).read_bytes() == whole


@pytest.mark.parametrize(
    ("piece", "seconds"),
    [(bytes(16 * 1024), 0.0), (b"some", 0.6)],
    ids=["64 KiB", "a second"],
)
async def test_a_download_is_on_the_disk_long_before_its_end(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, piece: bytes, seconds: float
) -> None:
    recording_id, clock = await desk.due(), Moving()
    sizes: list[int] = []

    async def come() -> AsyncIterator[bytes]:
        for _ in range(8):
            yield piece
            clock.ahead += seconds
            sizes.append(desk.part(recording_id).stat().st_size)
        raise KeyboardInterrupt  # and the process is gone

    @asynccontextmanager
    async def opened(*_: Any, **__: Any) -> AsyncIterator[AudioStream]:
        yield AudioStream(Span(0, None, None), False, "audio/mpeg", come())

    monkeypatch.setattr("app.enrichment.audio.download.open_audio_stream", opened)
    (connection,) = await desk.stage.process.connections.all()
    with pytest.raises(KeyboardInterrupt):
        await download(partial(connection.client.stream_recording, ""), desk.part(recording_id), clock)
    all_of_it = len(piece) * 8
    assert sizes == sorted(sizes)
    assert all_of_it // 2 <= sizes[-1] <= all_of_it


async def test_a_complete_download_is_only_saved(desk: Desk) -> None:
    recording_id = await desk.due()
    whole = await desk.stage.whole(recording_id)
    desk.part(recording_id).write_bytes(whole)
    await desk.archiver.step()
    assert (desk.kept / (await desk.row(recording_id)).archive_path).read_bytes() == whole


async def test_a_partial_file_longer_than_the_recording_is_deleted(desk: Desk) -> None:
    recording_id = await desk.due()
    whole = await desk.stage.whole(recording_id)
    desk.part(recording_id).write_bytes(whole + b"more")
    await desk.archiver.step()
    assert (await desk.row(recording_id)).attempts == 1
    row = await desk.again(recording_id)
    assert (desk.kept / row.archive_path).read_bytes() == whole


async def test_a_partial_file_of_changed_audio_is_deleted(desk: Desk) -> None:
    recording_id = await desk.due()
    whole = await desk.stage.whole(recording_id)
    desk.part(recording_id).write_bytes(b"x" * (len(whole) // 2))
    await desk.archiver.step()
    row = await desk.row(recording_id)
    assert (row.attempts, row.archive_path, list(desk.spool.iterdir())) == (1, None, [])
    row = await desk.again(recording_id)
    assert (desk.kept / row.archive_path).read_bytes() == whole


async def test_an_archive_that_refuses_is_tried_again_later_without_a_seconddownload(
    any_desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = any_desk
    recording_id = await desk.due()

    async def refuse(*_: Any) -> None:
        raise ArchiveUnavailable("the disk is full")

    with monkeypatch.context() as broken:
        broken.setattr(desk.archive, "save", refuse)
        await desk.archiver.step()
    row = await desk.row(recording_id)
    assert (row.attempts, row.problem, row.archive_path) == (1, "the disk is full", None)
    assert row.due_at > desk.stage.process.clock.now() + timedelta(seconds=100)
    row = await desk.again(recording_id)
    assert desk.stage.asked()[-1]["status"] == 206, "it is not fetched as a whole again"
    assert (row.attempts, row.problem) == (0, None)
    assert (desk.kept / row.archive_path).read_bytes() == await desk.stage.whole(recording_id)


async def test_an_unavailable_archive_is_retried_for_a_week_and_then_given_up(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording_id, now = await desk.due(), desk.stage.process.clock.now()

    async def refuse(*_: Any) -> None:
        raise OSError(28, "No space left on device", "/srv/secret")

    monkeypatch.setattr(desk.archive, "save", refuse)
    for _ in range(5):
        row = await desk.again(recording_id)
        assert (row.attempts, row.problem) == (1, "No space left on device"), "it keeps tries of its own"
        assert now < row.due_at <= desk.stage.process.clock.now() + timedelta(seconds=PLAN.gaps[-1])
    async with desk.stage.database.write() as db:
        await recordings.change(db, ACCOUNT, recording_id, created_at=now - timedelta(days=8))
    for _ in PLAN.gaps[1:]:
        row = await desk.again(recording_id)
    assert (row.state, row.due_at, row.attempts) == ("ready", None, len(PLAN.gaps))
    assert list(desk.spool.iterdir()) == [], "what nobody will ask for again is not kept"


async def test_during_an_archive_outage_one_recording_a_minute_is_tried(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [await desk.due() for _ in range(2)]

    async def refuse(*_: Any) -> None:
        raise ArchiveUnavailable("no")

    monkeypatch.setattr(desk.archive, "save", refuse)
    for _ in range(3):
        await desk.archiver.step()
    assert sorted([(await desk.row(one)).attempts for one in ids]) == [0, 1]


async def test_a_request_that_is_refused_for_its_own_sake_is_given_up_after_the_last_gap(desk: Desk) -> None:
    recording_id = await desk.due()
    async with desk.stage.database.write() as db:
        await recordings.change(db, ACCOUNT, recording_id, content_uri="https://evil.example/x")
    for _ in PLAN.gaps:
        row = await desk.again(recording_id)
    assert (row.state, row.due_at, row.attempts) == ("ready", None, 3)


async def test_a_recording_of_two_calls_is_archived_once_and_shown_on_both(desk: Desk) -> None:
    recording_id = await desk.due()
    await desk.archiver.step()
    asked = len(desk.stage.asked())
    await desk.stage.know(recording_id, due_at=desk.stage.process.clock.now())
    await desk.archiver.step()
    one, other = await desk.stage.process.playback.load(ACCOUNT, recording_id)
    assert len(desk.stage.asked()) == asked
    assert (one.archive_path, one.archive_sha256) == (other.archive_path, other.archive_sha256)
    assert one.archive_path is not None
    assert (one.due_at, other.due_at) == (None, None)


@pytest.mark.parametrize("refuses", [False, True])
async def test_a_call_waiting_for_the_same_recording_is_unchanged(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, refuses: bool
) -> None:
    """Without a due time, waiting for it would not end."""

    async def refuse(*_: Any) -> None:
        raise ArchiveUnavailable("the disk is full")

    if refuses:
        monkeypatch.setattr(desk.archive, "save", refuse)
    recording_id = await desk.due()
    look_at = desk.stage.process.clock.now() + timedelta(minutes=30)
    waiting = await desk.stage.know(recording_id, recordings.State.PENDING, due_at=look_at)
    await desk.archiver.step()
    rows = await desk.stage.process.playback.load(ACCOUNT, recording_id)
    known = {row.call_id == waiting: (row.state, row.due_at, row.problem) for row in rows}
    assert known[True] == ("pending", look_at, None)
    assert known[False][2] == ("the disk is full" if refuses else None)


async def test_an_unused_connection_is_not_said_to_lack_the_permission(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Meanwhile the watcher may have met the same refusal: then another user is the one to ask now."""
    recording_id, process = await desk.due(), desk.stage.process
    own = await process.connections.own()
    assert own is not None
    other = replace(own, name="second", access=Access(fingerprint=own.access.fingerprint))
    noted: list[str] = []

    async def both(*_: Any) -> list[Connection]:
        return [other, own] if noted else [own, other]

    async def refuse(*_: Any, **__: Any) -> None:
        noted.append("by the watcher")
        raise PermissionMissing("no", permission="ReadCallRecording", code="CMN-401", status=403)

    async def note(connection: Connection, _: Exception) -> None:
        noted.append(connection.name)

    monkeypatch.setattr(process.connections, "of", both)
    monkeypatch.setattr(process.connections, "note", note)
    monkeypatch.setattr("app.enrichment.audio.archiver.download", refuse)
    await desk.archiver.step()
    assert noted == ["by the watcher", "own"]
    row = await desk.row(recording_id)
    assert row.due_at <= process.clock.now(), "the other one is asked at once"


async def test_a_crash_between_saving_and_noting_it_is_made_good(desk: Desk) -> None:
    recording_id = await desk.due()
    await desk.archiver.step()
    row = await desk.row(recording_id)
    forgotten = dict.fromkeys(("archive_path", "archive_bytes", "archive_sha256", "archived_at"))
    async with desk.stage.database.write() as db:
        await recordings.change(db, ACCOUNT, recording_id, **forgotten)
    again = await desk.again(recording_id)
    assert (again.archive_path, again.archive_sha256) == (row.archive_path, row.archive_sha256)
    assert [path.name for path in desk.kept.rglob("*.*")] == [Path(row.archive_path).name]


async def test_a_recording_that_is_gone_is_not_tried_again(desk: Desk) -> None:
    recording_id = await desk.due()
    async with desk.stage.database.write() as db:
        await recordings.change(db, ACCOUNT, recording_id, content_type="audio/mpeg")
    desk.stage.simulator.purge_recordings([recording_id])
    desk.part(recording_id).write_bytes(b"half of it")
    await desk.archiver.step()
    row = await desk.row(recording_id)
    assert (row.state, row.due_at) == ("expired", None)
    assert list(desk.spool.iterdir()) == []


async def test_what_an_erased_call_left_behind_does_not_stay(desk: Desk) -> None:
    now = desk.stage.process.clock.now()
    old, young = desk.part("erased"), desk.part("under-way")
    for part, age in ((old, timedelta(days=2)), (young, timedelta(hours=1))):
        part.write_bytes(b"half of it")
        moment = (now - age).timestamp()
        os.utime(part, (moment, moment))
    await desk.archiver.step()
    assert list(desk.spool.iterdir()) == [young]


async def test_leftovers_are_deleted_once_an_hour(desk: Desk) -> None:
    clock = Moving()
    archiver, old = desk.replica(clock), desk.part("erased")
    await archiver.step()
    old.write_bytes(b"half of it")
    os.utime(old, (0.0, 0.0))
    await archiver.step()
    assert old.exists()
    clock.ahead += 3600
    await archiver.step()
    assert not old.exists()


async def test_a_recording_is_not_copied_twice_however_long_its_saving_takes(
    any_desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk, plan = any_desk, replace(PLAN, lease=0.6)
    process = desk.stage.process
    one, other = (
        Archiver(
            accounts_context(process.database, process.clock, process.connections),
            desk.archive,
            plan,
            spool=desk.spool,
        )
        for _ in range(2)
    )
    recording_id = await desk.due()
    save = desk.archive.save

    async def save_slowly(path: str, file: Path) -> None:
        taken_until = (await desk.row(recording_id)).due_at
        await process.clock.sleep((taken_until - process.clock.now()).total_seconds())
        asked = len(desk.stage.asked())
        async with asyncio.timeout(20):
            await other.step()
        assert len(desk.stage.asked()) == asked
        await save(path, file)

    monkeypatch.setattr(desk.archive, "save", save_slowly)
    await one.step()
    row = await desk.row(recording_id)
    assert row.due_at is None
    assert row.archived_at is not None


async def test_without_permission_it_is_tried_once_an_hour_and_operators_see_why(desk: Desk) -> None:
    recording_id = await desk.due()
    desk.stage.faults(missing_scopes=("ReadCallRecording",))
    for _ in range(2):
        await desk.archiver.step()
        await desk.make_due(recording_id)
    assert [one["status"] for one in desk.stage.asked()] == [403]
    assert (await desk.row(recording_id)).state == "ready"
    own = await desk.stage.process.connections.own()
    assert own is not None
    assert own.access.lacks["ReadCallRecording"]["code"] == "CMN-401"


async def test_a_colleagues_recording_that_is_refused_holds_up_no_others(desk: Desk) -> None:
    ids = [await desk.due() for _ in range(2)]
    stage, access = desk.stage, Access(Level.EXTENSION, ExtensionId(ANA))
    async with stage.database.write() as db:
        own = {"account_id": "~", "name": "own", "kind": "own", "access": access.to_json()}
        await db.execute(credentials.insert().values(**own, updated_at=stage.process.clock.now()))
    stage.process.connections.forget()
    stage.faults(missing_permissions=("ReadCallRecording",))
    for _ in ids:
        await desk.archiver.step()
    assert [one["status"] for one in stage.asked()] == [403, 403]
    assert [(await desk.row(one)).attempts for one in ids] == [1, 1]


async def test_a_copy_whose_call_was_erased_meanwhile_is_deleted(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording_id = await desk.due()
    save = desk.archive.save

    async def save_and_erase(path: str, file: Path) -> None:
        await save(path, file)
        async with desk.stage.database.write() as db:
            await db.execute(delete(recordings_table))

    monkeypatch.setattr(desk.archive, "save", save_and_erase)
    await desk.archiver.step()
    assert [path for path in desk.kept.rglob("*") if path.is_file()] == []
    assert not desk.part(recording_id).exists()


async def test_a_call_that_was_erased_during_the_download_is_not_archived(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording_id = await desk.due()

    async def download_and_erase(*words: Any) -> str | None:
        found = await download(*words)
        async with desk.stage.database.write() as db:
            await db.execute(delete(recordings_table))
        return found

    monkeypatch.setattr("app.enrichment.audio.archiver.download", download_and_erase)
    await desk.archiver.step()
    assert [path for path in desk.kept.rglob("*") if path.is_file()] == []
    assert not desk.part(recording_id).exists()


async def test_a_deleted_file_is_gone_and_may_be_deleted_again(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "audio").write_bytes(b"hello")
    await desk.archive.save("1/2026/03/7.mp3", tmp_path / "audio")
    for _ in range(2):
        await desk.archive.delete("1/2026/03/7.mp3")
        assert await desk.archive.size("1/2026/03/7.mp3") is None
    await desk.archive.delete("2/2026/03/7.mp3")
