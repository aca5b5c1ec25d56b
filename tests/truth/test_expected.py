"""The truths fit the scripts: one for each session, with people, times and ids that the scripts have."""

from datetime import datetime

import pytest

from app.calls.model import Outcome
from app.simulator.scripting.catalogue import SCRIPTS
from app.simulator.scripting.model import Json
from tests.truth.expected import NOT_CALLS, TRUTHS, truths_of
from tests.truth.model import EVENTS, RECORDS, Truth
from tests.truth.witnesses import (
    Played,
    active_records,
    final_records,
    play_every_script,
    play_script,
    presence_notifications,
    record_history,
    session_notifications,
)

CALLS = [played for played in play_every_script() if played.script not in NOT_CALLS]
EACH = pytest.mark.parametrize("played", CALLS, ids=lambda played: played.script)
FIELDS = frozenset(Truth.__dataclass_fields__)


def test_every_script_has_its_truth() -> None:
    assert set(TRUTHS) | NOT_CALLS == set(SCRIPTS)


@EACH
def test_each_session_has_one_truth_and_each_conversation_one_main_session(played: Played) -> None:
    truths = truths_of(played)
    assert [truth.telephony_session_id for truth in truths] == [
        session.telephony_session_id for session in played.call.sessions
    ]
    assert all(truth.is_main == (truth.main == place) for place, truth in enumerate(truths))
    assert all(truths[truth.main].is_main for truth in truths)


@EACH
def test_the_truth_uses_known_words_and_people(played: Played) -> None:
    for truth in truths_of(played):
        assert truth.outcome in set(Outcome)
        assert truth.direction in {"Inbound", "Outbound"}
        assert truth.external_number is None or not truth.internal
        people = {person.id for person in played.company.people}
        assert {agent.extension_id for agent in truth.agents} <= people
        ways = {EVENTS, RECORDS, *(extension.id for extension in played.company.extensions)}
        assert set(truth.untold) <= ways
        assert truth.undecided.union(*truth.untold.values()) <= FIELDS


@EACH
def test_answers_are_when_a_party_became_answered(played: Played) -> None:
    for place, truth in enumerate(truths_of(played)):
        session = played.call.sessions[place]
        answers = [
            event.at
            for event in played.call.events
            if event.session == session and event.party["status"]["code"] == "Answered"
        ]
        stated = [truth.answered_at, *(agent.answered_at for agent in truth.agents)]
        for moment in (one for one in stated if one is not None):
            assert _nearest(moment, answers) <= 0.05, (played.script, moment)


@EACH
def test_talk_ends_by_the_end_of_the_session(played: Played) -> None:
    for place, truth in enumerate(truths_of(played)):
        session = played.call.sessions[place]
        for agent in truth.agents:
            if agent.answered_at is not None and agent.talk_seconds is not None:
                left = (session.ended_at - agent.answered_at).total_seconds()
                assert agent.talk_seconds <= left + 0.1, played.script


@EACH
def test_speed_shortens_a_truth(played: Played) -> None:
    fast = play_script(played.script, speed=10.0)
    for truth, faster in zip(truths_of(played), truths_of(fast), strict=True):
        assert faster.talk_seconds == pytest.approx(truth.talk_seconds / 10)


def _nearest(moment: datetime, others: list[datetime]) -> float:
    return min(abs((moment - other).total_seconds()) for other in others)


@EACH
def test_witnesses_have_the_form_in_which_they_are_sent(played: Played) -> None:
    delivered = [event for event in played.call.events if event.delivered]
    notifications = session_notifications(played)
    assert [one["body"]["sequence"] for one in notifications] == [event.sequence for event in delivered]
    for notification in presence_notifications(played):
        assert len(notification["body"]["activeCalls"]) == 1
    assert [record["id"] for record in final_records(played)] == [one.id for one in played.call.records]
    for record in [*final_records(played), *active_records(played, view="Detailed")]:
        assert record["result"] != "In Progress"
        assert record["legs"]
    assert all("legs" not in record for record in final_records(played, view="Simple"))
    own = [record for one in played.extension_ids for record in final_records(played, extension_id=one)]
    assert len(own) == len(played.call.records)
    moments = [moment for moment, _ in record_history(played)]
    assert moments == sorted(moments)


def test_a_session_can_be_told_alone() -> None:
    played = play_script("warm_transfer")
    first, second = (session.telephony_session_id for session in played.call.sessions)
    told = session_notifications(played, second)
    assert {one["body"]["telephonySessionId"] for one in told} == {second}
    assert {one["telephonySessionId"] for one in final_records(played, first)} == {first}


@EACH
def test_the_presence_of_everybody_whom_events_name_ends_with_no_call(played: Played) -> None:
    people = {person.id for person in played.company.people}
    last: dict[str, Json] = {}
    for notification in presence_notifications(played):
        (call,) = notification["body"]["activeCalls"]
        last[call["partyId"]] = call
    named = {event.party["id"] for event in played.call.events if event.extension_id in people}
    assert set(last) == named
    assert {call["telephonyStatus"] for call in last.values()} <= {"NoCall"}
