"""Wake-ups by topic: a commit wakes the listeners in this process and, on PostgreSQL, in every other.

Topics: `inbox` (a delivery was stored), `ends` (a call may be over soon), `polls` (a call waits for Active
Calls), `readings` (a call is due for a Call Log read), `sweeps` (a range of time is due), `subscriptions`
(one of them needs work), `credentials` (they, or what they can access, changed), `refusals` (refused
credentials are being viewed), `keys` (an API key was revoked), `erasures` (an erasure was ordered, or is
done), `push` (messages are due for webhook endpoints), `timeline:<account>` (something visible changed in
this account). Who listens to `timeline` hears all of them. A wake-up is a hint and may be lost: listeners
also check periodically.
"""

import asyncio
import secrets
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import structlog
from sqlalchemy import text

from app.clock import Clock
from app.db.engine import CHANNEL, Database
from app.log_repeats import Outage

INBOX = "inbox"
ENDS = "ends"
POLLS = "polls"
READINGS = "readings"
SWEEPS = "sweeps"
SUBSCRIPTIONS = "subscriptions"
CREDENTIALS = "credentials"
REFUSALS = "refusals"
TIMELINE = "timeline"
KEYS = "keys"
ERASURES = "erasures"
PUSH = "push"

_RECONNECT_SECONDS = 1.0
_ANSWER_SECONDS = 5.0
_STILL_THERE_SECONDS = 30.0
_POOLED_SECONDS = 300.0
_DIRECT_URL = (
    "The database is behind a pooler in transaction mode, and LISTEN does not work through it: set "
    "AFTERCALL_DATABASE_DIRECT_URL to the server itself. Until then replicas find each other's work by "
    "polling."
)

log = structlog.get_logger(__name__)


def of_timeline(account_id: str) -> str:
    """Return the topic of one account's timeline."""
    return f"{TIMELINE}:{account_id}"


class Wakeups:
    """The listeners of each topic. Belongs to one event loop."""

    def __init__(self) -> None:
        self._waiting: dict[str, set[asyncio.Event]] = defaultdict(set)
        self._told: dict[str, set[Callable[[str], None]]] = defaultdict(set)

    @contextmanager
    def tell(self, topic: str, act: Callable[[str], None]) -> Iterator[None]:
        """Call `act(detail)` at each wake-up of `<topic>:<detail>`. It must not fail and not take long."""
        self._told[topic].add(act)
        try:
            yield
        finally:
            self._told[topic].discard(act)

    @contextmanager
    def listen(self, *topics: str) -> Iterator[asyncio.Event]:
        """Yield an event that is set at each wake-up of one of `topics`; the listener clears it."""
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
        """Wake all listeners to `topics` in this process."""
        for topic in topics:
            whole, _, detail = topic.partition(":")
            for name in {topic, whole}:
                for woken in self._waiting.get(name, ()):
                    woken.set()
            for act in tuple(self._told.get(whole, ())):
                act(detail)


async def wait(woken: asyncio.Event, seconds: float) -> bool:
    """Wait for a wake-up for at most `seconds`; return whether one came, and clear it."""
    came = await happens(woken, seconds)
    woken.clear()
    return came


async def happens(event: asyncio.Event, seconds: float) -> bool:
    """Wait for an event for at most `seconds`; return whether it happened. It stays set, for others."""
    with suppress(TimeoutError):
        async with asyncio.timeout(max(0.0, seconds)):
            await event.wait()
    return event.is_set()


async def relay(database: Database, wakeups: Wakeups, clock: Clock) -> None:
    """Pass on the NOTIFYs of other replicas until cancelled. On SQLite there are none.

    None arrive through a pooler in transaction mode: then every replica finds the work of others by polling,
    and the log says what to set.
    """
    if database.direct is None:
        return
    if database.direct.address.pooled:
        log.warning("wake-ups between replicas are off", detail=_DIRECT_URL)
        return
    outage = Outage("listening to the database is interrupted", clock, settled_seconds=0.0)
    while True:
        pause = _RECONNECT_SECONDS
        try:
            await _relay_until_lost(database, wakeups, outage)
        except _NotDelivered:
            log.warning("wake-ups between replicas do not arrive", detail=_DIRECT_URL)
            pause = _POOLED_SECONDS
        except Exception as error:  # noqa: BLE001 - without a listener this replica is never woken
            outage.failed(str(error) or type(error).__name__)
        await clock.sleep(pause)


class _NotDelivered(Exception):
    """Something between us and the server does not pass notifications on."""


async def _relay_until_lost(database: Database, wakeups: Wakeups, outage: Outage) -> None:
    assert database.direct is not None  # noqa: S101 - PostgreSQL alone has a relay
    lost, proven = asyncio.Event(), asyncio.Event()
    proof = f"proof:{secrets.token_hex(8)}"

    def receive(_connection: Any, _process: int, _channel: str, topic: str) -> None:
        wakeups.wake([topic])
        if topic == proof:
            proven.set()

    connection = await database.direct.connect(_ANSWER_SECONDS)
    connection.add_termination_listener(lambda _: lost.set())
    try:
        await connection.add_listener(CHANNEL, receive)
        if database.direct.pooled or database.direct is not database.connector:
            await _prove(database, proof, proven)
        outage.worked()
        while not await wait(lost, _STILL_THERE_SECONDS):
            # A connection that a firewall dropped looks alive, and a server that became a standby sends
            # nothing.
            if await connection.fetchval("SELECT pg_is_in_recovery()"):
                raise ConnectionError("the server has become a standby")
    finally:
        with suppress(Exception):
            await connection.close(timeout=1)


async def _prove(database: Database, proof: str, proven: asyncio.Event) -> None:
    """Notify through another connection. Raises _NotDelivered when the notification does not arrive."""
    async with database.write() as db:
        await db.execute(text("SELECT pg_notify(:channel, :proof)"), {"channel": CHANNEL, "proof": proof})
    if not await wait(proven, _ANSWER_SECONDS):
        raise _NotDelivered
