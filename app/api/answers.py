"""Parts of responses that are kept in memory: each is built once per version of what it shows.

What is asked for is looked up in the database first, so an answer of an earlier version is never sent. What
changes without a new version, such as when a record was last read, may be `KEPT_SECONDS` old.
"""

from collections import OrderedDict
from collections.abc import Hashable

from app.clock import Clock

KEPT_SECONDS = 30.0
MOST_BYTES = 32 * 1_048_576
_OVERHEAD_BYTES = 512


class Answers:
    """The answers that one process keeps, the least recently used of which make room for others."""

    def __init__(self, clock: Clock, most_bytes: int = MOST_BYTES) -> None:
        self._clock = clock
        self._most_bytes = most_bytes
        self._kept: OrderedDict[Hashable, tuple[Hashable, float, bytes]] = OrderedDict()
        self._bytes = 0

    def has(self, key: Hashable) -> bool:
        """Whether something is kept for a key. Whether it is of the current version is not known."""
        kept = self._kept.get(key)
        return kept is not None and 0 <= self._clock.monotonic() - kept[1] < KEPT_SECONDS

    def find(self, key: Hashable, version: Hashable) -> bytes | None:
        """Return what was kept for this version of `key`."""
        kept = self._kept.get(key)
        if kept is None or kept[0] != version or not 0 <= self._clock.monotonic() - kept[1] < KEPT_SECONDS:
            return None
        self._kept.move_to_end(key)
        return kept[2]

    def keep(self, key: Hashable, version: Hashable, body: bytes) -> None:
        """Keep an answer in place of any earlier one."""
        self._forget(key)
        self._kept[key] = (version, self._clock.monotonic(), body)
        self._bytes += len(body) + _OVERHEAD_BYTES
        while self._bytes > self._most_bytes:
            self._forget(next(iter(self._kept)))

    def clear(self) -> None:
        """Forget everything, for instance what was erased."""
        self._kept.clear()
        self._bytes = 0

    def _forget(self, key: Hashable) -> None:
        kept = self._kept.pop(key, None)
        if kept is not None:
            self._bytes -= len(kept[2]) + _OVERHEAD_BYTES
