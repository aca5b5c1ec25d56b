"""Proves every few seconds that deliveries can be stored, and records a gap when they could not.

A beat takes the path of a delivery: into the table that deliveries go into. A process that was away, one that
hung, a database that did not respond, a lock and a full disk look alike, and each means that events may be
lost. RingCentral's retries of a delivery are not relied on: how often it retries is not published.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.accounts.context import AccountsContext, AccountsWorker
from app.db.engine import upsert_into, wake
from app.db.tables import subscriptions, work
from app.enrichment import gaps
from app.enrichment.gaps import Reason
from app.errors import StorageUnavailable
from app.ids import UNBOUND_ACCOUNT, AccountId
from app.rate_limits.shared_buckets import silence_all
from app.webhooks.intake.inbox import COMMIT_SECONDS
from app.webhooks.intake.refusals import Refusals, Refused
from app.webhooks.subscriptions.outages import (
    Beat,
    beats_json,
    find_outages,
    find_rewind,
    read_beats,
)
from app.work.stopping import StopSignal
from app.work.wakeups import SUBSCRIPTIONS

KIND = "pulse"
_REWOUND = "the database has lost what was stored since: a backup was restored, or a standby took over"
MISSED_BEATS = 3
"""A replica that misses this many beats counts as a gap."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Lost:
    """A period in which deliveries were refused, or may have been."""

    reason: Reason
    begin: datetime
    end: datetime
    detail: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class IntakeHealth:
    """What the heartbeat has to know about the intake of its process.

    `prove` returns once a delivery could be stored, and raises StorageUnavailable if none could. `refusals`
    are the deliveries that got no 200. `take_refused` returns the subscriptions whose deliveries carried
    another secret, with the time of the first one, and forgets them.
    """

    prove: Callable[[], Awaitable[None]]
    refusals: Refusals
    take_refused: Callable[[], dict[str, datetime]]


class Heartbeat(AccountsWorker):
    """The background work of every process that accepts deliveries."""

    def __init__(
        self,
        context: AccountsContext,
        intake: IntakeHealth,
        *,
        interval_seconds: float,
        sweep_after_seconds: float,
        rate_window_seconds: float = 60.0,
        stopping: StopSignal | None = None,
    ) -> None:
        """Once `stopping` is set nothing is proven any more: the process accepts no connections."""
        super().__init__(context)
        self._intake = intake
        self._stopping = stopping
        self._refused: dict[str, datetime] = {}
        self._interval = interval_seconds
        self._allowed = MISSED_BEATS * interval_seconds
        self._sweep_after = timedelta(seconds=sweep_after_seconds)
        self._silence_after_rewind = timedelta(seconds=rate_window_seconds)
        self._beat: Beat | None = None
        self._beat_at = 0.0
        self._failure: str | None = None
        """Why deliveries cannot be stored since the last beat."""
        self._seen: dict[str, tuple[datetime, float]] = {}

    async def step(self) -> float | None:
        """Beat once; return the pause in seconds. Raises StorageUnavailable if no delivery can be stored."""
        if self._is_stopping:
            return self._interval
        # The proof covers the time from here on: a delivery that comes now would be stored.
        proven_from = self._clock.now()
        try:
            await self._intake.prove()
        except StorageUnavailable as error:
            self._failure = str(error)
            await self._record_lasting()
            raise
        await self._write(proven_from)
        return self._interval

    @property
    def _is_stopping(self) -> bool:
        return self._stopping is not None and self._stopping.is_set()

    async def stop(self) -> None:
        """Record what is not recorded yet, and that this process stopped in an orderly way.

        If that fails, the next start finds that this process has been silent since its last beat.
        """
        if self._beat is None:
            return
        try:
            async with asyncio.timeout(COMMIT_SECONDS):
                await self._write(None)
        except (StorageUnavailable, TimeoutError) as error:
            log.warning("the orderly stop could not be recorded", error=str(error))

    async def _record_lasting(self) -> None:
        """Record an outage that lasts, if only deliveries cannot be stored. It grows until they can."""
        lost = self._own_outages(self._clock.now(), None, None)
        try:
            async with asyncio.timeout(COMMIT_SECONDS):
                holders = await self._holders()
                async with self._database.write() as db:
                    await self._record(db, holders, lost)
        except (StorageUnavailable, TimeoutError):
            # The outage itself is logged once, where the database is used.
            log.debug("an outage is recorded later: nothing can be written")

    async def _write(self, proven_from: datetime | None) -> None:
        """Store a beat that is proven from `proven_from` on, or the stop (None), and all known outages."""
        holders = await self._holders()
        refused = self._intake.refusals.take()
        # What was taken and could not be stored is stored before more is taken.
        self._refused = self._refused or self._intake.take_refused()
        try:
            async with self._database.write() as db:
                # The row is locked while it is read: beats of several replicas are ordered in time.
                beats = await _load(db)
                now = self._clock.now()
                # Subscriptions before gaps: their keeper locks rows in the same order.
                await _mark_refused(db, self._refused)
                beat = self._next_beat(proven_from)
                alive, outages = find_outages(beats, self._replica, beat, now, self._silent(beats, now))
                lost = self._own_outages(now, proven_from, refused)
                lost += [_Lost(Reason.SERVICE_DOWN, *outage) for outage in outages]
                lost += await self._rewound(db, beats, now)
                await self._record(db, holders, lost)
                await _save(db, alive, proven_from)
        except BaseException:
            self._intake.refusals.put_back(refused)
            raise
        self._refused, self._failure = {}, None
        self._beat, self._beat_at = beat, self._clock.monotonic()

    async def _rewound(self, db: AsyncConnection, beats: dict[str, Beat], now: datetime) -> list[_Lost]:
        """Return what an earlier history of the database does not have, although it was stored.

        The requests of the last minute are lost as well, so for a minute no others are sent.
        """
        begin = find_rewind(beats, self._replica, self._beat)
        if begin is None:
            return []
        await silence_all(db, now + self._silence_after_rewind, now)
        return [_Lost(Reason.NOT_STORED, *_in_order(begin, now), _REWOUND)]

    def _next_beat(self, proven_from: datetime | None) -> Beat:
        if proven_from is None:
            assert self._beat is not None  # noqa: S101 - only a process that has beaten stops
            # Until it stopped, this process stored each delivery, or records it as refused with this write.
            is_well = self._failure is None and not self._has_hung
            end = max(self._beat.at, self._stopped_at) if is_well else self._beat.at
            return Beat(self._beat.since, end, stopped=True)
        return Beat(proven_from if self._beat is None else self._beat.since, proven_from)

    @property
    def _stopped_at(self) -> datetime:
        since = self._stopping.since if self._stopping is not None else None
        return since or self._clock.now()

    @property
    def _has_hung(self) -> bool:
        return self._clock.monotonic() - self._beat_at > self._allowed

    def _own_outages(
        self, now: datetime, proven_from: datetime | None, refused: Refused | None
    ) -> list[_Lost]:
        """Return when this process stored no deliveries: since its last beat, or since its first refusal."""
        since = [] if self._beat is None else [self._beat.at]
        if refused is not None:
            begin = min([refused.first_at, *since])
            number = "a delivery was" if refused.count == 1 else f"{refused.count} deliveries were"
            detail = f"{number} refused: {refused.why}"
            return [_Lost(Reason.NOT_STORED, begin, max(now, refused.last_at), detail)]
        if self._failure is not None and since:
            return [_Lost(Reason.NOT_STORED, *_in_order(since[0], now), self._failure)]
        if since and proven_from is not None and self._has_hung:
            return [_Lost(Reason.SERVICE_DOWN, *_in_order(since[0], now))]
        return []

    def _silent(self, beats: dict[str, Beat], now: datetime) -> Collection[str]:
        """Return the replicas whose beats are late.

        Measured by our own clock from when we saw a beat, since their clocks may be wrong; for a replica that
        is seen for the first time, by the time of its beat.
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
            if moment - since > self._allowed
            or (replica in first and (now - at).total_seconds() > self._allowed)
        }

    async def _holders(self) -> Sequence[AccountId]:
        """Return the holders to record gaps for: all with credentials or a subscription."""
        async with self._database.read() as db:
            subscribed = list(await db.scalars(select(subscriptions.c.account_id).distinct()))
        connected = {connection.holder for connection in await self._connections.all()}
        return sorted(connected | {AccountId(account_id) for account_id in subscribed})

    async def _record(
        self, db: AsyncConnection, holders: Sequence[AccountId], outages: Sequence[_Lost]
    ) -> None:
        now = self._clock.now()
        for lost in outages:
            log.warning(
                "no delivery could be accepted",
                why=lost.reason.value, since=str(lost.begin), until=str(lost.end), detail=lost.detail,
            )  # fmt: skip
            for holder in holders:
                await gaps.note_gap(
                    db, holder, lost.reason, lost.begin, lost.end, now,
                    sweep_after=self._sweep_after, detail=lost.detail,
                )  # fmt: skip


def _in_order(one: datetime, other: datetime) -> tuple[datetime, datetime]:
    """Return both in order: a clock may have been set back in between."""
    return min(one, other), max(one, other)


_ROW = (work.c.account_id == UNBOUND_ACCOUNT) & (work.c.kind == KIND)


async def _load(db: AsyncConnection) -> dict[str, Beat]:
    """Return the beats of all replicas. Their row stays locked until the end of the transaction."""
    fresh = upsert_into(db, work).values(account_id=UNBOUND_ACCOUNT, kind=KIND)
    await db.execute(fresh.on_conflict_do_nothing())
    query = select(work.c.state, work.c.lease_until).where(_ROW).with_for_update()
    row = (await db.execute(query)).one()
    return read_beats(row.state, row.lease_until)


async def _save(db: AsyncConnection, beats: dict[str, Beat], proven_from: datetime | None) -> None:
    changes = {"state": beats_json(beats)} | ({} if proven_from is None else {"lease_until": proven_from})
    await db.execute(update(work).where(_ROW).values(**changes))


async def _mark_refused(db: AsyncConnection, refused: dict[str, datetime]) -> None:
    """Mark those of our subscriptions that deliver with another secret. Other ids are ignored."""
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
