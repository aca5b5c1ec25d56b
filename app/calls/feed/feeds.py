"""The feeds that one process follows: one reader serves all followers of all accounts.

A wake-up names the account whose feed has changed, and the reader reads that feed once, however many follow
it. Wake-ups may be lost, so every second one statement compares the ends of all followed feeds, while what
wake-ups name is read beside it. The reader runs only while there are followers.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

import structlog
from sqlalchemy import and_, select

from app.api.dependencies import Services
from app.calls.feed.account_feed import AccountFeed
from app.calls.feed.positions import Position
from app.db.lists import is_one_of
from app.db.tables import accounts, timeline
from app.errors import HistoryChanged, StorageUnavailable
from app.ids import UNBOUND_ACCOUNT, AccountId
from app.work import wakeups

CHECK_SECONDS = 1.0
"""How often the ends of all feeds are compared with the database."""

_FRESH_SECONDS = 2.5
_KEPT_SECONDS = 90.0
_READ_AT_ONCE = 4
_CLOSING_SECONDS = 2.0

log = structlog.get_logger(__name__)


class _End(NamedTuple):
    """The last number of an account's timeline, and the mark of its change if there still is one."""

    seq: int
    mark: str | None


class Feeds:
    """Every followed feed of one process, on its event loop."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self._feeds: dict[AccountId, AccountFeed] = {}
        self._left_at: dict[AccountId, float] = {}
        self._due: dict[AccountId, _End | None] = {}
        """The feeds to read, each with the end that the database has; None where a wake-up named it."""
        self._woken = asyncio.Event()
        self._check_now = asyncio.Event()
        self._checked_at = -math.inf
        self._reader: asyncio.Task[None] | None = None
        self._is_closing = False

    @contextmanager
    def follow(self, account_id: AccountId) -> Iterator[AccountFeed]:
        """Keep one account's feed up to date. Then `open` it: what is committed after that is noticed."""
        feed = self._feeds.get(account_id)
        if feed is None:
            feed = self._feeds[account_id] = AccountFeed(self.services.database, account_id)
        self._left_at.pop(account_id, None)
        feed.followers += 1
        try:
            self._start_reader()
            yield feed
        finally:
            feed.followers -= 1
            if not feed.followers:
                # Kept for a while: a client of long polls comes back at once.
                self._left_at[account_id] = self.services.clock.monotonic()

    def followers(self, account_id: AccountId) -> int:
        """Return how many requests follow this account's feed."""
        feed = self._feeds.get(account_id)
        return feed.followers if feed is not None else 0

    def is_fresh(self) -> bool:
        """Whether the ends of all feeds were compared with the database a moment ago."""
        return self.services.clock.monotonic() - self._checked_at <= _FRESH_SECONDS

    async def aclose(self) -> None:
        """Stop the reader, if possible after the statements that it waits for: a connection on which one was
        cancelled is lost."""
        if self._reader is None:
            return
        self._is_closing = True
        self._check_now.set()
        await asyncio.wait([self._reader], timeout=_CLOSING_SECONDS)
        self._reader.cancel()
        await asyncio.wait([self._reader])
        self._is_closing = False

    def _start_reader(self) -> None:
        if self._reader is None or self._reader.done():
            self._reader = asyncio.create_task(self._run(), name="feeds")

    async def _run(self) -> None:
        wakeups_ = self.services.wakeups
        with (
            wakeups_.tell(wakeups.TIMELINE, self._note_change),
            wakeups_.tell(wakeups.KEYS, self._note_revocation),
        ):
            # Again if a follower has come while it was ending.
            while self._feeds and not self._is_closing:
                ended = asyncio.Event()
                reading = asyncio.create_task(self._read_until(ended), name="feeds' changes")
                try:
                    await self._check_repeatedly()
                    ended.set()
                    self._woken.set()
                    await asyncio.wait([reading])
                finally:
                    reading.cancel()

    async def _check_repeatedly(self) -> None:
        while self._feeds and not self._is_closing:
            await _attempt(self._check)
            if self._due:
                self._woken.set()
            with suppress(TimeoutError):
                async with asyncio.timeout(CHECK_SECONDS):
                    await self._check_now.wait()
            self._check_now.clear()

    async def _read_until(self, ended: asyncio.Event) -> None:
        while not ended.is_set():
            await self._woken.wait()
            self._woken.clear()
            await _attempt(self._read_due)

    def _note_change(self, account_id: str) -> None:
        if account_id in self._feeds:
            self._due[AccountId(account_id)] = None
            self._woken.set()

    def _note_revocation(self, _: str) -> None:
        self._check_now.set()

    async def _check(self) -> None:
        """Find out which feeds have changed, and whom a revocation or the end of the process concerns."""
        now = self.services.clock.monotonic()
        await self._wake_for_good_reason()
        self._drop_unused(now)
        await self._compare_ends()
        self._checked_at = now

    async def _read_due(self) -> None:
        """Read the feeds that have changed."""
        due, self._due = self._due, {}
        side_by_side = asyncio.Semaphore(_READ_AT_ONCE)

        async def read(account_id: AccountId, end: _End | None) -> None:
            feed = self._feeds.get(account_id)
            if feed is not None:
                async with side_by_side:
                    await _read_on(feed, end)

        await asyncio.gather(*(read(*one) for one in due.items()))

    async def _wake_for_good_reason(self) -> None:
        """Wake all followers when the process stops or a key was revoked: they find out whom it concerns."""
        if self.services.stopping.is_set() or await self.services.revocations.has_any():
            for feed in self._feeds.values():
                feed.wake()

    def _drop_unused(self, now: float) -> None:
        for account_id, left_at in list(self._left_at.items()):
            if not left_at <= now < left_at + _KEPT_SECONDS:
                del self._left_at[account_id], self._feeds[account_id]

    async def _compare_ends(self) -> None:
        """Find the feeds whose end is not what is known of it. Raises StorageUnavailable."""
        last = and_(timeline.c.account_id == accounts.c.account_id, timeline.c.seq == accounts.c.timeline_seq)
        query = (
            select(accounts.c.account_id, accounts.c.timeline_seq, accounts.c.bound_to, timeline.c.mark)
            .select_from(accounts.outerjoin(timeline, last))
            .where(is_one_of(accounts.c.account_id, sorted(self._feeds)))
        )
        async with self.services.database.read() as db:
            rows = {AccountId(row.account_id): row for row in await db.execute(query)}
        for account_id, feed in list(self._feeds.items()):
            row = rows.get(account_id)
            if account_id == UNBOUND_ACCOUNT and row is not None and row.bound_to and not feed.is_bound:
                feed.is_bound = True
                feed.wake()
            end = _End(row.timeline_seq, row.mark) if row is not None else _End(0, None)
            if account_id not in self._due and not _is_at(feed, end):
                self._due[account_id] = end


def _is_at(feed: AccountFeed, end: _End) -> bool:
    return feed.is_open and feed.end == Position(end.seq, end.mark or feed.end.mark)


async def _attempt(step: Callable[[], Awaitable[None]]) -> None:
    """Take one step of the reader. It survives all errors: without it this process would follow nothing."""
    try:
        await step()
    except StorageUnavailable as error:
        log.debug("feeds wait for the database", error=str(error))
    except Exception:
        log.exception("reading feeds failed")


async def _read_on(feed: AccountFeed, end: _End | None) -> None:
    try:
        await feed.open()
        # It may have been opened, or read on, since the ends were compared.
        if end is None or not _is_at(feed, end):
            await feed.read_on(end.seq if end is not None else 0)
    except HistoryChanged:
        feed.forget()
        await feed.open()
