"""Polls Active Calls: one poll of an account serves all its calls that wait, when the planner says so.

One turn, which decides nothing itself: claim the target, plan, request page by page, match, write what was
found together with what was learnt, and release the target. No transaction is open during a request.
"""

from collections.abc import Sequence
from datetime import timedelta
from functools import partial

import structlog

from app import metrics
from app.accounts.connections import Connection, pooled, serving
from app.accounts.context import AccountsContext, AccountsWorker
from app.calls import store
from app.enrichment.polling import planner, targets
from app.enrichment.polling.learned import PollMemory
from app.enrichment.polling.limits import PlannerLimits
from app.enrichment.polling.poll_ingest import ingest_poll
from app.enrichment.polling.poll_request import fetch_active_calls
from app.enrichment.polling.poll_response import PollResponse, read_response, wrong_account
from app.enrichment.records.plan import CallLogPlan
from app.errors import CredentialsRefused, LeaseLost, PermissionMissing, RateLimited, RingCentralError
from app.ids import AccountId
from app.work.failures import log_failure
from app.work.holds import Holds
from app.work.lanes import Lanes, Serve
from app.work.leases import renewing
from app.work.wakeups import POLLS

_LONGEST_TURN_SECONDS = 120.0
_WRONG_ACCOUNT_PAUSE = timedelta(minutes=1)

log = structlog.get_logger(__name__)


class Poller(AccountsWorker):
    """The background work that polls."""

    def __init__(self, context: AccountsContext, limits: PlannerLimits, plan: CallLogPlan) -> None:
        super().__init__(context)
        self._limits = limits
        self._plan = plan
        self._lease_seconds = context.lease_seconds
        self._holds: Holds[tuple[AccountId, str]] = Holds(context.clock)
        # A small part of the window: what a call can spare when something goes wrong.
        self._pause = limits.window_seconds / 60
        self._lanes: Lanes[tuple[AccountId, str]] = context.lanes(
            "polls", POLLS, longest_seconds=_LONGEST_TURN_SECONDS
        )

    async def step(self) -> float | None:
        """Take one turn for each target with waiting calls; return in how many seconds the next poll is
        planned.

        A target that takes longer than the context's patience continues beside the others, and wakes the loop
        when it is done.
        """
        async with self._database.read() as db:
            account_ids = await targets.find_waiting_accounts(db, self._clock.now())
        work: dict[tuple[AccountId, str], Serve] = {}
        for account_id in account_ids:
            # Those that see the whole account poll in turn for all extensions; without one each user polls
            # for his own.
            connections = await self._connections.of(account_id)
            company_wide = pooled(connections)
            for pool in [company_wide] if company_wide else [[item] for item in serving(connections)]:
                key = (account_id, targets.name_of(pool[0]))
                work.setdefault(key, partial(self._turn, account_id, pool))
        return await self._lanes.run(work)

    async def close(self) -> None:
        """Stop the turns that are under way; their leases run out."""
        await self._lanes.close()

    async def _turn(self, account_id: AccountId, pool: Sequence[Connection]) -> float | None:
        name, now = targets.name_of(pool[0]), self._clock.now()
        if (account_id, name) in self._holds:
            return self._holds.remaining((account_id, name))
        async with self._database.write() as db:
            recent = await store.find_recent(db, account_id, now, pool[0].extension_id)
            if not any(call.is_waiting for call in recent):
                return None
            target = await targets.claim(db, account_id, name, self._replica, now, self._lease_seconds)
        if target is None:
            return self._pause
        try:
            return await self._plan_and_poll(target, pool, recent)
        except LeaseLost:
            log.warning(
                "a poll took longer than its lease; another replica has taken over", account_id=account_id
            )
            return 0.0

    async def _plan_and_poll(
        self, target: targets.Target, pool: Sequence[Connection], recent: Sequence[store.Recent]
    ) -> float | None:
        now = self._clock.now()
        memory = PollMemory.read(target, self._limits, now)
        memory.count(recent, now)
        waiting = [call for call in recent if call.is_waiting]
        plan, chosen = await memory.plan([item.rates for item in pool], waiting, now, self._limits)
        log.debug("planned", waiting=len(waiting), plan=str(plan))
        if isinstance(plan, planner.Rest):
            await self._release(target, memory)
            return None
        if plan.when > now:
            await self._release(target, memory)
            return (plan.when - now).total_seconds()
        connection, has_others = pool[chosen], len(pool) > 1
        try:
            async with renewing(self._database, self._clock, target.lease):
                response = await fetch_active_calls(
                    self._clock, connection, target, recent, self._limits, self._plan.page_size
                )
        except RingCentralError as error:
            pause = await self._handle_error(target, connection, error, has_others=has_others)
            await self._release(target, memory)
            return pause
        await self._write(target, connection, memory, recent, response)
        if response.failure is None:
            return 0.0
        return await self._handle_error(target, connection, response.failure, has_others=has_others)

    async def _write(
        self,
        target: targets.Target,
        connection: Connection,
        memory: PollMemory,
        recent: Sequence[store.Recent],
        response: PollResponse,
    ) -> None:
        result = read_response(response, recent, self._limits)
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

    async def _release(self, target: targets.Target, memory: PollMemory) -> None:
        async with self._database.write() as db:
            await target.lease.release(db, **memory.columns())
