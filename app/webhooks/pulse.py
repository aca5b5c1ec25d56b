"""Notes every few seconds that deliveries can be accepted, and when they could not: the gap is written down.

The note is a row of the database, the same that deliveries go into: a process that was away, one that hung and
a database that did not answer look alike, and all of them mean that events may be lost. RingCentral's own
repetitions of a delivery are not relied on: how often it tries is not published.
"""

from collections.abc import Callable
from datetime import datetime, timedelta

import structlog
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.clock import Clock
from app.db.engine import Database, upsert_into, wake
from app.db.tables import subscriptions, work
from app.enrichment import gaps
from app.enrichment.connections import Connections
from app.enrichment.gaps import Reason
from app.ids import UNBOUND_ACCOUNT
from app.work.wakeups import SUBSCRIPTIONS

KIND = "pulse"
MISSED_BEATS = 3
"""So many beats may be late before it counts as a gap."""

log = structlog.get_logger(__name__)


class Pulse:
    """The background work of every process that takes deliveries in; one beat serves all replicas."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        connections: Connections,
        take_refused: Callable[[], dict[str, datetime]],
        *,
        interval_seconds: float,
        sweep_after_seconds: float,
    ) -> None:
        """`take_refused` gives subscriptions whose deliveries were refused, with since when, and forgets them."""
        self._database = database
        self._clock = clock
        self._connections = connections
        self._take_refused = take_refused
        self._refused: dict[str, datetime] = {}
        self._interval = interval_seconds
        self._sweep_after = timedelta(seconds=sweep_after_seconds)

    async def step(self) -> float | None:
        """Beat once; say in how many seconds to beat again."""
        holders = sorted({connection.holder for connection in await self._connections.all()})
        async with self._database.write() as db:
            # Read under the write lock: the replicas' beats follow each other in time.
            last_at = await _last_beat(db)
            now = self._clock.now()
            # What was taken and not written is written before more is taken.
            self._refused = self._refused or self._take_refused()
            # Subscriptions before gaps: the order in which their keeper locks rows.
            await _note_refused(db, self._refused)
            if last_at is not None and now - last_at > timedelta(seconds=MISSED_BEATS * self._interval):
                log.warning("no delivery could be accepted", since=str(last_at), until=str(now))
                for holder in holders:
                    await gaps.note_gap(
                        db, holder, Reason.SERVICE_DOWN, last_at, now, now, sweep_after=self._sweep_after
                    )
            await _beat(db, now)
        self._refused = {}
        return self._interval


async def _last_beat(db: AsyncConnection) -> datetime | None:
    row = (work.c.account_id == UNBOUND_ACCOUNT) & (work.c.kind == KIND)
    fresh = upsert_into(db, work).values(account_id=UNBOUND_ACCOUNT, kind=KIND)
    await db.execute(fresh.on_conflict_do_nothing())
    last_at: datetime | None = await db.scalar(select(work.c.lease_until).where(row).with_for_update())
    return last_at


async def _beat(db: AsyncConnection, now: datetime) -> None:
    row = (work.c.account_id == UNBOUND_ACCOUNT) & (work.c.kind == KIND)
    await db.execute(update(work).where(row).values(lease_until=now))


async def _note_refused(db: AsyncConnection, refused: dict[str, datetime]) -> None:
    """Note which of our subscriptions deliver with another secret. Others are nobody's business here."""
    if not refused:
        return
    column = subscriptions.c
    ours = (
        select(column.account_id, column.subscription_id)
        .where(column.subscription_id.in_(sorted(refused)), column.refused_since.is_(None))
        .order_by(column.account_id, column.subscription_id)
        .with_for_update()
    )
    for row in (await db.execute(ours)).all():
        mine = (column.account_id == row.account_id) & (column.subscription_id == row.subscription_id)
        since = refused[row.subscription_id]
        await db.execute(update(subscriptions).where(mine).values(refused_since=since))
        wake(db, SUBSCRIPTIONS)
