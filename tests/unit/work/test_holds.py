"""Holding back single keys."""

from datetime import timedelta

from app.work.backoff import Backoff
from app.work.holds import Holds
from tests.fakes.clock import FakeClock


def test_a_turn_that_has_come_is_told_once(clock: FakeClock) -> None:
    holds: Holds[str] = Holds(clock)
    holds.hold_for("one", 2.0)
    holds.hold_for("two", 5.0)
    assert holds.held() == ["one", "two"]
    assert holds.next_turn() == 2.0
    clock.advance(3)
    assert holds.held() == ["two"]
    assert holds.next_turn() == 0.0
    assert holds.next_turn() == 2.0, "a key that has nothing to do any more does not make the loop spin"
    clock.advance(2)
    assert holds.next_turn() == 0.0
    assert holds.next_turn() is None


def test_failures_in_a_row_are_counted_although_their_pauses_are_over(clock: FakeClock) -> None:
    holds: Holds[str] = Holds(clock)
    first = holds.fail("one")
    clock.advance(first)
    holds.next_turn()
    assert holds.fail("one") > first


def test_a_key_is_held_longer_after_each_failure_until_it_succeeds() -> None:
    clock = FakeClock()
    holds: Holds[str] = Holds(clock, Backoff(first=1.0, longest=60.0))
    assert [holds.fail("one"), holds.fail("one"), holds.fail("one")] == [1.0, 2.0, 4.0]
    assert "one" in holds
    clock.advance(4.0)
    assert "one" not in holds
    holds.succeed("one")
    assert holds.fail("one") == 1.0


def test_the_next_turn_is_that_of_the_key_that_waits_least() -> None:
    clock = FakeClock()
    holds: Holds[str] = Holds(clock)
    assert holds.next_turn() is None
    holds.hold("one", clock.now() + timedelta(seconds=30))
    holds.hold_for("other", 5.0)
    assert holds.next_turn() == 5.0
