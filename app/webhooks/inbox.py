"""The inbox: a delivery is stored, durably and once, before RingCentral gets its 200.

Group commit: requests that arrive together share one INSERT and one commit. While one commit is under
way the next batch gathers, so the batch grows with the load and a lone delivery never waits for company.
"""

import asyncio
from collections import deque
from dataclasses import dataclass
from datetime import datetime

import structlog
from sqlalchemy import insert, text
from sqlalchemy.ext.asyncio import AsyncConnection

from app import metrics
from app.clock import Clock
from app.db.engine import Database, wake
from app.db.tables import deliveries
from app.errors import StorageUnavailable
from app.work.wakeups import INBOX

COMMIT_SECONDS = 2.5
"""RingCentral counts an answer after 3 s as a failure (guide "Creating webhooks"); before that we say 503."""

LARGEST_BATCH = 512
MOST_PENDING = 20_000

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Delivery:
    """One POST of RingCentral. `uuid` is the sender's, or a digest of the body where it gave none."""

    account_id: str
    uuid: str
    received_at: datetime
    telephony_session_id: str | None
    raw: bytes


class Inbox:
    """Stores deliveries, many to a commit. `start()` and `stop()` belong to the lifespan."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._pending: deque[tuple[Delivery, asyncio.Future[None]]] = deque()
        self._filled = asyncio.Event()
        self._writer: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to write what is accepted."""
        self._writer = asyncio.create_task(self._write_for_ever(), name="inbox")

    async def stop(self) -> None:
        """Write what was accepted so far, then stop."""
        while self._pending and self._writer is not None and not self._writer.done():
            await self._clock.sleep(0.01)
        if self._writer is not None:
            self._writer.cancel()
            await asyncio.gather(self._writer, return_exceptions=True)
        self._refuse(self._take(), StorageUnavailable("the service is stopping"))

    async def accept(self, delivery: Delivery) -> None:
        """Return once the delivery is committed; a repeated one is as good as stored.

        Raises StorageUnavailable when it could not be stored; nothing was accepted then, RingCentral should
        send it again.
        """
        if self._writer is None or self._writer.done() or len(self._pending) >= MOST_PENDING:
            raise StorageUnavailable("the inbox takes nothing just now")
        stored: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._pending.append((delivery, stored))
        self._filled.set()
        await stored

    async def _write_for_ever(self) -> None:
        while True:
            await self._filled.wait()
            await self._clock.sleep(0)  # requests that are ready in this turn of the loop come along
            self._filled.clear()
            while batch := self._take():
                await self._write(batch)

    def _take(self) -> list[tuple[Delivery, asyncio.Future[None]]]:
        return [self._pending.popleft() for _ in range(min(len(self._pending), LARGEST_BATCH))]

    async def _write(self, batch: list[tuple[Delivery, asyncio.Future[None]]]) -> None:
        # One row per key, in key order: replicas that store the same deliveries cannot deadlock.
        unique = {(item.account_id, item.uuid): item for item, _ in reversed(batch)}
        rows = [unique[key] for key in sorted(unique)]
        started = self._clock.monotonic()
        try:
            async with asyncio.timeout(COMMIT_SECONDS), self._database.write() as db:
                stored = await _insert(db, rows, on_sqlite=self._database.is_sqlite)
                wake(db, INBOX)
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


_INSERT_POSTGRESQL = text(
    """
    INSERT INTO deliveries (account_id, uuid, received_at, telephony_session_id, raw)
    SELECT * FROM unnest(
        cast(:accounts AS text[]), cast(:uuids AS text[]), cast(:times AS timestamptz[]),
        cast(:sessions AS text[]), cast(:raws AS bytea[])
    )
    ON CONFLICT DO NOTHING
    """
)
_INSERT_SQLITE = insert(deliveries).prefix_with("OR IGNORE")


async def _insert(db: AsyncConnection, rows: list[Delivery], *, on_sqlite: bool) -> int:
    """Store rows and return how many were new. One statement for all rows: a row costs next to nothing."""
    if on_sqlite:
        result = await db.execute(
            _INSERT_SQLITE,
            [
                {
                    "account_id": row.account_id,
                    "uuid": row.uuid,
                    "received_at": row.received_at,
                    "telephony_session_id": row.telephony_session_id,
                    "raw": row.raw,
                }
                for row in rows
            ],
        )
    else:
        result = await db.execute(
            _INSERT_POSTGRESQL,
            {
                "accounts": [row.account_id for row in rows],
                "uuids": [row.uuid for row in rows],
                "times": [row.received_at for row in rows],
                "sessions": [row.telephony_session_id for row in rows],
                "raws": [row.raw for row in rows],
            },
        )
    return max(0, result.rowcount)
