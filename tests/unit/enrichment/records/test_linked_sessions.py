"""What records say of other sessions."""

from typing import Any

import pytest

from app.calls.model import Call
from app.calls.related.links import Link
from app.enrichment.records.linked_sessions import links_of_records
from app.ids import AccountId, CallId
from app.ringcentral.models import CallRecord, read_call_record
from tests.factories_calls import raw_record
from tests.fakes.clock import START

OWN = "s-a0c14f2b77d1ez1928b3f4c10z5e6f70000"
OTHER = {"telephonySessionId": "s-other"}


def record(**fields: Any) -> CallRecord:
    read = read_call_record(raw_record(**fields))
    assert isinstance(read, CallRecord)
    return read


def links_of(*records: CallRecord) -> list[Link]:
    call = Call(
        account_id=AccountId("908070001"),
        call_id=CallId("call_1"),
        telephony_session_id=OWN,
        started_at=START,
        created_at=START,
        updated_at=START,
    )
    return links_of_records(call, records)


@pytest.mark.parametrize("field", ["transferTarget", "transferee"])
def test_both_ends_of_a_warm_transfer_are_links(field: str) -> None:
    assert links_of(record(**{field: OTHER})) == [Link(OWN, "s-other", "attendedTransfer")]


def test_links_are_read_from_legs_as_well() -> None:
    assert links_of(record(legs=[{"transferee": OTHER}])) == [Link(OWN, "s-other", "attendedTransfer")]


def test_a_link_named_twice_is_one_link() -> None:
    twice = record(transferTarget=OTHER, transferee=OTHER, legs=[{"transferTarget": OTHER}])
    assert len(links_of(twice, twice)) == 1


def test_a_leg_of_another_session_links_it_without_saying_how() -> None:
    legs = [{"telephonySessionId": OWN}, {"telephonySessionId": "s-leg"}]
    assert links_of(record(legs=legs)) == [Link(OWN, "s-leg", "linked")]


def test_a_call_is_never_linked_with_itself() -> None:
    assert links_of(record(transferTarget={"telephonySessionId": OWN})) == []
    assert links_of(record(transferTarget={})) == []
