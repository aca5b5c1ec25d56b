"""Which records may open a call."""

from typing import Any

import pytest
from pydantic import ValidationError

from app.enrichment.records.plan import CallLogPlan
from app.enrichment.rules import call_log_plan
from app.ringcentral.models import CallRecord, read_call_record

VOICE = CallLogPlan(first_after=60.0, gap=30.0, horizon=3600.0, settled_after=60.0)
BOTH = CallLogPlan(
    first_after=60.0, gap=30.0, horizon=3600.0, settled_after=60.0, call_types=("Voice", "Fax")
)


def record(kind: object) -> CallRecord:
    read = read_call_record({"id": "r", "type": kind})
    assert isinstance(read, CallRecord)
    return read


@pytest.mark.parametrize(
    ("kinds", "voice", "both"),
    [
        (["Voice"], True, True),
        ([None], True, True),
        ([5], True, True),
        (["Fax"], False, True),
        (["fax"], False, True),
        (["Voice", "Fax"], False, True),
        (["SMS"], False, False),
    ],
)
def test_only_calls_of_the_wanted_types_are_opened(kinds: list[Any], voice: bool, both: bool) -> None:
    records = [record(kind) for kind in kinds]
    assert (VOICE.may_open(records), BOTH.may_open(records)) == (voice, both)


@pytest.mark.parametrize(
    ("written", "read"),
    [("Voice", ("Voice",)), ("voice, FAX", ("Voice", "Fax")), ("Fax,Voice", ("Voice", "Fax"))],
)
def test_the_wanted_types_come_from_the_settings(make_settings: Any, written: str, read: object) -> None:
    assert call_log_plan(make_settings(call_types=written)).call_types == read


@pytest.mark.parametrize("written", ["", "Fax", "Voice,SMS", "all"])
def test_other_types_are_refused(make_settings: Any, written: str) -> None:
    with pytest.raises(ValidationError, match="must be Voice, or Voice,Fax"):
        make_settings(call_types=written)
