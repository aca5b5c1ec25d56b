"""What one process knows of one account's feed: its end, its last changes, and who waits for more."""

import asyncio
from bisect import bisect_right
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from app.calls.feed.changes import FeedEntry, read_feed
from app.calls.feed.positions import BEGINNING, Position, load_end
from app.db.engine import Database
from app.ids import AccountId

MOST_REMEMBERED = 100
"""Followers that are further behind read the database."""

_BATCH = 200
_WOKEN_AT_ONCE = 256
"""Followers that are woken in one turn of the event loop: other requests find their turn in between."""


class AccountFeed:
    """One account's feed in memory. Belongs to one event loop.

    Only `open` and `read_on` query the database, and only one of them at a time. The remembered changes have
    no hole: each follows the one before it in the account's timeline.
    """

    def __init__(self, database: Database, account_id: AccountId) -> None:
        self.account_id = account_id
        self.followers = 0
        self.is_open = False
        self.is_bound = False
        """Whether this is the feed of `~`, which meanwhile means another account."""
        self._database = database
        self._start = self._end = BEGINNING
        self._changes: list[FeedEntry] = []
        self._reading = asyncio.Lock()
        self._next = asyncio.Event()
        self._places_left = _WOKEN_AT_ONCE
        self._waiting: list[asyncio.Event] = [self._next]
        """The event of each slice of followers, in the order in which they began to wait."""
        self._to_wake: deque[asyncio.Event] = deque()
        self._of_call: dict[str, set[asyncio.Event]] = defaultdict(set)

    @property
    def next_change(self) -> asyncio.Event:
        """Set once, by the next change and by `wake`. Take it before you read."""
        if not self._places_left:
            self._next = asyncio.Event()
            self._waiting.append(self._next)
            self._places_left = _WOKEN_AT_ONCE
        self._places_left -= 1
        return self._next

    @property
    def end(self) -> Position:
        """The position after the last change that is known here."""
        return self._end

    async def open(self) -> None:
        """Find the end of the feed if it is not known. Raises StorageUnavailable."""
        async with self._reading:
            if not self.is_open:
                await self._find_end()

    async def read_on(self, at_least: int) -> None:
        """Read the changes after the known end, and wake those who wait for them.

        `at_least`: a number that was assigned before. The changes up to it may have been deleted with their
        calls. Raises StorageUnavailable, and HistoryChanged if the database was restored; then call `forget`.
        """
        async with self._reading:
            if not self.is_open:
                return
            has_more = True
            while has_more:
                async with self._database.read() as db:
                    read = await read_feed(db, self.account_id, self._end, _BATCH)
                has_more = read.has_more
                if read.changes:
                    self._remember(read.changes, read.after)
            if self._end.seq < at_least:
                self._end = Position(at_least)

    def forget(self) -> None:
        """Forget a history that was replaced. Those who wait are woken, and find out by themselves."""
        self.is_open = False
        self._changes.clear()
        self.wake()

    def recall(self, after: Position, limit: int) -> list[FeedEntry] | None:
        """Return up to `limit` changes after a position, possibly none; None if only the database knows."""
        if not self.is_open or not self._start.seq <= after.seq <= self._end.seq:
            return None
        index = bisect_right(self._changes, after.seq, key=lambda change: change.seq)
        # The change at the position, if it still exists: another one there means another history.
        here = self._start if index == 0 else self._changes[index - 1].position
        if here.seq == after.seq and None not in (here.mark, after.mark) and here.mark != after.mark:
            return None
        return self._changes[index : index + limit]

    def wake(self) -> None:
        """Wake everyone who waits here."""
        self._wake_followers()
        for waiting in self._of_call.values():
            for one in waiting:
                one.set()

    @contextmanager
    def listen(self, name: str) -> Iterator[asyncio.Event]:
        """Yield an event that is set by each change of a call of this name and by `wake`; the listener clears
        it."""
        woken = asyncio.Event()
        self._of_call[name].add(woken)
        try:
            yield woken
        finally:
            self._of_call[name].discard(woken)
            if not self._of_call[name]:
                del self._of_call[name]

    async def _find_end(self) -> None:
        async with self._database.read() as db:
            self._start = self._end = await load_end(db, self.account_id)
        self._changes.clear()
        self.is_open = True

    def _remember(self, changes: Sequence[FeedEntry], end: Position) -> None:
        self._changes += changes
        surplus = len(self._changes) - MOST_REMEMBERED
        if surplus > 0:
            self._start = self._changes[surplus - 1].position
            del self._changes[:surplus]
        self._end = end
        self._wake_followers()
        if self._of_call:
            for name in {name for change in changes for name in change.names}:
                for one in self._of_call.get(name, ()):
                    one.set()

    def _wake_followers(self) -> None:
        """Wake all who wait, slice by slice and in order."""
        is_waking = bool(self._to_wake)
        self._to_wake += self._waiting
        self._next = asyncio.Event()
        self._waiting, self._places_left = [self._next], _WOKEN_AT_ONCE
        if not is_waking:
            self._wake_slice()

    def _wake_slice(self) -> None:
        self._to_wake.popleft().set()
        if self._to_wake:
            # After those who were just woken.
            asyncio.get_running_loop().call_soon(self._wake_slice)
