"""Holds back single keys, such as accounts, while all others continue."""

from collections.abc import Hashable
from datetime import datetime, timedelta
from typing import Generic, TypeVar

from app.clock import Clock
from app.work.backoff import Backoff

K = TypeVar("K", bound=Hashable)

DEFAULT_BACKOFF = Backoff(first=0.5, longest=60.0)


class Holds(Generic[K]):
    """Which keys wait, and until when. In memory: after a restart every key has its turn at once."""

    def __init__(self, clock: Clock, backoff: Backoff = DEFAULT_BACKOFF) -> None:
        self._clock = clock
        self._backoff = backoff
        self._failures: dict[K, int] = {}
        self._until: dict[K, datetime] = {}

    def __contains__(self, key: K) -> bool:
        return self.remaining(key) > 0.0

    def remaining(self, key: K) -> float:
        """Return in how many seconds the key has its turn; 0.0 when it has it now."""
        until = self._until.get(key)
        return 0.0 if until is None else max(0.0, (until - self._clock.now()).total_seconds())

    def hold(self, key: K, until: datetime) -> None:
        """Hold a key back that has not failed, such as one whose rate limit is used up."""
        self._until[key] = until

    def hold_for(self, key: K, seconds: float) -> float:
        """Hold a key back for some seconds, and return them."""
        self.hold(key, self._clock.now() + timedelta(seconds=seconds))
        return seconds

    def fail(self, key: K) -> float:
        """Count a failure; return the pause in seconds, which grows with each failure in a row."""
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        return self.hold_for(key, self._backoff.pause(failures))

    def succeed(self, key: K) -> None:
        """Forget the failures of a key, and let it have its turn."""
        self._failures.pop(key, None)
        self._until.pop(key, None)

    def held(self) -> list[K]:
        """Return the keys that are held back now."""
        return [key for key in self._until if key in self]

    def next_turn(self) -> float | None:
        """Return in how many seconds the first of the keys has its turn; None when none is held back.

        A turn that has come is told once: the key may have nothing to do any more.
        """
        pauses = {key: self.remaining(key) for key in self._until}
        for key, pause in pauses.items():
            if pause == 0.0:
                del self._until[key]
        return min(pauses.values(), default=None)
