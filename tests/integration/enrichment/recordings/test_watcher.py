"""Looking for recordings until they can be heard or are given up, and what that means for the call."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from app.accounts.access import Access, Level
from app.accounts.connections import Connection
from app.calls.media import recordings
from app.db.engine import upsert_into
from app.db.tables import call_parties, credentials
from app.enrichment.call_log.extract_sync import CallLogFeed
from app.enrichment.call_log.reader import CallLogReader
from app.enrichment.recordings.recording_plan import RecordingPlan
from app.enrichment.recordings.watcher import RecordingWatcher
from app.errors import CredentialsRefused, PermissionMissing, RateLimited, RingCentralUnreachable
from app.ids import AccountId, ExtensionId
from app.ringcentral.models import Recording
from tests.factories_calls import ACCOUNT, ANA, BEN
from tests.fakes.context import accounts_context, work_context
from tests.fakes.desk import PLAN as PLAN_OF_READINGS
from tests.fakes.desk import Desk, limit_to
from tests.fakes.ringcentral import FakeRingCentral
from tests.integration.enrichment.call_log.test_reader import detailed, read_for

RECORDING = {"id": "77", "type": "Automatic"}
"""Without an address, so that the record does not settle it."""

ADDRESS = {"contentUri": "https://media.ringcentral.com/77/content"}
HEARD = Recording(id="77", content_type="audio/mpeg", duration_seconds=92.0)
PLAN = RecordingPlan(gaps=(60.0, 120.0, 300.0))


@pytest.fixture
def watcher(desk: Desk) -> RecordingWatcher:
    return RecordingWatcher(accounts_context(desk.database, desk.clock, desk.connections), PLAN)


async def rows(desk: Desk) -> list[Any]:
    async with desk.database.read() as db:
        return await recordings.load(db, ACCOUNT, "77")


async def read_recorded_call(desk: Desk, **fields: Any) -> None:
    """A call has ended, and its record names a recording."""
    await desk.end_call()
    desk.ringcentral.log = [detailed(desk, **{"recording": RECORDING} | fields)]
    desk.clock.advance(121)
    await desk.reader.step()
    async with desk.database.write() as db:
        await recordings.change(db, ACCOUNT, "77", due_at=desk.clock.now())


async def read_linked_calls(desk: Desk) -> None:
    """Calls 1 and 2 have ended, and the records of both name the one recording."""
    for number in (1, 2):
        await desk.end_call(number)
    desk.ringcentral.log = [detailed(desk, number, recording=RECORDING) for number in (1, 2)]
    desk.clock.advance(1201)
    await desk.reader.step()


async def read_linked_calls_of_which_one_is_settled(desk: Desk, **fields: Any) -> str:
    """The record of call 2 has settled the recording, which is due for call 1; return the id of call 2."""
    await read_linked_calls(desk)
    settled = (await desk.call(2)).call_id
    async with desk.database.write() as db:
        await recordings.change(db, ACCOUNT, "77", due_at=desk.clock.now())
        await recordings.change(db, ACCOUNT, "77", [settled], state="ready", due_at=None, **fields)
    return settled


async def keep_for(desk: Desk, watcher: RecordingWatcher, seconds: float) -> None:
    until = desk.clock.now() + timedelta(seconds=seconds)
    while desk.clock.now() < until:
        pause = await watcher.step()
        left = (until - desk.clock.now()).total_seconds()
        desk.clock.advance(min(left, 60.0 if pause is None else max(0.1, pause)))


async def test_a_ready_recording_is_shown_on_its_call(desk: Desk, watcher: RecordingWatcher) -> None:
    await read_recorded_call(desk)
    assert (await desk.call()).readiness["recording"]["state"] == "pending"
    desk.ringcentral.recordings["77"] = HEARD
    await watcher.step()
    call = await desk.call()
    assert call.readiness["recording"]["state"] == "ready"
    assert (await desk.events(call))[-1] == "recording.ready"
    (row,) = await rows(desk)
    assert (row.state, row.content_type, row.duration_seconds, row.due_at) == (
        "ready",
        "audio/mpeg",
        92.0,
        None,
    )
    assert await watcher.step() is None, "nothing is left to do"


async def test_it_is_requested_with_growing_gaps_and_given_up_after_the_last(
    desk: Desk, watcher: RecordingWatcher
) -> None:
    await read_recorded_call(desk)
    began, asked = desk.clock.now(), []
    for _ in range(500):
        before = desk.ringcentral.asked.count("recording 77")
        await watcher.step()
        if desk.ringcentral.asked.count("recording 77") > before:
            asked.append((desk.clock.now() - began).total_seconds())
        desk.clock.advance(10)
    assert asked == [0, 120, 420]
    call = await desk.call()
    assert call.readiness["recording"]["state"] == "expired"
    assert (await desk.events(call))[-1] == "recording.expired"


async def test_a_call_is_not_final_before_its_recording_is_there(
    desk: Desk, watcher: RecordingWatcher
) -> None:
    await read_recorded_call(desk)
    await read_for(desk, 600)
    call = await desk.call()
    assert (call.stage, call.read_at) == ("reconciled", None)
    asked = len(desk.ringcentral.asked)
    await read_for(desk, 600)
    assert len(desk.ringcentral.asked) == asked, "the record is not read again for the recording's sake"
    desk.ringcentral.recordings["77"] = HEARD
    await watcher.step()
    call = await desk.call()
    assert call.stage == "final"
    assert (await desk.events(call))[-2:] == ["recording.ready", "call.final"]


async def test_an_early_recording_does_not_shorten_the_wait_for_a_stable_record(
    desk: Desk, watcher: RecordingWatcher
) -> None:
    await read_recorded_call(desk)
    desk.ringcentral.recordings["77"] = HEARD
    await watcher.step()
    assert (await desk.call()).stage == "reconciled"
    await read_for(desk, 90)
    assert (await desk.call()).stage == "final"


async def test_a_call_is_final_once_its_missing_recording_is_given_up(
    desk: Desk, watcher: RecordingWatcher
) -> None:
    await read_recorded_call(desk)
    await read_for(desk, 90)
    await keep_for(desk, watcher, 600)
    assert (await desk.call()).stage == "final"


async def test_a_record_that_does_not_change_any_more_settles_the_recording_that_it_gives_the_address_of(
    desk: Desk, watcher: RecordingWatcher
) -> None:
    await read_recorded_call(desk, recording=RECORDING | ADDRESS)
    assert (await desk.call()).readiness["recording"]["state"] == "pending"
    await read_for(desk, 90)
    call = await desk.call()
    assert (call.stage, call.readiness["recording"]["state"]) == ("final", "ready")
    assert (await desk.events(call))[-2:] == ["recording.ready", "call.final"]
    assert [(row.state, row.due_at) for row in await rows(desk)] == [("ready", None)]
    await watcher.step()
    assert "recording 77" not in desk.ringcentral.asked


async def test_the_feed_settles_a_recording_by_not_showing_its_call_again(desk: Desk) -> None:
    desk.ringcentral.has_feed = True
    feed = CallLogFeed(
        work_context(desk.database, desk.clock, replica="one", lease_seconds=120.0), PLAN_OF_READINGS
    )
    desk.reader = CallLogReader(
        accounts_context(desk.database, desk.clock, desk.connections), PLAN_OF_READINGS, feed=feed
    )
    await read_recorded_call(desk, recording=RECORDING | ADDRESS, changed=1)
    await read_for(desk, 120)
    assert (await desk.call()).stage == "final"
    assert (await rows(desk))[0].state == "ready"


async def test_a_settled_recording_is_due_for_the_archive_where_there_is_one(desk: Desk) -> None:
    plan = replace(PLAN_OF_READINGS, archives=True)
    desk.reader = CallLogReader(accounts_context(desk.database, desk.clock, desk.connections), plan)
    await read_recorded_call(desk, recording=RECORDING | ADDRESS)
    await read_for(desk, 90)
    (row,) = await rows(desk)
    assert row.state == "ready"
    assert row.due_at is not None


async def test_an_announced_recording_that_no_stable_record_names_is_requested_at_once(
    desk: Desk, watcher: RecordingWatcher
) -> None:
    await desk.end_call(details={"recordingIds": ["77"]})
    desk.ringcentral.log = [detailed(desk)]
    desk.clock.advance(121)
    await desk.reader.step()
    assert (await rows(desk))[0].due_at > desk.clock.now() + timedelta(minutes=10)
    await read_for(desk, 90)
    assert (await rows(desk))[0].due_at <= desk.clock.now()
    desk.ringcentral.recordings["77"] = HEARD
    await watcher.step()
    assert (await desk.call()).stage == "final"


async def test_what_events_announced_and_no_record_ever_names_is_soon_taken_for_none(
    desk: Desk, watcher: RecordingWatcher
) -> None:
    await desk.end_call(details={"recordingIds": ["77"]})
    desk.ringcentral.log = [detailed(desk)]
    desk.clock.advance(121)
    await read_for(desk, 90)
    await keep_for(desk, watcher, 600)
    call = await desk.call()
    assert (call.stage, call.readiness["recording"]["state"]) == ("final", "none")
    assert desk.ringcentral.asked.count("recording 77") == 3
    assert (await rows(desk))[0].problem == "not-named"


async def test_the_horizon_of_the_record_does_not_cut_the_search_for_the_recording_short(desk: Desk) -> None:
    await read_recorded_call(desk)
    desk.clock.advance(4000)
    await desk.reader.step()
    assert (await desk.call()).stage == "reconciled"


async def test_a_budget_that_is_gone_costs_no_attempt(desk: Desk, watcher: RecordingWatcher) -> None:
    await read_recorded_call(desk)
    desk.ringcentral.failure = RateLimited("full", retry_at=desk.clock.now() + timedelta(seconds=30))
    assert await watcher.step() == pytest.approx(30)
    (row,) = await rows(desk)
    assert (row.attempts, row.state) == (0, "pending")
    desk.ringcentral.recordings["77"] = HEARD
    desk.clock.advance(31)
    await watcher.step()
    assert (await rows(desk))[0].state == "ready"


async def test_an_outage_costs_no_attempt(desk: Desk, watcher: RecordingWatcher) -> None:
    await read_recorded_call(desk)
    desk.ringcentral.failure = RingCentralUnreachable("away")
    await watcher.step()
    assert (await rows(desk))[0].attempts == 0


async def test_a_missing_permission_is_reported_once_and_costs_one_request(
    desk: Desk, watcher: RecordingWatcher
) -> None:
    await read_recorded_call(desk)
    refusal = PermissionMissing("no", permission="ReadCallRecording", code="CMN-401")
    desk.ringcentral.failure = refusal
    await watcher.step()
    (row,) = await rows(desk)
    assert (row.state, row.problem) == ("expired", "CMN-401")
    connection = await desk.connections.best(ACCOUNT)
    assert connection is not None
    assert connection.access.problem is None, "calls can be read"
    assert connection.access.lacks["ReadCallRecording"]["code"] == "CMN-401"
    await desk.end_call(2, details={"recordingIds": ["78"]})
    desk.ringcentral.log.append(detailed(desk, 2))
    desk.clock.advance(121)
    await read_for(desk, 120)
    await watcher.step()
    assert (await desk.call(2)).stage == "final"
    assert desk.ringcentral.asked.count("recording 78") == 0


async def test_a_refused_recording_of_a_colleague_does_not_block_the_users_own(
    desk: Desk, watcher: RecordingWatcher
) -> None:
    await read_recorded_call(desk)
    await limit_to(desk, ANA)
    desk.ringcentral.failure = PermissionMissing("no", permission="ReadCallRecording", code="CMN-408")
    async with desk.database.write() as db:
        call = await desk.call()
        party = {"account_id": ACCOUNT, "call_id": call.call_id, "kind": "extension", "value": ANA}
        statement = upsert_into(db, call_parties).values(**party, started_at=call.started_at)
        await db.execute(statement.on_conflict_do_nothing())
    await watcher.step()
    assert (await rows(desk))[0].problem == "CMN-408"
    connection = await desk.connections.own()
    assert connection is not None
    assert connection.access.lacks == {}


async def test_credentials_of_somebody_else_are_not_used(desk: Desk, watcher: RecordingWatcher) -> None:
    await read_recorded_call(desk)
    await limit_to(desk, BEN)
    await watcher.step()
    assert "recording 77" not in desk.ringcentral.asked
    assert (await rows(desk))[0].problem == "no-credentials"


async def test_credentials_missing_for_hours_cost_no_attempt(desk: Desk, watcher: RecordingWatcher) -> None:
    await read_recorded_call(desk)
    await limit_to(desk, BEN)
    await keep_for(desk, watcher, 12 * 3600)
    (row,) = await rows(desk)
    assert (row.state, row.attempts, row.problem) == ("pending", 0, "no-credentials")
    async with desk.database.write() as db:
        await db.execute(credentials.delete())
    desk.connections.forget()
    desk.ringcentral.recordings["77"] = HEARD
    await keep_for(desk, watcher, PLAN.gaps[-1])
    (row,) = await rows(desk)
    assert (row.state, row.problem) == ("ready", None)


async def test_refused_credentials_cost_no_attempt(desk: Desk, watcher: RecordingWatcher) -> None:
    await read_recorded_call(desk)
    desk.ringcentral.failure = CredentialsRefused("no", code="OAU-213")
    await watcher.step()
    (row,) = await rows(desk)
    assert (row.state, row.attempts, row.problem) == ("pending", 0, "OAU-213")


async def test_a_recording_without_credentials_for_a_week_is_given_up(
    desk: Desk, watcher: RecordingWatcher
) -> None:
    await read_recorded_call(desk)
    await read_for(desk, 90)
    await limit_to(desk, BEN)
    desk.clock.advance(8 * 24 * 3600)
    await watcher.step()
    (row,) = await rows(desk)
    assert (row.state, row.problem, (await desk.call()).stage) == ("expired", "no-credentials", "final")


@pytest.mark.parametrize(
    "refusal", [None, PermissionMissing("no", permission="ReadCallRecording", code="CMN-401")]
)
async def test_a_failed_request_does_not_change_a_recording_settled_meanwhile(
    desk: Desk, watcher: RecordingWatcher, monkeypatch: pytest.MonkeyPatch, refusal: Exception | None
) -> None:
    await read_recorded_call(desk)

    async def settle_and_deny(recording_id: str, **_: Any) -> None:
        async with desk.database.write() as db:
            await recordings.change(db, ACCOUNT, recording_id, state="ready", due_at=None)
        if refusal is not None:
            raise refusal

    monkeypatch.setattr(desk.ringcentral, "fetch_recording", settle_and_deny)
    before = await desk.events(await desk.call())
    await watcher.step()
    (row,) = await rows(desk)
    assert (row.state, row.due_at, row.attempts, row.problem) == ("ready", None, 0, None)
    assert await desk.events(await desk.call()) == before


async def test_a_recording_given_up_for_one_call_stays_with_another_whose_record_settled_it(
    desk: Desk, watcher: RecordingWatcher
) -> None:
    settled = await read_linked_calls_of_which_one_is_settled(desk)
    await keep_for(desk, watcher, 900)
    assert {row.call_id == settled: row.state for row in await rows(desk)} == {
        True: "ready",
        False: "expired",
    }
    assert "recording.expired" not in await desk.events(await desk.call(2))


async def test_a_replica_that_died_gives_its_recording_back(desk: Desk, watcher: RecordingWatcher) -> None:
    await read_recorded_call(desk)
    async with desk.database.write() as db:
        now = desk.clock.now()
        taken = await recordings.claim_due(db, ACCOUNT, recordings.OPEN, now, now + timedelta(seconds=60))
        again = await recordings.claim_due(db, ACCOUNT, recordings.OPEN, now, now + timedelta(seconds=60))
    assert (taken, again) == ("77", None)
    desk.clock.advance(61)
    desk.ringcentral.recordings["77"] = HEARD
    await watcher.step()
    assert (await rows(desk))[0].state == "ready"


async def test_linked_calls_that_name_one_recording_are_both_updated(
    desk: Desk, watcher: RecordingWatcher
) -> None:
    await read_linked_calls(desk)
    desk.ringcentral.recordings["77"] = HEARD
    await watcher.step()
    assert desk.ringcentral.asked.count("recording 77") == 1
    assert {(await desk.call(one)).readiness["recording"]["state"] for one in (1, 2)} == {"ready"}


async def test_a_call_is_not_notified_twice(desk: Desk, watcher: RecordingWatcher) -> None:
    archived = {"archive_path": "77.mp3", "content_type": "audio/wav"}
    knows = await read_linked_calls_of_which_one_is_settled(desk, **archived)
    before = await desk.events(await desk.call(2))
    desk.ringcentral.recordings["77"] = Recording(id="77", content_type=None, duration_seconds=92.0)
    archiving = replace(PLAN, archives=True)
    await RecordingWatcher(accounts_context(desk.database, desk.clock, desk.connections), archiving).step()
    assert await desk.events(await desk.call(2)) == before
    assert "recording.ready" in await desk.events(await desk.call(1))
    by_call = {row.call_id == knows: row for row in await rows(desk)}
    assert (by_call[True].due_at, by_call[True].content_type) == (None, "audio/wav")
    assert by_call[False].due_at == desk.clock.now()
    assert {row.duration_seconds for row in by_call.values()} == {92.0}


async def test_if_one_user_cannot_access_recordings_another_in_the_call_is_used(
    desk: Desk, watcher: RecordingWatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    await read_recorded_call(desk)
    own, of = await desk.connections.own(), desk.connections.of
    assert own is not None
    anas = FakeRingCentral(desk.clock)
    anas.recordings["77"] = HEARD
    access = Access(Level.EXTENSION, ExtensionId(ANA))

    async def with_ana(account_id: AccountId) -> Sequence[Connection]:
        return [*await of(account_id), replace(own, name="ana", client=anas.client, access=access)]

    monkeypatch.setattr(desk.connections, "of", with_ana)
    desk.ringcentral.failure = PermissionMissing("no", permission="ReadCallRecording", code="CMN-401")
    asked = len(desk.ringcentral.asked)
    await watcher.step()
    assert [row.state for row in await rows(desk)] == ["ready"]
    assert desk.ringcentral.asked[asked:] == ["recording 77"]
