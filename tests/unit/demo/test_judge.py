from typing import Any

import pytest

from app.demo.judge import expect, judge
from app.demo.notes import attachments_before
from app.simulator import DEFAULT_MIX, Timing
from app.simulator.platform.calls import CallStore
from app.simulator.platform.truth import describe_call
from tests.truth.expected import truths_of
from tests.truth.witnesses import play_script

from .samples import call, record, session, truth


def problems(
    played: dict[str, Any], *calls: dict[str, Any], attachments: dict[str, Any] | None = None
) -> list[str]:
    report = judge({1: played}, calls, attachments or {})
    assert report.is_clean == (not report.unexpected and not report.verdicts[0].problems)
    return list(report.verdicts[0].problems)


def test_a_correct_call_has_no_problem() -> None:
    report = judge({1: truth()}, [call()], {})

    assert (report.enriched, report.is_clean) == (1, True)
    assert report.verdicts[0].records == 1


def test_a_call_that_the_service_does_not_have_is_reported() -> None:
    report = judge({1: truth()}, [], {})

    assert report.enriched == 0
    assert report.verdicts[0].problems == ("s-1: the service does not have this call",)


@pytest.mark.parametrize("stage", ["live", "ended", "absent"])
def test_a_call_without_a_record_is_not_enriched(stage: str) -> None:
    report = judge({1: truth()}, [call(stage=stage, records=[], absentReason="never-logged")], {})

    assert report.enriched == 0
    assert stage in report.verdicts[0].problems[0]


def test_two_calls_for_one_session_are_a_problem() -> None:
    assert problems(truth(), call(), call()) == ["s-1: the service has 2 calls for this session"]


def test_a_call_that_was_not_played_is_unexpected() -> None:
    report = judge({1: truth()}, [call(1), call(2)], {})

    assert report.unexpected == ("s-2",)
    assert not report.is_clean


def test_wrong_outcome_direction_and_session_are_reported() -> None:
    found = problems(truth(), call(outcome="missed", direction="Outbound", sessionId="7"))

    assert found == [
        "s-1: sessionId is 7, should be 1001",
        "s-1: outcome is missed, should be answered",
        "s-1: direction is Outbound, should be Inbound",
    ]


def test_a_missing_note_is_reported() -> None:
    (attachment,) = attachments_before("outbound_busy", "1001")

    assert problems(truth(), call(), attachments={"s-1": [attachment]}) == [
        "s-1: note before-1001 is not attached"
    ]


def test_a_transfer_is_one_call_with_two_sessions() -> None:
    played = truth(session(1), session(2), script="warm_transfer")

    assert judge({1: played}, [call(1)], {}).enriched == 0
    assert judge({1: played}, [call(1), call(2)], {}).enriched == 1


@pytest.mark.parametrize(
    ("records", "outcome", "directions"),
    [
        ([record(result="Missed"), record(result="Accepted")], "answered", {"Inbound"}),
        ([record(result="Missed"), record(result="Abandoned")], "abandoned", {"Inbound"}),
        (
            [record(result="Call connected", direction="Outbound"), record(result="Accepted")],
            "answered",
            {"Inbound", "Outbound"},
        ),
        ([record(result="No Answer", direction="Outbound")], "noAnswer", {"Outbound"}),
        ([record(result="Busy", direction="Outbound")], "busy", {"Outbound"}),
        ([record(result="Voicemail")], "voicemail", {"Inbound"}),
        (
            [record(result="Missed"), record(result="Stopped", direction="Outbound", action="FindMe")],
            "missed",
            {"Inbound"},
        ),
        (
            [
                record(result="Accepted"),
                record(result="Call connected", direction="Outbound", action="Transfer"),
            ],
            "answered",
            {"Inbound"},
        ),
    ],
)
def test_the_outcome_follows_the_precedence_of_results(
    records: list[dict[str, Any]], outcome: str, directions: set[str]
) -> None:
    expected = expect(session(records=records))

    assert (expected.outcome, expected.directions) == (outcome, frozenset(directions))


def test_a_session_without_records_cannot_be_judged() -> None:
    with pytest.raises(ValueError, match="s-1"):
        expect(session(records=[]))


def test_a_call_to_the_own_number_ends_in_voicemail() -> None:
    records = [record(result="Call connected", direction="Outbound"), record(result="Accepted")]
    assert expect(session(records=records), "own_number").outcome == "voicemail"


def test_an_internal_call_that_a_voicemail_box_answers_ends_in_voicemail() -> None:
    records = [record(result="Call connected", direction="Outbound"), record(result="Voicemail")]
    assert expect(session(records=records), "internal_voicemail").outcome == "voicemail"


@pytest.mark.parametrize("script", DEFAULT_MIX)
def test_the_demo_expects_what_is_true_of_each_script_that_it_plays(script: str) -> None:
    played = play_script(script)
    store = CallStore(Timing())
    store.add(played.call)
    described = describe_call(store, played.call, played.company.account_id, played.call.ended_at)
    for session_, right in zip(described["sessions"], truths_of(played), strict=True):
        expected = expect(session_, script)
        assert expected.outcome == right.outcome
        assert right.direction in expected.directions
