"""Who waits for what: topics that a commit wakes, in this process and, on PostgreSQL, in every other.

Topics: `inbox` (a delivery was stored), `ends` (a call may be over soon), `polls` (a call waits for Active
Calls), `readings` (a call is to be read in the Call Log), `sweeps` (a range of time is), `subscriptions` (one of them is
to be looked after), `timeline` (something visible changed),
`call:<id>` (this call changed). A wake-up is a hint and may be lost; whoever waits also looks by himself
from time to time.
"""

import asyncio
from collections import defaultdict
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import asyncpg
import structlog

from app.clock import Clock
from app.db.engine import CHANNEL, Database

INBOX = "inbox"
ENDS = "ends"
POLLS = "polls"
READINGS = "readings"
SWEEPS = "sweeps"
SUBSCRIPTIONS = "subscriptions"
TIMELINE = "timeline"

log = structlog.get_logger(__name__)


def of_call(call_id: str) -> str:
    """The topic of one call."""
    return f"call:{call_id}"


class Wakeups:
    """Topics and the events that wait on them. Belongs to one event loop."""

    def __init__(self) -> None:
        self._waiting: dict[str, set[asyncio.Event]] = defaultdict(set)

    @contextmanager
    def listen(self, *topics: str) -> Iterator[asyncio.Event]:
        """Give an event that is set at each wake-up of one of `topics`; the listener clears it."""
        woken = asyncio.Event()
        for topic in topics:
            self._waiting[topic].add(woken)
        try:
            yield woken
        finally:
            for topic in topics:
                self._waiting[topic].discard(woken)
                if not self._waiting[topic]:
                    del self._waiting[topic]

    def wake(self, topics: Collection[str]) -> None:
        """Wake everybody in this process who listens to one of `topics`."""
        for topic in topics:
            for woken in self._waiting.get(topic, ()):
                woken.set()


async def wait(woken: asyncio.Event, seconds: float) -> bool:
    """Wait for a wake-up at most so long; say whether one came, and clear it."""
    with suppress(TimeoutError):
        async with asyncio.timeout(max(0.0, seconds)):
            await woken.wait()
    came = woken.is_set()
    woken.clear()
    return came


async def relay(database: Database, wakeups: Wakeups, clock: Clock) -> None:
    """Pass the NOTIFYs of other replicas on, until cancelled. On SQLite there are none."""
    if database.is_sqlite:
        return
    while True:
        try:
            await _relay_until_lost(database, wakeups)
        except Exception as error:  # noqa: BLE001 - without a listener this replica hears of nothing
            log.warning("listening to the database was interrupted", error=str(error))
        await clock.sleep(1.0)


async def _relay_until_lost(database: Database, wakeups: Wakeups) -> None:
    lost = asyncio.Event()
    dsn = database.url.set(drivername="postgresql").render_as_string(hide_password=False)
    connection: Any = await asyncpg.connect(dsn, timeout=5)
    connection.add_termination_listener(lambda _: lost.set())
    try:
        await connection.add_listener(CHANNEL, lambda *received: wakeups.wake([received[3]]))
        await lost.wait()
    finally:
        with suppress(Exception):
            await connection.close(timeout=1)
