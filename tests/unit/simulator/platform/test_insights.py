"""The content and the times of conversation insights."""

from datetime import UTC, datetime, timedelta

import pytest

from app.simulator.platform.insights import KINDS, analysed_at, only_kinds, show_insights
from app.simulator.scripting.casting import CallOptions
from app.simulator.scripting.catalogue import plan_call
from app.simulator.scripting.company import ANA_ID, COMPANY
from app.simulator.scripting.model import Json, Record, Recording, ScriptedCall
from app.simulator.scripting.timeline import CallSetup
from app.simulator.timing import Timing

START = datetime(2026, 3, 10, 18, 7, 41, 12000, tzinfo=UTC)
HOUR = timedelta(hours=1)


def recorded(script: str = "inbound_direct", speed: float = 1.0) -> tuple[ScriptedCall, Record, Recording]:
    options = CallOptions(talk_seconds=60.0, ring_seconds=4.0, agent="101", colleague="102", recorded=True)
    call = plan_call(script, CallSetup(COMPANY, START, speed, seed=1, number=1), options)
    recording = call.recordings[0]
    return call, next(one for one in call.records if recording in one.recordings.kept), recording


def shown_at(moment: datetime, *, notes: bool = False) -> Json | None:
    call, record, recording = recorded()
    versions = analysed_at(record, recording, Timing(), notes=notes)
    return show_insights(call, recording, versions, moment, "http://127.0.0.1:1")


def test_insights_appear_half_an_hour_after_the_recording() -> None:
    _, record, recording = recorded()
    (ready_at,) = analysed_at(record, recording, Timing(), notes=False)
    assert ready_at - recording.ended_at == timedelta(minutes=30)
    assert shown_at(ready_at - timedelta(seconds=1)) is None
    assert shown_at(ready_at) is not None


def test_the_delay_of_insights_scales_with_speed() -> None:
    _, record, recording = recorded(speed=100.0)
    assert analysed_at(record, recording, Timing(), notes=False)[0] - recording.ended_at == timedelta(
        seconds=18
    )


def test_insights_name_their_telephony_session_and_recording() -> None:
    _, _, recording = recorded()
    shown = shown_at(START + HOUR)
    assert shown is not None
    assert (shown["sourceSessionId"], shown["sourceRecordId"]) == (
        recording.telephony_session_id,
        recording.id,
    )
    assert "sessionId" not in shown
    assert set(shown["insights"]) == set(KINDS)
    assert isinstance(shown["insights"]["AIScore"][0]["value"], str)


def test_the_speakers_are_the_recorded_party_and_the_other_side() -> None:
    shown = shown_at(START + HOUR)
    assert shown is not None
    ana, customer = shown["speakerInfo"]
    assert (ana["extensionId"], ana["name"]) == (ANA_ID, "Ana Ruiz")
    assert (customer["extensionId"], customer["accountId"]) == (None, None)
    assert customer["phoneNumber"].startswith("+1555")
    assert {line["speakerId"] for line in shown["insights"]["Transcript"]} == {"P-1", "P-2"}


def test_with_notes_the_second_version_is_later_and_has_more_insights() -> None:
    first, second = shown_at(START + timedelta(minutes=33), notes=True), shown_at(START + HOUR, notes=True)
    assert first is not None
    assert second is not None
    assert set(first["insights"]) < set(second["insights"])
    assert first["lastModifiedTime"] < second["lastModifiedTime"]
    assert first["creationTime"] == second["creationTime"]


def test_only_the_requested_kinds_are_returned() -> None:
    shown = shown_at(START + HOUR)
    assert shown is not None
    assert set(only_kinds(shown, ["Sentiment", "AIScore"])["insights"]) == {"Sentiment", "AIScore"}
    assert only_kinds(shown, []) == shown


@pytest.mark.parametrize("script", ["outbound_answered", "queue_answered", "blind_transfer", "warm_transfer"])
def test_every_kept_recording_can_be_analysed(script: str) -> None:
    call, record, recording = recorded(script)
    versions = analysed_at(record, recording, Timing(), notes=False)
    shown = show_insights(call, recording, versions, START + HOUR, "http://127.0.0.1:1")
    assert shown is not None
    assert len(shown["speakerInfo"]) == 2
    assert shown == show_insights(call, recording, versions, START + HOUR, "http://127.0.0.1:1")
