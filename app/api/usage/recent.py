"""The last requests of each key, for the authors of connectors: what was asked, and what came of it.

A process collects them in memory, at most `KEPT` for each key, and stores those of all keys every few
seconds: no request waits for it. What was not stored when a process is killed is lost: it is a log to look
at, and no audit. Neither bodies nor queries nor ids of calls are kept.
"""

from collections import OrderedDict, deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.clock import Clock
from app.db.engine import Database
from app.db.lists import insert_rows
from app.db.tables import key_requests
from app.errors import StorageUnavailable
from app.ids import new_id

KEPT = 200
STORE_SECONDS = 5.0
_MOST_KEYS = 1_000
_LONGEST_ROUTE = 160

KeyRef = tuple[str, str]
"""The account that a key was created for, and the id of the key."""


@dataclass(frozen=True, slots=True)
class KeyRequest:
    """One request of a key."""

    entry_id: str
    """Sorts by time."""
    at: datetime
    method: str
    route: str | None
    """The template of its path; None for an unknown path."""
    status: int | None
    """None: the client disconnected first."""
    milliseconds: int
    request_id: str


class RecentRequests:
    """The requests of keys that one process has not stored yet, on its event loop."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._waiting: OrderedDict[KeyRef, deque[KeyRequest]] = OrderedDict()

    def add(self, ref: KeyRef, told: Mapping[str, Any]) -> None:
        """Collect a request that was just answered. `told`: the fields of `KeyRequest` but id and time."""
        now = self._clock.now()
        if ref not in self._waiting and len(self._waiting) >= _MOST_KEYS:
            self._waiting.popitem(last=False)
        route = told["route"] and told["route"][:_LONGEST_ROUTE]
        request = KeyRequest(new_id("req", now), now, **{**told, "route": route})
        self._waiting.setdefault(ref, deque(maxlen=KEPT)).append(request)

    def waiting_of(self, ref: KeyRef) -> Sequence[KeyRequest]:
        """Return the requests of a key that are not stored yet, oldest first."""
        return tuple(self._waiting.get(ref, ()))

    async def store(self) -> float | None:
        """Store what was collected, and remove all but the last of each key.

        Raises StorageUnavailable; what was collected is kept then, and tried again.
        """
        if not self._waiting:
            return None
        taken, self._waiting = self._waiting, OrderedDict()
        try:
            async with self._database.write() as db:
                await _write(db, taken)
        except StorageUnavailable:
            for ref, later in self._waiting.items():
                taken.setdefault(ref, deque(maxlen=KEPT)).extend(later)
            self._waiting = taken
            raise
        return None


async def _write(db: AsyncConnection, taken: Mapping[KeyRef, Sequence[KeyRequest]]) -> None:
    rows = [
        {"account_id": owner, "key_id": key_id, **asdict(request)}
        for (owner, key_id), requests in taken.items()
        for request in requests
    ]
    await insert_rows(db, key_requests, rows)
    column = key_requests.c
    newest = key_requests.alias("newest")
    mine = newest.c.account_id == bindparam("owner"), newest.c.key_id == bindparam("key")
    oldest_kept = (
        select(newest.c.entry_id).where(*mine).order_by(newest.c.entry_id.desc()).offset(KEPT - 1).limit(1)
    )
    beyond = delete(key_requests).where(
        column.account_id == bindparam("owner"),
        column.key_id == bindparam("key"),
        column.entry_id < oldest_kept.scalar_subquery(),
    )
    await db.execute(beyond, [{"owner": owner, "key": key_id} for owner, key_id in sorted(taken)])


async def load_recent(db: AsyncConnection, ref: KeyRef) -> list[KeyRequest]:
    """Return the stored requests of a key, newest first."""
    column = key_requests.c
    query = select(*(column[name] for name in KeyRequest.__slots__)).where(
        column.account_id == ref[0], column.key_id == ref[1]
    )
    rows = await db.execute(query.order_by(column.entry_id.desc()).limit(KEPT))
    return [KeyRequest(**row) for row in rows.mappings()]


async def last_requests(db: AsyncConnection, recent: RecentRequests, ref: KeyRef) -> list[KeyRequest]:
    """Return the last requests of a key, newest first: those of this process at once, others once stored."""
    # In this order: what is stored in between is in both, and counted once.
    waiting = recent.waiting_of(ref)
    found = {one.entry_id: one for one in (*waiting, *await load_recent(db, ref))}
    return [found[key] for key in sorted(found, reverse=True)][:KEPT]
