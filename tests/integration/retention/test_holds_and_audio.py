"""A legal hold that is placed during a removal: the call keeps its file, or the file went before."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.calls.model import Stage
from app.db.engine import Database
from app.db.tables import recordings, work
from app.enrichment.audio.archive_store import FolderArchive
from app.errors import ArchiveUnavailable
from app.ops.privacy import legal_holds
from app.retention.audio import AudioRemover
from app.retention.calls import CallRemover
from app.retention.rules import retention_rules
from tests.factories_calls import seed_call
from tests.fakes.clock import FakeClock
from tests.integration.retention.conftest import Keeper, run
from tests.integration.retention.test_calls import seed_recording
from tests.integration.retention.test_notes_and_audio import events

FILE = "a/r-1.mp3"
KEPT = {"retention_calls_days": 7, "retention_recordings_days": 7}
REMOVERS = pytest.mark.parametrize("remover", [AudioRemover, CallRemover])
Act = Callable[[], Awaitable[None]]


class Interrupted:
    """A database in which something happens between a search and the transaction that acts on it."""

    def __init__(self, database: Database, act: Act) -> None:
        self._database = database
        self._act: Act | None = act

    def __getattr__(self, name: str) -> Any:
        return getattr(self._database, name)

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        act, self._act = self._act, None
        if act is not None:
            await act()
        async with self._database.write() as db:
            yield db


class InterruptedArchive:
    """An archive in which something happens just before a file is deleted."""

    def __init__(self, archive: FolderArchive, act: Act) -> None:
        self._archive = archive
        self._act = act

    def __getattr__(self, name: str) -> Any:
        return getattr(self._archive, name)

    async def delete(self, path: str) -> None:
        await self._act()
        await self._archive.delete(path)


@pytest.fixture
def app(app: FastAPI) -> FastAPI:
    app.include_router(legal_holds.router)
    return app


@pytest.fixture
async def call_id(database: Database, clock: FakeClock, archive: FolderArchive, tmp_path: Path) -> str:
    """A call with archived audio, both old enough to be removed."""
    file = tmp_path / "sound"
    file.write_bytes(b"abc")
    await archive.save(FILE, file)
    call = await seed_call(database, stage=Stage.FINAL)
    await seed_recording(database, call, FILE)
    clock.advance(timedelta(days=8).total_seconds())
    return call.call_id


@REMOVERS
async def test_a_hold_that_comes_between_the_search_and_the_removal_keeps_the_file(
    remover: Any,
    database: Database,
    clock: FakeClock,
    archive: FolderArchive,
    make_settings: Any,
    client: httpx.AsyncClient,
    call_id: str,
) -> None:
    async def hold() -> None:
        placed = await client.put(f"/v1/calls/{call_id}/legal-hold", json={})
        assert placed.status_code == 200, placed.text

    rules = retention_rules(make_settings(**KEPT))
    for _ in range(2):
        await remover(Interrupted(database, hold), clock, rules, archive).remove()
    shown = (await client.get(f"/v1/calls/{call_id}/recordings")).json()["data"]
    assert [one["state"] for one in shown] == ["ready"]
    assert await archive.size(FILE) == 3
    assert (await client.delete(f"/v1/calls/{call_id}/legal-hold")).status_code == 204
    await remover(database, clock, rules, archive).remove()
    assert await archive.size(FILE) is None


async def test_a_hold_that_comes_after_the_removal_of_audio_finds_that_it_is_removed(
    database: Database,
    clock: FakeClock,
    archive: FolderArchive,
    make_settings: Any,
    client: httpx.AsyncClient,
    call_id: str,
) -> None:
    async def hold() -> None:
        placed = await client.put(f"/v1/calls/{call_id}/legal-hold", json={})
        assert placed.status_code == 200
        assert (await events(database))[-1] == "recording.expired"
        shown = (await client.get(f"/v1/calls/{call_id}/recordings")).json()["data"]
        assert [(one["state"], one["contentUrl"]) for one in shown] == [("expired", None)]

    rules = retention_rules(make_settings(**KEPT))
    await AudioRemover(database, clock, rules, InterruptedArchive(archive, hold)).remove()
    assert (await client.get(f"/v1/calls/{call_id}/legal-hold")).status_code == 200
    assert await archive.size(FILE) is None


async def test_a_hold_that_comes_after_the_removal_of_a_call_finds_none(
    database: Database,
    clock: FakeClock,
    archive: FolderArchive,
    make_settings: Any,
    client: httpx.AsyncClient,
    call_id: str,
) -> None:
    async def hold() -> None:
        assert (await client.put(f"/v1/calls/{call_id}/legal-hold", json={})).status_code == 404

    rules = retention_rules(make_settings(**KEPT))
    await CallRemover(database, clock, rules, InterruptedArchive(archive, hold)).remove()
    assert await archive.size(FILE) is None


async def test_what_a_crash_left_is_deleted_but_not_what_was_archived_again(
    database: Database,
    clock: FakeClock,
    keeper: Keeper,
    archive: FolderArchive,
    make_settings: Any,
    call_id: str,
) -> None:
    async def crash() -> None:
        raise ArchiveUnavailable("the process ends")

    rules = retention_rules(make_settings(**KEPT))
    with pytest.raises(ArchiveUnavailable):
        await AudioRemover(database, clock, rules, InterruptedArchive(archive, crash)).remove()
    assert await archive.size(FILE) == 3
    later = await seed_call(database, stage=Stage.FINAL, started_at=clock.now())
    await seed_recording(database, later, None, archive_path=FILE, archived_at=clock.now())
    await run(keeper(retention_recordings_days=7))
    assert await archive.size(FILE) == 3
    async with database.read() as db:
        assert list(await db.scalars(select(work.c.kind))) == []
    clock.advance(timedelta(days=8).total_seconds())
    await run(keeper(retention_recordings_days=7))
    assert await archive.size(FILE) is None


async def test_a_copy_that_another_call_is_about_to_share_stays(
    database: Database, clock: FakeClock, keeper: Keeper, archive: FolderArchive, call_id: str
) -> None:
    sharing = await seed_call(database, stage=Stage.FINAL, started_at=clock.now())
    await seed_recording(database, sharing, None, due_at=clock.now())
    await run(keeper(retention_recordings_days=7))
    assert await archive.size(FILE) == 3
    async with database.write() as db:
        await db.execute(recordings.update().where(recordings.c.call_id != call_id).values(due_at=None))
    await run(keeper(retention_recordings_days=7))
    assert await archive.size(FILE) is None
