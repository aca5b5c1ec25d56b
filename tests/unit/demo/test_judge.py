from typing import Any

import pytest

from app.demo.judge import expect, judge
from app.demo.notes import pieces_before

from .samples import call, record, session, truth


def problems(
    played: dict[str, Any], *calls: dict[str, Any], pieces: dict[str, Any] | None = None
) -> list[str]:
    report = judge({1: played}, calls, pieces or {})
    assert report.is_clean == (not report.invented and not report.verdicts[0].problems)
    return list(report.verdicts[0].problems)


def test_a_call_as_it_was_played_has_no_problem() -> None:
    report = judge({1: truth()}, [call()], {})

    assert (report.enriched, report.is_clean) == (1, True)
    assert report.verdicts[0].records == 1


def test_a_call_that_the_service_never_heard_of_is_named() -> None:
    report = judge({1: truth()}, [], {})

    assert report.enriched == 0
    assert report.verdicts[0].problems == ("s-1: the service has never heard of it",)


@pytest.mark.parametrize("stage", ["live", "ended", "absent"])
def test_a_call_without_record_is_not_enriched(stage: str) -> None:
    report = judge({1: truth()}, [call(stage=stage, records=[], absentReason="never-logged")], {})

    assert report.enriched == 0
    assert stage in report.verdicts[0].problems[0]


def test_two_calls_of_one_session_are_one_too_many() -> None:
    assert problems(truth(), call(), call()) == ["s-1: the service has 2 calls of this session"]


def test_a_call_that_nobody_made_is_an_invention() -> None:
    report = judge({1: truth()}, [call(1), call(2)], {})

    assert report.invented == ("s-2",)
    assert not report.is_clean


def test_a_wrong_outcome_a_wrong_direction_and_a_wrong_session_are_told() -> None:
    told = problems(truth(), call(outcome="missed", direction="Outbound", sessionId="7"))

    assert told == [
        "s-1: sessionId is 7, should be 1001",
        "s-1: outcome is missed, should be answered",
        "s-1: direction is Outbound, should be Inbound",
    ]


def test_a_note_that_is_not_attached_is_told() -> None:
    (piece,) = pieces_before("outbound_busy", "1001")

    assert problems(truth(), call(), pieces={"s-1": [piece]}) == ["s-1: note before-1001 is not attached"]


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
    ],
)
def test_what_became_of_a_call_follows_from_its_strongest_record(
    records: list[dict[str, Any]], outcome: str, directions: set[str]
) -> None:
    expected = expect(session(records=records))

    assert (expected.outcome, expected.directions) == (outcome, frozenset(directions))


def test_a_session_that_no_record_explains_cannot_be_judged() -> None:
    with pytest.raises(ValueError, match="s-1"):
        expect(session(records=[]))


def test_nobody_answers_a_call_to_ones_own_number() -> None:
    records = [record(result="Call connected", direction="Outbound"), record(result="Accepted")]
    assert expect(session(records=records), "own_number").outcome == "voicemail"
