"""Leases: one replica's turn at a row. They are short, so what a crashed replica holds is soon free."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import ColumnElement, Row, Table, and_, or_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.clock import Clock
from app.db.engine import Database, upsert_into
from app.db.tables import work
from app.errors import LeaseLost, StorageUnavailable
from app.ids import AccountId
from app.work.wakeups import wait

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Lease:
    """A turn at the row of `table` with this `key`, which has the columns `lease_owner` and `lease_until`.

    `what` names the work in errors. `opens` inserts the row when it is missing.
    """

    table: Table
    key: Mapping[str, Any]
    owner: str
    seconds: float
    what: str
    opens: bool = False

    @property
    def row(self) -> ColumnElement[bool]:
        """The condition that selects the row, held or not."""
        return and_(*(self.table.c[name] == value for name, value in self.key.items()))

    @property
    def held(self) -> ColumnElement[bool]:
        """The condition that selects the row while this lease holds it."""
        return and_(self.row, self.table.c.lease_owner == self.owner)

    async def take(
        self, db: AsyncConnection, now: datetime, *conditions: ColumnElement[bool]
    ) -> Row[Any] | None:
        """Take the row if it is free, or held by this owner already, and meets `conditions`; return it."""
        free = or_(is_free(self.table, now), self.table.c.lease_owner == self.owner)
        taken = update(self.table).where(self.row, free, *conditions).values(self._until(now))
        row = (await db.execute(taken.returning(*self.table.c))).one_or_none()
        if row is not None or not self.opens:
            return row
        # Only the first time: usually the row exists, and is held.
        opened = upsert_into(db, self.table).values(**self.key).on_conflict_do_nothing()
        if (await db.execute(opened)).rowcount != 1:
            return None
        return (await db.execute(taken.returning(*self.table.c))).one_or_none()

    async def renew(self, db: AsyncConnection, now: datetime) -> None:
        """Hold the row for longer. Does nothing when another owner has taken it."""
        await db.execute(update(self.table).where(self.held).values(self._until(now)))

    async def confirm(self, db: AsyncConnection) -> None:
        """Check that the row is still held when this transaction commits. Raises LeaseLost."""
        await self._change(db, lease_owner=self.owner)

    async def save(self, db: AsyncConnection, **changes: Any) -> None:
        """Write columns of the held row. Raises LeaseLost: then nothing of this turn may be written."""
        await self._change(db, **changes)

    async def release(self, db: AsyncConnection, **changes: Any) -> None:
        """Give the row back with `changes`. Raises LeaseLost as `save` does."""
        await self._change(db, lease_owner=None, lease_until=None, **changes)

    async def drop(self, db: AsyncConnection) -> None:
        """Give the row back unchanged, if it is still held: the work was interrupted."""
        freed = {"lease_owner": None, "lease_until": None}
        await db.execute(update(self.table).where(self.held).values(freed))

    async def _change(self, db: AsyncConnection, **changes: Any) -> None:
        changed = await db.execute(update(self.table).where(self.held).values(changes))
        if changed.rowcount != 1:
            raise LeaseLost(f"{self.what} was taken over")

    def _until(self, now: datetime) -> dict[str, Any]:
        return {"lease_owner": self.owner, "lease_until": now + timedelta(seconds=self.seconds)}


def is_free(table: Table, now: datetime | ColumnElement[Any]) -> ColumnElement[bool]:
    """Return the condition that no replica holds the row."""
    return or_(table.c.lease_until.is_(None), table.c.lease_until < now)


def work_lease(account_id: AccountId, kind: str, owner: str, seconds: float) -> Lease:
    """Return the lease of one kind of work of one account, a row of the table `work`."""
    key = {"account_id": account_id, "kind": kind}
    return Lease(work, key, owner, seconds, f"the work {kind} of account {account_id}", opens=True)


@asynccontextmanager
async def leased(database: Database, clock: Clock, lease: Lease) -> AsyncIterator[bool]:
    """Hold a row of `work` while the block runs.

    Yields False, without waiting, when another replica has it or the work rests until its `due_at`.
    """
    now = clock.now()
    rested = or_(work.c.due_at.is_(None), work.c.due_at <= now)
    async with database.write() as db:
        is_taken = await lease.take(db, now, rested) is not None
    if not is_taken:
        yield False
        return
    try:
        async with renewing(database, clock, lease):
            yield True
    finally:
        async with database.write() as db:
            await lease.drop(db)


@asynccontextmanager
async def renewing(database: Database, clock: Clock, lease: Lease) -> AsyncIterator[None]:
    """Renew a lease that was taken, until the block ends."""

    async def renew() -> None:
        async with database.write() as db:
            await lease.renew(db, clock.now())

    async with renewed(renew, lease.seconds / 3):
        yield


@asynccontextmanager
async def renewed(renew: Callable[[], Awaitable[None]], every_seconds: float) -> AsyncIterator[None]:
    """Call `renew` periodically until the block ends. A renewal that fails is tried again the next time."""
    done = asyncio.Event()

    async def renew_until_done() -> None:
        while not await wait(done, every_seconds):
            try:
                await renew()
            except Exception as error:  # noqa: BLE001 - the end of the work shows if the lease still holds
                write = log.debug if isinstance(error, StorageUnavailable) else log.warning
                write("a lease could not be renewed", why=str(error))

    task = asyncio.create_task(renew_until_done(), name="lease")
    try:
        yield
    finally:
        # Awaited, so that no renewal runs after the caller has given the lease back.
        done.set()
        await task


async def rest(database: Database, lease: Lease, until: datetime) -> None:
    """Let the work of a held lease rest: no replica takes it before `until`."""
    async with database.write() as db:
        await db.execute(update(lease.table).where(lease.held).values(due_at=until))
