"""The inbox: a delivery is stored, durably and once, before RingCentral gets its 200.

Group commit: requests that arrive together share one INSERT and one commit. While one commit runs, the next
batch gathers, so batches grow with the load and a single delivery never waits for others.
"""

import asyncio
from collections import deque
from collections.abc import Iterable

import structlog

from app import metrics
from app.clock import Clock
from app.db.engine import Database
from app.db.failures import describe_failure
from app.errors import StorageUnavailable
from app.webhooks.intake.deliveries import Delivery, open_writer

COMMIT_SECONDS = 2.5
"""RingCentral counts a response after 3 s as a failure (guide "Creating webhooks"). Before that we answer
503."""

LARGEST_BATCH = 512
MOST_PENDING = 20_000

_STOPPING = "the service is stopping"
_CLOSED = "the inbox does not accept deliveries now"

Entry = tuple[Delivery, asyncio.Future[None]]
"""A delivery, and the future that its request waits for."""

log = structlog.get_logger(__name__)


class Inbox:
    """Stores deliveries, many to a commit. `start()` and `stop()` belong to the lifespan."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self.accepted = 0
        """Deliveries answered 200 since the start."""
        self._store = open_writer(database)
        self._outage = database.outage
        self._clock = clock
        self._pending: deque[Entry] = deque()
        self._proofs: list[asyncio.Future[None]] = []
        self._filled = asyncio.Event()
        self._writer: asyncio.Task[None] | None = None
        self._stopping = False
        self._is_writing = False

    def start(self) -> None:
        """Begin to store what is accepted."""
        self._writer = asyncio.create_task(self._write_until_stopped(), name="inbox")

    async def stop(self) -> None:
        """Accept nothing more, store what was accepted so far, then stop."""
        self._stopping = True
        self._filled.set()
        if self._writer is not None:
            await asyncio.gather(self._writer, return_exceptions=True)
        stopping = StorageUnavailable(_STOPPING)
        while batch := self._take():
            self._refuse(batch, stopping)
        _settle(self._take_proofs(), stopping)
        await self._store.close()

    async def accept(self, delivery: Delivery) -> None:
        """Return once the delivery is committed; a repeated one counts as stored.

        Raises StorageUnavailable when it could not be stored and RingCentral should send it again.
        """
        if not self._is_open or len(self._pending) >= MOST_PENDING:
            metrics.DELIVERIES.labels(outcome="unavailable").inc()
            raise StorageUnavailable(_CLOSED)
        stored: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._pending.append((delivery, stored))
        self._filled.set()
        await stored

    async def prove_writable(self) -> None:
        """Return once a delivery could be committed, on the path of all deliveries.

        A committed batch of deliveries is proof enough. Without one, a row is written and deleted in one
        transaction. Takes at most twice `COMMIT_SECONDS`. Raises StorageUnavailable when a delivery would
        have been refused.
        """
        if not self._is_open:
            raise StorageUnavailable(_CLOSED)
        proof: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._proofs.append(proof)
        self._filled.set()
        await proof

    @property
    def _is_open(self) -> bool:
        return self._writer is not None and not self._stopping and not self._writer.done()

    @property
    def is_busy(self) -> bool:
        """Whether a request waits for its response."""
        return bool(self._pending) or self._is_writing

    async def _write_until_stopped(self) -> None:
        while True:
            await self._filled.wait()
            await self._clock.sleep(0)  # let requests that are ready join the batch
            self._filled.clear()
            self._is_writing = True
            while self._pending or self._proofs:
                batch, proofs = self._take(), self._take_proofs()
                await (self._write(batch, proofs) if batch else self._prove(proofs))
            self._is_writing = False
            if self._stopping:
                return

    def _take(self) -> list[Entry]:
        return [self._pending.popleft() for _ in range(min(len(self._pending), LARGEST_BATCH))]

    def _take_proofs(self) -> list[asyncio.Future[None]]:
        taken, self._proofs = self._proofs, []
        return taken

    async def _prove(self, proofs: list[asyncio.Future[None]]) -> None:
        try:
            async with asyncio.timeout(COMMIT_SECONDS):
                await self._store.prove(self._clock.now())
        except (StorageUnavailable, TimeoutError) as error:
            _settle(proofs, _unavailable(error))
        except asyncio.CancelledError:
            _settle(proofs, StorageUnavailable(_STOPPING))
            raise
        except Exception as error:
            log.exception("the proof that deliveries can be stored failed")
            _settle(proofs, StorageUnavailable(str(error)))
        else:
            _settle(proofs)

    async def _write(self, batch: list[Entry], proofs: list[asyncio.Future[None]]) -> None:
        # One row per key, in key order, so that replicas that store the same deliveries cannot deadlock.
        unique = {_key(item): item for item, _ in reversed(batch)}
        rows = [unique[key] for key in sorted(unique)]
        started = self._clock.monotonic()
        try:
            async with asyncio.timeout(COMMIT_SECONDS):
                stored, refused = await self._store_apart(rows)
        except (StorageUnavailable, TimeoutError) as error:
            unavailable = _unavailable(error)
            self._outage.failed(str(unavailable))
            self._refuse(batch, unavailable)
            _settle(proofs, unavailable)
        except asyncio.CancelledError:
            self._refuse(batch, StorageUnavailable(_STOPPING))
            _settle(proofs, StorageUnavailable(_STOPPING))
            raise
        except Exception as error:
            log.exception("a batch of deliveries could not be stored")
            self._refuse(batch, StorageUnavailable(str(error)))
            self._proofs += proofs  # tried again without these deliveries: they may be the cause
        else:
            self._outage.worked()
            _settle(proofs)
            metrics.INTAKE_SECONDS.observe(self._clock.monotonic() - started)
            metrics.INTAKE_BATCH.observe(len(batch))
            if refused:
                reason = StorageUnavailable("the database refuses this delivery in any form")
                self._refuse([entry for entry in batch if _key(entry[0]) in refused], reason)
                batch = [entry for entry in batch if _key(entry[0]) not in refused]
            self._accept(batch, stored)

    async def _store_apart(self, rows: list[Delivery]) -> tuple[int, set[tuple[str, str]]]:
        """Store rows; return how many were new, and the keys of rows that the database refuses in any form.

        A row with data that it refuses must not cost the others their 200: the batch is halved until the row
        is alone. Then it is stored by its bytes, as a dead letter.
        """
        try:
            return await self._store.write(rows), set()
        except StorageUnavailable:
            raise
        except Exception as error:  # noqa: BLE001 - any other error of the writer means faulty data
            if len(rows) > 1:
                middle = len(rows) // 2
                first, refused = await self._store_apart(rows[:middle])
                second, more = await self._store_apart(rows[middle:])
                return first + second, refused | more
            return await self._store_bare(rows[0], error)

    async def _store_bare(self, row: Delivery, reason: Exception) -> tuple[int, set[tuple[str, str]]]:
        log.warning("a delivery is stored by its bytes alone", uuid=row.uuid, why=describe_failure(reason))
        try:
            return await self._store.write([Delivery.bare(row.raw, row.received_at, row.day)]), set()
        except StorageUnavailable:
            raise
        except Exception as error:  # noqa: BLE001 - as above
            # No traceback: formatting it can take longer than RingCentral waits.
            log.error(  # noqa: TRY400
                "the database refuses a delivery in any form", uuid=row.uuid, why=describe_failure(error)
            )
            return 0, {_key(row)}

    def _accept(self, batch: list[Entry], stored: int) -> None:
        self.accepted += len(batch)
        metrics.DELIVERIES.labels(outcome="accepted").inc(stored)
        metrics.DELIVERIES.labels(outcome="duplicate").inc(len(batch) - stored)
        _settle(future for _, future in batch)

    def _refuse(self, batch: list[Entry], error: StorageUnavailable) -> None:
        metrics.DELIVERIES.labels(outcome="unavailable").inc(len(batch))
        _settle((future for _, future in batch), error)


def _unavailable(error: StorageUnavailable | TimeoutError) -> StorageUnavailable:
    if isinstance(error, StorageUnavailable):
        return error
    return StorageUnavailable("the database took too long to commit")


def _settle(futures: Iterable[asyncio.Future[None]], error: StorageUnavailable | None = None) -> None:
    """Give each future its result, or the error. A future is done already if its request was cancelled."""
    for future in futures:
        if future.done():
            continue
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)


def _key(delivery: Delivery) -> tuple[str, str]:
    return (delivery.account_id, delivery.uuid)
