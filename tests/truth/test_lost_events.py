"""Missing witnesses make nothing untrue: what settled records tell stays, whatever events are known beside
them, and what all events tell stays, whatever records are there.
"""

import random
from collections.abc import Sequence
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.calls.derivation import DerivedCall
from app.calls.evidence.people import UNKNOWN_COMPANY, Company
from app.simulator.scripting.model import Json
from tests.truth.conformance import (
    ALL,
    COMPARED,
    DIRECTORY,
    ONE_USER,
    Telling,
    derive,
    facts_of,
    is_right,
    tellings,
)
from tests.truth.model import EVENTS, RECORDS
from tests.truth.witnesses import presence_notifications, session_notifications

WITH_RECORDS = [one for one in tellings() if one.way in (ALL, ONE_USER)]
COMPANIES = (DIRECTORY, UNKNOWN_COMPANY)


def told_by_both(telling: Telling) -> list[str]:
    return [
        name
        for name in COMPARED
        if not telling.untold_by(name)
        and telling.truth.is_told(name, EVENTS)
        and telling.truth.is_told(name, RECORDS)
    ]


def right_fields(telling: Telling, call: DerivedCall) -> set[str]:
    return {name for name in told_by_both(telling) if is_right(telling, name, call, exact_agents=False)}


def spoilt_by_records(telling: Telling, count: int) -> set[str]:
    """Return what all events alone tell truly, and do not any more beside so many of the records."""
    names = [one for one in COMPARED if not telling.untold_by(one) and telling.truth.is_told(one, EVENTS)]
    alone = derive(telling.facts, (), DIRECTORY)
    right = {name for name in names if is_right(telling, name, alone)}
    found: set[str] = set()
    for known in combinations(telling.records, count):
        call = derive(telling.facts, known, DIRECTORY)
        found |= {name for name in right if not is_right(telling, name, call)}
    return found


def spoilt(telling: Telling, known: Sequence[Json], company: Company) -> set[str]:
    """Return what the records alone tell truly, and do not any more beside these events."""
    alone = derive((), telling.records, company)
    beside = derive(facts_of(known), telling.records, company)
    return right_fields(telling, alone) - right_fields(telling, beside)


@settings(max_examples=400, deadline=None)
@given(
    st.sampled_from(range(len(WITH_RECORDS))),
    st.sampled_from(range(len(COMPANIES))),
    st.sampled_from((0.1, 0.3, 0.6, 0.9)),
    st.randoms(use_true_random=False),
)
def test_session_events_of_which_any_are_lost_spoil_nothing(
    place: int, company: int, share: float, chance: random.Random
) -> None:
    telling = WITH_RECORDS[place]
    events = session_notifications(telling.played, telling.truth.telephony_session_id)
    known = [one for one in events if chance.random() < share]
    assert spoilt(telling, known, COMPANIES[company]) == set()


@pytest.mark.parametrize(
    "telling", [one for one in WITH_RECORDS if one.way == ALL], ids=lambda one: one.played.script
)
@pytest.mark.parametrize("company", COMPANIES, ids=["directory", "no directory"])
def test_an_outage_at_the_start_or_at_the_end_of_a_call_spoils_nothing(
    telling: Telling, company: Company
) -> None:
    events = session_notifications(telling.played, telling.truth.telephony_session_id)
    for place in range(len(events) + 1):
        assert spoilt(telling, events[place:], company) == set(), f"the first {place} are lost"
        assert spoilt(telling, events[:place], company) == set(), f"only the first {place} are known"


@pytest.mark.parametrize(
    "telling", [one for one in WITH_RECORDS if one.way == ALL], ids=lambda one: one.played.script
)
def test_some_of_the_records_spoil_nothing_of_what_all_events_tell(telling: Telling) -> None:
    for count in range(1, len(telling.records) + 1):
        assert spoilt_by_records(telling, count) == set()


@settings(max_examples=250, deadline=None)
@given(
    st.sampled_from(range(len(WITH_RECORDS))),
    st.sampled_from((0.1, 0.3, 0.6, 0.9)),
    st.booleans(),
    st.randoms(use_true_random=False),
)
def test_presence_of_which_any_is_lost_spoils_nothing(
    place: int, share: float, with_sessions: bool, chance: random.Random
) -> None:
    telling = WITH_RECORDS[place]
    session = telling.truth.telephony_session_id
    events = presence_notifications(telling.played, session)
    if with_sessions:
        events += session_notifications(telling.played, session)
    known = [one for one in events if chance.random() < share]
    assert spoilt(telling, known, DIRECTORY) == set()


def test_exact_times_stay_where_the_records_agree_with_them() -> None:
    (telling,) = [one for one in WITH_RECORDS if one.way == ALL and one.played.script == "inbound_direct"]
    events = session_notifications(telling.played, telling.truth.telephony_session_id)
    whole = derive(facts_of(events), telling.records, DIRECTORY)
    assert whole.answered_at is not None
    assert whole.answered_at.microsecond
    known = [one for one in events if one["body"]["sequence"] != 6]
    assert len(known) == len(events) - 1, "the caller's own state"
    beside = derive(facts_of(known), telling.records, DIRECTORY)
    assert (beside.answered_at, beside.talk_seconds) == (whole.answered_at, whole.talk_seconds)
