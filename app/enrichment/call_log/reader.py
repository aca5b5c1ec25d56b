"""Reads ended calls in the Call Log: those that their window did not show, and the full records of all
others.

Where the tenant has a change feed, one request covers all calls. Elsewhere many calls share a request if they
started close together, or by the ids of their records if they only have to be confirmed. What is not found is
requested again after growing pauses until the horizon; then the call is closed as absent, with the reason.
"""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from functools import partial

import structlog
from sqlalchemy import func, select

from app.accounts.connections import Connection, serving
from app.accounts.context import AccountsContext, AccountsWorker
from app.calls import store
from app.db.tables import calls
from app.enrichment.call_log.due_requests import LONGEST_TURN_SECONDS, DueRequests
from app.enrichment.call_log.extract_sync import CallLogFeed, FeedBusyError, FeedRead
from app.enrichment.call_log.next_reads import NextReads, why_unseen
from app.enrichment.call_log.reading_plan import needs_another_way
from app.enrichment.records.plan import CallLogPlan
from app.errors import RateLimited, RingCentralError
from app.ids import AccountId
from app.work.failures import log_failure
from app.work.holds import Holds
from app.work.lanes import Lanes, Serve
from app.work.leases import Lease, leased, rest
from app.work.wakeups import READINGS

MOST_DUE = 5000
"""Calls that one read considers: all that wait, where the windows that they need overlap."""

log = structlog.get_logger(__name__)


class CallLogReader(AccountsWorker):
    """The background work that reads the Call Log, and closes calls whose horizon has passed."""

    any_due = store.ANY_READING_DUE

    def __init__(self, context: AccountsContext, plan: CallLogPlan, feed: CallLogFeed | None = None) -> None:
        super().__init__(context)
        self._context = context
        self._feed = feed
        self._gap = timedelta(seconds=plan.gap)
        self._next_reads = NextReads(context, plan)
        self._requests = DueRequests(context, plan, self._next_reads)
        self._holds: Holds[tuple[AccountId, str]] = Holds(context.clock)
        self._lanes: Lanes[AccountId] = context.lanes(
            "readings", READINGS, longest_seconds=LONGEST_TURN_SECONDS
        )

    async def step(self) -> float | None:
        """Send one request for each account with due calls; return in how many seconds the next call is due.

        An account that takes longer than the context's patience continues beside the others.
        """
        now = self._clock.now()
        async with self._database.read() as db:
            due = (calls.c.read_at.is_not(None), calls.c.read_at <= now)
            query = select(calls.c.account_id).where(*due).group_by(calls.c.account_id)
            account_ids = [AccountId(account_id) for account_id in await db.scalars(query)]
        work: dict[AccountId, Serve] = {one: partial(self._read_account, one) for one in account_ids}
        soonest = await self._lanes.run(work)
        async with self._database.read() as db:
            due_at = await db.scalar(select(func.min(calls.c.read_at)).where(calls.c.read_at > now))
        pauses = [soonest] if soonest is not None else []
        if due_at is not None and due_at > now:
            pauses.append((due_at - now).total_seconds())
        return min(pauses, default=None)

    async def close(self) -> None:
        """Stop the reads that are under way; what was due remains due."""
        await self._lanes.close()

    async def _read_account(self, account_id: AccountId) -> float | None:
        """Read what is due: with one connection for the whole account, or each user's calls with his own."""
        connections = await self._connections.of(account_id)
        readers = serving(connections, beside_polls=True)
        # All of them finish before an error is raised: a read that went on alone would compete with the next
        # one.
        results = await asyncio.gather(
            *(self._read_with(account_id, item) for item in readers), return_exceptions=True
        )
        for result in results:
            if isinstance(result, BaseException):
                raise result
        if not any(item.is_company_wide for item in readers):
            async with self._database.read() as db:
                seen = [str(item.extension_id) for item in readers]
                unseen = await store.find_due_readings(
                    db, account_id, self._clock.now(), MOST_DUE, unseen_by=seen
                )
            reason = why_unseen(connections, readers)
            await self._next_reads.put_off(account_id, [call.call_id for call in unseen], reason)
        return min((pause for pause in results if isinstance(pause, float)), default=None)

    async def _read_with(self, account_id: AccountId, connection: Connection) -> float | None:
        """Read what is due with one connection; return in how many seconds it can go on."""
        if (account_id, connection.name) in self._holds:
            return self._holds.remaining((account_id, connection.name))
        if not await self._find_due(account_id, connection, 1):
            return None
        async with leased(self._database, self._clock, self._lease(account_id, connection)) as is_ours:
            if not is_ours:
                return self._pause.total_seconds()
            # Looked up again: another replica may have read them before the lease was free.
            due = await self._find_due(account_id, connection, MOST_DUE)
            try:
                if due:
                    await self._read(account_id, connection, due)
            except FeedBusyError:
                return self._pause.total_seconds()
            except RingCentralError as error:
                return await self._handle_error(account_id, connection, error)
        return 0.0

    @property
    def _pause(self) -> timedelta:
        return self._gap / 6

    async def _find_due(
        self, account_id: AccountId, connection: Connection, most: int
    ) -> list[store.DueCall]:
        now = self._clock.now()
        async with self._database.read() as db:
            return await store.find_due_readings(
                db, account_id, now, most, extension_id=connection.extension_id
            )

    def _lease(self, account_id: AccountId, connection: Connection) -> Lease:
        return self._context.lease(account_id, f"readings:{connection.name}")

    async def _read(
        self, account_id: AccountId, connection: Connection, due: Sequence[store.DueCall]
    ) -> None:
        feed = await self._feed.read(connection) if self._feed is not None else None
        if feed is not None:
            left = await self._take_feed(account_id, due, feed)
            has_more = not feed.is_complete
        else:
            left, has_more = list(due), len(due) == MOST_DUE
        if left:
            served = await self._requests.send(account_id, connection, left)
            has_more = has_more or served < len(left)
        if not has_more:
            # Calls that become due meanwhile share the next request.
            until = self._clock.now() + self._gap
            self._holds.hold((account_id, connection.name), until)
            await rest(self._database, self._lease(account_id, connection), until)

    async def _take_feed(
        self, account_id: AccountId, due: Sequence[store.DueCall], feed: FeedRead
    ) -> list[store.DueCall]:
        """Note what the change feed showed of due calls; return those to request in another way.

        A call that a complete read did not show has not changed. If it is reconciled, it is stable. If it has
        no record yet, it is requested in another way now and then, in case the feed showed it while it was
        still going on. While the feed has more, a call that it has not shown yet remains due.
        """
        # Whether the feed selects by changes or by starts is undocumented; later starts are in it either way.
        unshown = [call for call in due if call.call_id not in feed.ingested.read]
        left = [call for call in unshown if call.started_at < feed.since]
        if feed.is_complete:
            left += [call for call in unshown if call.started_at >= feed.since and needs_another_way(call)]
        known = {call.call_id for call in due} - {call.call_id for call in left}
        if not feed.is_complete:
            known &= feed.ingested.read
        await self._next_reads.unchanged(account_id, sorted(known), feed.ingested.read, feed.sent_at)
        return left

    async def _handle_error(
        self, account_id: AccountId, connection: Connection, error: RingCentralError
    ) -> float:
        now = self._clock.now()
        retry_at = error.retry_at if isinstance(error, RateLimited) else now + self._pause
        self._holds.hold((account_id, connection.name), retry_at)
        log_failure(log, "reading the call log failed", error)
        await self._connections.note(connection, error)
        return max(0.0, (retry_at - now).total_seconds())
