from itertools import islice

import pytest

from app.demo.arrivals import OPENING, arrivals, lead_seconds
from app.demo.options import Options
from app.simulator import DEFAULT_MIX


@pytest.mark.parametrize("calls", [1, 3, 4, 20])
def test_as_many_calls_come_as_were_asked_for(calls: int) -> None:
    assert len(list(arrivals(Options(calls=calls)))) == calls


def test_without_a_number_the_company_plays_on() -> None:
    assert len(list(islice(arrivals(Options(calls=None)), 500))) == 500


def test_short_calls_come_first_and_cover_the_first_seconds() -> None:
    opening = list(arrivals(Options(calls=len(OPENING))))

    assert opening == list(OPENING)
    assert sum(arrival.after_seconds for arrival in opening) < 10


def test_the_same_seed_plays_the_same_day_and_another_seed_another_one() -> None:
    def day(seed: int) -> list[tuple[float, str]]:
        return [(arrival.after_seconds, arrival.script) for arrival in arrivals(Options(calls=30, seed=seed))]

    assert day(1) == day(1)
    assert day(1) != day(2)


def test_calls_come_as_often_as_was_asked_for() -> None:
    played = list(arrivals(Options(calls=3004, calls_per_minute=12.0)))[len(OPENING) :]

    mean = sum(arrival.after_seconds for arrival in played) / len(played)
    assert mean == pytest.approx(5.0, rel=0.1)
    assert {arrival.script for arrival in played} == set(DEFAULT_MIX)


@pytest.mark.parametrize("speed", [0.5, 1.0, 10.0, 100.0])
def test_a_note_has_half_a_real_second_to_arrive_before_the_call(speed: float) -> None:
    assert lead_seconds(speed) / speed >= 0.5
