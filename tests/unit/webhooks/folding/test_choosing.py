"""Which deliveries are folded together."""

from datetime import date

from app.webhooks.folding.batches import MOST_BYTES, choose
from app.webhooks.folding.unfolded import Waiting

DAY = date(2026, 3, 10)


def test_all_that_waits_of_a_call_comes_together_and_the_oldest_call_first() -> None:
    waiting = [
        Waiting(f"{place}", session, 1, DAY) for place, session in enumerate(["a", "b", "a", "c", "b"])
    ]
    assert choose(waiting, 2) == ["0", "2", "1", "4"]
    assert choose(waiting, 100) == ["0", "2", "1", "4", "3"]


def test_deliveries_without_a_session_are_each_on_their_own() -> None:
    waiting = [
        Waiting("0", None, 1, DAY),
        Waiting("1", "a", 1, DAY),
        Waiting("2", None, 1, DAY),
        Waiting("3", "a", 1, DAY),
    ]
    assert choose(waiting, 2) == ["0", "1", "3"]


def test_bodies_have_a_limit_together_but_one_is_always_taken() -> None:
    half = MOST_BYTES // 2
    assert choose([Waiting("0", "a", 3 * half, DAY)], 5) == ["0"]
    assert choose([Waiting(f"{place}", "a", half, DAY) for place in range(5)], 5) == ["0", "1"]


def test_nothing_is_chosen_of_nothing() -> None:
    assert choose([], 5) == []
