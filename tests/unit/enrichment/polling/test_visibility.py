"""Learning the delay from a call's end to its appearing."""

import json
import random

import pytest

from app.enrichment.polling.visibility import (
    Observation,
    Visibility,
    fits,
    learn,
    missed_observation,
    prior_visibility,
)

PRIOR = prior_visibility(120.0, 3.0, 10.0)


def looks(count: int, low: float, mode: float, high: float, *, every: float = 2.0) -> list[Observation]:
    """What polls at fixed distances, with a random phase, see of calls with a triangular delay."""
    chance = random.Random(7)
    samples = []
    for _ in range(count):
        delay, phase = chance.triangular(low, high, mode), chance.uniform(0, every)
        before = max(0.0, phase + every * ((delay - phase) // every))
        samples.append(
            Observation(before if before < delay else 0.0, phase + every * ((delay - phase) // every + 1))
        )
    return samples


def median(visibility: Visibility) -> float:
    return next(age / 20 for age in range(2400) if visibility.probability_by(age / 20) >= 0.5)


def test_the_prior_expects_calls_between_the_documented_delays() -> None:
    assert PRIOR.probability_by(3.0) < 0.01
    assert PRIOR.probability_by(6.5) == pytest.approx(0.48, abs=0.01)
    assert PRIOR.probability_by(10.0) == pytest.approx(0.96, abs=0.005)
    assert 0.97 < PRIOR.probability_by(120.0) < 0.99
    assert PRIOR.never == pytest.approx(0.02, abs=0.001)


def test_nothing_is_visible_before_its_end() -> None:
    assert PRIOR.probability_by(-1.0) == 0.0
    assert PRIOR.probability_by(0.0) == 0.0


def test_beyond_the_window_nothing_more_appears() -> None:
    assert PRIOR.probability_by(1e6) == PRIOR.probability_by(120.0)


def test_the_table_is_the_function() -> None:
    table = PRIOR.probabilities_by(0.25, 1000)
    assert table == pytest.approx([PRIOR.probability_by(index * 0.25) for index in range(1000)])


def test_a_faster_account_is_learnt() -> None:
    learnt = learn(PRIOR, looks(300, 1.0, 1.5, 2.0))
    assert learnt.probability_by(2.5) > 0.85
    assert median(learnt) < 2.5


def test_a_slower_account_is_learnt_and_lies_beyond_the_prior() -> None:
    learnt = learn(PRIOR, looks(300, 14.0, 16.0, 18.0))
    assert learnt.probability_by(13.0) < 0.15
    assert 14.0 < median(learnt) < 18.0


def test_sparse_polls_still_find_the_distribution() -> None:
    learnt = learn(PRIOR, looks(400, 3.0, 5.0, 10.0, every=6.0))
    assert median(learnt) == pytest.approx(5.8, abs=0.7)


def test_calls_that_never_appear_are_learnt() -> None:
    learnt = learn(
        PRIOR, [Observation(100.0, None) if index % 4 == 0 else Observation(4.0, 6.0) for index in range(400)]
    )
    assert learnt.never == pytest.approx(0.25, abs=0.08)


def test_only_the_last_miss_is_an_observation_and_only_once() -> None:
    assert missed_observation(40.0, 25.0, last_from_seconds=90.0) is None
    assert missed_observation(96.0, 40.0, last_from_seconds=90.0) == Observation(96.0, None)
    assert missed_observation(96.0, None, last_from_seconds=90.0) == Observation(96.0, None)
    assert missed_observation(110.0, 96.0, last_from_seconds=90.0) is None, (
        "others were looked for, and it was not there again"
    )


def test_without_those_that_never_appear_absence_would_pass_for_lateness() -> None:
    rng = random.Random(5)
    seen = [
        Observation(max(0.0, delay - 2.0), delay) for delay in (rng.triangular(3.0, 10.0) for _ in range(300))
    ]
    with_misses = [
        look for one in seen for look in ([one, Observation(96.0, None)] if rng.random() < 0.5 else [one])
    ]
    only_seen, both = learn(PRIOR, seen), learn(PRIOR, with_misses)

    def chance(knowledge: Visibility) -> float:
        """That a call which is not there after 12 s will be by 20 s."""
        by = knowledge.probability_by
        return (by(20.0) - by(12.0)) / (1.0 - by(12.0))

    assert chance(both) < chance(only_seen) / 5
    assert both.never == pytest.approx(1 / 3, abs=0.06)


def test_an_old_behaviour_fades() -> None:
    slow = learn(PRIOR, [Observation(8.0, 9.0)] * 2000)
    changed = learn(slow, [Observation(4.0, 5.0)] * 800)
    assert changed.probability_by(6.0) > 0.8


def test_the_unexpected_is_never_impossible() -> None:
    learnt = learn(PRIOR, [Observation(4.0, 4.5)] * 5000)
    assert learnt.probability_by(10.0) - learnt.probability_by(5.0) > 0.0
    assert learnt.probability_by(120.0) <= 1.0


def test_a_sample_where_nothing_was_expected_does_not_break_anything() -> None:
    nothing = Visibility((0.0, 1.0, 2.0), (0.0, 0.0), (0.0, 0.0))
    assert learn(nothing, [Observation(1.2, 1.4)]).weights[1] > 0.0


def test_no_samples_teach_nothing() -> None:
    assert learn(PRIOR, []) == PRIOR


def test_knowledge_survives_json() -> None:
    learnt = learn(PRIOR, looks(50, 3.0, 5.0, 10.0))
    assert Visibility.from_json(json.loads(json.dumps(learnt.to_json()))) == learnt


def test_stored_knowledge_that_does_not_fit_together_is_refused() -> None:
    stored = PRIOR.to_json() | {"weights": [0.5]}
    with pytest.raises(ValueError, match="do not fit"):
        Visibility.from_json(stored)


def test_knowledge_begun_under_other_settings_is_noticed() -> None:
    assert fits(learn(PRIOR, [Observation(4.0, 5.0)]), 120.0, 3.0, 10.0)
    assert not fits(PRIOR, 12.0, 0.3, 1.0)


def test_everything_scales_with_the_window() -> None:
    small = prior_visibility(12.0, 0.3, 1.0)
    for age in (2.0, 4.5, 7.0, 9.0, 30.0):
        assert small.probability_by(age / 10) == pytest.approx(PRIOR.probability_by(age), abs=1e-4)


def test_delays_of_one_length_need_no_triangle() -> None:
    step = prior_visibility(120.0, 5.0, 5.0)
    assert step.probability_by(4.9) < 0.03
    assert step.probability_by(5.5) > 0.95
