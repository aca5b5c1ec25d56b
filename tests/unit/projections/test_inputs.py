"""Whose call it is, how long it lasted, and what is doubtful about both."""

from datetime import UTC
from typing import Any

import pytest

from app.projections.inputs import Context, WarningCode, derive_inputs
from tests.projected_calls import ANA, BEN, call, missed, outbound


def inputs(shown: Any, **context: Any) -> Any:
    return derive_inputs(shown, Context(**{"zone": UTC} | context))


@pytest.mark.parametrize(
    ("shown", "of", "seconds", "doubt"),
    [
        (call(duration=96, talkSeconds=92.82), "call", 96, None),
        (call(duration=96, talkSeconds=92.82), "talk", 92.82, None),
        (call(duration=96, talkSeconds=None), "talk", 96, "Talk time is unknown"),
        (missed(duration=21), "call", 0, None),
        (missed(duration=21, talkSeconds=None), "talk", 0, None),
        (call(duration=31, outcome="voicemail"), "call", 31, None),
        (call(duration=None, stage="ended"), "call", 96.108, "There is no record yet"),
        (call(duration=None, stage="live"), "call", None, None),
        (call(duration=None, endTime=None, stage="ended"), "call", None, None),
    ],
)
def test_the_duration_is_that_of_the_conversation(
    shown: Any, of: str, seconds: float | None, doubt: str | None
) -> None:
    found = inputs(shown, duration_of=of)
    assert found.values["duration"] == seconds
    assert ("duration" in found.doubts) == (doubt is not None)
    if doubt is not None:
        assert found.doubts["duration"][1].startswith(doubt)


@pytest.mark.parametrize(
    ("shown", "email", "doubt"),
    [
        (call(), ANA["email"], None),
        (
            call(agent=ANA | {"extensionNumber": "104", "email": None}),
            None,
            (WarningCode.OWNER_UNKNOWN, "Owner unknown: extension 104 has no e-mail"),
        ),
        (
            missed(),
            BEN["email"],
            (WarningCode.OWNER_ASSUMED, "Nobody answered: extension 102 is the only person whose phone rang"),
        ),
        (
            missed(agents=[BEN, ANA | {"role": "rang"}]),
            None,
            (WarningCode.OWNER_UNKNOWN, "Owner unknown: nobody of the company answered"),
        ),
    ],
)
def test_the_owner_is_who_answered_or_whose_phone_rang(shown: Any, email: str | None, doubt: Any) -> None:
    found = inputs(shown)
    assert found.values["ownerEmail"] == email
    assert found.doubts.get("ownerEmail") == doubt


@pytest.mark.parametrize(
    ("shown", "title"),
    [
        (call(), "Call from Dana Field"),
        (outbound(), "Call to Dana Field"),
        (missed(), "Missed call from Dana Field"),
        (call(outcome="voicemail"), "Voicemail from Dana Field"),
        (call(outcome="abandoned"), "Abandoned call from Dana Field"),
        (outbound(outcome="noAnswer"), "Unanswered call to Dana Field"),
        (call(**{"from": {"phoneNumber": "+15550179001"}}), "Call from +15550179001"),
        (call(externalNumber=None, **{"from": {"name": ""}}), "Call from an unknown number"),
        (call(direction=None), "Call with Dana Field"),
    ],
)
def test_the_title_says_what_became_of_the_call_and_with_whom(shown: Any, title: str) -> None:
    assert inputs(shown).values["title"] == title


@pytest.mark.parametrize(
    ("sides", "numbers"),
    [
        ({}, ("+15550179001", "+15550100101")),
        ({"to": {"extensionNumber": "101"}}, ("+15550179001", "101")),
        ({"from": {"phoneNumber": "15550179001"}}, ("+15550179001", "+15550100101")),
        ({"from": {"phoneNumber": "anonymous"}, "externalNumber": None}, (None, "+15550100101")),
        ({"from": None, "externalNumber": None}, (None, "+15550100101")),
    ],
)
def test_numbers_are_in_e164_or_extensions(sides: dict[str, Any], numbers: tuple[str | None, str]) -> None:
    values = inputs(call(**sides)).values
    assert (values["fromNumber"], values["toNumber"]) == numbers


def test_a_call_without_the_end_ends_after_its_duration() -> None:
    assert inputs(call(endTime=None)).values["endTime"].isoformat() == "2026-03-10T18:09:17.012000+00:00"
    early = inputs(call(endTime="2026-03-10T18:07:40.000Z")).values
    assert early["endTime"] == early["startTime"]


def test_the_guid_of_a_call_never_changes() -> None:
    assert inputs(call()).values["guid"] == "aa0693e8-29a2-51f7-b430-a1f1f6593b89"
    assert inputs(call(version=9)).values["guid"] == inputs(call()).values["guid"]


@pytest.mark.parametrize(
    ("queue", "place"), [("Sales", "abandoned in a queue"), (None, "abandoned in a menu")]
)
def test_an_abandoned_call_was_in_a_queue_or_in_a_menu(queue: str | None, place: str) -> None:
    values = inputs(missed(outcome="abandoned", queueName=queue)).values
    assert (values["outcomeAndPlace"], values["outcome"]) == (place, "abandoned")
