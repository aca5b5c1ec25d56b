"""Old calls go with all that belongs to them, are counted, and do not come back."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select, update

from app.calls.ledger import open_ledger
from app.calls.lifetime.legal_holds import place_hold, release_hold
from app.calls.model import Source, Stage
from app.calls.removal import conditions
from app.db.engine import Database
from app.db.tables import calls, deliveries, metadata, recordings, removed_calls, sweeps, timeline, work
from app.enrichment.audio.archive_store import FolderArchive
from app.enrichment.call_log.ingest import ingest
from app.errors import ArchiveUnavailable
from app.ops.figures.completeness import load_completeness
from app.retention import calls as call_retention
from app.ringcentral.models import CallRecord, read_call_record
from app.webhooks.folding.fold import Folder
from tests.factories_calls import (
    ACCOUNT,
    raw_record,
    seed_call,
    seed_disposition,
    seed_link,
    seed_note,
    seed_sentiment,
)
from tests.fakes.clock import START, FakeClock
from tests.fakes.context import work_context
from tests.fakes.desk import PLAN
from tests.integration.enrichment.sweeps.test_sweeper import logged
from tests.integration.retention.conftest import Keeper, run
from tests.integration.webhooks.conftest import RULES, Intake

DAY = timedelta(days=1)


async def count(database: Database, table: Any) -> int:
    async with database.read() as db:
        return await db.scalar(select(func.count()).select_from(table)) or 0


async def seed_recording(database: Database, call: Any, path: str | None, **fields: Any) -> None:
    row = {
        "account_id": call.account_id, "recording_id": "r-1", "call_id": call.call_id, "state": "ready",
        "created_at": START, "updated_at": START,
    } | fields  # fmt: skip
    if path is not None:
        row |= {"archive_path": path, "archive_bytes": 3, "archive_sha256": "00", "archived_at": START}
    async with database.write() as db:
        await db.execute(recordings.insert().values(row))


async def test_an_old_call_goes_with_all_that_belongs_to_it(
    database: Database, clock: FakeClock, keeper: Keeper, archive: FolderArchive, tmp_path: Path
) -> None:
    call = await seed_call(database, records=[raw_record()], stage=Stage.FINAL)
    await seed_note(database, call.call_id)
    await seed_sentiment(database, call.call_id)
    await seed_disposition(database, call.call_id)
    await seed_link(database, call.call_id)
    await seed_recording(database, call, "908070001/2026/03/r-1.mp3")
    file = tmp_path / "sound"
    file.write_bytes(b"abc")
    await archive.save("908070001/2026/03/r-1.mp3", file)
    async with database.write() as db:
        for uuid, session in (("own", call.telephony_session_id), ("other", "s-other")):
            await db.execute(
                deliveries.insert().values(
                    account_id=ACCOUNT, uuid=uuid, received_at=START, telephony_session_id=session, raw=b"{}",
                    folded_at=START,
                )
            )  # fmt: skip
    clock.advance((9 * DAY).total_seconds())
    newer = await seed_call(database, stage=Stage.FINAL, started_at=clock.now() - 6 * DAY)
    await run(keeper(retention_calls_days=7, retention_deliveries_days=30))
    async with database.read() as db:
        assert list(await db.scalars(select(calls.c.call_id))) == [newer.call_id]
        assert await db.scalar(select(func.count()).select_from(deliveries)) == 0
        for table in metadata.sorted_tables:
            if "call_id" in table.c:
                assert set(await db.scalars(select(table.c.call_id))) <= {newer.call_id}, table.name
            if "subject" in table.c:
                assert list(await db.scalars(select(table.c.subject))) == [], table.name
    assert await archive.size("908070001/2026/03/r-1.mp3") is None


async def test_calls_that_go_on_or_are_held_stay(
    database: Database, clock: FakeClock, keeper: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = await seed_call(database, stage=Stage.LIVE, ended_at=None)
    held = await seed_call(database, stage=Stage.FINAL, result="held")
    linked = await seed_call(database, stage=Stage.FINAL, conversation_id="conv_1")
    await seed_call(database, stage=Stage.FINAL, conversation_id="conv_1", started_at=START + 9 * DAY)
    await seed_call(database, stage=Stage.FINAL)
    await seed_call(database, stage=Stage.ABSENT, absent_reason="test-call", ended_at=None)

    def may_be_removed(of: Any = calls) -> Any:
        return func.coalesce(of.c.result, "") != "held"

    for module in (conditions, call_retention):
        monkeypatch.setattr(module, "may_be_removed", may_be_removed)
    clock.advance((10 * DAY).total_seconds())
    await run(keeper(retention_calls_days=7))
    async with database.read() as db:
        left = set(await db.scalars(select(calls.c.call_id)))
    assert {live.call_id, held.call_id, linked.call_id} < left
    assert len(left) == 4


async def test_a_call_under_legal_hold_stays_until_it_is_released(
    database: Database, clock: FakeClock, keeper: Keeper
) -> None:
    call = await seed_call(database, stage=Stage.FINAL)
    async with database.write() as db, open_ledger(db, call.account_id, START):
        await place_hold(db, call, "case 17", {"keyId": "key_1"}, START)
    clock.advance((10 * DAY).total_seconds())
    await run(keeper(retention_calls_days=7))
    assert await count(database, calls) == 1
    async with database.write() as db, open_ledger(db, call.account_id, START):
        assert await release_hold(db, call.account_id, call.call_id)
    clock.advance((10 * DAY).total_seconds())
    await run(keeper(retention_calls_days=7))
    assert await count(database, calls) == 0


async def test_every_call_of_many_goes_in_bounded_batches(
    database: Database, clock: FakeClock, keeper: Keeper
) -> None:
    for number in range(10):
        account = f"90807000{number % 2}"
        await seed_call(database, account, stage=Stage.FINAL)  # type: ignore[arg-type]
    clock.advance((8 * DAY).total_seconds())
    assert await run(keeper(retention_calls_days=7)) >= 2
    assert await count(database, calls) == 0
    assert await count(database, timeline) == 0


async def test_without_a_limit_calls_stay(database: Database, clock: FakeClock, keeper: Keeper) -> None:
    await seed_call(database, stage=Stage.FINAL)
    clock.advance((4000 * DAY).total_seconds())
    assert await run(keeper()) >= 1
    assert await count(database, calls) == 1


async def test_without_an_archive_calls_with_archived_audio_stay(
    database: Database, clock: FakeClock, keeper: Keeper
) -> None:
    await seed_recording(database, await seed_call(database, stage=Stage.FINAL), "a/b.mp3")
    clock.advance((8 * DAY).total_seconds())
    await run(keeper(retention_calls_days=7, archive=None))
    assert await count(database, calls) == 1
    await run(keeper(retention_calls_days=7))
    assert await count(database, calls) == 0


async def test_a_file_that_cannot_be_deleted_is_deleted_later(
    database: Database, clock: FakeClock, keeper: Keeper, archive: FolderArchive, tmp_path: Path
) -> None:
    file = tmp_path / "sound"
    file.write_bytes(b"abc")
    await archive.save("a/b.mp3", file)
    await seed_recording(database, await seed_call(database, stage=Stage.FINAL), "a/b.mp3")
    clock.advance((8 * DAY).total_seconds())

    async def fail(path: str) -> None:
        raise ArchiveUnavailable(f"no way to {path}")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(archive, "delete", fail)
        retention = keeper(retention_calls_days=7)
        assert await retention.step()  # tried again after a pause
        assert await count(database, calls) == 0
        later = await seed_call(database, stage=Stage.FINAL)
        assert await retention.step()
        async with database.read() as db:
            assert list(await db.scalars(select(calls.c.call_id))) == [later.call_id]
    assert await archive.size("a/b.mp3") == 3
    await run(keeper(retention_calls_days=7))
    assert await archive.size("a/b.mp3") is None
    assert await count(database, calls) == await count(database, work) == 0


async def test_a_call_whose_audio_is_being_archived_waits(
    database: Database, clock: FakeClock, keeper: Keeper
) -> None:
    call = await seed_call(database, stage=Stage.FINAL)
    await seed_recording(database, call, None, due_at=START)
    clock.advance((8 * DAY).total_seconds())
    await run(keeper(retention_calls_days=7))
    assert await count(database, calls) == 1
    async with database.write() as db:
        await db.execute(update(recordings).values(due_at=None))
    await run(keeper(retention_calls_days=7))
    assert await count(database, calls) == 0


async def test_a_file_that_another_call_names_stays(
    database: Database, clock: FakeClock, keeper: Keeper, archive: FolderArchive, tmp_path: Path
) -> None:
    file = tmp_path / "sound"
    file.write_bytes(b"abc")
    await archive.save("a/b.mp3", file)
    old = await seed_call(database, stage=Stage.FINAL)
    await seed_recording(database, old, "a/b.mp3")
    clock.advance((8 * DAY).total_seconds())
    new = await seed_call(database, stage=Stage.FINAL, started_at=clock.now() - DAY)
    await seed_recording(database, new, "a/b.mp3")
    await run(keeper(retention_calls_days=7))
    assert await count(database, calls) == 1
    assert await archive.size("a/b.mp3") == 3


async def test_the_completeness_of_past_days_stays_the_same(
    database: Database, clock: FakeClock, keeper: Keeper
) -> None:
    for stage, reason, source in (
        (Stage.FINAL, None, Source.WEBHOOK),
        (Stage.FINAL, None, Source.SWEEP),
        (Stage.ABSENT, "never-logged", Source.WEBHOOK),
        (Stage.ENDED, None, Source.WEBHOOK),
        (Stage.RECONCILED, None, Source.SWEEP),
    ):
        await seed_call(database, stage=stage, absent_reason=reason, source=source)
    async with database.write() as db:
        await db.execute(
            sweeps.insert().values(
                account_id=ACCOUNT, sweep_id="gap_1", reason="service-down", from_at=START - DAY,
                to_at=START + DAY, done_at=START + DAY, created_at=START, found=0,
            )
        )  # fmt: skip
    clock.advance((8 * DAY).total_seconds())
    async with database.read() as db:
        before = await load_completeness(db, ACCOUNT, clock.now(), 30)
    await run(keeper(retention_calls_days=7))
    assert await count(database, calls) == 0
    async with database.read() as db:
        after = await load_completeness(db, ACCOUNT, clock.now(), 30)
    was, now = (next(day for day in one.days if day.ended) for one in (before, after))
    assert (now.removed, was.removed) == (5, 0)
    assert [getattr(now, name) for name in ("day", "final", "reconciled", "open", "swept", "ended")] == [
        getattr(was, name) for name in ("day", "final", "reconciled", "open", "swept", "ended")
    ]
    assert now.absent == was.absent == {"never-logged": 1}
    assert [gap.found for gap in before.gaps] == [gap.found for gap in after.gaps] == [2]
    assert await count(database, removed_calls) == 5


async def test_a_late_event_does_not_bring_a_removed_call_back(
    database: Database, clock: FakeClock, make_settings: Any
) -> None:
    event = {
        "uuid": "e-1",
        "event": f"/restapi/v1.0/account/{ACCOUNT}/telephony/sessions",
        "timestamp": "2026-03-10T18:07:41.000Z",
        "body": {
            "telephonySessionId": "s-late",
            "sessionId": "1229016182016",
            "eventTime": "2026-03-10T18:07:41.000Z",
            "sequence": 1,
            "parties": [{"id": "p-1", "direction": "Inbound", "status": {"code": "Disconnected"}}],
        },
    }
    intake = Intake(database, clock, make_settings())
    clock.advance((8 * DAY).total_seconds())
    intake.folder = Folder(work_context(database, clock), replace(RULES, kept=(7 * DAY).total_seconds()))
    await intake.fold([event])
    assert await count(database, calls) == 0
    async with database.read() as db:
        assert list(await db.scalars(select(deliveries.c.fold_note))) == ["ignored: past-retention"]
    recent = {**event, "uuid": "e-2"}
    recent["body"] = {**event["body"], "eventTime": "2026-03-15T18:07:41.000Z"}  # type: ignore[dict-item]
    await intake.fold([recent])
    assert await count(database, calls) == 1


async def test_a_backfill_does_not_bring_removed_calls_back(database: Database, clock: FakeClock) -> None:
    clock.advance((8 * DAY).total_seconds())
    found: dict[tuple[str | None, str | None], list[CallRecord]] = {}
    for number, started in enumerate((START, clock.now() - DAY)):
        record = read_call_record(logged(number, started))
        assert isinstance(record, CallRecord)
        found[f"s-{number}", str(1000 + number)] = [record]
    plan = replace(PLAN, kept=(7 * DAY).total_seconds())
    done = await ingest(database, clock, plan, ACCOUNT, found, clock.now(), grace=timedelta(0))
    assert len(done.opened) == 1
    async with database.read() as db:
        assert list(await db.scalars(select(calls.c.telephony_session_id))) == ["s-1"]
