"""Look-ups of rows by key, of which those that are asked for at the same time share a statement.

Most of what a look-up costs is the way to the database: a connection, a transaction, and four or five round
trips. While one statement is under way, further look-ups gather; the next statement finds all of them. So
statements grow with the load, and a single look-up does not wait. Each look-up is answered by a statement
that began after it was asked for: it sees everything that was committed before.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Hashable, Mapping
from contextvars import Context
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.engine import Database
from app.errors import StorageUnavailable

MOST_KEYS = 50
"""Of one statement."""

_ATTEMPTS = 2
"""A server that was replaced is noticed by the first statement, and the second gets a new connection."""

Load = Callable[[AsyncConnection, Collection[Any]], Awaitable[Mapping[Any, Any]]]
"""Finds what some keys stand for. Keys that stand for nothing are left out."""


@dataclass(slots=True)
class _Batch:
    """Keys that one statement will look up. `found` is done when it has."""

    keys: set[Hashable] = field(default_factory=set)
    found: asyncio.Future[Mapping[Any, Any]] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )


class Lookups:
    """Those of one process. What is looked up is told by the function that loads it."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: dict[Load, list[_Batch]] = {}
        self._running: dict[Load, asyncio.Task[None]] = {}

    async def find(self, load: Load, key: Hashable) -> Any:
        """Return what `load` finds for a key; None if it finds nothing.

        Raises StorageUnavailable, and whatever `load` raises for the keys that were looked up together.
        """
        batches = self._waiting.setdefault(load, [])
        if not batches or len(batches[-1].keys) >= MOST_KEYS:
            batches.append(_Batch())
        batch = batches[-1]
        batch.keys.add(key)
        if load not in self._running:
            # In a context of its own: it outlives the request that is the first to ask.
            task = asyncio.get_running_loop().create_task(self._run(load), context=Context())
            self._running[load] = task
        # Shielded: others wait for the same.
        return (await asyncio.shield(batch.found)).get(key)

    async def _run(self, load: Load) -> None:
        batches = self._waiting[load]
        try:
            while batches:
                batch = batches.pop(0)
                try:
                    batch.found.set_result(await self._look_up(load, batch.keys))
                except Exception as error:  # noqa: BLE001 - each of those who wait gets it
                    batch.found.set_exception(error)
                    batch.found.exception()  # there may be none left
        finally:
            del self._running[load], self._waiting[load]
            for batch in batches:
                batch.found.cancel()

    async def _look_up(self, load: Load, keys: Collection[Hashable]) -> Mapping[Any, Any]:
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                async with self._database.read() as db:
                    return await load(db, keys)
            except StorageUnavailable:
                if attempt == _ATTEMPTS:
                    raise
        raise AssertionError
