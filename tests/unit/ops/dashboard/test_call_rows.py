"""The calls of the board in words and positions."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.calls.model import Outcome, Source, Stage
from app.ops.dashboard import call_rows as view
from app.ops.dashboard.board import Lane

NOW = datetime(2026, 3, 10, 18, 10, tzinfo=UTC)
DANA = {"phoneNumber": "+15550179001", "name": "Dana Field"}
ANA = {"phoneNumber": "+15550100101", "name": "Ana Ruiz", "extensionId": "711000101"}


def lane(**fields: Any) -> Lane:
    ended_at = fields.get("ended_at", NOW - timedelta(seconds=20))
    values: dict[str, Any] = {
        "call_id": "call_1",
        "stage": Stage.ENDED,
        "started_at": NOW - timedelta(seconds=90),
        "direction": "Inbound",
        "outcome": Outcome.ANSWERED,
        "caller": DANA,
        "callee": ANA,
        "ended_at": ended_at,
        "window_closes_at": ended_at + timedelta(seconds=120) if ended_at else None,
    }
    return Lane(**values | fields)


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        ("+15550179001", "+1 555 ••• 9001"),
        ("+493055512345", "+49 ••• 2345"),
        ("5550179001", "55 ••• 9001"),
        ("+4930555", "+49 ••• 55"),
        ("911", "•••"),
        ("22000", "••• 00"),
    ],
)
def test_number_is_masked(number: str, shown: str) -> None:
    assert view.mask_number(number) == shown


@given(st.text("0123456789", min_size=7, max_size=15), st.sampled_from(["", "+"]))
def test_mask_hides_at_least_three_digits(digits: str, plus: str) -> None:
    shown = [character for character in view.mask_number(plus + digits) if character.isdigit()]
    assert len(shown) <= len(digits) - 3


def test_external_party_is_masked() -> None:
    masked = json.dumps(view.describe_lane(lane(), NOW, unmasked=False), ensure_ascii=False)
    assert "Dana" not in masked
    assert "0179001" not in masked
    assert "Ana Ruiz" in masked
    assert view.describe_lane(lane(), NOW, unmasked=True)["from"] == "Dana Field +15550179001"


def test_caller_without_number_is_not_named() -> None:
    assert view.describe_party({"name": "Dana Field"}, unmasked=False) == "No number"
    assert view.describe_party(None, unmasked=False) == "Unknown"
    assert view.describe_party({"extensionNumber": "101"}, unmasked=False) == "Ext. 101"


@pytest.mark.parametrize(
    ("fields", "tone"),
    [
        ({"stage": Stage.LIVE, "ended_at": None}, "live"),
        ({}, "waiting"),
        ({"ended_at": NOW - timedelta(seconds=121)}, "overdue"),
        (
            {"stage": Stage.BOOTSTRAPPED, "bootstrapped_at": NOW, "bootstrapped_by": Source.ACTIVE_CALLS},
            "found",
        ),
        (
            {
                "stage": Stage.FINAL,
                "bootstrapped_at": NOW,
                "bootstrapped_by": Source.CALL_LOG,
                "window_closes_at": NOW - timedelta(seconds=1),
            },
            "later",
        ),
        ({"bootstrapped_at": NOW, "bootstrapped_by": Source.CALL_LOG, "window_closes_at": NOW}, "found"),
        ({"stage": Stage.ABSENT, "absent_reason": "test-call"}, "absent"),
    ],
)
def test_tone_of_a_lane(fields: dict[str, Any], tone: str) -> None:
    assert view.describe_lane(lane(**fields), NOW, unmasked=False)["tone"] == tone


def test_absent_call_shows_its_reason() -> None:
    absent = lane(stage=Stage.ABSENT, absent_reason="never-logged")
    assert view.describe_lane(absent, NOW, unmasked=False)["outcome"] == "Never logged"


def test_live_call_is_ringing_or_talking() -> None:
    ringing = lane(stage=Stage.LIVE, ended_at=None)
    assert view.describe_lane(ringing, NOW, unmasked=False)["outcome"] == "Ringing"
    answered = replace(ringing, answered_at=NOW)
    assert view.describe_lane(answered, NOW, unmasked=False)["outcome"] == "Talking"


def test_time_to_record_starts_at_the_end() -> None:
    found = lane(stage=Stage.BOOTSTRAPPED, bootstrapped_at=NOW - timedelta(seconds=15.5))
    shown = view.describe_lane(found, NOW, unmasked=False)
    assert shown["found"] == pytest.approx(4.5)
    assert shown["window"] == 120


def test_axis_scales_with_the_window() -> None:
    marks = view.axis_marks({"window": 12.0, "lagMin": 0.3, "lagMax": 1.0})
    assert [mark["text"] for mark in marks] == ["0 s", "0.3 s", "1 s", "3 s", "6 s", "12 s"]
    assert [mark["at"] for mark in marks] == sorted(mark["at"] for mark in marks)
    assert marks[-1]["at"] == 1


def test_swept_call_has_no_time_to_record() -> None:
    swept = lane(stage=Stage.FINAL, bootstrapped_at=NOW, bootstrapped_by=Source.CALL_LOG, source=Source.SWEEP)
    assert view.describe_lane(swept, NOW, unmasked=False)["tone"] == "swept"


def test_axis_marks_do_not_overlap() -> None:
    marks = view.axis_marks({"window": 120.0, "lagMin": 3.0, "lagMax": 3.2})
    assert [mark["text"] for mark in marks] == ["0 s", "3 s", "30 s", "60 s", "120 s"]


@pytest.mark.parametrize(("main_call_id", "side"), [(None, False), ("call_customer", True)])
def test_a_call_that_belongs_to_another_one_is_marked(main_call_id: str | None, side: bool) -> None:
    assert view.describe_lane(lane(main_call_id=main_call_id), NOW, unmasked=False)["side"] is side
