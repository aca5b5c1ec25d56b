"""Where recordings are kept: a folder or a bucket, alike for whoever uses it."""

import errno
import os
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from stat import S_ISDIR
from typing import Any

import pytest

from app.enrichment.audio.archive_store import (
    Archive,
    BucketArchive,
    FolderArchive,
    archive_path,
    open_archive,
    suffix_of,
)
from app.errors import ArchiveUnavailable, SettingsError
from app.settings import read_settings
from tests.fakes.bucket import FakeBucket, bucket

needs_obstore = pytest.mark.skipif(
    find_spec("obstore") is None, reason="no obstore on this machine: pip install -r requirements-s3.lock"
)
SOUND = bytes(place % 251 for place in range(700_000))


@pytest.fixture
async def store(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FakeBucket]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    async with bucket() as made:
        yield made


@pytest.fixture(params=["folder", pytest.param("bucket", marks=needs_obstore)])
def archive(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Archive]:
    if request.param == "folder":
        yield FolderArchive(tmp_path / "kept")
    else:
        made: FakeBucket = request.getfixturevalue("store")
        yield BucketArchive("calls", "audio", made.url)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "audio.mp3"
    made.write_bytes(SOUND)
    return made


async def read(archive: Archive, path: str, first: int, last: int) -> bytes:
    return b"".join([chunk async for chunk in archive.read(path, first, last)])


async def test_what_is_saved_is_there_whole_and_in_parts(archive: Archive, file: Path) -> None:
    path = "908070001/2026/03/77.mp3"
    assert await archive.size(path) is None
    await archive.save(path, file)
    assert await archive.size(path) == len(SOUND)
    assert await read(archive, path, 0, len(SOUND) - 1) == SOUND
    assert await read(archive, path, 300_000, 300_009) == SOUND[300_000:300_010]
    await archive.save(path, file)
    assert await archive.size(path) == len(SOUND), "saving again is no error"


async def test_the_name_of_a_saved_file_is_flushed_to_the_disk(
    tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda handle: flushed.append(os.fstat(handle).st_ino))
    root = tmp_path / "kept"
    await FolderArchive(root).save("908070001/2026/77.mp3", file)
    kept = ["908070001/2026/77.mp3", "908070001/2026", "908070001", ""]
    assert flushed == [(root / name).stat().st_ino for name in kept]


async def test_a_folder_whose_names_cannot_be_flushed_is_used_all_the_same(
    tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(handle: int) -> None:
        if S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "fsync", refuse)
    archive = FolderArchive(tmp_path / "kept")
    await archive.save("77.mp3", file)
    assert await archive.size("77.mp3") == len(SOUND)


async def test_what_is_not_there_cannot_be_read(archive: Archive) -> None:
    with pytest.raises(ArchiveUnavailable):
        await read(archive, "nowhere.mp3", 0, 9)


async def test_a_folder_leaves_nothing_half_done_behind(tmp_path: Path, file: Path) -> None:
    (tmp_path / "kept").write_text("in the way")
    with pytest.raises(ArchiveUnavailable):
        await FolderArchive(tmp_path / "kept").save("a/77.mp3", file)
    folder = FolderArchive(tmp_path / "good")
    await folder.save("a/77.mp3", file)
    assert [found.name for found in (tmp_path / "good" / "a").iterdir()] == ["77.mp3"]


async def test_a_truncated_archive_file_is_detected(tmp_path: Path, file: Path) -> None:
    folder = FolderArchive(tmp_path)
    with pytest.raises(ArchiveUnavailable):
        await read(folder, file.name, 0, len(SOUND))


@needs_obstore
async def test_a_bucket_is_used_below_its_prefix_and_refusals_are_reported(
    store: FakeBucket, file: Path
) -> None:
    made = BucketArchive("calls", "audio", store.url)
    await made.save("1/77.mp3", file)
    assert list(store.files) == ["calls/audio/1/77.mp3"]
    store.refuses = True
    for attempt in (made.save("1/77.mp3", file), made.size("1/77.mp3"), read(made, "1/77.mp3", 0, 1)):
        with pytest.raises(ArchiveUnavailable):
            await attempt


@needs_obstore
async def test_a_long_recording_goes_into_a_bucket_in_parts(store: FakeBucket, tmp_path: Path) -> None:
    long = tmp_path / "long.mp3"
    long.write_bytes(SOUND * 20)
    made = BucketArchive("calls", "", store.url)
    await made.save("1/77.mp3", long)
    assert len(store.parts) == 3
    assert store.files["calls/1/77.mp3"] == SOUND * 20


@pytest.mark.parametrize(
    "url", ["/srv/audio", "file://host/audio", "file:///", "s3://", "ftp://host/audio", "s3:/bucket"]
)
def test_an_archive_that_cannot_be_one_stops_the_start(url: str) -> None:
    with pytest.raises(SettingsError, match="AFTERCALL_ARCHIVE_URL"):
        open_archive(read_settings(archive_url=url))


def test_a_bucket_without_its_library_says_what_to_install(monkeypatch: Any) -> None:
    monkeypatch.setattr("app.enrichment.audio.archive_store.find_spec", lambda _: None)
    with pytest.raises(SettingsError, match=r"aftercall\[s3\]"):
        open_archive(read_settings(archive_url="s3://calls/audio"))


def test_without_a_setting_nothing_is_archived(tmp_path: Path) -> None:
    assert open_archive(read_settings()) is None
    assert isinstance(open_archive(read_settings(archive_url=f"file://{tmp_path}/my%20audio")), FolderArchive)


def test_a_place_has_the_month_of_the_call_and_cannot_climb() -> None:
    at = datetime(2026, 3, 10, tzinfo=UTC)
    assert archive_path("908070001", "77", at, "audio/mpeg") == "908070001/2026/03/77.mp3"
    assert archive_path("908070001", "../77", at, None) == "908070001/2026/03/%2E%2E%2F77.bin"


@pytest.mark.parametrize(
    ("content_type", "suffix"),
    [("audio/mpeg", "mp3"), ("Audio/X-Wav; rate=8000", "wav"), ("text/html", "bin"), (None, "bin")],
)
def test_a_file_is_called_by_its_content(content_type: str | None, suffix: str) -> None:
    assert suffix_of(content_type) == suffix
