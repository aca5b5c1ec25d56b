"""The forms of events and records that RingCentral sends to some accounts: each switch changes one thing."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from app.simulator.quirks import PLAIN, Quirks
from app.simulator.scripting.catalogue import SCRIPTS
from app.simulator.scripting.model import Json
from app.simulator.settings import Faults
from tests.truth.witnesses import (
    active_records,
    final_records,
    play_script,
    presence_notifications,
    session_notifications,
    session_payloads,
)

DETAILS = {"legs", "lastModifiedTime", "transport", "billing", "internalType"}


def values(body: Any, key: str) -> Iterator[Any]:
    """Yield the values under a key, however deep."""
    if isinstance(body, dict):
        for name, value in body.items():
            if name == key:
                yield value
            yield from values(value, key)
    elif isinstance(body, list):
        for value in body:
            yield from values(value, key)


def all_told(script: str, quirks: Quirks) -> list[Json]:
    played = play_script(script, quirks=quirks)
    records = [*final_records(played), *active_records(played, view="Detailed")]
    return [*session_notifications(played), *presence_notifications(played), *records]


def test_every_quirk_is_a_switch_and_off() -> None:
    assert Faults().quirks == PLAIN
    for name in Quirks.__dataclass_fields__:
        assert Faults(**{name: True}).quirks == Quirks(**{name: True})


@pytest.mark.parametrize("script", SCRIPTS)
def test_all_quirks_together_can_be_played_with_any_script(script: str) -> None:
    everything = Quirks(**dict.fromkeys(Quirks.__dataclass_fields__, True))
    plain, odd = (play_script(script, quirks=quirks) for quirks in (PLAIN, everything))
    assert plain.call == odd.call
    assert len(session_notifications(odd)) == len(session_notifications(plain))
    assert [one["id"] for one in final_records(odd)] == [one["id"] for one in final_records(plain)]


def test_numbers_lose_their_plus_everywhere() -> None:
    for one in all_told("queue_answered", Quirks(numbers_without_plus=True)):
        numbers = [
            *values(one, "phoneNumber"),
            *(call["from"] for call in values(one, "activeCalls") for call in call),
        ]
        assert numbers
        assert not any(number.startswith("+") for number in numbers)


def test_people_are_main_number_and_extension() -> None:
    (record,) = final_records(play_script("inbound_direct", quirks=Quirks(numbers_with_extension=True)))
    assert record["to"]["phoneNumber"] == "15550100100*101"
    assert record["from"]["phoneNumber"] == "+15550179001"
    (first, *_) = presence_notifications(
        play_script("inbound_direct", quirks=Quirks(numbers_with_extension=True))
    )
    assert first["body"]["activeCalls"][0]["to"] == "15550100100*101"


def test_a_queue_keeps_its_number() -> None:
    record = final_records(play_script("queue_answered", quirks=Quirks(numbers_with_extension=True)))[0]
    assert record["to"]["phoneNumber"] == "+15550100900"


def test_half_an_emoji_is_sent_as_an_escape() -> None:
    payload = session_payloads(play_script("inbound_direct", quirks=Quirks(names_cut_in_emoji=True)))[0]
    assert rb'"Dana Field \ud83d"' in payload
    assert json.loads(payload)["body"]["parties"][0]["from"]["name"] == "Dana Field \ud83d"


def test_a_name_can_hold_a_byte_that_is_no_utf_8() -> None:
    payload = session_payloads(play_script("inbound_direct", quirks=Quirks(names_not_utf8=True)))[0]
    assert b'"\xffDana Field"' in payload
    with pytest.raises(UnicodeDecodeError):
        json.loads(payload)


def test_a_missed_call_can_be_called_by_another_word() -> None:
    quirks = Quirks(missed_as_no_answer=True)
    results = set()
    for seed in range(20):
        (record,) = final_records(play_script("inbound_missed", seed=seed, quirks=quirks))
        results.add(record["result"])
        assert {leg["result"] for leg in record["legs"]} == {record["result"]}
    assert results == {"No Answer", "Hang Up"}


def test_a_missed_call_can_have_other_ids_in_its_record() -> None:
    played = play_script("inbound_missed", quirks=Quirks(split_session_ids=True))
    (session,) = played.call.sessions
    (record,) = final_records(played)
    assert record["sessionId"] != session.session_id
    assert list(values(record, "telephonySessionId")) == []
    assert {one["body"]["sessionId"] for one in session_notifications(played)} == {session.session_id}
    (answered,) = final_records(play_script("inbound_direct", quirks=Quirks(split_session_ids=True)))
    assert answered["telephonySessionId"]


def test_presence_can_tell_of_the_queue() -> None:
    played = play_script("queue_answered", quirks=Quirks(presence_queue_info=True))
    calls = [call for one in presence_notifications(played) for call in one["body"]["activeCalls"]]
    assert {call["queueCall"] for call in calls} == {True}
    assert calls[0]["callInfo"]["primary"] == {"type": "QueueName", "value": "Sales"}
    plain = presence_notifications(play_script("queue_answered"))
    assert list(values(plain, "queueCall")) == []


def test_presence_can_end_without_a_termination_type() -> None:
    played = play_script("inbound_direct", quirks=Quirks(presence_without_end=True))
    last = presence_notifications(played)[-1]["body"]["activeCalls"][0]
    assert last["telephonyStatus"] == "NoCall"
    assert "terminationType" not in last


def test_records_can_lack_extension_ids() -> None:
    for record in final_records(play_script("internal", quirks=Quirks(records_without_extension=True))):
        assert list(values(record, "extension")) == []
        assert list(values(record, "extensionId")) == []


def test_all_records_can_be_simple() -> None:
    (record,) = final_records(play_script("inbound_direct", quirks=Quirks(simple_records_only=True)))
    assert not DETAILS & set(record)
