"""Finds API keys that are revoked while a long response to them is being sent: streams, long polls,
recordings.

A key is looked up when its request arrives. Long responses then check here repeatedly, which is cheap: one
query every two seconds serves all responses of a process. A revocation also sends a wake-up, so that
responses end at once; where no wake-up arrives (another process on SQLite, a lost connection), the query
finds the revocation.
"""

import asyncio
import math
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import select

from app.clock import Clock
from app.db.engine import Database
from app.db.lists import is_one_of
from app.db.tables import api_keys
from app.errors import StorageUnavailable
from app.work import wakeups
from app.work.wakeups import Wakeups

CHECK_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class KeyRef:
    """A key that was valid when its request arrived. `digest` None: whatever the current value of the key."""

    account_id: str
    key_id: str
    digest: str | None = None


class Revocations:
    """The keys that one process watches, on its event loop."""

    def __init__(self, database: Database, wakeups_: Wakeups, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._watched: Counter[KeyRef] = Counter()
        self._revoked: set[KeyRef] = set()
        self._checked_at = -math.inf
        self._checking = asyncio.Lock()
        self._listening = wakeups_.listen(wakeups.KEYS)
        self._woken = self._listening.__enter__()

    @contextmanager
    def watch(self, ref: KeyRef) -> Iterator[None]:
        """Watch a key while a response to it is being sent."""
        self._watched[ref] += 1
        try:
            yield
        finally:
            self._watched[ref] -= 1
            if not self._watched[ref]:
                del self._watched[ref]
                self._revoked.discard(ref)

    async def is_revoked(self, ref: KeyRef) -> bool:
        """Whether a watched key is known to be revoked. False while the database is not available."""
        await self.has_any()
        return ref in self._revoked

    async def has_any(self) -> bool:
        """Whether any watched key is known to be revoked."""
        if self._watched and self._is_due():
            async with self._checking:
                if self._is_due():
                    await self._check()
        return bool(self._revoked)

    def _is_due(self) -> bool:
        return self._woken.is_set() or self._clock.monotonic() - self._checked_at >= CHECK_SECONDS

    async def _check(self) -> None:
        self._woken.clear()
        self._checked_at = self._clock.monotonic()
        watched = list(self._watched)
        query = select(api_keys.c.account_id, api_keys.c.key_id, api_keys.c.digest).where(
            is_one_of(api_keys.c.key_id, sorted({ref.key_id for ref in watched})),
            api_keys.c.revoked_at.is_(None),
        )
        try:
            async with self._database.read() as db:
                rows = (await db.execute(query)).all()
        except StorageUnavailable:
            return
        valid = {KeyRef(row.account_id, row.key_id, digest) for row in rows for digest in (None, row.digest)}
        self._revoked = {ref for ref in watched if ref not in valid}
