"""What comes to be known of a call after its record: denied sound, late recordings, clashing names, moved
ends."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from sqlalchemy import update

from app.calls import store
from app.calls.evidence.facts import SessionFacts
from app.calls.evidence.parties import read_parties
from app.calls.ledger import open_ledger
from app.calls.media import recordings
from app.calls.media.recordings import NOT_THERE, RecordingRow
from app.calls.model import NO_SESSION
from app.db.tables import calls
from app.enrichment.call_log.extract_sync import CallLogFeed
from app.enrichment.call_log.reader import CallLogReader
from app.enrichment.recordings.recording_changes import take_not_found
from app.enrichment.recordings.recording_plan import RecordingPlan
from app.enrichment.recordings.watcher import RecordingWatcher
from app.ids import AccountId
from app.ringcentral.models import Recording
from app.webhooks.folding.stages import EndRules, end
from tests.factories_calls import ACCOUNT
from tests.fakes.context import accounts_context, work_context
from tests.fakes.desk import PLAN, Desk
from tests.integration.enrichment.call_log.test_reader import detailed, read_for

RULES = EndRules(quiet=3.0, handover=30.0, stale=14_400.0, window=120.0)
RECORDING = {"id": "77", "type": "Automatic", "contentUri": "https://media.ringcentral.com/77/content"}


async def recording(desk: Desk) -> RecordingRow:
    async with desk.database.read() as db:
        (row,) = await recordings.load(db, ACCOUNT, "77")
    return row


async def end_final_call(desk: Desk) -> None:
    await desk.end_call()
    desk.ringcentral.log = [detailed(desk)]
    desk.clock.advance(121)
    await read_for(desk, 120)
    assert (await desk.call()).stage == "final"


async def name_recording(desk: Desk) -> None:
    """Let the record that the Call Log has name a recording from now on."""
    desk.ringcentral.log = [row | {"recording": RECORDING} for row in desk.ringcentral.log]
    desk.clock.advance(60)


async def read_beside_others(desk: Desk, *numbers: int) -> None:
    """Calls of the same time become due: the window that they are sought in shows the first one again."""
    began = (await desk.call()).started_at
    for number in numbers:
        await desk.end_call(number, read_at=desk.clock.now(), started_at=began)
    await desk.reader.step()


async def test_audio_that_ringcentral_denied_is_not_made_ready_by_its_record(desk: Desk) -> None:
    plan = replace(PLAN, insights_after=3600.0)
    desk.reader = CallLogReader(accounts_context(desk.database, desk.clock, desk.connections), plan)
    await desk.end_call()
    desk.ringcentral.log = [detailed(desk, recording=RECORDING)]
    desk.clock.advance(121)
    await read_for(desk, 120)
    row = await recording(desk)
    assert (row.state, (await desk.call()).stage) == ("ready", "reconciled"), "insights are waited for"
    async with (
        desk.database.write() as db,
        open_ledger(db, AccountId(ACCOUNT), desk.clock.now()) as ledger,
    ):
        await take_not_found(ledger, "77", [row])

    await read_beside_others(desk, 2, 3)
    row = await recording(desk)
    assert (row.state, row.attempts, row.problem) == ("pending", 0, NOT_THERE)
    await RecordingWatcher(
        accounts_context(desk.database, desk.clock, desk.connections), RecordingPlan()
    ).step()
    await read_beside_others(desk, 4, 5)
    row = await recording(desk)
    assert (row.state, row.attempts, row.problem) == ("pending", 1, NOT_THERE)
    assert "window" in desk.ringcentral.asked


async def test_of_nameless_calls_whose_records_say_one_key_only_one_gets_it(desk: Desk) -> None:
    for number in (1, 2, 3):
        key = f"{NO_SESSION}{1000 + number}"
        await desk.end_call(number, telephony_session_id=key, session_id=str(1000 + number))
    await desk.end_call(4, read_at=None)
    await desk.end_call(5)
    claims = {1: "s-9", 2: "s-9", 3: "s-4"}
    desk.ringcentral.log = [detailed(desk, one, telephonySessionId=key) for one, key in claims.items()]
    desk.ringcentral.log.append(detailed(desk, 5))
    desk.clock.advance(121)
    await desk.reader.step()
    assert (await desk.call(5)).stage == "reconciled", "they hold up nobody"
    async with desk.database.read() as db:
        named = {
            str(one): await store.find_call(db, AccountId(ACCOUNT), str(one)) for one in (1001, 1002, 1003)
        }
    assert {call.stage for call in named.values() if call} == {"reconciled"}
    keys = [call.telephony_session_id for call in named.values() if call]
    assert keys == ["s-9", f"{NO_SESSION}1002", f"{NO_SESSION}1003"]


async def test_a_recording_that_a_final_call_gets_is_settled_by_its_record(desk: Desk) -> None:
    await end_final_call(desk)
    await name_recording(desk)
    await read_beside_others(desk, 2, 3)
    assert ((await desk.call()).stage, (await recording(desk)).state) == ("final", "pending")
    desk.clock.advance(PLAN.settled_after)
    await read_beside_others(desk, 4, 5)
    call = await desk.call()
    assert (call.stage, call.readiness["recording"]["state"]) == ("final", "ready")
    assert (await recording(desk)).state == "ready"
    events = await desk.events(call)
    assert events[-2:] == ["call.updated", "recording.ready"]
    assert events.count("call.final") == 1


async def test_a_late_recording_of_a_final_call_is_requested_at_once(desk: Desk) -> None:
    await end_final_call(desk)
    await name_recording(desk)
    await read_beside_others(desk, 2, 3)
    assert (await recording(desk)).due_at == desk.clock.now()
    desk.ringcentral.recordings["77"] = Recording(id="77", content_type="audio/mpeg", duration_seconds=92.0)
    await RecordingWatcher(
        accounts_context(desk.database, desk.clock, desk.connections), RecordingPlan()
    ).step()
    call = await desk.call()
    assert (call.stage, call.readiness["recording"]["state"]) == ("final", "ready")


async def test_a_call_that_active_calls_alone_knew_is_final_once_its_recording_is_there(desk: Desk) -> None:
    await desk.end_call()
    desk.clock.advance(12)
    desk.ringcentral.active = [desk.show(recording=RECORDING)]
    await desk.poller.step()
    async with desk.database.write() as db:
        await db.execute(update(calls).values(read_at=None))
        await recordings.change(db, ACCOUNT, "77", due_at=desk.clock.now())
    watcher = RecordingWatcher(
        accounts_context(desk.database, desk.clock, desk.connections), RecordingPlan(gaps=(60.0, 120.0))
    )
    await watcher.step()
    assert (await desk.call()).stage == "bootstrapped"
    desk.clock.advance(121)
    await watcher.step()
    call = await desk.call()
    assert (call.stage, call.readiness["recording"]["state"]) == ("final", "expired")


async def test_a_call_that_is_reconciled_after_its_last_reading_is_read_once_more(desk: Desk) -> None:
    await desk.end_call()
    desk.clock.advance(12)
    desk.ringcentral.active = [desk.show()]
    await desk.poller.step()
    async with desk.database.write() as db:
        await db.execute(update(calls).values(read_at=None))
    desk.ringcentral.log = [detailed(desk) | {"lastModifiedTime": None}]
    desk.clock.advance(121)
    await read_beside_others(desk, 2, 3)
    assert (await desk.call()).stage == "reconciled"
    await read_for(desk, 120)
    assert (await desk.call()).stage == "final"


async def move_end(desk: Desk, at: datetime) -> None:
    """Let events tell another end of the call, as a parked one that is picked up has."""
    async with (
        desk.database.write() as db,
        open_ledger(db, AccountId(ACCOUNT), desk.clock.now()) as ledger,
    ):
        call = await store.find_call(db, AccountId(ACCOUNT), "s-1")
        assert call is not None
        end(ledger, call, read_parties(SessionFacts.of([])), at, "test", RULES)


@pytest.mark.parametrize("stage", ["reconciled", "final"])
async def test_a_call_whose_end_has_moved_is_read_again_once_its_record_can_show_it(
    desk: Desk, stage: str
) -> None:
    await desk.end_call()
    row = detailed(desk, duration=30)
    desk.ringcentral.log = [row]
    desk.clock.advance(121)
    await read_for(desk, 1 if stage == "reconciled" else 120)
    assert (await desk.call()).stage == stage
    desk.clock.advance(600)
    end_of_call = desk.clock.now()
    await move_end(desk, end_of_call)
    asked = len(desk.ringcentral.asked)
    for _ in range(20):
        desk.clock.advance(1)
        await desk.reader.step()
    assert len(desk.ringcentral.asked) == asked, "the Call Log may still show what it did before"
    assert (await desk.call()).stage == stage
    desk.ringcentral.log = [row | {"duration": 811, "lastModifiedTime": desk.clock.now().isoformat()}]
    await read_for(desk, 200)
    call = await desk.call()
    assert (call.stage, call.duration_seconds, call.ended_at) == ("final", 811, end_of_call)
    events = await desk.events(call)
    assert events.count("call.final") == 1
    if stage == "final":
        # Whoever follows `call.final` alone does not hear of the new end and duration.
        assert events[-3:] == ["call.final", "call.updated", "call.updated"]


async def test_one_read_right_after_a_moved_end_is_not_stable(desk: Desk) -> None:
    await desk.end_call()
    row = detailed(desk, duration=30)
    desk.ringcentral.log = [row]
    desk.clock.advance(121)
    await desk.reader.step()
    desk.clock.advance(600)
    await move_end(desk, desk.clock.now())
    desk.clock.advance(1)
    await read_beside_others(desk, 2, 3)
    assert (await desk.call()).stage == "reconciled"
    desk.clock.advance(20)
    desk.ringcentral.log = [row | {"duration": 811, "lastModifiedTime": desk.clock.now().isoformat()}]
    await read_for(desk, 200)
    call = await desk.call()
    assert (call.stage, call.duration_seconds) == ("final", 811)


@pytest.mark.parametrize("late_seconds", [2, 110], ids=["a little", "by minutes"])
async def test_a_call_whose_end_has_moved_is_final_though_the_feed_does_not_show_it_again(
    desk: Desk, late_seconds: int
) -> None:
    desk.ringcentral.has_feed = True
    feed = CallLogFeed(work_context(desk.database, desk.clock, replica="one", lease_seconds=120.0), PLAN)
    desk.reader = CallLogReader(
        accounts_context(desk.database, desk.clock, desk.connections), PLAN, feed=feed
    )
    ended_at = desk.clock.now()
    await desk.end_call()
    modified_at = ended_at + timedelta(seconds=100)
    desk.ringcentral.log = [detailed(desk) | {"lastModifiedTime": modified_at.isoformat(), "changed": 1}]
    desk.clock.advance(121)
    await desk.reader.step()
    assert (await desk.call()).stage == "reconciled"
    await move_end(desk, ended_at + timedelta(seconds=late_seconds))
    await read_for(desk, 300)
    call = await desk.call()
    assert (call.stage, call.read_at) == ("final", None)


async def test_an_end_that_proves_to_be_earlier_costs_no_reading(desk: Desk) -> None:
    await end_final_call(desk)
    call = await desk.call()
    assert call.ended_at is not None
    await move_end(desk, call.ended_at - timedelta(seconds=3))
    moved = await desk.call()
    assert moved.ended_at == call.ended_at - timedelta(seconds=3)
    assert (moved.read_at, moved.record_digest) == (None, call.record_digest)
