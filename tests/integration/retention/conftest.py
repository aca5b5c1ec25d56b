"""A worker that removes, with small batches, and an archive in a folder."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.db.engine import Database
from app.enrichment.audio.archive_store import FolderArchive
from app.retention import batches, calls, notes, records
from app.retention.rules import retention_rules
from app.retention.upkeep import Retention
from tests.fakes.clock import FakeClock
from tests.fakes.context import work_context

Keeper = Callable[..., Retention]


@pytest.fixture
def archive(tmp_path: Path) -> FolderArchive:
    return FolderArchive(tmp_path / "archive")


@pytest.fixture
def keeper(
    database: Database,
    clock: FakeClock,
    make_settings: Any,
    archive: FolderArchive,
    monkeypatch: pytest.MonkeyPatch,
) -> Keeper:
    """Return a worker with these settings; `archive=None` leaves the archive out."""
    monkeypatch.setattr(batches, "BATCH", 3)
    for module, name in ((calls, "CALLS_AT_ONCE"), (notes, "NOTES_AT_ONCE"), (records, "CALLS_AT_ONCE")):
        monkeypatch.setattr(module, name, 3)

    def make(**settings: Any) -> Retention:
        its_archive = settings.pop("archive", archive)
        rules = retention_rules(make_settings(**settings))
        return Retention(work_context(database, clock), rules, its_archive)

    return make


async def run(retention: Retention) -> int:
    """Remove everything that is old; return how many steps that took."""
    steps = 1
    while await retention.step() is not None:
        steps += 1
        assert steps < 200, "it never ends"
    await retention.close()
    return steps
