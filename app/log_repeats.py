"""Logs what happens repeatedly once, not each time.

`Outage` is for something that is unavailable for a time: the database, RingCentral, a step of background
work. `Repeats` is for refusals that anybody can cause at any rate: wrong tokens, wrong API keys, rate limits.
"""

import asyncio
from collections.abc import Callable, Hashable
from contextvars import Context
from dataclasses import dataclass
from typing import Any

import structlog

from app.clock import Clock, SystemClock

STILL_SECONDS = 300.0
"""While an outage lasts, a line says so this often."""

SETTLED_SECONDS = 5.0
"""An outage is over with the first success after this time without a failure: intermittent failures are one
outage.
"""

REPEAT_SECONDS = 60.0
_MOST_KEYS = 1000

log = structlog.get_logger(__name__)


class Outage:
    """Logs one line when something begins to fail, one every few minutes while it lasts, and one when it is
    over.
    """

    def __init__(
        self, what: str, clock: Clock | None = None, *, settled_seconds: float = SETTLED_SECONDS, **facts: Any
    ) -> None:
        """`what` is the log's event, such as "the database is away"; every line has `facts`."""
        self.what = what
        self.clock: Clock = clock or SystemClock()
        self.failures = 0
        self._facts = facts
        self._settled = settled_seconds
        self._since: float | None = None
        self._logged_at = self._failed_at = 0.0

    @property
    def lasts(self) -> bool:
        """Whether it is going on."""
        return self._since is not None

    def failed(self, why: str, **facts: Any) -> None:
        """Record a failure. `facts` may include `exc_info`."""
        now = self.clock.monotonic()
        self.failures += 1
        self._failed_at = now
        if self._since is None:
            self._since = self._logged_at = now
            log.warning(self.what, why=why, **self._facts, **facts)
        elif now - self._logged_at >= STILL_SECONDS:
            self._logged_at = now
            log.warning(f"{self.what}, still", why=why, **self._facts, **self._figures(now))

    def worked(self) -> None:
        """Record a success."""
        if self._since is None:
            return
        now = self.clock.monotonic()
        if now - self._failed_at < self._settled:
            return
        log.info(f"{self.what}: over", **self._facts, **self._figures(now))
        self._since, self.failures = None, 0

    def _figures(self, now: float) -> dict[str, Any]:
        since = now if self._since is None else self._since
        return {"seconds": round(now - since, 1), "tries": self.failures}


@dataclass(slots=True)
class _Entry:
    at: float
    unlogged: int
    again: Callable[[int], None]


class Repeats:
    """Logs the first line of each kind at once, then at most one a minute, with their number (`count`)."""

    def __init__(self, clock: Clock | None = None, every_seconds: float = REPEAT_SECONDS) -> None:
        self._clock: Clock = clock or SystemClock()
        self._every = every_seconds
        self._entries: dict[Hashable, _Entry] = {}

    def tell(self, write: Callable[..., Any], event: str, *, key: Hashable = None, **facts: Any) -> None:
        """Log an event, or count it. `write` is a logger's method; `key` separates kinds that have the same
        event.

        What was counted is logged a minute after it began, even if nothing follows.
        """
        now, kind = self._clock.monotonic(), (event, key)
        entry = self._entries.get(kind)
        if entry is None or now - entry.at >= self._every:
            count = 1 if entry is None else entry.unlogged + 1
            if len(self._entries) >= _MOST_KEYS:
                self.flush()
            self._entries[kind] = _Entry(now, 0, lambda count: write(event, count=count, **facts))
            write(event, count=count, **facts)
            return
        entry.unlogged += 1
        if entry.unlogged == 1:
            self._flush_later(kind, self._every - (now - entry.at))

    def flush(self) -> None:
        """Log all that was counted and not logged yet."""
        entries, self._entries = self._entries, {}
        for item in entries.values():
            if item.unlogged:
                item.again(item.unlogged)

    def _flush_later(self, kind: Hashable, seconds: float) -> None:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return
        # In its own context: the line about many requests must not carry the ids of one.
        loop.call_later(seconds, self._flush, kind, context=Context())

    def _flush(self, kind: Hashable) -> None:
        entry = self._entries.pop(kind, None)
        if entry is not None and entry.unlogged:
            entry.again(entry.unlogged)
            self._entries[kind] = _Entry(self._clock.monotonic(), 0, entry.again)
