"""The traffic of the company."""

import random
from collections import Counter

import pytest

from app.simulator.scripting.catalogue import SCRIPTS
from app.simulator.scripting.traffic import CallGenerator, Traffic, UnknownScriptError, check_mix
from app.simulator.settings import DEFAULT_MIX


def company(calls_per_minute: float = 6.0, calls: int | None = None, seed: int = 1) -> CallGenerator:
    return CallGenerator(Traffic(calls_per_minute, calls, 60.0, DEFAULT_MIX), random.Random(seed))


def test_an_ordinary_day_consists_of_existing_scripts() -> None:
    assert check_mix(DEFAULT_MIX) is DEFAULT_MIX
    assert set(DEFAULT_MIX) < set(SCRIPTS)


def test_the_same_seed_gives_the_same_calls() -> None:
    one, other = company(seed=7), company(seed=7)
    assert [(one.gap_seconds(), one.next_call()) for _ in range(20)] == [
        (other.gap_seconds(), other.next_call()) for _ in range(20)
    ]


def test_calls_arrive_at_the_given_rate() -> None:
    busy = company(calls_per_minute=6.0)
    gaps = [busy.gap_seconds() for _ in range(4000)]
    assert sum(gaps) / len(gaps) == pytest.approx(10.0, rel=0.1)


def test_scripts_are_drawn_by_their_weights() -> None:
    busy = company()
    drawn = Counter(busy.next_call()[0] for _ in range(4000))
    total = sum(DEFAULT_MIX.values())
    assert drawn["outbound_answered"] / 4000 == pytest.approx(16 / total, rel=0.25)


def test_traffic_stops_after_its_number_of_calls() -> None:
    small = company(calls=2)
    assert not small.is_done
    small.next_call()
    small.next_call()
    assert small.is_done
    small.change(calls=1)
    assert not small.is_done


def test_a_rate_of_zero_starts_no_calls() -> None:
    assert company(calls_per_minute=0.0).is_done


def test_a_mix_with_an_unknown_script_is_refused() -> None:
    with pytest.raises(UnknownScriptError):
        check_mix({"no_such_script": 1})


@pytest.mark.parametrize("mix", [{}, {"internal": 0.0}, {"internal": 1.0, "ringout": -1.0}])
def test_a_mix_without_positive_weights_is_refused(mix: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="weights"):
        check_mix(mix)
