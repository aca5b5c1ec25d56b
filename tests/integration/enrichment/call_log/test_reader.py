"""Reading the Call Log, on both databases."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update

from app.calls import store
from app.calls.attachments import store as attachments
from app.calls.attachments.stored import NOTE
from app.calls.attachments.subjects import open_account
from app.calls.evidence.facts import SessionFacts
from app.db.tables import calls
from app.enrichment.call_log import due_requests
from app.enrichment.call_log.reader import CallLogReader
from app.enrichment.call_log.reading_plan import (
    ByRecords,
    BySession,
    ByWindow,
    Due,
    plan_read,
    seconds_per_page,
)
from app.enrichment.recordings.recording_plan import RecordingPlan
from app.enrichment.recordings.watcher import RecordingWatcher
from app.errors import CredentialsRefused, PermissionMissing, RateLimited, RequestRefused
from app.ids import AccountId, SessionId
from app.ringcentral.models import CallRecord, Recording, RecordsPage, read_call_record
from app.webhooks.payloads.notification import TelephonyEvent, read_notification
from tests.factories import delivery, party, received_at
from tests.factories_calls import ACCOUNT, ANA, BEN, raw_record
from tests.fakes.clock import START
from tests.fakes.context import accounts_context
from tests.fakes.desk import PLAN, Desk, limit_to


def detailed(desk: Desk, number: int = 1, **fields: Any) -> dict[str, Any]:
    return desk.show(
        number,
        legs=[{"legType": "Accept", "master": True}],
        lastModifiedTime="2026-03-10T18:09:34.336Z",
        **fields,
    )


async def read_for(desk: Desk, seconds: float) -> None:
    until = desk.clock.now() + timedelta(seconds=seconds)
    while desk.clock.now() < until:
        pause = await desk.reader.step()
        left = (until - desk.clock.now()).total_seconds()
        desk.clock.advance(min(left, 60.0 if pause is None else max(0.1, pause)))


async def test_after_the_window_the_call_log_is_read_by_session_only(desk: Desk) -> None:
    await desk.end_call()
    desk.ringcentral.log = [detailed(desk)]
    await desk.reader.step()
    assert desk.ringcentral.asked == [], "the window is still open"
    desk.clock.advance(121)
    await desk.reader.step()
    assert desk.ringcentral.asked == ["session 1001"]
    call = await desk.call()
    assert (call.stage, call.bootstrapped_by) == ("reconciled", "call-log")
    events = await desk.events(call)
    assert events.index("call.bootstrapped") < events.index("call.reconciled")


async def test_what_the_session_search_misses_is_sought_by_start_time(desk: Desk) -> None:
    await desk.end_call()
    desk.clock.advance(121)
    await read_for(desk, 40)
    assert desk.ringcentral.asked[:2] == ["session 1001", "window"]


async def test_many_calls_share_one_request(desk: Desk) -> None:
    for number in range(1, 30):
        await desk.end_call(number)
    desk.ringcentral.log = [detailed(desk, number) for number in range(1, 30)]
    desk.clock.advance(121)
    await desk.reader.step()
    assert desk.ringcentral.asked == ["window"]
    assert {(await desk.call(number)).stage for number in range(1, 30)} == {"reconciled"}


async def test_a_record_that_is_stable_for_a_minute_is_final(desk: Desk) -> None:
    await desk.end_call()
    desk.ringcentral.log = [detailed(desk)]
    desk.clock.advance(121)
    await read_for(desk, 90)
    call = await desk.call()
    assert call.stage == "final"
    assert call.read_at is None
    asked = len(desk.ringcentral.asked)
    await read_for(desk, 600)
    assert len(desk.ringcentral.asked) == asked


async def test_a_record_that_still_changes_is_not_final(desk: Desk) -> None:
    await desk.end_call()
    desk.clock.advance(121)
    for duration in (10, 20, 30):
        desk.ringcentral.log = [detailed(desk, duration=duration)]
        await desk.make_due()
        await desk.reader.step()
        desk.clock.advance(61)
    call = await desk.call()
    assert (call.stage, call.duration_seconds) == ("reconciled", 30)


async def test_a_call_that_neither_source_knows_is_closed_as_absent_at_its_horizon(desk: Desk) -> None:
    await desk.end_call()
    desk.clock.advance(121)
    await read_for(desk, PLAN.horizon)
    call = await desk.call()
    assert (call.stage, call.absent_reason) == ("absent", "never-logged")
    assert (await desk.events(call))[-1] == "call.absent"
    assert 5 <= len(desk.ringcentral.asked) <= 12, "asked with growing pauses"


async def test_a_call_that_active_calls_alone_knew_is_final_with_that_at_its_horizon(desk: Desk) -> None:
    await desk.end_call()
    desk.clock.advance(12)
    desk.ringcentral.active = [desk.show()]
    await desk.poller.step()
    assert (await desk.call()).stage == "bootstrapped"
    desk.clock.advance(110)
    await read_for(desk, PLAN.horizon)
    call = await desk.call()
    assert (call.stage, call.result, call.readiness["legs"]["state"]) == ("final", "Accepted", "none")


async def test_want_of_permission_is_the_reason_of_absence(desk: Desk) -> None:
    await desk.end_call(extensions=[BEN])
    desk.clock.advance(121)
    desk.ringcentral.failure = PermissionMissing("no", permission="ReadCompanyCallLog", code="CMN-408")
    await desk.reader.step()
    assert (await desk.problem() or {}).get("code") == "CMN-408"
    desk.clock.advance(PLAN.horizon)
    desk.ringcentral.failure = PermissionMissing("no", permission="ReadCompanyCallLog", code="CMN-408")
    await desk.reader.step()
    await read_for(desk, 30)
    assert (await desk.call()).absent_reason == "no-permission"


async def test_a_429_is_obeyed_and_loses_no_call(desk: Desk) -> None:
    await desk.end_call()
    desk.ringcentral.log = [detailed(desk)]
    desk.clock.advance(121)
    desk.ringcentral.failure = RateLimited("too fast", retry_at=desk.clock.now() + timedelta(seconds=60))
    await read_for(desk, 59)
    assert len(desk.ringcentral.asked) == 1
    await read_for(desk, 5)
    assert (await desk.call()).bootstrapped_by == "call-log"


async def test_records_of_other_sessions_are_not_taken(desk: Desk) -> None:
    await desk.end_call(1)
    desk.ringcentral.log = [detailed(desk, 2, sessionId="1001")]
    desk.clock.advance(121)
    await desk.reader.step()
    assert (await desk.call(1)).stage == "ended"


async def test_what_people_entered_survives_every_reading(desk: Desk) -> None:
    call = await desk.end_call()
    note = {
        "text": "mine",
        "source": "api",
        "external_id": None,
        "title": None,
        "format": "plain",
        "author": None,
    }
    async with desk.database.write() as db, open_account(db, ACCOUNT, desk.clock.now()) as ledger:
        await attachments.add_note(ledger, call.call_id, note)
    desk.ringcentral.log = [detailed(desk)]
    desk.clock.advance(121)
    await read_for(desk, 200)
    async with desk.database.read() as db:
        found = await attachments.find_all(db, ACCOUNT, NOTE, call.call_id)
    assert [note.columns["text"] for note in found] == ["mine"]
    assert (await desk.call()).stage == "final"


async def test_replicas_do_not_ask_for_the_same_calls_twice(desk: Desk) -> None:
    await desk.end_call()
    desk.ringcentral.log = [detailed(desk)]
    desk.clock.advance(121)
    other = CallLogReader(accounts_context(desk.database, desk.clock, desk.connections, replica="two"), PLAN)
    await asyncio.gather(desk.reader.step(), other.step())
    assert len(desk.ringcentral.asked) == 1
    assert (await desk.call()).reads == 1


async def test_replicas_gather_together(desk: Desk) -> None:
    await desk.end_call(1)
    desk.clock.advance(121)
    readers = [
        CallLogReader(accounts_context(desk.database, desk.clock, desk.connections, replica=name), PLAN)
        for name in ("one", "two")
    ]
    await readers[0].step()
    await desk.end_call(2, read_at=desk.clock.now())
    await readers[1].step()
    assert len(desk.ringcentral.asked) == 1
    desk.clock.advance(PLAN.gap)
    await readers[1].step()
    assert len(desk.ringcentral.asked) == 2


async def test_a_reader_that_is_held_back_closes_nothing_that_it_may_see(desk: Desk) -> None:
    await desk.end_call(extensions=[ANA])
    desk.clock.advance(121)
    desk.ringcentral.failure = PermissionMissing("no", permission="ReadCompanyCallLog", code="CMN-408")
    await desk.reader.step()
    desk.ringcentral.failure = RateLimited("too fast", retry_at=desk.clock.now() + timedelta(seconds=30))
    desk.clock.advance(6)
    await desk.reader.step()
    before = (await desk.call()).reads
    await read_for(desk, 20)
    assert (await desk.call()).reads == before, "nobody was asked, so nothing was read"


def due(number: int, **fields: Any) -> Due:
    values: dict[str, Any] = {
        "call_id": f"call_{number}",
        "session_id": str(number),
        "started_at": START,
        "reads": 0,
    }
    return Due(**values | fields)


def test_a_single_call_is_requested_by_its_session_first_and_then_by_start_time() -> None:
    assert plan_read([due(1)]) == BySession(("call_1",), SessionId("1"))
    assert isinstance(plan_read([due(1, reads=1)]), ByWindow)
    assert isinstance(plan_read([due(1, reads=2)]), BySession)


def test_a_conference_is_never_requested_by_its_session() -> None:
    for session_id in ("0", None, "s-1"):
        assert isinstance(plan_read([due(1, session_id=session_id)]), ByWindow)


def test_a_window_covers_the_starts_of_all_that_it_serves_and_leaves_far_ones_out() -> None:
    near, far = (
        due(2, started_at=START + timedelta(seconds=600)),
        due(3, started_at=START + timedelta(hours=5)),
    )
    request = plan_read([due(1), near, far])
    assert isinstance(request, ByWindow)
    assert request.call_ids == ("call_1", "call_2")
    assert request.date_from < START < near.started_at < request.date_to


def test_calls_that_only_have_to_be_confirmed_share_a_request_wherever_they_began() -> None:
    scattered = [
        due(number, started_at=START - timedelta(hours=5 * number), record_ids=(f"a{number}", f"b{number}"))
        for number in range(1, 30)
    ]
    request = plan_read([*scattered, due(99)])
    assert isinstance(request, ByRecords)
    assert request.call_ids == tuple(f"call_{number}" for number in range(1, 16)), (
        "whole calls, thirty records"
    )
    assert len(request.record_ids) == 30


def test_a_window_is_preferred_where_it_serves_as_many() -> None:
    near = [due(number, record_ids=(f"r{number}",)) for number in range(1, 5)]
    assert isinstance(plan_read(near), ByWindow)


def test_the_window_worth_most_per_page_is_read_first() -> None:
    lone = due(1, started_at=START - timedelta(minutes=20))
    crowd = [due(number, started_at=START + timedelta(seconds=number)) for number in range(2, 40)]
    request = plan_read([lone, *crowd], page_seconds=300.0)
    assert isinstance(request, ByWindow)
    assert request.call_ids == tuple(call.call_id for call in crowd)
    assert request.date_to - request.date_from <= timedelta(seconds=300)


def test_a_call_that_has_waited_long_is_worth_its_own_page() -> None:
    lone = due(1, started_at=START - timedelta(minutes=20), waited=600.0)
    crowd = [due(number, started_at=START + timedelta(seconds=number)) for number in range(2, 40)]
    request = plan_read([lone, *crowd], page_seconds=300.0)
    assert isinstance(request, ByWindow)
    assert request.call_ids == ("call_1",)


def test_pages_that_hold_less_than_a_windows_margins_still_bring_something() -> None:
    crowd = [due(number, started_at=START + timedelta(seconds=number)) for number in range(1, 400)]
    request = plan_read(crowd, page_seconds=50.0)
    assert isinstance(request, ByWindow)
    assert len(request.call_ids) == 1


def page_of(seconds: range, *, has_next: bool) -> RecordsPage:
    starts = [(START + timedelta(seconds=one)).isoformat() for one in seconds]
    rows = [
        read_call_record(raw_record(f"r{number}", startTime=start)) for number, start in enumerate(starts)
    ]
    return RecordsPage(
        sent_at=START,
        records=tuple(row for row in rows if isinstance(row, CallRecord)),
        page=1,
        per_page=100,
        has_next=has_next,
    )


def test_how_much_a_page_holds_is_learnt_from_full_ones_and_forgotten_from_sparse_ones() -> None:
    full, half, sparse = (
        page_of(range(100), has_next=True),
        page_of(range(50), has_next=False),
        page_of(range(5), has_next=False),
    )
    assert seconds_per_page(full, None) == 99
    assert seconds_per_page(half, 99.0) == 99.0
    assert seconds_per_page(sparse, 99.0) == 198.0
    assert seconds_per_page(sparse, 4000.0) is None
    assert seconds_per_page(sparse, None) is None


async def test_pages_read_before_a_refusal_are_used(desk: Desk) -> None:
    began = desk.clock.now()
    for number in (1, 2):
        await desk.end_call(number, started_at=began - timedelta(minutes=number))
        start = (began - timedelta(minutes=number)).isoformat()
        desk.ringcentral.log.append(detailed(desk, number, startTime=start))
    desk.ringcentral.page_size = 1
    desk.ringcentral.failures["window page 2"] = RateLimited("full", retry_at=began + timedelta(seconds=200))
    desk.clock.advance(121)
    await desk.reader.step()
    assert [(await desk.call(number)).stage for number in (1, 2)] == ["reconciled", "ended"]
    assert (await desk.call(2)).reads == 0, "it stays due"
    desk.clock.advance(100)
    await desk.reader.step()
    assert (await desk.call(2)).stage == "final"


async def test_a_refused_request_is_not_repeated_endlessly(desk: Desk) -> None:
    await desk.end_call(1)
    desk.clock.advance(121)
    desk.ringcentral.failures["session 1001"] = RequestRefused("bad", status=400, code="CMN-101")
    await read_for(desk, 60)
    assert desk.ringcentral.asked[:2] == ["session 1001", "window"]


async def test_a_call_after_the_last_page_read_does_not_count_as_read(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(due_requests, "MOST_PAGES", 2)
    began = desk.clock.now() - timedelta(minutes=30)
    for number in range(4, 0, -1):
        start = began + timedelta(minutes=number)
        await desk.end_call(number, started_at=start)
        desk.ringcentral.log.append(detailed(desk, number, startTime=start.isoformat()))
    desk.ringcentral.page_size = 1
    desk.clock.advance(PLAN.horizon + 1)
    await desk.reader.step()
    assert [(await desk.call(number)).stage == "ended" for number in range(1, 5)] == [
        True,
        True,
        False,
        False,
    ]
    desk.ringcentral.page_size = None
    await desk.reader.step()
    assert {(await desk.call(number)).stage for number in range(1, 5)} == {"final"}


async def test_calls_that_a_page_served_are_not_requested_again(desk: Desk) -> None:
    now = desk.clock.now()
    for number, back in ((1, 300), (2, 300), (3, 300), (4, 200)):
        start = now - timedelta(seconds=back)
        await desk.end_call(number, started_at=start)
        desk.ringcentral.log.append(detailed(desk, number, startTime=start.isoformat()))
    desk.reader._requests._page_seconds[(AccountId(ACCOUNT), "own")] = 200.0
    desk.clock.advance(121)
    for _ in range(3):
        await desk.reader.step()
        desk.clock.advance(1)
    assert desk.ringcentral.asked == ["window"]
    assert {(await desk.call(number)).reads for number in range(1, 5)} == {1}


async def test_records_are_not_applied_to_a_call_revived_during_the_request(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    await desk.end_call(1)
    desk.clock.advance(121)
    desk.ringcentral.log = [detailed(desk, 1, result="Stopped")]
    fetch = desk.ringcentral.fetch_call_log_by_session

    async def revive(*given: Any, **named: Any) -> RecordsPage:
        async with desk.database.write() as db:
            await db.execute(update(calls).values(stage="live", ended_at=None, window_closes_at=None))
        return await fetch(*given, **named)

    monkeypatch.setattr(desk.ringcentral, "fetch_call_log_by_session", revive)
    await desk.reader.step()
    call = await desk.call()
    assert (call.stage, call.primary_record_id, call.read_at) == ("live", None, None)


async def test_calls_that_a_user_may_see_wait_for_their_turn(desk: Desk) -> None:
    now = desk.clock.now()
    for number, hours in ((1, 3), (2, 6)):
        start = now - timedelta(hours=hours)
        await desk.end_call(number, started_at=start, extensions=[ANA])
        desk.ringcentral.log.append(detailed(desk, number, startTime=start.isoformat()))
    await limit_to(desk, ANA)
    desk.clock.advance(PLAN.horizon + 1)
    for _ in range(2):
        await desk.reader.step()
    assert {(await desk.call(number)).stage for number in (1, 2)} == {"final"}


async def test_time_without_a_usable_connection_counts_as_no_read(desk: Desk) -> None:
    await desk.end_call(1)
    desk.clock.advance(121)
    for _ in range(60):
        desk.ringcentral.failure = CredentialsRefused("no", code="OAU-213")
        pause = await desk.reader.step()
        desk.clock.advance(20 if pause is None else min(20, max(pause, 0.1)))
    assert (await desk.call()).reads == 0


async def test_a_page_serves_also_known_calls_that_are_not_due(desk: Desk) -> None:
    for number in (1, 2, 3):
        await desk.end_call(number)
    await desk.end_call(4, read_at=desk.clock.now() + timedelta(hours=1))
    desk.ringcentral.log = [detailed(desk, number) for number in (1, 2, 3, 4, 5)]
    desk.clock.advance(121)
    await desk.reader.step()
    assert desk.ringcentral.asked == ["window"]
    assert (await desk.call(4)).stage == "reconciled"
    async with desk.database.read() as db:
        assert await store.find_call(db, AccountId(ACCOUNT), "s-5") is None, "strangers are the sweep's"


def test_a_call_without_records_is_not_requested_by_ids() -> None:
    far = due(2, started_at=START - timedelta(hours=9), record_ids=("r2",))
    assert isinstance(plan_read([due(1), far]), ByWindow)


def test_a_call_of_very_many_records_is_confirmed_alone() -> None:
    many = due(1, record_ids=tuple(f"r{number}" for number in range(40)))
    far = due(2, started_at=START - timedelta(hours=9), record_ids=("x",))
    further = due(3, started_at=START - timedelta(hours=19), record_ids=("y",))
    assert isinstance(plan_read([many, far, further]), ByWindow)
    request = plan_read([far, many, further])
    assert isinstance(request, ByRecords)
    assert request.call_ids == ("call_2", "call_3")


async def test_reconciled_calls_are_confirmed_by_their_records(desk: Desk) -> None:
    for number, hours in ((1, 2), (2, 6), (3, 9)):
        began = desk.clock.now() - timedelta(hours=hours)
        await desk.end_call(number, started_at=began)
        modified = (desk.clock.now() + timedelta(seconds=100)).isoformat()
        row = detailed(desk, number, startTime=began.isoformat()) | {"lastModifiedTime": modified}
        desk.ringcentral.log.append(row)
    desk.clock.advance(121)
    await read_for(desk, 10)
    desk.clock.advance(60)
    await desk.make_due()
    await desk.reader.step()
    assert desk.ringcentral.asked[-1].startswith("records rec-")
    assert {(await desk.call(number)).stage for number in (1, 2, 3)} == {"final"}


def facts_of_call(state: str = "Proceeding", **fields: Any) -> list[dict[str, Any]]:
    """Dana calls Ana, whose party reaches this state."""
    shown: dict[str, Any] = {"from": {"phoneNumber": "+15550179001"}, **fields}
    caller = party(1, "Setup", **shown)
    payloads = [delivery(caller), delivery(party(2, state, extensionId="711000101"), sequence=3)]
    events = [read_notification(payload, received_at(payload)) for payload in payloads]
    facts = [event.calls[0].facts for event in events if isinstance(event, TelephonyEvent)]
    return SessionFacts.of(fact for several in facts for fact in several).to_json()


async def test_a_record_without_a_number_is_completed_from_events(desk: Desk) -> None:
    await desk.end_call(facts=facts_of_call(to={"phoneNumber": "+15550100101"}))
    sides = {"from": {"name": "Dana Field"}, "to": {"phoneNumber": "+15550100900"}}
    desk.ringcentral.log = [detailed(desk) | sides]
    desk.clock.advance(121)
    await desk.reader.step()
    call = await desk.call()
    assert call.caller == {"phoneNumber": "+15550179001", "name": "Dana Field"}
    dialled = {"phoneNumber": "+15550100101", "extensionId": ANA}
    assert call.callee == dialled, "what was dialled, as the events saw it"


async def test_the_missed_record_of_one_user_does_not_undo_that_another_answered(desk: Desk) -> None:
    await desk.end_call(1, facts=facts_of_call("Answered"))
    await desk.end_call(2, facts=facts_of_call("Proceeding"))
    of_ben = {"result": "Missed", "duration": 0, "extension": {"id": 711000102}}
    desk.ringcentral.log = [detailed(desk, number, **of_ben) for number in (1, 2)]
    desk.clock.advance(121)
    await desk.reader.step()
    assert [(await desk.call(number)).outcome for number in (1, 2)] == ["answered", "missed"]


async def test_a_call_that_active_calls_alone_knew_waits_for_its_recording(desk: Desk) -> None:
    recording = {"id": "77", "type": "Automatic"}
    await desk.end_call()
    desk.ringcentral.active = [desk.show(recording=recording)]
    await desk.poll_for(60)
    desk.clock.advance(PLAN.horizon)
    await read_for(desk, 60)
    call = await desk.call()
    assert (call.stage, call.readiness["legs"]["state"]) == ("bootstrapped", "none")
    plan = RecordingPlan()
    desk.ringcentral.recordings["77"] = Recording(id="77", content_type="audio/mpeg")
    await RecordingWatcher(accounts_context(desk.database, desk.clock, desk.connections), plan).step()
    assert (await desk.call()).stage == "final"


async def test_a_final_call_whose_end_has_moved_is_read_until_it_is_stable(desk: Desk) -> None:
    await desk.end_call()
    desk.ringcentral.log = [detailed(desk)]
    desk.clock.advance(121)
    await read_for(desk, 120)
    assert (await desk.call()).stage == "final"
    async with desk.database.write() as db:
        moved = {
            "record_digest": None,
            "record_unchanged_since": None,
            "reads": 0,
            "read_at": desk.clock.now(),
        }
        await db.execute(update(calls).values(**moved, ended_at=desk.clock.now()))
    await read_for(desk, 40)
    late = {"duration": 140, "lastModifiedTime": desk.clock.now().isoformat()}
    desk.ringcentral.log = [desk.ringcentral.log[0] | late]
    await read_for(desk, 200)
    call = await desk.call()
    assert (call.stage, call.duration_seconds, call.read_at) == ("final", 140, None)


async def test_a_slow_response_counts_from_the_time_of_its_request(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    await desk.end_call(1)
    changed = desk.clock.now() + timedelta(seconds=111)
    desk.ringcentral.log = [detailed(desk) | {"lastModifiedTime": changed.isoformat()}]
    desk.clock.advance(121)
    fetch = desk.ringcentral.fetch_call_log_by_session

    async def dawdle(*given: Any, **named: Any) -> RecordsPage:
        page = await fetch(*given, **named)
        desk.clock.advance(PLAN.settled_after)
        return page

    monkeypatch.setattr(desk.ringcentral, "fetch_call_log_by_session", dawdle)
    await desk.reader.step()
    call = await desk.call()
    assert (call.stage, call.read_at is not None) == ("reconciled", True), "it stood for ten seconds, not 70"
    monkeypatch.undo()
    await read_for(desk, 2 * PLAN.settled_after)
    assert (await desk.call()).stage == "final"


async def test_a_response_requested_before_the_end_is_provisional_however_late_it_arrives(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in (1, 2, 3):
        await desk.end_call(number)
    await desk.end_call(4, ended_at=desk.clock.now() + timedelta(seconds=150))
    desk.ringcentral.log = [detailed(desk, number) for number in (1, 2, 3, 4)]
    fetch = desk.ringcentral.fetch_call_log_window

    async def dawdle(*given: Any, **named: Any) -> RecordsPage:
        page = await fetch(*given, **named)
        desk.clock.advance(60)
        return page

    monkeypatch.setattr(desk.ringcentral, "fetch_call_log_window", dawdle)
    desk.clock.advance(121)
    await desk.reader.step()
    stages = [(await desk.call(number)).stage for number in (1, 4)]
    assert stages == ["reconciled", "bootstrapped"]
