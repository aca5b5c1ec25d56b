"""A clock that the test moves."""

import asyncio
from datetime import UTC, datetime, timedelta

START = datetime(2026, 3, 10, 18, 7, 41, tzinfo=UTC)


class FakeClock:
    """Stands still until `advance`; a `sleep` advances it and yields once to other tasks."""

    def __init__(self, start: datetime = START) -> None:
        self._start = start
        self._now = start
        self.slept: list[float] = []

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return (self._now - self._start).total_seconds()

    def advance(self, seconds: float) -> datetime:
        """Move the time on; return the new now."""
        self._now += timedelta(seconds=seconds)
        return self._now

    def set(self, now: datetime) -> None:
        self._now = now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.advance(max(0.0, seconds))
        await asyncio.sleep(0)
