"""RingCentral's rate buckets, shared by all replicas: the pure `bucket` on one database row each.

A request is admitted in one short transaction before it is sent, and settled in another after its response. A
request that a crashed replica never settled keeps its slot until the window must have passed.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, TypeVar

import structlog
from sqlalchemy import Select, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app import metrics
from app.calls import accounts
from app.calls.model import Stage
from app.clock import Clock
from app.db.engine import Database, upsert_into
from app.db.lists import is_one_of
from app.db.tables import calls, rate_buckets
from app.errors import RateLimited, StorageUnavailable
from app.ids import UNBOUND_ACCOUNT, AccountId
from app.rate_limits import bucket as budget
from app.rate_limits.bucket_state import BucketState
from app.rate_limits.retry_after import estimate_retry_at, noted_until
from app.ringcentral.ports import Outcome, Priority, RateSlot, Silence

T = TypeVar("T")

_SHORTEST_WAIT = timedelta(milliseconds=10)

log = structlog.get_logger(__name__)


class SharedRates:
    """The buckets of one RingCentral user and app, as the client's `RateBudget`.

    `limits` by group name in lower case. `principal` distinguishes the users of one holder.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        limits: Mapping[str, budget.Limits],
        *,
        holder: AccountId = UNBOUND_ACCOUNT,
        principal: str = "own",
        longest_wait_seconds: float = 60.0,
    ) -> None:
        self._database = database
        self._clock = clock
        self._limits = limits
        self._holder = holder
        self._principal = principal
        self._longest_wait = timedelta(seconds=longest_wait_seconds)
        self._unsaved: list[tuple[RateSlot, Outcome]] = []
        self._unsaved_silence: datetime | None = None

    async def acquire(self, group: str, priority: Priority, deadline: datetime | None) -> RateSlot:
        """Wait until one request of `group` may be sent, at most until `deadline`.

        Raises RateLimited with the time at which a retry makes sense. For a reader, who cannot keep retrying,
        it is the time at which a request has a real chance.
        """
        latest = deadline or self._clock.now() + self._longest_wait
        await self._save_silence()
        while True:
            verdict = await self._change(
                group, lambda state, now, waiting: self._admit(group, priority, latest, state, now, waiting)
            )
            if isinstance(verdict, budget.Granted):
                return RateSlot(group, verdict.token)
            if verdict.until > latest:
                raise RateLimited(
                    f"no {group} request is available: {verdict.reason}", retry_at=verdict.until, status=None
                )
            await self._clock.sleep((max(verdict.until - self._clock.now(), _SHORTEST_WAIT)).total_seconds())

    def _admit(
        self,
        group: str,
        priority: Priority,
        latest: datetime,
        state: BucketState,
        now: datetime,
        polls_waiting: bool,
    ) -> tuple[BucketState, budget.Granted | budget.Denied]:
        rank, limits = min(priority, Priority.CONTENT), self.limits_of(group)
        verdict = budget.admit(state, rank, now, limits, polls_waiting=polls_waiting)
        # Nobody comes back for a glance, so its refusal is not noted as a wish for a slot.
        if priority is Priority.GLANCE and isinstance(verdict, budget.Denied):
            return state, verdict
        if isinstance(verdict, budget.Granted) or rank is not Priority.CONTENT or verdict.until <= latest:
            return verdict.state, verdict
        retry_at = estimate_retry_at(verdict, rank, limits, polls_waiting=polls_waiting)
        noted = noted_until(verdict.state, rank, retry_at, limits)
        return noted, replace(verdict, state=noted, until=retry_at)

    async def settle(self, slot: RateSlot, outcome: Outcome) -> None:
        """Record the outcome of a request. If it cannot be written now, it is before the next request is
        admitted.
        """
        status = str(outcome.status) if outcome.status is not None else "none"
        metrics.RC_REQUESTS.labels(group=slot.group, status=status).inc()
        _count_ignored(outcome, self.limits_of(slot.group))
        self._unsaved.append((slot, outcome))
        if outcome.penalty is not None and outcome.penalty.reach is Silence.EVERYTHING:
            self._unsaved_silence = outcome.penalty.until
        try:
            # What `_change` finds unsaved it settles, so there is nothing left to decide here.
            await self._change(slot.group, lambda state, _now, _waiting: (state, None), admits=False)
            await self._save_silence()
        except StorageUnavailable:
            log.debug("a rate bucket could not be settled yet", group=slot.group)

    async def _save_silence(self) -> None:
        """Silence the buckets of all users: the global limit counts requests by IP address."""
        until = self._unsaved_silence
        if until is None:
            return
        async with self._database.write() as db:
            for group in self._limits:
                await self._open(db, group)
            await silence_all(db, until, self._clock.now())
        if self._unsaved_silence == until:
            self._unsaved_silence = None

    async def peek(self, group: str) -> BucketState:
        """Return the current bucket, for planning."""
        async with self._database.read() as db:
            [state] = await peek_all(db, [self], group)
        return state

    def key(self, group: str) -> tuple[str, str]:
        """Return the holder and the name of a bucket: the key of its row."""
        return self._holder, self._name(group)

    def limits_of(self, group: str) -> budget.Limits:
        """Return the limits of a group that apply until headers say otherwise."""
        return self._limits.get(group.lower(), self._limits["light"])

    def _query(self, group: str) -> Select[tuple[Any]]:
        return select(rate_buckets.c.state).where(
            rate_buckets.c.account_id == self._holder, rate_buckets.c.bucket == self._name(group)
        )

    def _name(self, group: str) -> str:
        return f"{self._principal}:{group.lower()}"

    async def _change(
        self,
        group: str,
        decide: Callable[[BucketState, datetime, bool], tuple[BucketState, T]],
        *,
        admits: bool = True,
    ) -> T:
        """Lock the bucket's row, settle what is unsettled, decide, write.

        `decide` is told whether calls wait for polls, False unless it `admits` a request.
        """
        async with self._database.write() as db:
            stored = await self._lock(db, group)
            state = BucketState.from_json(stored)
            settled = [item for item in self._unsaved if item[0].group == group]
            for slot, outcome in settled:
                state = _settled(state, slot, outcome, self.limits_of(group))
            # The clock is read under the lock, so that the decisions of replicas are ordered in time.
            now = self._clock.now()
            polls_wait = admits and await _polls_wait(db, self._holder, now)
            state, verdict = decide(state, now, polls_wait)
            row = (rate_buckets.c.account_id == self._holder) & (rate_buckets.c.bucket == self._name(group))
            sent = [outcome for _, outcome in settled if outcome.was_sent]
            counts = {
                "requests": rate_buckets.c.requests + len(sent),
                "refused": rate_buckets.c.refused + sum(outcome.status == 429 for outcome in sent),
            }
            await db.execute(
                update(rate_buckets).where(row).values(state=state.to_json(), updated_at=now, **counts)
            )
        self._unsaved = [item for item in self._unsaved if item not in settled]
        return verdict

    async def _lock(self, db: AsyncConnection, group: str) -> dict[str, Any]:
        query = self._query(group).with_for_update()
        stored: dict[str, Any] | None = await db.scalar(query)
        if stored is None:
            await self._open(db, group)
            stored = await db.scalar(query)
        return stored or {}

    async def _open(self, db: AsyncConnection, group: str) -> None:
        row = {
            "account_id": self._holder,
            "bucket": self._name(group),
            "state": {},
            "updated_at": self._clock.now(),
        }
        await db.execute(upsert_into(db, rate_buckets).values(row).on_conflict_do_nothing())


async def peek_all(db: AsyncConnection, rates: Sequence[SharedRates], group: str) -> list[BucketState]:
    """Return the current buckets of a group, in the same order, in one statement."""
    column, keys = rate_buckets.c, [one.key(group) for one in rates]
    holders, names = {holder for holder, _ in keys}, {name for _, name in keys}
    mine = is_one_of(column.account_id, holders) & is_one_of(column.bucket, names)
    rows = await db.execute(select(column.account_id, column.bucket, column.state).where(mine))
    stored = {(row.account_id, row.bucket): row.state for row in rows}
    return [BucketState.from_json(stored.get(key) or {}) for key in keys]


async def silence_all(db: AsyncConnection, until: datetime, now: datetime) -> None:
    """Send nothing for anyone before `until`."""
    column = rate_buckets.c
    query = select(column.account_id, column.bucket, column.state)
    # Everyone who locks several buckets uses this order, so that no two can deadlock.
    for row in (await db.execute(query.order_by(*rate_buckets.primary_key).with_for_update())).all():
        state = budget.silenced(BucketState.from_json(row.state), until, now)
        mine = (column.account_id == row.account_id) & (column.bucket == row.bucket)
        await db.execute(update(rate_buckets).where(mine).values(state=state.to_json()))


async def _polls_wait(db: AsyncConnection, holder: AccountId, now: datetime) -> bool:
    """Whether a call of the holder's account waits for its record. Other accounts' calls do not matter to
    this bucket.
    """
    account_id = await accounts.resolve(db, holder)
    query = (
        select(calls.c.call_id)
        .where(calls.c.account_id == account_id, calls.c.stage == Stage.ENDED, calls.c.window_closes_at > now)
        .limit(1)
    )
    return await db.scalar(query) is not None


def _count_ignored(outcome: Outcome, limits: budget.Limits) -> None:
    """Count the rate headers whose values cannot be right."""
    ignored, window = list(outcome.rates.ignored), outcome.rates.window_seconds
    if window is not None and not budget.believes_window(window, limits):
        ignored.append("x-rate-limit-window")
    for header in ignored:
        metrics.RATE_HEADERS_IGNORED.labels(header=header).inc()
    if ignored:
        log.warning("rate headers of RingCentral were ignored", headers=ignored, status=outcome.status)


def _settled(state: BucketState, slot: RateSlot, outcome: Outcome, limits: budget.Limits) -> BucketState:
    if not outcome.was_sent:
        return replace(state, slots=tuple(taken for taken in state.slots if taken.token != slot.token))
    penalty = outcome.penalty
    is_penalty = penalty is not None and penalty.reach is not Silence.REQUEST
    # A 429 without a penalty (an identical request is running) says nothing about the bucket.
    status = outcome.status if outcome.status != 429 or is_penalty else 409
    retry_after = (penalty.until - outcome.at).total_seconds() if penalty is not None and is_penalty else None
    response = budget.RateResponse(
        status=status,
        limit=outcome.rates.limit,
        remaining=outcome.rates.remaining,
        window_seconds=outcome.rates.window_seconds,
        retry_after_seconds=retry_after,
    )
    return budget.settle(state, slot.token, response, outcome.at, limits)
