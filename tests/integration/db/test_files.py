"""SQLite's files are readable only by their owner."""

import asyncio
import os
import stat
from pathlib import Path

import pytest

from app.clock import SystemClock
from app.db.engine import Database
from app.db.migrations import migrate
from app.errors import SettingsError
from app.webhooks.intake.inbox import Inbox
from tests.integration.webhooks.intake.test_inbox import a_delivery

pytestmark = pytest.mark.skipif(os.name != "posix", reason="modes of files are POSIX's")


def modes(path: Path) -> dict[str, str]:
    return {file.name: f"{stat.S_IMODE(file.stat().st_mode):o}" for file in path.parent.glob(f"{path.name}*")}


async def fill(path: Path) -> dict[str, str]:
    database = Database(f"sqlite:///{path}")
    await migrate(database)
    inbox = Inbox(database, SystemClock())
    inbox.start()
    await inbox.accept(a_delivery("1"))
    found = modes(path)
    await inbox.stop()
    await database.close()
    return found


@pytest.mark.parametrize("mask", [0o000, 0o022])
async def test_new_files_are_private_from_the_first_moment(tmp_path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        found = await fill(tmp_path / "a b.db")
    finally:
        os.umask(before)
    assert set(found) == {"a b.db", "a b.db-wal", "a b.db-shm"}
    assert set(found.values()) == {"600"}


async def test_files_that_others_could_read_are_tightened(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "old.db"
    path.touch()
    path.chmod(0o664)
    found = await fill(path)
    assert set(found.values()) == {"600"}
    assert capsys.readouterr().out.count("others could read the database's file") == 1


async def test_a_required_file_is_not_created(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/none.db?mode=rw")
    with pytest.raises(SettingsError, match=r"none\.db does not exist"):
        async with database.read():
            pass
    await database.close()
    assert not await asyncio.to_thread((tmp_path / "none.db").exists)
