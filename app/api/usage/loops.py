"""The background work of a process that answers requests."""

import asyncio
from contextlib import suppress

from app.api.usage.recent import STORE_SECONDS, RecentRequests
from app.errors import StorageUnavailable
from app.work.loops import Loop

_CLOSING_SECONDS = 2.0


def request_loop(recent: RecentRequests) -> Loop:
    """Return the loop of a process that answers requests: it stores the last ones of each key."""

    async def close() -> None:
        # A database that is gone does not keep the process from ending.
        with suppress(StorageUnavailable, TimeoutError):
            async with asyncio.timeout(_CLOSING_SECONDS):
                await recent.store()

    return Loop("key requests", recent.store, (), STORE_SECONDS, close)
