"""Spaces requests to one endpoint."""

from collections.abc import Hashable
from typing import Generic, TypeVar

from app.clock import Clock

K = TypeVar("K", bound=Hashable)
_MOST_REMEMBERED = 2_000


class Pace:
    """Spaces the beginnings of requests to one endpoint."""

    def __init__(self, clock: Clock, per_second: float | None) -> None:
        self._clock = clock
        self._gap = 1.0 / per_second if per_second else 0.0
        self._next_at = clock.monotonic()

    async def wait(self) -> None:
        """Wait for the next turn."""
        if not self._gap:
            return
        now = self._clock.monotonic()
        pause = self._next_at - now
        self._next_at = max(self._next_at, now) + self._gap
        if pause > 0:
            await self._clock.sleep(pause)


class Paces(Generic[K]):
    """The pace of each endpoint in this process, from one turn to the next."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._known: dict[K, tuple[float | None, Pace]] = {}

    def of(self, key: K, per_second: float | None) -> Pace:
        """Return the pace of an endpoint; a new one if its rate was changed."""
        known = self._known.get(key)
        if known is not None and known[0] == per_second:
            return known[1]
        if len(self._known) >= _MOST_REMEMBERED:
            self._known.clear()
        pace = Pace(self._clock, per_second)
        self._known[key] = (per_second, pace)
        return pace
