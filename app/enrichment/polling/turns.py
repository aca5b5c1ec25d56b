"""When each target has its next turn: planned for many accounts together, without taking their leases.

A turn costs several transactions, and every second or so something wakes the poller. So a target is planned
again only when its time has come, or when what its plan was made of has changed. The plan under the lease
decides: this one only spares the turns that would find that it is too early.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Self

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from app.accounts.connections import Connection, pooled, serving
from app.calls import store
from app.clock import Clock
from app.db.engine import Database
from app.enrichment.polling import targets
from app.enrichment.polling.learned import PollMemory, load_budgets
from app.enrichment.polling.limits import PlannerLimits
from app.enrichment.polling.planner import PlannerBudget, PollAt, Rest
from app.enrichment.polling.targets import StoredTarget, Target, WaitingCalls
from app.ids import AccountId

Key = tuple[AccountId, str]
"""An account, and the name of one of its targets."""

_AT_A_STRETCH = 5
"""Targets that are planned, at about a millisecond each, before other tasks of the process have a turn."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Pool:
    """The connections that poll a target in turn. `known` is all that serve its account."""

    connections: Sequence[Connection]
    known: Sequence[Connection] = field(repr=False)
    waiting: WaitingCalls

    def is_as(self, other: "Pool") -> bool:
        """Whether a plan for the other one still holds."""
        return self.known is other.known and self.waiting == other.waiting


@dataclass(frozen=True, slots=True)
class _Turn:
    pool: Pool
    at: datetime


@dataclass(frozen=True, slots=True)
class PlannedPoll:
    """The plan for one target, and what it was made with: valid while nobody else polls the target.

    `memory` has counted the calls that have ended; `chosen` is the index of the connection of a poll at once.
    """

    plan: PollAt | Rest
    chosen: int
    recent: Sequence[store.Recent]
    memory: PollMemory

    @classmethod
    def made(
        cls,
        target: Target | StoredTarget,
        recent: Sequence[store.Recent],
        budgets: Sequence[PlannerBudget],
        now: datetime,
        limits: PlannerLimits,
    ) -> Self:
        """Plan with what is stored of the target, the calls whose windows are open, and the buckets."""
        memory = PollMemory.read(target, limits, now)
        memory.count(recent, now)
        waiting = [call for call in recent if call.is_waiting]
        plan, chosen = memory.plan(budgets, waiting, now, limits)
        log.debug("planned", waiting=len(waiting), plan=str(plan))
        return cls(plan, chosen, recent, memory)

    def pause(self, now: datetime) -> float | None:
        """Return in how many seconds to poll, 0 at once, None: not until another call ends."""
        return None if isinstance(self.plan, Rest) else max(0.0, (self.plan.when - now).total_seconds())


async def plan_alone(
    db: AsyncConnection,
    target: Target,
    pool: Sequence[Connection],
    recent: Sequence[store.Recent],
    now: datetime,
    limits: PlannerLimits,
) -> PlannedPoll:
    """Plan for a target whose lease is held."""
    budgets = await load_budgets(db, [connection.rates for connection in pool], now)
    return PlannedPoll.made(target, recent, budgets, now, limits)


def find_pools(
    waiting: Mapping[AccountId, WaitingCalls], connections: Mapping[AccountId, Sequence[Connection]]
) -> dict[Key, Pool]:
    """Return the targets of accounts with waiting calls.

    Connections that see the whole account poll in turn for all extensions; without one each user polls for
    his own.
    """
    pools: dict[Key, Pool] = {}
    for account_id, calls in waiting.items():
        known = connections[account_id]
        company_wide = pooled(known)
        for pool in [company_wide] if company_wide else [[item] for item in serving(known)]:
            pools.setdefault((account_id, targets.name_of(pool[0])), Pool(pool, known, calls))
    return pools


class Turns:
    """The next turns, in memory: after a restart each target is planned at once."""

    def __init__(self, clock: Clock, limits: PlannerLimits) -> None:
        self._clock = clock
        self._limits = limits
        self._turns: dict[Key, _Turn] = {}

    def keep(self, keys: Collection[Key]) -> None:
        """Forget all other targets: nothing waits there."""
        for key in self._turns.keys() - set(keys):
            del self._turns[key]

    def plan(self, key: Key, pool: Pool, pause: float | None) -> None:
        """Note in how many seconds a target has its turn, None: once another call ends."""
        seconds = self._limits.window_seconds if pause is None else pause
        self._turns[key] = _Turn(pool, self._clock.now() + timedelta(seconds=seconds))

    def forget(self, key: Key) -> None:
        """Have a target planned at once."""
        self._turns.pop(key, None)

    def remaining(self, key: Key, pool: Pool) -> float:
        """Return in how many seconds a target has its turn; 0 if it has to be planned."""
        turn = self._turns.get(key)
        if turn is None or not turn.pool.is_as(pool):
            return 0.0
        return max(0.0, (turn.at - self._clock.now()).total_seconds())

    def due(self, pools: Mapping[Key, Pool], most: int) -> dict[Key, Pool]:
        """Return at most so many targets to plan now, those first whose calls wait longest."""
        ready = [key for key, pool in pools.items() if self.remaining(key, pool) == 0.0]
        ready.sort(key=lambda key: pools[key].waiting.known_at or pools[key].waiting.closes_at)
        return {key: pools[key] for key in ready[:most]}

    def next_in(self, pools: Mapping[Key, Pool]) -> float | None:
        """Return in how many seconds the first of these targets has its turn."""
        return min((self.remaining(key, pool) for key, pool in pools.items()), default=None)

    async def claim_due(
        self, database: Database, due: Mapping[Key, Pool], replica: str, lease_seconds: float
    ) -> dict[Key, tuple[Target, PlannedPoll]]:
        """Plan targets that show whole accounts together; take and return those to poll now.

        Those whose time comes soon need no turn now. All that are neither need one.
        """
        whole = {key: pool for key, pool in due.items() if key[1] == targets.ACCOUNT}
        if not whole:
            return {}
        async with database.read() as db:
            stored, planned = await self._plan_together(db, whole)
        if not planned:
            return {}
        unchanged = {key[0]: stored[key[0]] for key in planned}
        async with database.write() as db:
            taken = await targets.claim_all(db, unchanged, replica, self._clock.now(), lease_seconds)
        return {key: (taken[key[0]], plan) for key, plan in planned.items() if key[0] in taken}

    async def _plan_together(
        self, db: AsyncConnection, whole: Mapping[Key, Pool]
    ) -> tuple[dict[AccountId, StoredTarget], dict[Key, PlannedPoll]]:
        """Return what is stored of the targets, and the plans of those to poll now."""
        now = self._clock.now()
        account_ids = {account_id for account_id, _ in whole}
        recent = await store.find_recent_of_all(db, account_ids, now)
        stored = await targets.load_all(db, account_ids)
        rates = [connection.rates for pool in whole.values() for connection in pool.connections]
        budgets = iter(await load_budgets(db, rates, now))
        planned: dict[Key, PlannedPoll] = {}
        for count, (key, pool) in enumerate(whole.items(), 1):
            own = [next(budgets) for _ in pool.connections]
            plan = PlannedPoll.made(stored[key[0]], recent[key[0]], own, now, self._limits)
            pause = plan.pause(now)
            if pause == 0.0:
                planned[key] = plan
            elif pause is not None and pause < self._limits.window_seconds / 4:
                # A turn counts the calls that have ended while their windows are open: it is not put off for
                # longer.
                self.plan(key, pool, pause)
            if count % _AT_A_STRETCH == 0:
                await self._clock.sleep(0)
        return stored, planned
