"""What Active Calls and the call log show of a record, and when."""

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.simulator.platform.views import (
    DETAILED,
    SIMPLE,
    Links,
    active_stage,
    current_revision,
    logged_at,
    recording_ready_at,
    revisions,
    show_logged,
    show_stage,
    shown_at,
    shown_until,
)
from app.simulator.scripting.catalogue import SCRIPTS
from app.simulator.scripting.model import IN_PROGRESS, Json, Record
from app.simulator.timing import Timing
from tests.unit.simulator.scripting.test_catalogue import play_one

LINKS = Links("http://platform.test", "http://media.test", "908070001")
TIMING = Timing()
RECORDS = st.builds(
    lambda script, seed, speed, place: _pick(script, seed, speed, place),
    st.sampled_from(sorted(name for name in SCRIPTS if name != "test_call")),
    st.integers(0, 10_000),
    st.sampled_from([1.0, 10.0, 60.0]),
    st.integers(0, 5),
)


def _pick(script: str, seed: int, speed: float, place: int) -> Record:
    records = play_one(script, seed=seed, speed=speed).records
    return records[place % len(records)]


def one_record(script: str = "inbound_recorded_with_hold", seed: int = 1) -> Record:
    return play_one(script, seed=seed).records[0]


def later(moment: datetime, seconds: float) -> datetime:
    return moment + timedelta(seconds=seconds)


def show_active(record: Record, now: datetime, view: str) -> Json | None:
    stage = active_stage(record, now, TIMING)
    logged = current_revision(revisions(record, TIMING), now)
    return None if stage is None else show_stage(record, stage, logged, LINKS, view)


@given(RECORDS)
def test_active_calls_shows_the_end_three_to_ten_seconds_late(record: Record) -> None:
    lag = (shown_at(record, TIMING)[-1] - record.final.at).total_seconds() * record.speed
    assert TIMING.lag_min - 0.001 <= lag <= TIMING.lag_max + 0.001


@given(RECORDS)
def test_an_ended_call_stays_in_active_calls_for_two_minutes(record: Record) -> None:
    until = shown_until(record, TIMING)
    assert (until - record.session.ended_at).total_seconds() * record.speed == pytest.approx(120, abs=0.01)
    assert active_stage(record, until - timedelta(microseconds=1), TIMING) is record.final
    assert active_stage(record, until, TIMING) is None


@given(RECORDS)
def test_nothing_appears_before_it_happens(record: Record) -> None:
    for stage, moment in zip(record.stages, shown_at(record, TIMING), strict=True):
        assert moment > stage.at
    assert active_stage(record, record.started_at, TIMING) is None


@given(RECORDS, st.floats(0, 400))
def test_a_call_in_progress_has_neither_duration_nor_final_result(record: Record, seconds: float) -> None:
    now = later(record.started_at, seconds / record.speed)
    shown = show_active(record, now, SIMPLE)
    if shown is not None:
        assert (shown["result"] == IN_PROGRESS) == ("duration" not in shown)
        assert (shown["result"] == IN_PROGRESS) == (now < shown_at(record, TIMING)[-1])


@given(RECORDS)
def test_revisions_are_in_order_and_the_last_one_is_final(record: Record) -> None:
    rewritten = revisions(record, TIMING)
    moments = [revision.at for revision in rewritten]
    assert moments == sorted(set(moments))
    assert [one.kind for one in rewritten if one.kind == "final"] == ["final"]
    assert rewritten[-1].stage is record.final
    assert rewritten[-1].with_recording == bool(record.recordings.kept)


@given(RECORDS)
def test_the_log_follows_within_thirty_seconds_or_within_minutes_for_stragglers(
    record: Record,
) -> None:
    delay = (logged_at(record, TIMING) - record.session.ended_at).total_seconds() * record.speed
    if record.draws.straggler < TIMING.straggler_share:
        assert 119 <= delay <= 301
    else:
        assert 14.9 <= delay <= 30.1


@given(RECORDS)
def test_the_modification_time_changes_with_every_revision(record: Record) -> None:
    shown = [
        show_logged(record, revision, LINKS, DETAILED, company_level=True)
        for revision in revisions(record, TIMING)
    ]
    times = [one["lastModifiedTime"] for one in shown]
    assert times == sorted(times)
    assert len({one["id"] for one in shown}) == 1


def test_provisional_records_appear_during_the_call_if_switched_on() -> None:
    record, always = one_record(), Timing(provisional_share=1.0)
    during = current_revision(revisions(record, always), later(record.started_at, 7))
    assert during is not None
    assert during.kind == "provisional"
    never = Timing(provisional_share=0.0)
    assert current_revision(revisions(record, never), later(record.started_at, 7)) is None


def test_some_provisional_records_look_final() -> None:
    always = Timing(provisional_share=1.0)
    results = {
        revisions(one_record("inbound_direct", seed), always)[0].stage.summary.result for seed in range(60)
    }
    assert {IN_PROGRESS, "Stopped", "IP Phone Offline", "Accepted"} <= results


def test_a_recording_is_attached_before_or_after_it_can_be_fetched() -> None:
    gaps = []
    for seed in range(40):
        record = one_record(seed=seed)
        attached = next(one.at for one in revisions(record, TIMING) if one.with_recording)
        ready = recording_ready_at(record, TIMING)
        assert ready is not None
        gaps.append((attached - ready).total_seconds())
    assert min(gaps) < 0 < max(gaps)


def test_a_call_in_progress_has_no_call_log_fields_in_active_calls() -> None:
    record = one_record()
    shown = show_active(record, later(record.started_at, 20), DETAILED)
    assert shown is not None
    assert not {"transport", "billing", "lastModifiedTime", "recording"} & set(shown)
    assert [leg["legType"] for leg in shown["legs"]] == ["Accept", "PstnToSip"]


def test_only_the_detailed_view_has_legs_and_modification_time() -> None:
    record = one_record()
    revision = revisions(record, TIMING)[-1]
    simple = show_logged(record, revision, LINKS, SIMPLE, company_level=True)
    detailed = show_logged(record, revision, LINKS, DETAILED, company_level=True)
    assert {"legs", "lastModifiedTime", "transport", "billing", "internalType"} == set(detailed) - set(simple)


def test_start_times_have_whole_seconds() -> None:
    shown = show_logged(
        one_record(), revisions(one_record(), TIMING)[-1], LINKS, DETAILED, company_level=True
    )
    assert shown["startTime"] == "2026-03-10T18:07:41.000Z"


def test_the_uri_of_an_active_record_is_in_the_extensions_log() -> None:
    record = one_record()
    shown = show_active(record, later(record.started_at, 20), SIMPLE)
    assert shown is not None
    assert f"/extension/{record.extension_id}/call-log/{record.id}" in shown["uri"]
    assert shown["extension"]["id"] == int(record.extension_id)


def test_recording_content_is_on_the_media_host() -> None:
    record = one_record()
    shown = show_logged(record, revisions(record, TIMING)[-1], LINKS, SIMPLE, company_level=True)
    assert shown["recording"]["contentUri"].startswith("http://media.test/")
    assert shown["recording"]["uri"].startswith("http://platform.test/")


@given(st.floats(0, 1, exclude_max=True))
def test_lags_are_within_their_limits(chance: float) -> None:
    assert 3.0 <= TIMING.lag(chance) <= 10.0


def test_a_timing_without_spread_has_one_lag() -> None:
    assert Timing(lag_min=2.0, lag_mode=2.0, lag_max=2.0).lag(0.7) == 2.0
