"""Which recordings a call has by what records and events say of them."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from app.calls.media.recordings import NOT_THERE, RecordingRow, State, readiness_of
from app.calls.model import Call
from app.enrichment.records.named_recordings import settle_recordings, take_named_recordings
from app.ringcentral.models import CallRecord, read_call_record
from tests.factories_calls import ACCOUNT, call_values, raw_record
from tests.fakes.clock import START

NOW = START + timedelta(seconds=200)
FIRST = timedelta(seconds=60)
NAMED = {"id": "77", "type": "Automatic", "contentUri": "https://media.ringcentral.com/77"}


def call(**fields: Any) -> Call:
    return Call(**call_values(**fields))


def record(**fields: Any) -> CallRecord:
    read = read_call_record(raw_record(**fields))
    assert isinstance(read, CallRecord)
    return read


def kept(state: State, **fields: Any) -> RecordingRow:
    return RecordingRow(
        account_id=ACCOUNT, recording_id="77", call_id="call_1", state=state,
        created_at=START, updated_at=START,
        **fields,
    )  # fmt: skip


def test_a_recording_named_by_record_and_legs_is_one_row() -> None:
    one_call = call()
    rows = take_named_recordings(
        one_call, [record(recording=NAMED, legs=[{"recording": NAMED}])], {}, NOW, FIRST
    )
    assert [(row.recording_id, row.state, row.type) for row in rows] == [("77", "pending", "Automatic")]
    assert one_call.readiness["recording"]["state"] == "pending"


def test_the_first_request_is_due_after_the_end_and_never_in_the_past() -> None:
    fresh, old = call(ended_at=NOW), call(ended_at=NOW - timedelta(hours=1))
    due = [
        take_named_recordings(one, [record(recording=NAMED)], {}, NOW, FIRST)[0].due_at
        for one in (fresh, old)
    ]
    assert due == [NOW + FIRST, NOW]


def test_a_call_without_any_is_done_at_once() -> None:
    one_call = call()
    assert take_named_recordings(one_call, [record()], {}, NOW, FIRST) == []
    assert one_call.readiness["recording"]["state"] == "none"


def test_what_an_event_announced_is_waited_for() -> None:
    one_call = call(details={"recordingIds": ["77"]})
    rows = take_named_recordings(one_call, [record()], {}, NOW, FIRST)
    assert (rows[0].state, one_call.readiness["recording"]["state"]) == ("announced", "pending")


def test_a_recording_too_short_to_be_stored_is_not_awaited() -> None:
    one_call = call(details={"recordingIds": ["77"]})
    rows = take_named_recordings(one_call, [record(shortRecording=True)], {}, NOW, FIRST)
    assert (rows[0].state, rows[0].due_at) == ("none", None)
    assert one_call.readiness["recording"]["state"] == "none"


def test_a_short_part_of_a_transferred_call_does_not_decide_about_the_other_part() -> None:
    one_call = call(details={"recordingIds": ["76", "77"]})
    short = record(shortRecording=True, legs=[{"shortRecording": True}])
    rows = take_named_recordings(one_call, [short, record(id="B")], {}, NOW, FIRST)
    assert [row.state for row in rows] == ["announced", "announced"]
    assert one_call.readiness["recording"]["state"] == "pending"
    rows = take_named_recordings(one_call, [short, record(id="B", recording=NAMED)], {}, NOW, FIRST)
    assert {row.recording_id: row.state for row in rows} == {"76": "none", "77": "pending"}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (State.ANNOUNCED, "pending"), (State.NONE, "pending"), (State.READY, None), (State.EXPIRED, None),
        (State.PENDING, None),
    ],
)  # fmt: skip
def test_records_that_name_it_open_a_recording_but_never_reopen_a_settled_one(
    before: State, after: str | None
) -> None:
    known = {"77": kept(before, type="Automatic", content_uri=NAMED["contentUri"])}
    rows = take_named_recordings(call(), [record(recording=NAMED)], known, NOW, FIRST)
    assert [row.state for row in rows] == ([after] if after else [])


def test_a_later_address_is_stored_without_changing_the_state() -> None:
    known = {"77": kept(State.READY, type="Automatic")}
    (row,) = take_named_recordings(call(), [record(recording=NAMED)], known, NOW, FIRST)
    assert (row.state, row.content_uri, row.due_at) == ("ready", NAMED["contentUri"], None)


@pytest.mark.parametrize(
    ("states", "together"),
    [
        ([], "none"), (["none"], "none"), (["ready", "expired"], "ready"), (["expired", "none"], "expired"),
        (["ready", "pending"], "pending"), (["announced"], "pending"),
    ],
)  # fmt: skip
def test_the_recordings_of_a_call_are_ready_when_none_is_open_and_one_is_ready(
    states: list[str], together: str
) -> None:
    assert readiness_of(states) == together


def kept_row(recording_id: str, **fields: Any) -> RecordingRow:
    row = take_named_recordings(call(), [record(recording=NAMED | {"id": recording_id})], {}, NOW, FIRST)[0]
    return replace(row, **fields)


def test_a_stable_record_with_the_address_makes_the_recording_ready() -> None:
    one_call = call()
    (row,) = settle_recordings(one_call, {"77": kept_row("77")}, NOW, archives=False)
    assert (row.state, row.due_at) == ("ready", None)
    assert one_call.readiness["recording"]["state"] == "ready"


def test_a_recording_without_address_is_requested_now_unless_it_was_already() -> None:
    one_call = call()
    fresh = kept_row("1", content_uri=None, due_at=NOW + FIRST)
    tried = kept_row("2", state=State.ANNOUNCED, attempts=2, due_at=NOW + FIRST)
    done = kept_row("3", state=State.EXPIRED, due_at=None)
    rows = settle_recordings(one_call, {"1": fresh, "2": tried, "3": done}, NOW, archives=False)
    assert [(row.recording_id, row.state, row.due_at) for row in rows] == [("1", "pending", NOW)]
    assert one_call.readiness["recording"]["state"] == "pending"


@pytest.mark.parametrize("denied", [{"attempts": 1, "problem": NOT_THERE}, {"problem": NOT_THERE}])
def test_a_recording_that_ringcentral_did_not_have_is_not_settled_by_its_record(
    denied: dict[str, Any],
) -> None:
    one_call = call()
    assert settle_recordings(one_call, {"77": kept_row("77", **denied)}, NOW, archives=False) == []
    assert one_call.readiness["recording"]["state"] == "pending"


@pytest.mark.parametrize("before", [{"state": State.ANNOUNCED}, {"state": State.PENDING}])
def test_an_address_that_arrives_after_failed_requests_counts(before: dict[str, Any]) -> None:
    known = {"77": kept_row("77", content_uri=None, attempts=2, problem=NOT_THERE, **before)}
    (row,) = take_named_recordings(call(), [record(recording=NAMED)], known, NOW, FIRST)
    assert (row.state, row.attempts, row.problem) == ("pending", 0, None)
    (settled,) = settle_recordings(call(), {"77": row}, NOW, archives=False)
    assert settled.state == "ready"
