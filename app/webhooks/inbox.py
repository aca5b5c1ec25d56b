"""The inbox: a delivery is stored, durably and once, before RingCentral gets its 200.

Group commit: requests that arrive together share one INSERT and one commit. While one commit is under
way the next batch gathers, so the batch grows with the load and a lone delivery never waits for company.
"""

import asyncio
from collections import deque

import structlog

from app import metrics
from app.clock import Clock
from app.db.engine import Database
from app.errors import StorageUnavailable
from app.webhooks.deliveries import Delivery, open_writer

COMMIT_SECONDS = 2.5
"""RingCentral counts an answer after 3 s as a failure (guide "Creating webhooks"); before that we say 503."""

LARGEST_BATCH = 512
MOST_PENDING = 20_000

log = structlog.get_logger(__name__)


class Inbox:
    """Stores deliveries, many to a commit. `start()` and `stop()` belong to the lifespan."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self.accepted = 0
        """Deliveries answered 200 since the start."""
        self._store = open_writer(database)
        self._clock = clock
        self._pending: deque[tuple[Delivery, asyncio.Future[None]]] = deque()
        self._filled = asyncio.Event()
        self._writer: asyncio.Task[None] | None = None
        self._stopping = False
        self._is_writing = False

    def start(self) -> None:
        """Begin to write what is accepted."""
        self._writer = asyncio.create_task(self._write_for_ever(), name="inbox")

    async def stop(self) -> None:
        """Take nothing more, write what was accepted so far, then stop."""
        self._stopping = True
        self._filled.set()
        if self._writer is not None:
            await asyncio.gather(self._writer, return_exceptions=True)
        self._refuse(self._take(), StorageUnavailable("the service is stopping"))
        await self._store.close()

    async def accept(self, delivery: Delivery) -> None:
        """Return once the delivery is committed; a repeated one is as good as stored.

        Raises StorageUnavailable when it could not be stored; nothing was accepted then, RingCentral should
        send it again.
        """
        is_open = self._writer is not None and not self._stopping and not self._writer.done()
        if not is_open or len(self._pending) >= MOST_PENDING:
            raise StorageUnavailable("the inbox takes nothing just now")
        stored: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._pending.append((delivery, stored))
        self._filled.set()
        await stored

    @property
    def is_busy(self) -> bool:
        """Whether somebody waits for an answer."""
        return bool(self._pending) or self._is_writing

    async def _write_for_ever(self) -> None:
        while True:
            await self._filled.wait()
            await self._clock.sleep(0)  # requests that are ready in this turn of the loop come along
            self._filled.clear()
            self._is_writing = True
            while batch := self._take():
                await self._write(batch)
            self._is_writing = False
            if self._stopping:
                return

    def _take(self) -> list[tuple[Delivery, asyncio.Future[None]]]:
        return [self._pending.popleft() for _ in range(min(len(self._pending), LARGEST_BATCH))]

    async def _write(self, batch: list[tuple[Delivery, asyncio.Future[None]]]) -> None:
        # One row per key, in key order: replicas that store the same deliveries cannot deadlock.
        unique = {(item.account_id, item.uuid): item for item, _ in reversed(batch)}
        rows = [unique[key] for key in sorted(unique)]
        started = self._clock.monotonic()
        try:
            async with asyncio.timeout(COMMIT_SECONDS):
                stored = await self._store.write(rows)
        except StorageUnavailable as error:
            self._refuse(batch, error)
        except TimeoutError:
            self._refuse(batch, StorageUnavailable("the database took too long to commit"))
        except asyncio.CancelledError:
            self._refuse(batch, StorageUnavailable("the service is stopping"))
            raise
        except Exception as error:
            log.exception("a batch of deliveries could not be stored")
            self._refuse(batch, StorageUnavailable(str(error)))
        else:
            metrics.INTAKE_SECONDS.observe(self._clock.monotonic() - started)
            metrics.INTAKE_BATCH.observe(len(batch))
            self.accepted += len(batch)
            metrics.DELIVERIES.labels(outcome="accepted").inc(stored)
            metrics.DELIVERIES.labels(outcome="duplicate").inc(len(batch) - stored)
            for _, future in batch:
                if not future.done():
                    future.set_result(None)

    def _refuse(self, batch: list[tuple[Delivery, asyncio.Future[None]]], error: StorageUnavailable) -> None:
        metrics.DELIVERIES.labels(outcome="unavailable").inc(len(batch))
        for _, future in batch:
            if not future.done():
                future.set_exception(error)
