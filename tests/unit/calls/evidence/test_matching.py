from datetime import timedelta
from typing import Any

import pytest

from app.calls.evidence.matching import CallKeys, finished_records, match_records
from app.ringcentral.models import CallRecord, read_call_record
from tests.factories_calls import raw_record
from tests.fakes.clock import START


def record(record_id: str = "r", **fields: Any) -> CallRecord:
    read = read_call_record(raw_record(record_id, **fields))
    assert isinstance(read, CallRecord)
    return read


def sought(call_id: str = "call_1", **fields: Any) -> CallKeys:
    values: dict[str, Any] = {"call_id": call_id, "telephony_session_id": "s-1", "session_id": "1001"}
    return CallKeys(**values | fields)


def match(records: list[CallRecord], *calls: CallKeys) -> dict[str, list[str]]:
    found = match_records(records, calls, 5.0).found
    return {call_id: [item.id for item in items] for call_id, items in found.items()}


def test_the_telephony_session_decides() -> None:
    assert match([record(telephonySessionId="s-1", sessionId="other")], sought()) == {"call_1": ["r"]}


def test_an_equal_session_id_of_another_telephony_session_is_not_taken() -> None:
    assert match([record(telephonySessionId="s-2", sessionId="1001")], sought()) == {}


def test_a_record_without_its_key_is_matched_by_its_session_id() -> None:
    assert match([record(telephonySessionId=None, sessionId="1001")], sought()) == {"call_1": ["r"]}


def test_a_call_without_its_key_is_matched_by_its_session_id() -> None:
    assert match([record(telephonySessionId="s-9", sessionId="1001")], sought(telephony_session_id=None)) == {
        "call_1": ["r"]
    }


def test_the_conference_placeholder_matches_nothing() -> None:
    assert match([record(telephonySessionId=None, sessionId="0")], sought(session_id="0")) == {}


def test_a_session_id_that_means_several_calls_is_settled_by_numbers_and_start() -> None:
    calls = [
        sought("call_1", numbers=frozenset({"+15550179001", "+15550100101"}), started_at=START),
        sought(
            "call_2",
            telephony_session_id="s-2",
            numbers=frozenset({"+15550179001", "+15550100101"}),
            started_at=START + timedelta(minutes=5),
        ),
    ]
    assert match([record(telephonySessionId=None, sessionId="1001")], *calls) == {"call_1": ["r"]}


def test_a_record_that_two_calls_could_claim_matches_neither() -> None:
    alike: dict[str, Any] = {"numbers": frozenset({"+15550179001", "+15550100101"}), "started_at": START}
    calls = [sought("call_1", **alike), sought("call_2", telephony_session_id="s-2", **alike)]
    assert match([record(telephonySessionId=None, sessionId="1001")], *calls) == {}


def test_a_missed_call_whose_record_has_another_session_id_is_matched_by_numbers_and_start() -> None:
    numbers = frozenset({"+15550179001", "+15550100101"})
    call = sought(numbers=numbers, started_at=START)
    assert match([record(telephonySessionId=None, sessionId="77")], call) == {"call_1": ["r"]}
    assert match([record(telephonySessionId="s-77", sessionId="77")], call) == {}, "the key decides"
    again = sought("call_2", telephony_session_id="s-2", numbers=numbers, started_at=START)
    assert match([record(telephonySessionId=None, sessionId="77")], call, again) == {}


@pytest.mark.parametrize("away", [-6, 6])
def test_numbers_match_only_near_the_start(away: int) -> None:
    call = sought(
        telephony_session_id=None,
        session_id=None,
        numbers=frozenset({"+15550179001", "+15550100101"}),
        started_at=START + timedelta(seconds=away),
    )
    assert match([record(sessionId="77")], call) == {}


@pytest.mark.parametrize(
    ("event", "of_record", "region"),
    [
        ("+18665550106", "18665550106", None),
        ("+18665550106", "(866) 555-0106", "US"),
        ("+49301234567", "0301234567", "DE"),
        ("anonymous", "Restricted", None),
    ],
)
def test_numbers_match_in_any_spelling(event: str, of_record: str, region: str | None) -> None:
    call = sought(
        telephony_session_id=None,
        numbers=frozenset({event, "+15550100101"}),
        started_at=START,
        region=region,
    )
    sides: dict[str, Any] = {"from": {"phoneNumber": of_record}, "to": {"phoneNumber": "+1 555-010-0101"}}
    assert match([record(telephonySessionId=None, sessionId="1002", **sides)], call) == {"call_1": ["r"]}


def test_numbers_of_others_do_not_match() -> None:
    call = sought(telephony_session_id=None, numbers=frozenset({"+15550100101"}), started_at=START)
    sides: dict[str, Any] = {"from": {"phoneNumber": "18665550106"}, "to": {"phoneNumber": "+15550100101"}}
    assert match([record(telephonySessionId=None, sessionId="1002", **sides)], call) == {}


def test_unwanted_sessions_are_unknown() -> None:
    matching = match_records(
        [record("a", telephonySessionId="s-7"), record("b", telephonySessionId=None, sessionId="5")],
        [sought()],
        5.0,
    )
    assert {key: [item.id for item in items] for key, items in matching.unknown.items()} == {"s-7": ["a"]}


def test_a_record_in_progress_is_no_answer() -> None:
    ongoing = [
        record("a", result="In Progress"),
        record("b", result=None),
        record("c", result="in progress "),
    ]
    assert [item.id for item in finished_records([*ongoing, record("d")])] == ["d"]
