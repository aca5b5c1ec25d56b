"""Old notes and archived audio go, and their calls say so."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import select

from app.calls.model import Stage
from app.db.engine import Database
from app.db.tables import idempotency_keys, notes, recordings, timeline, voicemails
from app.enrichment.audio.archive_store import FolderArchive
from tests.factories_calls import seed_call, seed_note
from tests.fakes.clock import START, FakeClock
from tests.integration.retention.conftest import Keeper, run
from tests.integration.retention.test_calls import seed_recording

DAY = timedelta(days=1)


async def events(database: Database) -> list[str]:
    async with database.read() as db:
        return list(await db.scalars(select(timeline.c.type).order_by(timeline.c.seq)))


async def test_old_notes_go_as_a_change_of_their_call(
    database: Database, clock: FakeClock, keeper: Keeper, client: httpx.AsyncClient
) -> None:
    call = await seed_call(database)
    sent = await client.post(
        f"/v1/calls/{call.call_id}/notes",
        json={"text": "Dana wants a second quote", "source": "hubspot"},
        headers={"Idempotency-Key": "once"},
    )
    assert sent.status_code == 201
    for number in range(4):
        await seed_note(database, call.call_id, external_id=str(number))
    await seed_note(database, "1229016182999")
    changed = await seed_note(database, call.call_id, external_id="new", updated_at=START + 6 * DAY)
    clock.advance((8 * DAY).total_seconds())
    await run(keeper(retention_notes_days=7, retention_requests_days=30))
    async with database.read() as db:
        assert list(await db.scalars(select(notes.c.note_id))) == [changed]
        assert [row["text"] for row in await db.scalars(select(idempotency_keys.c.body))] == [""]
    assert (await events(database)).count("note.deleted") == 5
    shown = (await client.get(f"/v1/calls/{call.call_id}")).json()
    assert [note["id"] for note in shown["notes"]] == [changed]
    assert shown["version"] == 7


async def test_archived_audio_goes_and_the_call_says_so(
    database: Database,
    clock: FakeClock,
    keeper: Keeper,
    archive: FolderArchive,
    tmp_path: Path,
    client: httpx.AsyncClient,
) -> None:
    file = tmp_path / "sound"
    file.write_bytes(b"abc")
    call = await seed_call(database, stage=Stage.FINAL)
    both = [call, await seed_call(database, stage=Stage.FINAL)]
    for path in ("a/r-1.mp3", "a/v-1.mp3"):
        await archive.save(path, file)
    for one in both:
        await seed_recording(database, one, "a/r-1.mp3")
    row: dict[str, Any] = {
        "account_id": call.account_id, "voicemail_id": "v-1", "call_id": call.call_id, "extension_id": "1",
        "state": "ready", "created_at": START, "updated_at": START, "archive_path": "a/v-1.mp3",
        "archive_bytes": 3, "archive_sha256": "00", "archived_at": START, "transcript": "Call me back",
    }  # fmt: skip
    async with database.write() as db:
        await db.execute(voicemails.insert().values(row))
    clock.advance((6 * DAY).total_seconds())
    await run(keeper(retention_recordings_days=7))
    assert await archive.size("a/r-1.mp3") == 3
    clock.advance((2 * DAY).total_seconds())
    await run(keeper(retention_recordings_days=7, archive=None))
    assert await archive.size("a/r-1.mp3") == 3
    await run(keeper(retention_recordings_days=7))
    assert [await archive.size(path) for path in ("a/r-1.mp3", "a/v-1.mp3")] == [None, None]
    async with database.read() as db:
        for table in (recordings, voicemails):
            columns = (table.c.state, table.c.problem, table.c.archive_path, table.c.archived_at)
            assert set(await db.execute(select(*columns))) == {("expired", "removed", None, None)}
        assert list(await db.scalars(select(voicemails.c.transcript))) == ["Call me back"]
    shown = (await client.get(f"/v1/calls/{call.call_id}")).json()
    assert shown["readiness"]["recording"]["state"] == "expired"
    assert [(one["state"], one["contentUrl"]) for one in shown["recordings"]] == [("expired", None)]
    assert (await events(database)).count("recording.expired") == 2


async def test_audio_that_a_later_copy_still_needs_stays(
    database: Database, clock: FakeClock, keeper: Keeper, archive: FolderArchive, tmp_path: Path
) -> None:
    file = tmp_path / "sound"
    file.write_bytes(b"abc")
    await archive.save("a/r-1.mp3", file)
    await seed_recording(database, await seed_call(database), "a/r-1.mp3")
    later = await seed_call(database)
    await seed_recording(database, later, None, archive_path="a/r-1.mp3", archived_at=START + 6 * DAY)
    clock.advance((8 * DAY).total_seconds())
    await run(keeper(retention_recordings_days=7))
    assert await archive.size("a/r-1.mp3") == 3
