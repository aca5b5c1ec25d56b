import random
from collections.abc import Collection, Iterable
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.calls.derivation.derive import DerivedCall, derive_call
from app.calls.evidence.records import primary_of as primary_version
from app.calls.evidence.records import state_records
from app.calls.evidence.versions import RecordVersion, brings_news, merge_versions
from app.calls.model import Outcome, Source
from app.ringcentral.models import CallRecord, read_call_record
from tests.factories_calls import raw_record
from tests.fakes.clock import START


def record(record_id: str = "r", **fields: Any) -> CallRecord:
    read = read_call_record(raw_record(record_id, **fields))
    assert isinstance(read, CallRecord)
    return read


def reading(source: Source = Source.ACTIVE_CALLS, after: float = 0, **fields: Any) -> RecordVersion:
    return RecordVersion(record(**fields), source, START + timedelta(seconds=after))


def versions_of(records: Iterable[CallRecord], provisional: Collection[str] = ()) -> list[RecordVersion]:
    return [RecordVersion(one, Source.CALL_LOG, START, one.id in provisional) for one in records]


def primary_of(records: Iterable[CallRecord], provisional: Collection[str] = ()) -> CallRecord | None:
    return primary_version(versions_of(records, provisional))


def derived(records: Iterable[CallRecord], provisional: Collection[str] = ()) -> DerivedCall:
    return derive_call(state_records(versions_of(records, provisional)))


LEGS = [{"legType": "Accept", "master": True}]


def standing(kept: RecordVersion, fresh: RecordVersion) -> RecordVersion:
    news = merge_versions({"r": kept}, [fresh])
    return news.get("r", kept)


def test_the_call_log_replaces_active_calls_as_a_whole() -> None:
    bootstrap = reading(result="Accepted", direction="Outbound", message={"id": "1"})
    log = reading(Source.CALL_LOG, after=-5, result="Missed", direction="Inbound")
    assert standing(bootstrap, log).record.raw == log.record.raw


def test_active_calls_never_replaces_the_call_log() -> None:
    log, later = reading(Source.CALL_LOG), reading(after=60, result="Missed")
    assert standing(log, later) is log


def test_a_detailed_reading_replaces_a_simple_one_and_not_the_other_way() -> None:
    simple, detailed = reading(Source.CALL_LOG, after=60), reading(Source.CALL_LOG, legs=LEGS)
    assert standing(simple, detailed) is detailed
    assert standing(detailed, simple) is detailed


def test_a_record_in_progress_never_replaces_a_finished_one() -> None:
    done, ongoing = reading(), reading(Source.CALL_LOG, after=60, result="In Progress", legs=LEGS)
    assert standing(done, ongoing) is done
    assert standing(ongoing, done) is done


def test_the_later_modification_wins_whatever_the_order_of_reading() -> None:
    old = reading(Source.CALL_LOG, after=60, legs=LEGS, lastModifiedTime="2026-03-10T18:09:00.000Z")
    new = reading(Source.CALL_LOG, legs=LEGS, lastModifiedTime="2026-03-10T18:10:00.000Z", duration=97)
    assert standing(old, new) is new
    assert standing(new, old) is new


def test_merging_what_was_merged_changes_nothing() -> None:
    kept = reading(Source.CALL_LOG, legs=LEGS)
    again = reading(Source.CALL_LOG, after=300, legs=LEGS)
    assert merge_versions({"r": kept}, [kept]) == {}
    assert not brings_news(merge_versions({"r": kept}, [again]), {"r": kept})


def test_a_confirmation_counts_even_without_news() -> None:
    first, between = reading(after=0, duration=1), reading(after=10, duration=2)
    confirmed = reading(after=20, duration=1)
    assert standing(standing(first, confirmed), between).record.duration_seconds == 1
    assert standing(standing(first, between), confirmed).record.duration_seconds == 1


readings = st.lists(
    st.builds(
        lambda source, after, result, duration, legs, name: reading(
            source, after, record_id=name, result=result, duration=duration, legs=LEGS if legs else None
        ),
        st.sampled_from([Source.ACTIVE_CALLS, Source.CALL_LOG]),
        st.integers(0, 100),
        st.sampled_from(["Accepted", "Missed", "In Progress"]),
        st.integers(0, 5),
        st.booleans(),
        st.sampled_from(["a", "b", "c"]),
    ),
    max_size=12,
)


@given(readings, st.randoms())
def test_any_order_of_readings_ends_with_the_same_records(
    versions: list[RecordVersion], chance: random.Random
) -> None:
    def end(order: list[RecordVersion]) -> dict[str, Any]:
        kept: dict[str, RecordVersion] = {}
        for item in order:
            kept |= merge_versions(kept, [item])
        return {name: (item.record.raw, item.source) for name, item in kept.items()}

    shuffled = list(versions)
    chance.shuffle(shuffled)
    assert end(versions) == end(shuffled) == end([*shuffled, *versions])


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        ({"result": "Accepted", "duration": 1}, {"result": "Missed", "duration": 90}),
        ({"result": "Call connected", "duration": 1}, {"result": "Voicemail", "duration": 90}),
        ({"duration": 1, "recording": {"id": "7"}}, {"duration": 90}),
        ({"duration": 91}, {"duration": 90}),
        ({"result": "Abandoned", "duration": 0}, {"result": "Missed", "duration": 0}),
        ({"startTime": "2026-03-10T18:07:40Z"}, {"startTime": "2026-03-10T18:07:41Z"}),
    ],
)
def test_the_primary_record_is_chosen_by_rule(better: dict[str, Any], worse: dict[str, Any]) -> None:
    one, other = record("z", **better), record("a", **worse)
    assert primary_of([one, other]) is one
    assert primary_of([other, one]) is one


def test_no_record_in_progress_or_deleted_is_primary() -> None:
    assert primary_of([record("a", result="In Progress"), record("b", deleted=True)]) is None


def test_a_record_tells_the_outcome_and_the_external_number() -> None:
    call = derived([record("a", recording={"id": "3019664700"}, extension={"id": 711000101})])
    assert (call.outcome, call.external_number) == (Outcome.ANSWERED, "+15550179001")
    assert [agent.extension_id for agent in call.agents] == ["711000101"]


def test_the_external_side_of_an_outbound_call_is_the_called_one() -> None:
    sides = {"to": {"phoneNumber": "+15550179002"}, "from": {"phoneNumber": "+15550100101"}}
    call = derived([record("a", direction="Outbound", result="Call connected", **sides)])
    assert (call.direction, call.external_number) == ("Outbound", "+15550179002")


def internal(caller: str, called: str, says: str) -> list[CallRecord]:
    """The two records of a call between extensions, as the caller and as the one called have it."""
    sides = {"from": {"extensionNumber": caller}, "to": {"extensionNumber": called, "name": "Ben Cho"}}
    return [
        record("o", direction="Outbound", result="Call connected", **sides),
        record("i", direction="Inbound", result=says, **sides),
    ]


@pytest.mark.parametrize("says", ["Accepted", "Voicemail", "Missed"])
@pytest.mark.parametrize("turned", [False, True])
def test_in_a_call_between_extensions_the_called_side_decides_whether_it_was_answered(
    says: str, turned: bool
) -> None:
    records = internal("101", "102", says)
    call = derived(records[::-1] if turned else records)
    expected = {"Accepted": Outcome.ANSWERED, "Voicemail": Outcome.VOICEMAIL, "Missed": Outcome.NO_ANSWER}
    assert call.outcome is expected[says]


@pytest.mark.parametrize("says", ["Accepted", "Voicemail", "Phone Login"])
def test_a_call_to_the_own_number_reaches_voicemail(says: str) -> None:
    assert derived(internal("101", "101", says)).outcome is Outcome.VOICEMAIL


def test_a_failed_call_to_the_own_number_keeps_its_outcome() -> None:
    same = {"phoneNumber": "+15550100101"}
    call = derived([record("o", direction="Outbound", result="Busy", **{"from": same, "to": same})])
    assert call.outcome is Outcome.BUSY


def test_an_unanswered_transfer_leaves_the_call_answered() -> None:
    dana, ana = {"phoneNumber": "+15550179001"}, {"phoneNumber": "+15550100101"}
    call = record("o", direction="Outbound", result="Call connected", **{"from": ana, "to": dana})
    missed = record(
        "i", direction="Inbound", result="Missed", **{"from": dana, "to": {"extensionNumber": "102"}}
    )
    assert derived([call, missed]).outcome is Outcome.ANSWERED


def test_a_party_without_anything_is_a_party_too() -> None:
    call = derived([record("a", to={}, **{"from": {"name": "Dana Field"}})])
    assert (call.from_json, call.to_json) == ({"name": "Dana Field"}, None)


def test_a_version_from_during_the_call_never_replaces_one_from_after_it() -> None:
    early = RecordVersion(
        record(legs=LEGS, result="Stopped", duration=0), Source.CALL_LOG, START, is_provisional=True
    )
    after = reading(after=10)
    assert standing(early, after) is after
    assert standing(after, early) is after


def test_a_record_from_before_the_end_is_primary_only_without_others() -> None:
    early, after = record("early", result="Accepted", duration=900), record("after", result="Missed")
    primary = primary_of([early, after], provisional={"early"})
    assert primary is not None
    assert (primary.id, derived([early, after], provisional={"early"}).outcome) == ("after", Outcome.MISSED)
    assert primary_of([early], provisional={"early"}) is early


@pytest.mark.parametrize("ids", [("a", "b"), ("b", "a")])
def test_among_equal_records_the_callers_comes_first(ids: tuple[str, str]) -> None:
    calling, called = record(ids[0], direction="Outbound"), record(ids[1], direction="Inbound")
    assert primary_of([called, calling]) is calling
