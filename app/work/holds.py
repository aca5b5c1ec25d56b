"""Holds back who failed, and nobody else: each failure in a row makes the next wait longer."""

from collections.abc import Hashable
from datetime import datetime, timedelta
from typing import Generic, TypeVar

from app.clock import Clock

K = TypeVar("K", bound=Hashable)


class Holds(Generic[K]):
    """What a loop remembers of those that failed, by key. A restart forgets it, and all have their turn at once."""

    def __init__(self, clock: Clock, *, first_seconds: float = 0.5, longest_seconds: float = 60.0) -> None:
        self._clock = clock
        self._first = first_seconds
        self._longest = longest_seconds
        self._failures: dict[K, int] = {}
        self._until: dict[K, datetime] = {}

    def has(self, key: K) -> bool:
        """Whether it is not this key's turn yet."""
        until = self._until.get(key)
        return until is not None and self._clock.now() < until

    def fail(self, key: K) -> float:
        """Note a failure; return in how many seconds the next turn is."""
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        pause = min(self._longest, self._first * 2.0 ** min(failures - 1, 20))
        self._until[key] = self._clock.now() + timedelta(seconds=pause)
        return pause

    def succeed(self, key: K) -> None:
        """Forget the failures of a key."""
        self._failures.pop(key, None)
        self._until.pop(key, None)

    def next_turn(self) -> float | None:
        """Return in how many seconds the first of those held back has its turn; None when nobody is."""
        if not self._until:
            return None
        return max(0.0, (min(self._until.values()) - self._clock.now()).total_seconds())
