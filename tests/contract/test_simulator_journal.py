"""A simulator that starts again with the journal of an earlier run."""

import json
from pathlib import Path
from typing import Any

import pytest

from app.simulator import Simulator, SimulatorSettings, serving

NOWHERE = "http://127.0.0.1:9/hook"


def settings(journal: Path, **fields: Any) -> SimulatorSettings:
    return SimulatorSettings(port=0, media_port=0, speed=1.0, journal=journal, **fields)


def described(simulator: Simulator) -> dict[str, str]:
    """What is fixed of each call when it is planned, by id."""
    return {call.id: repr((call.sessions, call.records, call.recordings)) for call in simulator.calls}


async def test_calls_are_the_same_after_a_restart_and_new_ones_are_others(tmp_path: Path) -> None:
    journal = tmp_path / "new" / "calls.jsonl"
    async with serving(settings(journal)) as first:
        first.start_call("warm_transfer")
        first.start_call("voicemail", delay_seconds=30.0)
        played = described(first)

    async with serving(settings(journal)) as second:
        assert described(second) == played
        second.start_call("warm_transfer")
        assert len(described(second)) == 3


async def test_what_a_stopped_simulator_would_have_posted_is_lost_and_the_rest_is_posted(
    tmp_path: Path,
) -> None:
    journal = tmp_path / "calls.jsonl"
    async with serving(settings(journal)) as first:
        call = first.start_call("inbound_direct")
    line = json.loads(journal.read_bytes())
    # As if it had been stopped in the middle of the call.
    first_at, last_at = call.events[0].at, call.events[-1].at
    assert first_at < last_at
    middle = first_at + (last_at - first_at) / 2
    start = call.started_at - (middle - first.now())
    journal.write_text(json.dumps(line | {"start": start.isoformat()}) + "\n")

    async with serving(settings(journal, webhook_url=NOWHERE)) as second:
        (restored,) = second.calls
        ahead = [event for event in restored.events if event.at >= second.now() and event.delivered]
        assert 0 < len(ahead) < len(restored.events)
        second.advance((last_at - first_at).total_seconds() + 1.0)
        while second.webhooks.counts["sent"] < len(ahead):
            await second.clock.sleep(0.01)
        assert second.webhooks.counts["sent"] == len(ahead)


async def test_a_line_that_a_killed_simulator_left_behind_is_removed(tmp_path: Path) -> None:
    journal = tmp_path / "calls.jsonl"
    async with serving(settings(journal)) as first:
        first.start_call("inbound_direct")
    whole = journal.read_bytes()
    journal.write_bytes(whole + whole[:20])

    async with serving(settings(journal)) as second:
        assert len(second.calls) == 1
        second.start_call("voicemail")

    async with serving(settings(journal)) as third:
        assert sorted(call.script for call in third.calls) == ["inbound_direct", "voicemail"]


async def test_a_file_that_is_no_journal_is_refused_and_left_alone(tmp_path: Path) -> None:
    other = tmp_path / "notes.txt"
    other.write_text("milk\nbread")

    with pytest.raises(ValueError, match=r"notes\.txt, line 1: not a call of a simulator"):
        async with serving(settings(other)):
            raise AssertionError("it has started")

    assert other.read_text() == "milk\nbread"


async def test_a_reset_forgets_the_calls_of_earlier_runs(tmp_path: Path) -> None:
    journal = tmp_path / "calls.jsonl"
    async with serving(settings(journal)) as first:
        first.start_call("inbound_direct")
        first.reset()

    async with serving(settings(journal)) as second:
        assert len(second.calls) == 0


def scripts(simulator: Simulator) -> list[str]:
    return [call.script for call in simulator.calls]


async def test_the_number_of_calls_counts_those_of_earlier_runs_and_their_sequence_goes_on(
    tmp_path: Path,
) -> None:
    traffic = {"calls_per_minute": 60.0, "calls": 4}
    async with serving(settings(tmp_path / "one.jsonl", **traffic)) as whole:
        while len(whole.calls) < 4:
            whole.advance(1.0)
            await whole.clock.sleep(0.01)
        expected = sorted(scripts(whole))

    journal = tmp_path / "two.jsonl"
    async with serving(settings(journal, **traffic | {"calls": 2})) as first:
        first.start_call("conference")
        while not first.traffic.is_done:
            first.advance(1.0)
            await first.clock.sleep(0.01)

    async with serving(settings(journal, **traffic)) as second:
        assert second.traffic.started == 2
        while not second.traffic.is_done:
            second.advance(1.0)
            await second.clock.sleep(0.01)
        assert sorted(scripts(second)) == sorted([*expected, "conference"])

    async with serving(settings(journal, **traffic)) as third:
        assert third.traffic.is_done
        third.reset()
        assert third.traffic.started == 0


async def test_a_company_that_is_held_starts_no_call_before_it_is_released() -> None:
    busy = SimulatorSettings(port=0, media_port=0, calls_per_minute=60.0, calls=3)
    async with serving(busy, holds_traffic=True) as simulator:
        simulator.advance(3600.0)
        simulator.change_traffic(talk_seconds=10.0)
        await simulator.clock.sleep(0.05)
        assert (len(simulator.calls), simulator.all_ended) == (0, False)

        simulator.release_traffic()
        while not simulator.traffic.is_done:
            simulator.advance(1.0)
            await simulator.clock.sleep(0.01)
        assert len(simulator.calls) == 3
