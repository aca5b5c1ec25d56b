"""The signal that the process begins to shut down."""

import asyncio
from datetime import datetime


class StopSignal(asyncio.Event):
    """Set once the process accepts no more connections; `since` is when that began."""

    since: datetime | None = None

    def begin(self, now: datetime) -> None:
        """Set the signal; the first caller's time counts."""
        self.since = self.since or now
        self.set()
