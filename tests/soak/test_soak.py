"""Short runs of the whole service in virtual time end well, repeat themselves, and notice what is wrong."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.soak import world as worlds
from tests.soak.faults import Episode, Kind
from tests.soak.world import Outcome, Plan, World

ROOT = Path(__file__).parents[2]
EPISODES = [
    Episode(60.0, 240.0, Kind.DELIVERIES, 0.9, 0),
    Episode(120.0, 30.0, Kind.CRASH, 0.3, 0),
    Episode(200.0, 60.0, Kind.DATABASE_ERRORS, 0.6, 0),
    Episode(300.0, 5.0, Kind.DATABASE_DOWN, 0.5, 0),
    Episode(340.0, 10.0, Kind.CRASH_ALL, 0.5, 0),
    Episode(420.0, 60.0, Kind.UNAVAILABLE, 0.3, 0),
]
PLAN = Plan(seed=13, days=600.0 / 86_400.0, calls_a_day=600.0, episodes=EPISODES)
"""Ten minutes with ten calls, and an hour at most until everything is settled."""


def check(outcome: Outcome) -> None:
    assert outcome.violations == []
    assert outcome.figures["calls"] >= 5
    assert outcome.figures["lives"] == 5
    assert set(outcome.figures["faults"]) == {one.kind.value for one in EPISODES}


def test_calls_survive_crashes_and_faults_on_postgresql(postgres_url: str) -> None:
    check(worlds.run(PLAN, f"{postgres_url}?sslmode=disable"))


def test_they_survive_on_sqlite(sqlite_url: str) -> None:
    check(worlds.run(PLAN, sqlite_url))


def test_a_seed_plays_the_same_run_again() -> None:
    options = ("--days", "0.005", "--seed", "13", "--calls", "600")
    command = [sys.executable, "-m", "tests.soak", *options]
    played = [
        subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT) for _ in range(2)
    ]
    digests = [re.findall(r"run ([0-9a-f]{16})", one.stdout) for one in played]
    assert [one.returncode for one in played] == [0, 0], played[0].stdout + played[0].stderr
    assert len(digests[0]) == 1
    assert digests[0] == digests[1]


def test_a_call_that_is_not_closed_is_a_violation(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def start_another(world: World) -> None:
        world.simulator.start_call("inbound_direct")

    monkeypatch.setattr(World, "_settle", start_another)
    plan = Plan(seed=13, days=60.0 / 86_400.0, calls_a_day=1.0, episodes=[])
    found = worlds.run(plan, sqlite_url).violations
    (violation,) = [one for one in found if one.startswith("calls: inbound_direct")]
    assert violation.endswith("not final")
    # Nobody waited for the webhooks either.
    assert [one for one in found if one != violation and not one.startswith("webhooks: ")] == []
