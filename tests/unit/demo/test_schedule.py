from itertools import islice

import pytest

from app.demo.options import Options
from app.demo.schedule import OPENING, lead_seconds, plan_calls
from app.simulator import DEFAULT_MIX


@pytest.mark.parametrize("calls", [1, 3, 4, 20])
def test_the_given_number_of_calls_is_played(calls: int) -> None:
    assert len(list(plan_calls(Options(calls=calls)))) == calls


def test_without_a_number_calls_never_end() -> None:
    assert len(list(islice(plan_calls(Options(calls=None)), 500))) == 500


def test_short_calls_come_first() -> None:
    opening = list(plan_calls(Options(calls=len(OPENING))))

    assert opening == list(OPENING)
    assert sum(planned.after_seconds for planned in opening) < 10


def test_the_seed_determines_the_calls() -> None:
    def day(seed: int) -> list[tuple[float, str]]:
        return [
            (planned.after_seconds, planned.script) for planned in plan_calls(Options(calls=30, seed=seed))
        ]

    assert day(1) == day(1)
    assert day(1) != day(2)


def test_calls_arrive_at_the_given_rate() -> None:
    played = list(plan_calls(Options(calls=3004, calls_per_minute=12.0)))[len(OPENING) :]

    mean = sum(planned.after_seconds for planned in played) / len(played)
    assert mean == pytest.approx(5.0, rel=0.1)
    assert {planned.script for planned in played} == set(DEFAULT_MIX)


@pytest.mark.parametrize("speed", [0.5, 1.0, 10.0, 100.0])
def test_a_note_has_half_a_real_second_before_the_call(speed: float) -> None:
    assert lead_seconds(speed) / speed >= 0.5
