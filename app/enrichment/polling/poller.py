"""Polls Active Calls: one poll of an account serves all its calls that wait, when the planner says so.

One turn, which decides nothing itself: claim the target, plan, request page by page, match, write what was
found together with what was learnt, and release the target. No transaction is open during a request.
"""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from functools import partial

import structlog

from app import metrics
from app.accounts.connections import Connection
from app.accounts.context import AccountsContext, AccountsWorker
from app.calls import store
from app.enrichment.polling import targets
from app.enrichment.polling.limits import PlannerLimits
from app.enrichment.polling.poll_ingest import ingest_poll
from app.enrichment.polling.poll_request import fetch_active_calls
from app.enrichment.polling.poll_response import PollResponse, read_response, wrong_account
from app.enrichment.polling.turns import Key, PlannedPoll, Pool, Turns, find_pools, plan_alone
from app.enrichment.records.plan import CallLogPlan
from app.errors import CredentialsRefused, LeaseLost, PermissionMissing, RateLimited, RingCentralError
from app.work.failures import log_failure
from app.work.holds import Holds
from app.work.lanes import Lanes, Serve
from app.work.leases import renewing
from app.work.wakeups import POLLS

_LONGEST_TURN_SECONDS = 120.0
_AT_ONCE = 128
"""Targets that are polled at a time: most of a turn is waiting for the response."""

_WRITTEN_AT_ONCE = 8
"""Polls whose responses are written at a time, so that other work finds connections to the database."""

_PATIENCE_SECONDS = 0.1
"""How long a step waits for its turns before it looks which others are due."""

_WRONG_ACCOUNT_PAUSE = timedelta(minutes=1)

log = structlog.get_logger(__name__)


class Poller(AccountsWorker):
    """The background work that polls."""

    any_due = targets.ANY_WAITING

    def __init__(self, context: AccountsContext, limits: PlannerLimits, plan: CallLogPlan) -> None:
        super().__init__(context)
        self._limits = limits
        self._plan = plan
        self._lease_seconds = context.lease_seconds
        self._holds: Holds[Key] = Holds(context.clock)
        # A small part of the window: what a call can spare when something goes wrong.
        self._pause = limits.window_seconds / 60
        self._turns = Turns(context.clock, limits)
        self._writing = asyncio.Semaphore(_WRITTEN_AT_ONCE)
        self._lanes: Lanes[Key] = context.lanes(
            "polls",
            POLLS,
            longest_seconds=_LONGEST_TURN_SECONDS,
            at_once=_AT_ONCE,
            patience_seconds=_PATIENCE_SECONDS,
        )

    async def step(self) -> float | None:
        """Take a turn for each target whose time has come; return in how many seconds the next one is due.

        A target that takes longer than the patience continues beside the others, and wakes the loop when it
        is done.
        """
        async with self._database.read() as db:
            waiting = await targets.find_waiting(db, self._clock.now())
        pools = find_pools(waiting, await self._connections.of_all(waiting))
        self._turns.keep(pools)
        free = {key: pool for key, pool in pools.items() if not self._lanes.has(key)}
        due = self._turns.due(free, self._room)
        for key in [key for key in due if key in self._holds]:
            self._turns.plan(key, due.pop(key), self._holds.remaining(key))
        claimed = await self._turns.claim_due(self._database, due, self._replica, self._lease_seconds)
        work: dict[Key, Serve] = {}
        for key, pool in due.items():
            if key in claimed:
                turn = partial(self._poll, claimed[key][0], pool.connections, claimed[key][1])
                work[key] = partial(self._serve, key, pool, turn)
            elif self._turns.remaining(key, pool) == 0.0:
                work[key] = partial(self._serve, key, pool, partial(self._turn, key, pool.connections))
        soonest = await self._lanes.run(work)
        # Those that are served now wake the loop when they are done, and others may have their turn.
        others = {key: pool for key, pool in free.items() if key not in work} if self._room else {}
        next_in = self._turns.next_in(others)
        return min((one for one in (soonest, next_in) if one is not None), default=None)

    @property
    def _room(self) -> int:
        return max(0, _AT_ONCE - len(self._lanes.keys()))

    async def close(self) -> None:
        """Stop the turns that are under way; their leases run out."""
        await self._lanes.close()

    async def _serve(self, key: Key, pool: Pool, turn: Serve) -> float | None:
        """Take a turn, and note when the next one is."""
        self._turns.plan(key, pool, self._pause)  # if this one fails
        try:
            pause = await turn()
        except LeaseLost:
            log.warning(
                "a poll took longer than its lease; another replica has taken over", account_id=key[0]
            )
            pause = 0.0
        if pause == 0.0:
            self._turns.forget(key)
        else:
            self._turns.plan(key, pool, pause)
        return pause

    async def _turn(self, key: Key, pool: Sequence[Connection]) -> float | None:
        """Take a target, and poll if its plan under the lease says so."""
        (account_id, name), now = key, self._clock.now()
        async with self._database.write() as db:
            recent = await store.find_recent(db, account_id, now, pool[0].extension_id)
            if not any(call.is_waiting for call in recent):
                return None
            target = await targets.claim(db, account_id, name, self._replica, now, self._lease_seconds)
            if target is None:
                return self._pause
            planned = await plan_alone(db, target, pool, recent, now, self._limits)
        pause = planned.pause(now)
        if pause != 0.0:
            await self._release(target, planned)
            return pause
        return await self._poll(target, pool, planned)

    async def _poll(
        self, target: targets.Target, pool: Sequence[Connection], planned: PlannedPoll
    ) -> float | None:
        connection, has_others = pool[planned.chosen], len(pool) > 1
        try:
            async with renewing(self._database, self._clock, target.lease):
                response = await fetch_active_calls(
                    self._clock, connection, target, planned.recent, self._limits, self._plan.page_size
                )
        except RingCentralError as error:
            pause = await self._handle_error(target, connection, error, has_others=has_others)
            await self._release(target, planned)
            return pause
        # Renewed until it has its turn to be written.
        async with renewing(self._database, self._clock, target.lease), self._writing:
            await self._write(target, connection, planned, response)
        if response.failure is None:
            return 0.0
        return await self._handle_error(target, connection, response.failure, has_others=has_others)

    async def _write(
        self,
        target: targets.Target,
        connection: Connection,
        planned: PlannedPoll,
        response: PollResponse,
    ) -> None:
        memory = planned.memory
        result = read_response(response, planned.recent, self._limits)
        memory.learn(result.observations)
        memory.pages = response.pages if response.failure is None else max(memory.pages, response.pages)
        found = await ingest_poll(self._database, self._clock, self._plan, target, response, result)
        async with self._database.write() as db:
            await store.mark_missed(db, target.account_id, result.missed, response.sent_at)
            await target.lease.release(db, last_poll_at=response.sent_at, **memory.columns())
        await self._check_account(target, connection, response)
        if response.failure is None:
            await self._connections.note(connection, None)
            metrics.POLLS.labels(outcome="found" if found else "nothing-new").inc()
        write = log.info if found else log.debug
        write(
            "polled",
            found=found,
            missed=len(result.missed),
            pages=response.pages,
            records=len(response.records),
        )

    async def _check_account(
        self, target: targets.Target, connection: Connection, response: PollResponse
    ) -> None:
        wrong = wrong_account(response, target.account_id)
        if wrong is not None:
            # Such a poll misses nothing and finds nothing, so without a pause the next would follow at once.
            self._holds.hold((target.account_id, target.name), self._clock.now() + _WRONG_ACCOUNT_PAUSE)
        await self._connections.note_account(connection, wrong)

    async def _handle_error(
        self, target: targets.Target, connection: Connection, error: RingCentralError, *, has_others: bool
    ) -> float:
        """Note a failure and what a person has to do about it; return in how many seconds to try again.

        If other connections poll the same target, they need not wait for this one: the next plan is made with
        what its bucket and its access now say.
        """
        now = self._clock.now()
        retry_at = now + timedelta(seconds=self._pause)
        if isinstance(error, RateLimited):
            retry_at = min(retry_at, error.retry_at) if has_others else error.retry_at
            retry_at = max(retry_at, now)
            metrics.POLLS.labels(outcome="rate-limited").inc()
        elif isinstance(error, PermissionMissing | CredentialsRefused):
            # Other credentials, or the same ones for their own extension, may serve at once.
            await self._connections.note(connection, error)
            retry_at = now if has_others else retry_at
            metrics.POLLS.labels(outcome="refused").inc()
        else:
            metrics.POLLS.labels(outcome="failed").inc()
        self._holds.hold((target.account_id, target.name), retry_at)
        log_failure(log, "poll failed", error)
        return (retry_at - now).total_seconds()

    async def _release(self, target: targets.Target, planned: PlannedPoll) -> None:
        async with self._database.write() as db:
            await target.lease.release(db, **planned.memory.columns())
