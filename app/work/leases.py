"""Keeps a lease alive while its work goes on, so that it can be short: what a crashed replica holds is soon free."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import structlog

from app.errors import StorageUnavailable
from app.work.wakeups import wait

log = structlog.get_logger(__name__)


@asynccontextmanager
async def renewed(renew: Callable[[], Awaitable[None]], every_seconds: float) -> AsyncIterator[None]:
    """Call `renew` from time to time until the block ends. A renewal that fails is tried again the next time."""
    done = asyncio.Event()

    async def keep() -> None:
        while not await wait(done, every_seconds):
            try:
                await renew()
            except StorageUnavailable as error:
                log.warning("a lease could not be renewed", why=str(error))

    keeper = asyncio.create_task(keep(), name="lease")
    try:
        yield
    finally:
        done.set()
        await keeper
