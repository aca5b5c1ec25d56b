"""Reads ended calls in the Call Log: those that the window did not give, and the rest to make them true.

Where the tenant has a feed of changes, one request tells of all calls. Elsewhere many calls share a request where
their starts lie close together, or by the ids of their records where they only have to be confirmed. What is not there yet is asked for again after
a growing pause, until the horizon; then the call is closed as absent, with the reason.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import structlog
from sqlalchemy import and_, func, select

from app.accounts.connections import Connection, serving
from app.accounts.context import AccountsContext, AccountsWorker
from app.calls import store
from app.calls.ledger import Ledger, open_ledger
from app.calls.model import Call, Source, Stage
from app.calls.store import DueCall
from app.db.tables import calls
from app.enrichment.call_log.change_feed import CallLogFeed, FeedBusyError, FeedRead
from app.enrichment.call_log.ingest import batches, ingest
from app.enrichment.call_log.reading_plan import (
    _MOST_NAMED,
    ByRecords,
    BySession,
    ByWindow,
    Due,
    as_due,
    may_be_named,
    needs_another_way,
    next_read,
    plan_read,
    seconds_per_page,
)
from app.enrichment.call_log.slices import sort_by_call, start_of
from app.enrichment.records.apply import (
    CallLogPlan,
    apply_records,
    finish,
    keys_of_call,
    settle_calls,
    store_versions,
)
from app.enrichment.records.matching import answers, match_records
from app.enrichment.records.set_aside import UNSTORABLE, Shelf, write_apart
from app.errors import AccessReason, RateLimited, RequestRefused, RingCentralError
from app.ids import AccountId, RecordId
from app.ringcentral.models import CallRecord
from app.ringcentral.protocol.errors import PERMISSION_CODES
from app.ringcentral.protocol.paging import wants_next_page
from app.work.failures import log_failure
from app.work.holds import Holds
from app.work.lanes import Lanes, Serve
from app.work.leases import Lease, leased, rest
from app.work.wakeups import READINGS

BATCH = 5000
"""Calls that one reading takes along: all that wait, where the windows that they need overlap."""

MOST_PAGES = 20
START_TOLERANCE_SECONDS = 5.0


LONGEST_TURN_SECONDS = 300.0


NEVER_LOGGED = "never-logged"
REFUSED = "refused"

log = structlog.get_logger(__name__)


def why_unseen(connections: Sequence[Connection], readers: Sequence[Connection]) -> str:
    """Say why nobody looked for a call: nobody may, or those who may have credentials that are refused."""
    left_out = [item for item in connections if item not in readers and item.access.problem is not None]
    refused = [item for item in left_out if not _lacks_permission(item.access.problem or {})]
    if not connections or any(item.is_company_wide for item in refused) or (refused and not readers):
        return AccessReason.NO_CREDENTIALS
    return AccessReason.NO_PERMISSION


def _lacks_permission(problem: Mapping[str, Any]) -> bool:
    return problem.get("code") in {*PERMISSION_CODES, "permission-missing"}


class CallLogReader(AccountsWorker):
    """The background work that reads the Call Log, and closes what its horizon has passed."""

    def __init__(self, context: AccountsContext, plan: CallLogPlan, feed: CallLogFeed | None = None) -> None:
        super().__init__(context)
        self._context = context
        self._feed = feed
        self._shelf = Shelf(context.database, context.clock)
        self._pause = plan.gap / 6
        self._plan = plan
        self._page_size = plan.page_size
        self._holds: Holds[tuple[AccountId, str]] = Holds(context.clock)
        self._page_seconds: dict[tuple[AccountId, str], float | None] = {}
        self._lanes: Lanes[AccountId] = context.lanes(
            "readings", READINGS, longest_seconds=LONGEST_TURN_SECONDS
        )

    async def step(self) -> float | None:
        """Send one request for each account with calls that are due; say in how many seconds the next is.

        An account that takes longer than our patience goes on beside the others.
        """
        now = self._clock.now()
        async with self._database.read() as db:
            due = and_(calls.c.read_at.is_not(None), calls.c.read_at <= now)
            query = select(calls.c.account_id).where(due).group_by(calls.c.account_id)
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
        """Stop the readings that are under way; what was due stays so."""
        await self._lanes.close()

    async def _read_account(self, account_id: AccountId) -> float | None:
        """Read what is due with whoever may see it: one for the whole account, or each user his own calls."""
        connections = await self._connections.of(account_id)
        readers = serving(connections, beside_polls=True)
        # All of them finish before any error goes up: a reading that goes on alone would meet its successor.
        told = await asyncio.gather(
            *(self._read_with(account_id, item) for item in readers), return_exceptions=True
        )
        for error in told:
            if isinstance(error, BaseException):
                raise error
        if not any(item.is_company_wide for item in readers):
            reason = why_unseen(connections, readers)
            await self._put_off_unseen(account_id, [str(item.extension_id) for item in readers], reason)
        return min((pause for pause in told if isinstance(pause, float)), default=None)

    async def _read_with(self, account_id: AccountId, connection: Connection) -> float | None:
        """Let one connection read what is due; return in how many seconds it wants to go on."""
        if (account_id, connection.name) in self._holds:
            return self._holds.remaining((account_id, connection.name))
        if not await self._find_due(account_id, connection, 1):
            return None
        async with leased(self._database, self._clock, self._lease(account_id, connection)) as is_ours:
            if not is_ours:
                return self._pause
            due = await self._find_due(account_id, connection, BATCH)
            try:
                if due:
                    await self._read(account_id, connection, due)
            except FeedBusyError:
                return self._pause
            except RingCentralError as error:
                return await self._excuse(account_id, connection, error)
        return 0.0

    async def _find_due(self, account_id: AccountId, connection: Connection, most: int) -> list[DueCall]:
        now = self._clock.now()
        async with self._database.read() as db:
            return await store.find_due_readings(
                db, account_id, now, most, extension_id=connection.extension_id
            )

    def _lease(self, account_id: AccountId, connection: Connection) -> Lease:
        return self._context.lease(account_id, f"readings:{connection.name}")

    async def _read(self, account_id: AccountId, connection: Connection, due: Sequence[DueCall]) -> None:
        feed = await self._feed.read(connection) if self._feed is not None else None
        if feed is not None:
            left = await self._take_feed(account_id, due, feed)
            has_more = not feed.is_complete
        else:
            left, has_more = list(due), len(due) == BATCH
        if left:
            served = await self._ask(account_id, connection, left)
            has_more = has_more or served < len(left)
        if not has_more:
            # Those that become due meanwhile share the next request.
            until = self._clock.now() + timedelta(seconds=self._plan.gap)
            self._holds.hold((account_id, connection.name), until)
            await rest(self._database, self._lease(account_id, connection), until)

    async def _ask(self, account_id: AccountId, connection: Connection, due: Sequence[DueCall]) -> int:
        """Send the request that does most for calls that are due; return for how many it spoke."""
        page_seconds = self._page_seconds.get((account_id, connection.name))
        request = plan_read(await self._load_due(account_id, due), page_seconds)
        left = {call.call_id: call for call in due}
        reason = NEVER_LOGGED
        try:
            unread = await self._send(account_id, connection, request, left)
        except RequestRefused as refusal:
            # Sent again it would be refused again: these calls are asked for in another way the next time.
            log_failure(log, "a reading was refused", refusal, calls=len(request.call_ids))
            unread, reason = frozenset(), REFUSED
        spoken_for = [call_id for call_id in request.call_ids if call_id in left and call_id not in unread]
        await self._plan_next(account_id, spoken_for, reason=reason)
        return len(due) - len(left) + len(spoken_for)

    async def _send(
        self,
        account_id: AccountId,
        connection: Connection,
        request: BySession | ByWindow | ByRecords,
        left: dict[str, DueCall],
    ) -> frozenset[str]:
        """Send a request and write what it brings; take the calls that were read out of `left`.

        Returns the ids of calls that it was to tell of and does not: they are on pages behind the last one read.
        """
        if isinstance(request, ByWindow):
            return await self._read_window(account_id, connection, request, left)
        if isinstance(request, ByRecords):
            items = await connection.client.fetch_call_records(
                request.record_ids, extension_id=connection.extension_id
            )
            records = [item.record for item in items if item.record]
            sent_at = min((item.sent_at for item in items), default=self._clock.now())
            await self._write(account_id, connection, left, records, sent_at)
        else:
            page = await connection.client.fetch_call_log_by_session(
                request.session_id, extension_id=connection.extension_id
            )
            await self._write(account_id, connection, left, page.records, page.sent_at)
        return frozenset()

    async def _take_feed(
        self, account_id: AccountId, due: Sequence[DueCall], feed: FeedRead
    ) -> list[DueCall]:
        """Note what the feed said of calls that were due; return those to ask for in another way.

        A call that a whole reading did not show has not changed: one that is reconciled stands, one without its
        record is asked for in another way now and then, in case the feed told of it while it was still going on.
        While there is more to come of the feed, a call that it did not show yet stays due.
        """
        left: list[DueCall] = []
        # Whether the feed begins by changes or by starts is not documented: what began later is in it either way.
        within = [call for call in due if call.started_at >= feed.since]
        left += [
            call for call in due if call.started_at < feed.since and call.call_id not in feed.brought.read
        ]
        if feed.is_complete:
            unseen = [call for call in within if call.call_id not in feed.brought.read]
            left += [call for call in unseen if needs_another_way(call)]
        rest = {call.call_id for call in due} - {call.call_id for call in left}
        known = sorted(rest if feed.is_complete else rest & feed.brought.read)

        async def settle(some: Sequence[str]) -> None:
            async with self._database.write() as db, open_ledger(db, account_id, self._clock.now()) as ledger:
                calls_of_feed = await store.load_by_ids(db, account_id, some)
                unchanged = [call for call in calls_of_feed.values() if call.call_id not in feed.brought.read]
                await settle_calls(ledger, unchanged, self._plan, feed.asked_at)
                for call in calls_of_feed.values():
                    self._after(ledger, call, feed.asked_at)

        await self._each(account_id, known, settle)
        return left

    async def _load_due(self, account_id: AccountId, due: Sequence[DueCall]) -> list[Due]:
        now = self._clock.now()
        named = [call.call_id for call in due if may_be_named(call, now)][:_MOST_NAMED]
        async with self._database.read() as db:
            record_ids = await store.find_record_ids(db, account_id, named)
        return [as_due(call, now, record_ids.get(call.call_id, ())) for call in due]

    async def _read_window(
        self, account_id: AccountId, connection: Connection, window: ByWindow, left: dict[str, DueCall]
    ) -> frozenset[str]:
        """Read a window page by page, each written as it comes: a refusal of a later one costs nothing read."""
        seen: set[RecordId] = set()
        oldest = window.date_to
        deadline = self._clock.now() + timedelta(seconds=LONGEST_TURN_SECONDS)
        for number in range(1, MOST_PAGES + 1):
            page = await connection.client.fetch_call_log_window(
                window.date_from,
                window.date_to,
                page=number,
                per_page=self._page_size,
                extension_id=connection.extension_id,
                deadline=deadline,
            )
            goes_on = wants_next_page(number, page, seen)
            if number == 1:
                key = account_id, connection.name
                self._page_seconds[key] = seconds_per_page(page, self._page_seconds.get(key))
            records = [record for record in page.records if record.id not in seen]
            seen |= {record.id for record in records}
            await self._write(account_id, connection, left, records, page.sent_at)
            oldest = min(oldest, start_of(records) or oldest)
            if not goes_on:
                return frozenset()
        # The newest come first. A second more, for starts are whole seconds.
        border = oldest + timedelta(seconds=START_TOLERANCE_SECONDS)
        return frozenset(call_id for call_id, call in left.items() if call.started_at <= border)

    async def _write(
        self,
        account_id: AccountId,
        connection: Connection,
        left: dict[str, DueCall],
        records: Sequence[CallRecord],
        sent_at: datetime,
    ) -> None:
        """Bring in what a request of `sent_at` told: of calls that are due, which are taken out of `left`, and of all
        others known."""
        matching = match_records(
            records, [keys_of_call(call) for call in left.values()], START_TOLERANCE_SECONDS
        )
        found = {call_id: final for call_id, rows in matching.found.items() if (final := answers(rows))}

        async def write(some: Sequence[str]) -> None:
            async with self._database.write() as db, open_ledger(db, account_id, self._clock.now()) as ledger:
                loaded = await store.load_by_ids(db, account_id, some)
                going = {one: found[one] for one, call in loaded.items() if call.stage == Stage.LIVE}
                over = {one: found[one] for one in loaded if one not in going}
                await store_versions(ledger, loaded, going, Source.CALL_LOG, sent_at)
                await apply_records(ledger, loaded, over, Source.CALL_LOG, sent_at, self._plan)
                for call in loaded.values():
                    self._after(ledger, call, sent_at)

        async def set_aside(call_id: str, error: Exception) -> None:
            await self._shelf.note(account_id, Source.CALL_LOG.value, call_id, error)
            await self._plan_next(account_id, [call_id], reason=UNSTORABLE)

        for some in batches(list(found)):
            await write_apart(some, write, set_aside)
        for call_id in found:
            del left[call_id]
        others = sort_by_call(record for rows in matching.strangers.values() for record in rows)
        await ingest(self._database, self._clock, self._plan, account_id, others, sent_at, grace=None)
        await self._connections.note(connection, None)
        tell = log.info if found else log.debug
        tell("read the call log", due=len(left) + len(found), found=len(found), records=len(records))

    async def _plan_next(
        self, account_id: AccountId, call_ids: Sequence[str], *, reason: str = NEVER_LOGGED
    ) -> None:
        """Plan the next reading of calls that this one did not find; close what has passed its horizon."""

        async def plan(some: Sequence[str]) -> None:
            async with self._database.write() as db, open_ledger(db, account_id, self._clock.now()) as ledger:
                for call in (await store.load_by_ids(db, account_id, some)).values():
                    self._after(ledger, call, ledger.now, reason=reason)

        await self._each(account_id, call_ids, plan)

    async def _each(
        self,
        account_id: AccountId,
        call_ids: Sequence[str],
        write: Callable[[Sequence[str]], Awaitable[None]],
    ) -> None:
        """Write what becomes of calls, in short transactions; one that cannot be written is not read any more."""

        async def set_aside(call_id: str, error: Exception) -> None:
            await self._shelf.note(account_id, Source.CALL_LOG.value, call_id, error)
            await self._shelf.stop_reading(account_id, call_id)

        for some in batches(call_ids):
            await write_apart(some, write, set_aside)

    def _after(self, ledger: Ledger, call: Call, seen_at: datetime, *, reason: str = NEVER_LOGGED) -> None:
        """Plan the next reading of a call that was as it is at `seen_at`, or close it."""
        call.reads += 1
        if call.stage in (Stage.ABSENT, Stage.LIVE):
            call.read_at = None
        else:
            call.read_at = next_read(call, self._plan, ledger.now, seen_at)
            if call.read_at is None:
                _close(ledger, call, reason)
        ledger.keep(call)

    async def _put_off_unseen(self, account_id: AccountId, seen: Sequence[str], reason: str) -> None:
        """Put off what is due and none of the extensions `seen` shows: nobody looked, so it counts as no reading. Close
        what has passed its horizon."""
        async with self._database.read() as db:
            due = await store.find_due_readings(db, account_id, self._clock.now(), BATCH, unseen_by=seen)

        async def put_off(some: Sequence[str]) -> None:
            async with self._database.write() as db, open_ledger(db, account_id, self._clock.now()) as ledger:
                for call in (await store.load_by_ids(db, account_id, some)).values():
                    self._put_off(ledger, call, reason)

        await self._each(account_id, [call.call_id for call in due], put_off)

    def _put_off(self, ledger: Ledger, call: Call, reason: str) -> None:
        horizon = (call.ended_at or call.started_at) + timedelta(seconds=self._plan.horizon)
        if call.stage in (Stage.FINAL, Stage.ABSENT, Stage.LIVE) or ledger.now >= horizon:
            call.read_at = None
            _close(ledger, call, reason)
        else:
            call.read_at = min(horizon, ledger.now + timedelta(seconds=self._plan.settled_after))
        ledger.keep(call)

    async def _excuse(self, account_id: AccountId, connection: Connection, error: RingCentralError) -> float:
        now = self._clock.now()
        retry_at = error.retry_at if isinstance(error, RateLimited) else now + timedelta(seconds=self._pause)
        self._holds.hold((account_id, connection.name), retry_at)
        log_failure(log, "reading the call log failed", error)
        await self._connections.note(connection, error)
        return max(0.0, (retry_at - now).total_seconds())


def _close(ledger: Ledger, call: Call, reason: str) -> None:
    """End the search: a call without any record is absent, one that Active Calls alone knew is final with that."""
    if call.stage == Stage.ENDED:
        call.absent_reason = reason
        call.window_closes_at = None
        call.ready("record", "none", ledger.now)
        ledger.move(call, Stage.ABSENT, "call.absent", reason=reason)
    elif call.stage == Stage.BOOTSTRAPPED:
        call.ready("legs", "none", ledger.now)
        finish(ledger, call, reason=reason)
    elif call.stage == Stage.RECONCILED:
        finish(ledger, call, reason="horizon")
