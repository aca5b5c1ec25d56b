"""The scripted calls: their structure, their determinism, and the feature that each script covers."""

from collections import defaultdict
from datetime import UTC, datetime, timedelta

import pytest

from app.simulator.platform.events import TERMINAL
from app.simulator.scripting.casting import CallOptions, UnknownNumberError
from app.simulator.scripting.catalogue import SCRIPTS, describe, plan_call
from app.simulator.scripting.company import ANA_ID, BEN_ID, COMPANY
from app.simulator.scripting.model import IN_PROGRESS, NO_RECORDING, ON_DEMAND, RecordingResult, ScriptedCall
from app.simulator.scripting.timeline import CallSetup

START = datetime(2026, 3, 10, 18, 7, 41, 12000, tzinfo=UTC)
EVERY_SCRIPT = pytest.mark.parametrize("script", sorted(SCRIPTS))


def play_one(
    script: str,
    *,
    speed: float = 1.0,
    seed: int = 1,
    number: int = 1,
    start: datetime = START,
    options: CallOptions | None = None,
) -> ScriptedCall:
    usual = CallOptions(talk_seconds=60.0, ring_seconds=4.0, agent="101", colleague="102")
    return plan_call(script, CallSetup(COMPANY, start, speed, seed, number), options or usual)


def statuses(call: ScriptedCall) -> list[tuple[str, str, str | None]]:
    """Return (ordinal of the party within its session, status code, reason), in order of time."""
    return [
        (
            event.party["id"].rsplit("-", 1)[1],
            event.party["status"]["code"],
            event.party["status"].get("reason"),
        )
        for event in call.events
    ]


def test_every_script_has_a_description() -> None:
    assert len(SCRIPTS) >= 20
    assert all(len(describe(name)) > 20 for name in SCRIPTS)


@EVERY_SCRIPT
def test_the_same_seed_and_start_give_the_same_call(script: str) -> None:
    assert play_one(script) == play_one(script)


@EVERY_SCRIPT
def test_calls_at_different_times_share_no_id(script: str) -> None:
    first, second = play_one(script), play_one(script, start=START + timedelta(hours=1))
    ids = {session.telephony_session_id for session in first.sessions} | {one.id for one in first.records}
    others = {session.telephony_session_id for session in second.sessions} | {
        one.id for one in second.records
    }
    assert not ids & others


@EVERY_SCRIPT
def test_events_are_numbered_from_two_in_the_order_of_their_time(script: str) -> None:
    by_session = defaultdict(list)
    call = play_one(script)
    for event in call.events:
        by_session[event.session.telephony_session_id].append(event)
    assert len(by_session) == len(call.sessions)
    for events in by_session.values():
        assert [event.sequence for event in events] == list(range(2, 2 + len(events)))
        assert [event.at for event in events] == sorted(event.at for event in events)


@EVERY_SCRIPT
def test_every_party_leaves_by_the_end(script: str) -> None:
    last = {event.party["id"]: event.party["status"]["code"] for event in play_one(script).events}
    assert set(last.values()) <= TERMINAL


@EVERY_SCRIPT
def test_a_session_ends_with_its_last_event(script: str) -> None:
    call = play_one(script)
    assert call.sessions
    for session in call.sessions:
        assert session.ended_at == max(event.at for event in call.events if event.session == session)


@EVERY_SCRIPT
def test_a_record_is_in_progress_until_its_last_stage(script: str) -> None:
    for record in play_one(script).records:
        *provisional, final = record.stages
        assert [stage.summary.result for stage in provisional] == [IN_PROGRESS] * len(provisional)
        assert all(stage.summary.duration is None for stage in provisional)
        assert final.summary.result != IN_PROGRESS
        assert final.summary.duration is not None
        assert final.at <= record.session.ended_at
        assert [stage.at for stage in record.stages] == sorted(stage.at for stage in record.stages)


@EVERY_SCRIPT
def test_tenfold_speed_takes_a_tenth_of_the_time(script: str) -> None:
    slow, fast = play_one(script), play_one(script, speed=10.0)
    assert slow.events
    for one, other in zip(slow.events, fast.events, strict=True):
        assert (other.at - START) / timedelta(microseconds=1) == pytest.approx(
            (one.at - START) / timedelta(microseconds=10), abs=2
        )
        assert one.party["status"]["code"] == other.party["status"]["code"]


def test_the_menu_leaves_without_a_reason_during_the_call() -> None:
    changes = statuses(play_one("ivr_then_agent"))
    leaves = changes.index(("2", "Disconnected", None))
    assert ("3", "Answered", None) in changes[leaves:]


def test_a_blind_transfer_has_a_reason_and_the_next_party_follows() -> None:
    changes = statuses(play_one("blind_transfer"))
    hands_over = changes.index(("2", "Disconnected", "BlindTransfer"))
    assert changes[hands_over + 1] == ("3", "Proceeding", None)


def test_the_caller_of_an_outside_call_is_outbound_without_an_extension() -> None:
    first = play_one("inbound_direct").events[0]
    assert (first.party["direction"], first.extension_id) == ("Outbound", None)


def test_the_customer_is_the_inbound_party_of_an_outbound_call() -> None:
    call = play_one("outbound_answered")
    assert {(event.party["direction"], event.extension_id) for event in call.events} == {
        ("Outbound", ANA_ID),
        ("Inbound", None),
    }


def test_queue_members_who_did_not_answer_get_a_missed_record() -> None:
    records = play_one("queue_answered").records
    assert {(record.extension_id, record.final.summary.result) for record in records} == {
        (ANA_ID, "Accepted"),
        (BEN_ID, "Missed"),
    }
    assert len({record.session.session_id for record in records}) == 1


def test_the_direction_of_a_queue_record_turns_at_hang_up() -> None:
    won = play_one("queue_answered").records[0]
    assert [stage.summary.direction for stage in won.stages] == ["Outbound", "Outbound", "Inbound"]
    assert won.final.summary.sender["name"].startswith("Sales - ")


def test_a_warm_transfer_links_two_sessions_both_ways() -> None:
    call = play_one("warm_transfer")
    first, second = (session.telephony_session_id for session in call.sessions)
    peers = {
        event.session.telephony_session_id: event.party["status"]["peerId"]["telephonySessionId"]
        for event in call.events
        if event.party["status"]["code"] == "Gone"
    }
    assert peers == {first: second, second: first}
    assert call.records[0].transfer_target == second
    assert call.records[2].transferee == first


def test_a_conference_session_has_the_id_zero() -> None:
    plain, room = play_one("conference").sessions
    assert (room.session_id, room.origin) == ("0", "Conference")
    assert plain.session_id != "0"


def test_ringout_makes_two_sessions_with_close_ids() -> None:
    first, second = (int(session.session_id) for session in play_one("ringout").sessions)
    assert 0 < abs(second - first) <= 4000


def test_a_call_to_the_own_number_has_two_records_in_one_session() -> None:
    records = play_one("own_number").records
    assert [record.extension_id for record in records] == [ANA_ID, ANA_ID]
    assert len({record.session.session_id for record in records}) == 1


def test_a_short_call_announces_a_recording_that_is_not_kept() -> None:
    call = play_one("short_call")
    assert any("recordings" in event.party for event in call.events)
    assert call.recordings == ()
    assert call.records[0].recordings.too_short


def test_the_record_of_a_short_call_may_not_mention_its_recording() -> None:
    call = play_one("short_call_untold")
    assert announced(call) == [[True], [False]]
    assert call.records[0].recordings == NO_RECORDING


def announced(call: ScriptedCall) -> list[list[bool]]:
    """Return which recordings are active, for each event that lists recordings."""
    return [
        [one["active"] for one in event.party["recordings"]]
        for event in call.events
        if "recordings" in event.party
    ]


def test_a_recording_on_demand_is_announced_when_it_starts() -> None:
    call = play_one("recorded_on_demand")
    assert announced(call) == [[True], [False]]
    answered = next(event.at for event in call.events if event.party["status"]["code"] == "Answered")
    (recording,) = call.recordings
    assert recording.kind == ON_DEMAND
    assert recording.started_at > answered + timedelta(seconds=10)
    assert call.records[0].recordings == RecordingResult((recording,))


def test_recording_twice_gives_two_recordings_in_one_record() -> None:
    call = play_one("recorded_twice")
    assert announced(call) == [[True], [False], [False, True], [False, False], [False, False]]
    first, second = call.recordings
    assert first.id != second.id
    assert first.ended_at < second.started_at
    assert call.records[0].recordings == RecordingResult((first, second))
    latest = [one["id"] for one in call.events[-2].party["recordings"]]
    assert latest == [first.id, second.id]


@pytest.mark.parametrize("script", ["blind_transfer", "park_and_pickup", "park_revived"])
def test_each_part_of_a_continued_call_mentions_its_short_recording(script: str) -> None:
    options = CallOptions(talk_seconds=40.0, ring_seconds=4.0, agent="101", colleague="102", recorded=True)
    call = play_one(script, options=options)
    assert call.recordings == ()
    assert [record.recordings.too_short for record in call.records] == [True, True]


def test_only_the_second_part_of_an_early_transfer_is_recorded() -> None:
    call = play_one("transferred_soon")
    (kept,) = call.recordings
    assert [record.recordings for record in call.records] == [
        RecordingResult(too_short=True),
        RecordingResult((kept,)),
    ]
    assert kept.extension_id == BEN_ID


def test_only_the_last_event_arrives_after_a_downtime() -> None:
    arriving = [event for event in play_one("first_seen_disconnected").events if event.delivered]
    assert [event.party["status"]["code"] for event in arriving] == ["Disconnected"]


def test_a_call_without_delivered_events_has_records() -> None:
    call = play_one("events_lost")
    assert not any(event.delivered for event in call.events)
    assert len(call.records) == 1


def test_a_test_call_has_its_own_origin_and_no_record() -> None:
    call = play_one("test_call")
    assert call.sessions[0].origin == "TestCall"
    assert call.records == ()


def test_all_parties_leave_a_parked_call_before_it_is_picked_up() -> None:
    last: dict[str, str] = {}
    alone = []
    for event in play_one("park_revived").events:
        last[event.party["id"]] = event.party["status"]["code"]
        alone.append(all(code in TERMINAL for code in last.values()))
    assert True in alone[:-1]
    assert alone[-1]


def test_an_unknown_extension_is_refused() -> None:
    with pytest.raises(UnknownNumberError):
        play_one("inbound_direct", options=CallOptions(agent="999"))
