"""Proves every few seconds that deliveries can be stored, and writes down as a gap when they could not.

A beat takes the way of a delivery: into the table that deliveries go into. A process that was away, one that hung, a
database that did not answer, a lock and a full disk look alike, and all of them mean that events may be lost.
RingCentral's own repetitions of a delivery are not relied on: how often it tries is not published.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.accounts.connections import Connections
from app.clock import Clock
from app.db.engine import Database, upsert_into, wake
from app.db.tables import subscriptions, work
from app.enrichment.call_log import gaps
from app.enrichment.call_log.gaps import Reason
from app.errors import StorageUnavailable
from app.ids import UNBOUND_ACCOUNT, AccountId
from app.webhooks.intake.inbox import COMMIT_SECONDS
from app.webhooks.intake.refusals import Refusals, Refused
from app.webhooks.subscriptions.beats import Beat, beats_json, find_outages, is_late, read_beats
from app.work.stopping import StopSignal
from app.work.wakeups import SUBSCRIPTIONS

KIND = "pulse"
MISSED_BEATS = 3
"""A replica that is late by this many beats counts as a gap."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Lost:
    """A time in which deliveries were or may have been refused."""

    reason: Reason
    begin: datetime
    end: datetime
    detail: str | None = None


class Heartbeat:
    """The background work of every process that takes deliveries in. `replica` names this one among all."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        connections: Connections,
        take_refused: Callable[[], dict[str, datetime]],
        *,
        prove: Callable[[], Awaitable[None]],
        refusals: Refusals,
        replica: str,
        interval_seconds: float,
        sweep_after_seconds: float,
        stopping: StopSignal | None = None,
    ) -> None:
        """`take_refused` gives subscriptions whose deliveries were refused, with since when, and forgets them.

        `prove` returns once a delivery could be stored, and raises StorageUnavailable where none could. Once
        `stopping` is set nothing is proven any more: the process takes no connections.
        """
        self._database = database
        self._clock = clock
        self._connections = connections
        self._take_refused = take_refused
        self._prove = prove
        self._refusals = refusals
        self._replica = replica
        self._stopping = stopping
        self._refused: dict[str, datetime] = {}
        self._interval = interval_seconds
        self._allowed = MISSED_BEATS * interval_seconds
        self._sweep_after = timedelta(seconds=sweep_after_seconds)
        self._beat: Beat | None = None
        self._beat_at = 0.0
        self._could_not: str | None = None
        self._seen: dict[str, tuple[datetime, float]] = {}

    async def step(self) -> float | None:
        """Beat once; say in how many seconds to beat again.

        Raises StorageUnavailable where no delivery could be stored: that is no beat.
        """
        if self._is_stopping:
            return self._interval
        # What is proven holds from here on: a delivery that comes now would be stored.
        begun = self._clock.now()
        try:
            await self._prove()
        except StorageUnavailable as error:
            self._could_not = str(error)
            await self._note_meanwhile()
            raise
        await self._write(begun)
        return self._interval

    @property
    def _is_stopping(self) -> bool:
        return self._stopping is not None and self._stopping.is_set()

    async def stop(self) -> None:
        """Write down what is still unwritten, and that this process stopped in order.

        Where that fails the next start finds that this one fell silent after its last beat.
        """
        if self._beat is None:
            return
        try:
            async with asyncio.timeout(COMMIT_SECONDS):
                await self._write(None)
        except (StorageUnavailable, TimeoutError) as error:
            log.warning("the end could not be written down", error=str(error))

    async def _note_meanwhile(self) -> None:
        """Write down what lasts, if only deliveries cannot be stored; it grows until they can again."""
        lost = self._own_outages(self._clock.now(), None, None)
        try:
            async with asyncio.timeout(COMMIT_SECONDS):
                holders = await self._holders()
                async with self._database.write() as db:
                    await self._note(db, holders, lost)
        except (StorageUnavailable, TimeoutError):
            # The outage itself is logged once, where the database is used.
            log.debug("an outage is written down later: nothing can be written")

    async def _write(self, begun: datetime | None) -> None:
        """Write a beat that was proven from `begun` on, or the end (None), and every outage that is known now."""
        holders = await self._holders()
        refused = self._refusals.take()
        # What was taken and not written is written before more is taken.
        self._refused = self._refused or self._take_refused()
        try:
            async with self._database.write() as db:
                # Read under the lock of the row: the replicas' beats follow each other in time.
                beats = await _load(db)
                now = self._clock.now()
                # Subscriptions before gaps: the order in which their keeper locks rows.
                await _note_refused(db, self._refused)
                beat = self._next_beat(begun)
                alive, outages = find_outages(beats, self._replica, beat, now, self._silent(beats, now))
                lost = self._own_outages(now, begun, refused)
                lost += [_Lost(Reason.SERVICE_DOWN, *outage) for outage in outages]
                await self._note(db, holders, lost)
                await _save(db, alive, begun)
        except BaseException:
            self._refusals.put_back(refused)
            raise
        self._refused, self._could_not = {}, None
        self._beat, self._beat_at = beat, self._clock.monotonic()

    def _next_beat(self, begun: datetime | None) -> Beat:
        if begun is None:
            assert self._beat is not None  # noqa: S101 - only a process that has beaten stops
            # Until it stopped, this process stored what came or notes it as refused with this write.
            well = self._could_not is None and not self._has_hung
            end = max(self._beat.at, self._stopped_at) if well else self._beat.at
            return Beat(self._beat.since, end, stopped=True)
        return Beat(begun if self._beat is None else self._beat.since, begun)

    @property
    def _stopped_at(self) -> datetime:
        since = self._stopping.since if self._stopping is not None else None
        return since or self._clock.now()

    @property
    def _has_hung(self) -> bool:
        return self._clock.monotonic() - self._beat_at > self._allowed

    def _own_outages(self, now: datetime, begun: datetime | None, refused: Refused | None) -> list[_Lost]:
        """Return when this process stored no deliveries: from its last beat on, or from what it refused first on."""
        since = [] if self._beat is None else [self._beat.at]
        if refused is not None:
            begin = min([refused.first_at, *since])
            number = "a delivery was" if refused.count == 1 else f"{refused.count} deliveries were"
            detail = f"{number} refused: {refused.why}"
            return [_Lost(Reason.NOT_STORED, begin, max(now, refused.last_at), detail)]
        if self._could_not is not None and since:
            return [_Lost(Reason.NOT_STORED, *_in_order(since[0], now), self._could_not)]
        if since and begun is not None and self._has_hung:
            return [_Lost(Reason.SERVICE_DOWN, *_in_order(since[0], now))]
        return []

    def _silent(self, beats: dict[str, Beat], now: datetime) -> Collection[str]:
        """Return the replicas whose beats are late.

        By our own clock once we have seen them beat, since theirs may go wrong; else by the time of the beat.
        """
        moment = self._clock.monotonic()
        seen = {}
        for replica, beat in beats.items():
            known = self._seen.get(replica)
            seen[replica] = known if known is not None and known[0] == beat.at else (beat.at, moment)
        first = seen.keys() - self._seen.keys()
        self._seen = seen
        return {
            replica
            for replica, (at, since) in seen.items()
            if moment - since > self._allowed or (replica in first and is_late(at, now, self._allowed))
        }

    async def _holders(self) -> Sequence[AccountId]:
        """Return for whom gaps are noted: all that there are credentials for, or a subscription."""
        async with self._database.read() as db:
            subscribed = list(await db.scalars(select(subscriptions.c.account_id).distinct()))
        connected = {connection.holder for connection in await self._connections.all()}
        return sorted(connected | {AccountId(account_id) for account_id in subscribed})

    async def _note(
        self, db: AsyncConnection, holders: Sequence[AccountId], outages: Sequence[_Lost]
    ) -> None:
        now = self._clock.now()
        for lost in outages:
            log.warning(
                "no delivery could be accepted",
                why=lost.reason.value,
                since=str(lost.begin),
                until=str(lost.end),
                detail=lost.detail,
            )
            for holder in holders:
                await gaps.note_gap(
                    db,
                    holder,
                    lost.reason,
                    lost.begin,
                    lost.end,
                    now,
                    sweep_after=self._sweep_after,
                    detail=lost.detail,
                )


def _in_order(one: datetime, other: datetime) -> tuple[datetime, datetime]:
    """A clock that was set back in between makes no gap that ends before it begins."""
    return min(one, other), max(one, other)


_ROW = (work.c.account_id == UNBOUND_ACCOUNT) & (work.c.kind == KIND)


async def _load(db: AsyncConnection) -> dict[str, Beat]:
    """Return the beats of all replicas, whose row is held until the end of the transaction."""
    fresh = upsert_into(db, work).values(account_id=UNBOUND_ACCOUNT, kind=KIND)
    await db.execute(fresh.on_conflict_do_nothing())
    query = select(work.c.state, work.c.lease_until).where(_ROW).with_for_update()
    row = (await db.execute(query)).one()
    return read_beats(row.state, row.lease_until)


async def _save(db: AsyncConnection, beats: dict[str, Beat], begun: datetime | None) -> None:
    changes = {"state": beats_json(beats)} | ({} if begun is None else {"lease_until": begun})
    await db.execute(update(work).where(_ROW).values(**changes))


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
