"""What happens again and again is logged once, not each time.

`Outage` is for something that is away until it comes back: the database, RingCentral, a step of background work.
`Repeats` is for refusals that anybody can cause at any rate: wrong tokens, wrong API keys, rate limits.
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
"""An outage is over with the first success after this time without a failure: what comes and goes is one outage."""

REPEAT_SECONDS = 60.0
_MOST_KEYS = 1000

log = structlog.get_logger(__name__)


class Outage:
    """Logs one line when something begins to fail, one every few minutes while it lasts, and one when it is over."""

    def __init__(
        self, what: str, clock: Clock | None = None, *, settled_seconds: float = SETTLED_SECONDS, **facts: Any
    ) -> None:
        """`what` is the log's event, such as "the database is away"; `facts` go along with each line."""
        self.what = what
        self.clock: Clock = clock or SystemClock()
        self.failures = 0
        self._facts = facts
        self._settled = settled_seconds
        self._since: float | None = None
        self._told_at = self._failed_at = 0.0

    @property
    def lasts(self) -> bool:
        """Whether it goes on just now."""
        return self._since is not None

    def failed(self, why: str, **facts: Any) -> None:
        """Note a failure. `facts` may carry `exc_info`."""
        now = self.clock.monotonic()
        self.failures += 1
        self._failed_at = now
        if self._since is None:
            self._since = self._told_at = now
            log.warning(self.what, why=why, **self._facts, **facts)
        elif now - self._told_at >= STILL_SECONDS:
            self._told_at = now
            log.warning(f"{self.what}, still", why=why, **self._facts, **self._figures(now))

    def worked(self) -> None:
        """Note a success."""
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
class _Told:
    at: float
    unsaid: int
    again: Callable[[int], None]


class Repeats:
    """Logs the first line of each kind at once, then at most one a minute, with how many there were (`count`)."""

    def __init__(self, clock: Clock | None = None, every_seconds: float = REPEAT_SECONDS) -> None:
        self._clock: Clock = clock or SystemClock()
        self._every = every_seconds
        self._told: dict[Hashable, _Told] = {}

    def tell(self, write: Callable[..., Any], event: str, *, key: Hashable = None, **facts: Any) -> None:
        """Log an event, or count it. `write` is the method of a logger; `key` tells apart what has the same event.

        What was counted is logged a minute after it began, also if nothing follows.
        """
        now, kind = self._clock.monotonic(), (event, key)
        told = self._told.get(kind)
        if told is None or now - told.at >= self._every:
            count = 1 if told is None else told.unsaid + 1
            if len(self._told) >= _MOST_KEYS:
                self.flush()
            self._told[kind] = _Told(now, 0, lambda count: write(event, count=count, **facts))
            write(event, count=count, **facts)
            return
        told.unsaid += 1
        if told.unsaid == 1:
            self._flush_later(kind, self._every - (now - told.at))

    def flush(self) -> None:
        """Log all that was counted and not told yet."""
        told, self._told = self._told, {}
        for item in told.values():
            if item.unsaid:
                item.again(item.unsaid)

    def _flush_later(self, kind: Hashable, seconds: float) -> None:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return
        # In a context of its own: the ids of one request do not belong on the line about many.
        loop.call_later(seconds, self._flush, kind, context=Context())

    def _flush(self, kind: Hashable) -> None:
        told = self._told.pop(kind, None)
        if told is not None and told.unsaid:
            told.again(told.unsaid)
            self._told[kind] = _Told(self._clock.monotonic(), 0, told.again)
