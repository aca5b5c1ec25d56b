"""An erasure that is killed at any moment continues where it was, and counts each row once."""

import asyncio
import contextlib
import random

import pytest
from sqlalchemy import func, select

from app.db.engine import Database
from app.db.tables import calls, erased_calls, erased_files, timeline
from app.erasure import eraser as module
from app.erasure.model import SubjectKind
from app.ids import AccountId
from tests.factories_calls import CUSTOMER, raw_record, seed_call, seed_note
from tests.integration.erasure.conftest import Office
from tests.integration.erasure.marking import find_marked
from tests.integration.erasure.test_everywhere import archive_audio

CALLS = 7


async def seed(database: Database, office: Office) -> None:
    for number in range(CALLS):
        call = await seed_call(database, records=[raw_record(f"R{number}"), raw_record(f"S{number}")])
        await seed_note(database, call.call_id, text=f"call {CUSTOMER}")
        await archive_audio(office, call.call_id, f"40{number}")
    other = await seed_call(database, external_number=None, caller=None, callee=None, numbers=[])
    await seed_note(database, other.call_id, text="call (555) 017-9001 for Dana")


@pytest.mark.parametrize("seed_of_moments", range(3))
async def test_killed_at_any_moment_it_is_completed_by_another_replica(
    database: Database,
    account: AccountId,
    office: Office,
    seed_of_moments: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "BATCH", 2)
    monkeypatch.setattr(module, "_FILES", 3)
    moments = random.Random(seed_of_moments)
    await seed(database, office)
    planned = await office.plan(SubjectKind.PHONE_NUMBER, CUSTOMER)
    await office.begin(planned)
    for life in range(40):
        eraser = office.open_eraser(f"replica-{life}")
        step = asyncio.create_task(eraser.step())
        for _ in range(moments.randrange(1, 400)):
            if step.done():
                break
            await asyncio.sleep(0)
        step.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await step
        office.clock.advance(31.0)  # the lease of the one that was killed runs out
    done = await office.carry_out(planned)
    assert done.status == "done"
    assert await find_marked(database) == {}
    assert [path for path in office.root.rglob("*") if path.is_file()] == []
    expected = {"calls": CALLS, "callRecords": 2 * CALLS, "notes": CALLS, "recordings": CALLS, "mentions": 1}
    assert {kind: done.erased[kind] for kind in expected} == expected
    async with database.read() as db:
        assert await db.scalar(select(func.count()).select_from(calls)) == 1
        assert await db.scalar(select(func.count()).select_from(erased_calls)) == CALLS
        assert await db.scalar(select(func.count()).select_from(erased_files)) == 0
        told = select(timeline.c.call_id).where(timeline.c.type == "call.erased")
        assert len(list(await db.scalars(told))) == CALLS, "each once"


async def test_two_replicas_do_not_work_on_it_at_once(database: Database, office: Office) -> None:
    await seed(database, office)
    planned = await office.plan(SubjectKind.PHONE_NUMBER, CUSTOMER)
    await office.begin(planned)
    both = office.open_eraser("one"), office.open_eraser("two")
    for _ in range(20):
        await asyncio.gather(*(eraser.step() for eraser in both))
        office.clock.advance(31.0)
    done = await office.load(planned)
    assert (done.status, done.erased["calls"]) == ("done", CALLS)


async def test_without_an_archive_it_waits_and_says_why(database: Database, office: Office) -> None:
    await seed(database, office)
    planned = await office.plan(SubjectKind.PHONE_NUMBER, CUSTOMER)
    await office.begin(planned)
    office.eraser._archive = None
    waiting = await office.carry_out(planned, turns=3)
    assert waiting.status == "running"
    assert "AFTERCALL_ARCHIVE_URL" in (waiting.problem or "")
    office.eraser._archive = office.archive
    office.clock.advance(301.0)
    done = await office.carry_out(planned)
    assert (done.status, done.problem) == ("done", None)
    assert [path for path in office.root.rglob("*") if path.is_file()] == []
