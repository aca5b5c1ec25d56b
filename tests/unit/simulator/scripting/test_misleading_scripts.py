"""The scripts whose events or records mislead: each has what it is there for."""

import pytest

from app.simulator.scripting.company import ANA_ID, BEN_ID, COMPANY, OUTSIDE_NUMBER
from app.simulator.scripting.model import Record, ScriptedCall
from tests.unit.simulator.scripting.test_catalogue import play_one, statuses

ANAS_MOBILE = "+15550166007"


def rows(call: ScriptedCall) -> list[tuple[str, str, str, str, str | None]]:
    """Return (extension, direction, action, result, number called) of each record's final content."""
    return [row(record) for record in call.records]


def row(record: Record) -> tuple[str, str, str, str, str | None]:
    final = record.final.summary
    number = final.receiver.get("phoneNumber")
    return record.extension_id, final.direction, final.action, final.result, number


def party_codes(call: ScriptedCall, ordinal: str) -> list[str]:
    return [code for number, code, _ in statuses(call) if number == ordinal]


@pytest.mark.parametrize(
    ("script", "action", "result"),
    [
        ("find_me_missed", "FindMe", "Stopped"),
        ("find_me_busy", "FindMe", "Busy"),
        ("sip_forwarding", "Sip Forwarding", "Unknown"),
    ],
)
def test_a_missed_call_has_a_record_of_the_attempt_to_reach_the_mobile(
    script: str, action: str, result: str
) -> None:
    call = play_one(script)
    assert rows(call) == [
        (ANA_ID, "Inbound", "Phone Call", "Missed", "+15550100101"),
        (ANA_ID, "Outbound", action, result, ANAS_MOBILE),
    ]
    assert call.records[1].final.summary.sender == call.records[0].final.summary.sender


@pytest.mark.parametrize(("script", "action"), [("find_me_answered", "FindMe"), ("follow_me", "FollowMe")])
def test_the_attempt_that_connects_lasts_longer_than_the_call(script: str, action: str) -> None:
    call = play_one(script)
    own, attempt = (record.final.summary for record in call.records)
    assert (own.result, attempt.action, attempt.result) == ("Accepted", action, "Call connected")
    assert own.duration is not None
    assert attempt.duration is not None
    assert own.duration < attempt.duration


def test_a_transfer_outside_has_a_party_without_an_extension_and_a_longer_record() -> None:
    call = play_one("transferred_outside")
    assert rows(call)[1] == (ANA_ID, "Outbound", "Transfer", "Call connected", OUTSIDE_NUMBER)
    first, second = (record.final.summary.duration for record in call.records)
    assert first is not None
    assert second is not None
    assert first < second
    assert ("3", "Answered", None) in statuses(call)
    assert [event.extension_id for event in call.events if event.party["id"].endswith("-3")] == [None] * 3


def test_a_transfer_to_voicemail_is_never_answered_by_the_colleague() -> None:
    call = play_one("transfer_to_voicemail")
    assert party_codes(call, "3") == ["VoiceMail", "Disconnected"]
    assert [record.message_id is not None for record in call.records] == [False, True]


def test_the_records_of_a_consultation_have_short_numbers_only() -> None:
    call = play_one("consultation")
    assert [record.final.summary.receiver for record in call.records[1:]] == [{"phoneNumber": "102"}] * 2


def test_a_parked_call_names_its_location_in_events_and_in_a_record() -> None:
    call = play_one("park_location")
    parked = next(event.party for event in call.events if event.party["status"]["code"] == "Parked")
    assert (parked["park"], parked["status"]["parkData"]) == ({"id": "*801"}, "*801")
    assert (ANA_ID, "Outbound", "Park Location", "Call connected", "*801") in rows(call)


@pytest.mark.parametrize("script", ["ringout_one_session", "ringout_one_session_unanswered"])
def test_ringout_as_one_session_has_two_inbound_parties_with_roles(script: str) -> None:
    call = play_one(script)
    (session,) = call.sessions
    assert session.origin == "RingOut"
    assert {(event.party["direction"], event.party["ringOutRole"]) for event in call.events} == {
        ("Inbound", "Initiator"),
        ("Inbound", "Target"),
    }
    assert party_codes(call, "1")[2] == "Answered"
    assert ("Answered" in party_codes(call, "2")) == (script == "ringout_one_session")


@pytest.mark.parametrize("script", ["menu_never_answered", "menu_abandoned"])
def test_the_menu_goes_from_setup_to_disconnected(script: str) -> None:
    assert party_codes(play_one(script), "2") == ["Setup", "Disconnected"]


def test_a_call_abandoned_in_the_menu_rings_at_nobody() -> None:
    call = play_one("menu_abandoned")
    assert {event.extension_id for event in call.events} == {None}
    assert [record.extension_id for record in call.records] == [COMPANY.ivr.id]


def test_two_telephones_of_one_extension_ring_at_once() -> None:
    call = play_one("simultaneous_ring")
    ringing = [event.extension_id for event in call.events if event.party["status"]["code"] == "Proceeding"]
    assert ringing == [ANA_ID, ANA_ID, BEN_ID]
    assert [row[3] for row in rows(call)] == ["Accepted", "Answered Elsewhere"]


def test_a_call_is_picked_up_by_a_colleague_in_the_same_session() -> None:
    call = play_one("pick_up")
    assert len(call.sessions) == 1
    assert ("2", "Disconnected", "Pickup") in statuses(call)
    assert [(row[0], row[3]) for row in rows(call)] == [
        (ANA_ID, "Answered Elsewhere"),
        (BEN_ID, "Accepted"),
    ]


def test_the_message_for_a_queue_is_in_the_queues_record() -> None:
    call = play_one("queue_voicemail")
    assert [record.extension_id for record in call.records if record.message_id] == [COMPANY.queue.id]
    assert party_codes(call, "2") == ["Setup", "VoiceMail", "Disconnected"]


def test_a_requested_call_back_follows_in_a_session_of_its_own() -> None:
    call = play_one("call_back")
    asked, called = call.records
    assert (asked.final.summary.result, called.final.summary.action) == ("Callback requested", "Call Return")
    assert asked.session.ended_at < called.session.started_at


def test_an_internal_call_to_voicemail_is_connected_for_the_caller() -> None:
    assert [row[3] for row in rows(play_one("internal_voicemail"))] == ["Call connected", "Voicemail"]


def test_an_internal_call_that_nobody_answers_has_two_records_without_duration() -> None:
    call = play_one("internal_missed")
    assert [row[3] for row in rows(call)] == ["No Answer", "Missed"]
    assert [record.final.summary.duration for record in call.records] == [0, 0]


def test_a_colleague_transfers_an_internal_call_outside() -> None:
    call = play_one("internal_transferred_outside")
    assert rows(call)[2] == (BEN_ID, "Outbound", "Transfer", "Call connected", OUTSIDE_NUMBER)


def test_only_the_extensions_tell_the_sides_under_the_main_number_apart() -> None:
    for record in play_one("own_main_number").records:
        sides = (record.final.summary.sender, record.final.summary.receiver)
        assert {side["phoneNumber"] for side in sides} == {COMPANY.main_number}
        assert [side["extensionId"] for side in sides] == [ANA_ID, BEN_ID]


def test_a_caller_can_show_the_number_that_he_dials() -> None:
    final = play_one("same_number_inbound").records[0].final.summary
    assert final.sender["phoneNumber"] == final.receiver["phoneNumber"] == "+15550100101"


def test_an_event_and_a_record_call_one_refusal_by_two_names() -> None:
    call = play_one("blocked")
    assert ("2", "Disconnected", "DestinationBlocked") in statuses(call)
    assert rows(call)[0][3] == "International Disabled"


def test_a_withheld_number_is_a_word() -> None:
    call = play_one("anonymous_caller")
    assert call.events[0].party["from"]["phoneNumber"] == "anonymous"
    assert call.records[0].final.summary.sender["phoneNumber"] == "anonymous"
