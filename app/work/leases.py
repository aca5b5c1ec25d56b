"""Leases: one replica's turn at a piece of work, kept alive while the work goes on.

That way a lease can be short, and what a crashed replica holds is soon free.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from sqlalchemy import ColumnElement, and_, or_, update

from app.clock import Clock
from app.db.engine import Database, upsert_into
from app.db.tables import work
from app.errors import StorageUnavailable
from app.ids import AccountId
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
            except Exception as error:  # noqa: BLE001 - the work's end tells whether it still holds
                write = log.debug if isinstance(error, StorageUnavailable) else log.warning
                write("a lease could not be renewed", why=str(error))

    keeper = asyncio.create_task(keep(), name="lease")
    try:
        yield
    finally:
        done.set()
        await keeper


@dataclass(frozen=True, slots=True)
class Lease:
    """A turn at one kind of work of one account, kept in the table `work`."""

    account_id: AccountId
    kind: str
    replica: str
    seconds: float


@asynccontextmanager
async def leased(database: Database, clock: Clock, lease: Lease) -> AsyncIterator[bool]:
    """Hold the lease while the block runs; yields False, at once, where another replica has it or the work rests."""
    if not await _take(database, clock.now(), lease):
        yield False
        return

    async def renew() -> None:
        await _hold_until(database, lease, clock.now() + timedelta(seconds=lease.seconds))

    try:
        async with renewed(renew, lease.seconds / 3):
            yield True
    finally:
        await _hold_until(database, lease, None)


async def rest(database: Database, lease: Lease, until: datetime) -> None:
    """Let no replica take the lease before a moment; for its holder to say."""
    async with database.write() as db:
        await db.execute(update(work).where(_mine(lease)).values(due_at=until))


async def _take(database: Database, now: datetime, lease: Lease) -> bool:
    async with database.write() as db:
        fresh = upsert_into(db, work).values(account_id=lease.account_id, kind=lease.kind)
        await db.execute(fresh.on_conflict_do_nothing())
        free = or_(
            work.c.lease_until.is_(None), work.c.lease_until < now, work.c.lease_owner == lease.replica
        )
        rested = or_(work.c.due_at.is_(None), work.c.due_at <= now)
        taken = await db.execute(
            update(work)
            .where(work.c.account_id == lease.account_id, work.c.kind == lease.kind, free, rested)
            .values(lease_owner=lease.replica, lease_until=now + timedelta(seconds=lease.seconds))
        )
    return taken.rowcount == 1


async def _hold_until(database: Database, lease: Lease, until: datetime | None) -> None:
    async with database.write() as db:
        await db.execute(update(work).where(_mine(lease)).values(lease_until=until))


def _mine(lease: Lease) -> ColumnElement[bool]:
    return and_(
        work.c.account_id == lease.account_id, work.c.kind == lease.kind, work.c.lease_owner == lease.replica
    )
