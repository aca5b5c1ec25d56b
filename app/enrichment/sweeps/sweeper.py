"""Looks up calls that no event announced, over ranges of time in the Call Log: after gaps, regularly, on
demand.

One slice per turn: claim the row, read all pages of the slice, ingest what was found, move the cursor. A
crash loses one slice, which is read again. No transaction is open during a request.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

import structlog

from app import metrics
from app.accounts.connections import Connection, serving
from app.accounts.context import AccountsContext, AccountsWorker
from app.enrichment.call_log.extract_sync import CallLogFeed, FeedBusyError
from app.enrichment.call_log.ingest import Ingested, ingest, learn_owner
from app.enrichment.call_log.slices import TimeSlice, belonging_to, next_slice, next_span, sort_by_call
from app.enrichment.gaps import Reason, Sweep
from app.enrichment.records.plan import CallLogPlan
from app.enrichment.sweeps import rows as sweep_rows
from app.enrichment.sweeps import state as sweep_state
from app.enrichment.sweeps.slice_reader import PAGES_PER_SLICE, SliceRead, SliceReader, SliceTooLongError
from app.enrichment.sweeps.state import SweepRules, after_pass, is_long_pass
from app.errors import LeaseLost, RateLimited, RingCentralError
from app.ids import AccountId
from app.work.failures import log_failure
from app.work.lanes import Lanes
from app.work.leases import Lease, renewing
from app.work.wakeups import SWEEPS

log = structlog.get_logger(__name__)


class Sweeper(AccountsWorker):
    """The background work that sweeps."""

    any_due = sweep_rows.ANY_DUE

    def __init__(
        self,
        context: AccountsContext,
        plan: CallLogPlan,
        rules: SweepRules,
        feed: CallLogFeed | None = None,
    ) -> None:
        super().__init__(context)
        self._feed = feed
        self._plan = plan
        self._rules = rules
        self._slices = SliceReader(context.clock, context.connections, rules, plan.page_size, plan.call_types)
        self._holders: set[AccountId] = set()
        self._seen: Sequence[Connection] | None = None
        self._lanes: Lanes[AccountId] = context.lanes("sweeps", SWEEPS, longest_seconds=rules.longest * 2)

    async def step(self) -> float | None:
        """Read one slice of each account that has something due; return 0 when there may be more.

        An account that takes longer than the context's patience continues beside the others.
        """
        await self._open_regular()
        async with self._database.read() as db:
            due = await sweep_rows.find_due(db, self._clock.now())
        return await self._lanes.run({sweep.account_id: partial(self._serve, sweep) for sweep in due})

    async def close(self) -> None:
        """Stop the reads that are under way; what was due remains due."""
        await self._lanes.close()

    async def _serve(self, sweep: Sweep) -> float | None:
        return 0.0 if await self.advance(sweep) else None

    async def _open_regular(self) -> None:
        """Open the regular sweep of every account that has credentials."""
        connections = await self._connections.snapshot()
        if connections is self._seen:
            return
        holders = {connection.holder for connection in connections}
        if holders - self._holders:
            now = self._clock.now()
            async with self._database.write() as db:
                for holder in sorted(holders):
                    await sweep_rows.open_regular(db, holder, now, timedelta(seconds=self._rules.interval))
        # An account that is removed and comes back later is opened again.
        self._holders, self._seen = holders, connections

    async def advance(self, due: Sweep) -> bool:
        """Read the next slice of a row, if it can be claimed; return whether it may go on at once."""
        async with self._database.write() as db:
            sweep = await sweep_rows.claim(db, due, self._replica, self._clock.now(), self._rules.lease)
        if sweep is None:
            return False
        try:
            return await self._take_turn(sweep)
        except LeaseLost as lost:
            log.warning("a sweep starts again", why=str(lost))
            return True

    async def _take_turn(self, sweep: Sweep) -> bool:
        try:
            async with renewing(self._database, self._clock, self._lease(sweep)):
                return await self._advance(sweep)
        except RingCentralError as error:
            await self._handle_error(sweep, error)
        except SliceTooLongError as too_long:
            await self._handle_error(replace(sweep, span_seconds=too_long.seconds), too_long.error)
        return False

    def _lease(self, sweep: Sweep) -> Lease:
        return sweep_rows.lease_of(sweep, self._replica, self._rules.lease)

    async def _advance(self, sweep: Sweep) -> bool:
        connections = await self._connections.of(sweep.account_id)
        readers = serving(connections, beside_polls=True)
        state, unasked = sweep_state.read_state(sweep), _find_unasked(sweep, connections, readers)
        place, part = sweep, _next_part(sweep)
        if not part and unasked is None and isinstance(state, sweep_state.UsersNotAsked):
            # The pass starts again. It stays marked until a slice is read: only that shows that all users can
            # be asked.
            place = replace(sweep, cursor_at=None, problem=None)
            part = _next_part(place)
        if not part:
            await self._end_pass(sweep, state, unasked)
            return False
        if not readers:
            detail = "No credentials that work serve this account."
            await self._defer(sweep, sweep_state.Blocked(sweep_state.SweepProblem.NO_CREDENTIALS, detail))
            return False
        if sweep.reason == Reason.REGULAR and await self._read_feed(sweep, readers[0]):
            return False
        read = await self._slices.read(readers, part)
        ingested = await self._ingest(place, read)
        await self._move(place, read, ingested, unasked)
        return sweep.is_gap

    async def _read_feed(self, sweep: Sweep, connection: Connection) -> bool:
        """Read the change feed instead of a short regular pass; return False where that is not possible."""
        if self._feed is None or is_long_pass(sweep) or sweep.cursor_at is not None:
            return False
        found = 0
        try:
            feed = await self._feed.read(connection)
        except FeedBusyError:
            pass  # The replica that reads it now ingests the same calls.
        else:
            if feed is None:
                return False
            found = len(feed.ingested.opened)
        await self._finish_pass(replace(sweep, found=sweep.found + found))
        return True

    async def _ingest(self, sweep: Sweep, read: SliceRead) -> Ingested:
        async with self._database.write() as db:
            owner = await learn_owner(db, sweep.account_id, read.account_id, self._clock.now())
        if owner is None:
            return Ingested()
        calls = belonging_to(read.part, sort_by_call(read.records))
        grace = timedelta(seconds=self._rules.grace)
        return await ingest(self._database, self._clock, self._plan, owner, calls, read.sent_at, grace=grace)

    async def _move(
        self, sweep: Sweep, read: SliceRead, ingested: Ingested, unasked: sweep_state.UsersNotAsked | None
    ) -> None:
        now = self._clock.now()
        if ingested.opened:
            metrics.SWEPT.labels(reason=sweep.reason).inc(len(ingested.opened))
        write = log.info if ingested.opened or sweep.is_gap else log.debug
        write(
            "swept", reason=sweep.reason, begin=str(read.part.begin), end=str(read.part.end),
            records=len(read.records), read=len(ingested.read), found=len(ingested.opened),
        )  # fmt: skip
        spacing = timedelta(seconds=0.0 if sweep.is_gap else self._rules.spacing)
        before = sweep_state.read_state(sweep)
        # A pass that some users missed stays marked until its end, even when these users can be asked again.
        state = unasked or (
            before if isinstance(before, sweep_state.UsersNotAsked) else sweep_state.Unhindered()
        )
        async with self._database.write() as db:
            await self._lease(sweep).release(
                db,
                cursor_at=read.part.end,
                span_seconds=next_span(
                    read.part, len(read.records), PAGES_PER_SLICE * self._plan.page_size // 2
                ),
                due_at=None if sweep.due_at is None else now + spacing,
                records=sweep.records + len(read.records),
                found=sweep.found + len(ingested.opened),
                problem=sweep_state.to_json(sweep_state.lasting(state, before, now)),
            )

    async def _end_pass(
        self, sweep: Sweep, state: sweep_state.SweepState, unasked: sweep_state.UsersNotAsked | None
    ) -> None:
        """Finish a pass, unless some users' calls are still missing from it."""
        if unasked is not None and isinstance(state, sweep_state.UsersNotAsked):
            await self._defer(sweep, unasked)
        else:
            await self._finish_pass(sweep)

    async def _finish_pass(self, sweep: Sweep) -> None:
        async with self._database.write() as db:
            await self._lease(sweep).release(db, **after_pass(sweep, self._rules, self._clock.now()))

    async def _handle_error(self, sweep: Sweep, error: RingCentralError) -> None:
        """Release a row after a failure, to be read later."""
        now, before = self._clock.now(), sweep_state.read_state(sweep)
        log_failure(log, "a sweep was held up", error, account_id=sweep.account_id)
        if isinstance(error, RateLimited):
            await self._defer(sweep, sweep_state.Unhindered(), max(error.retry_at, now))
            return
        state = sweep_state.after_error(error, before)
        pause = sweep_state.retry_pause(
            sweep_state.lasting(state, before, now), now, self._rules.first_after, self._rules.interval
        )
        await self._defer(sweep, state, now + pause)

    async def _defer(
        self, sweep: Sweep, state: sweep_state.SweepState, retry_at: datetime | None = None
    ) -> None:
        """Release a row with what was read so far. Another problem makes a pass start again that some users
        missed."""
        now, before = self._clock.now(), sweep_state.read_state(sweep)
        changes: dict[str, None] = {}
        if isinstance(before, sweep_state.UsersNotAsked):
            changes = {"cursor_at": None} if isinstance(state, sweep_state.Blocked) else {}
            state = before if isinstance(state, sweep_state.Unhindered) else state
        due_at = retry_at or now + timedelta(seconds=self._rules.interval)
        async with self._database.write() as db:
            await self._lease(sweep).release(
                db,
                span_seconds=sweep.span_seconds,
                due_at=None if sweep.due_at is None else due_at,
                problem=sweep_state.to_json(sweep_state.lasting(state, before, now)),
                **changes,
            )


def _find_unasked(
    sweep: Sweep, connections: Sequence[Connection], readers: Sequence[Connection]
) -> sweep_state.UsersNotAsked | None:
    """Return whose calls cannot be read now. The regular sweep waits for none of them: their events still
    arrive."""
    names = sorted(item.name for item in connections if item.access.problem is not None)
    if not names or sweep.reason == Reason.REGULAR or any(item.is_company_wide for item in readers):
        return None
    return sweep_state.UsersNotAsked(
        f"Calls that only these credentials can read were not looked up: {', '.join(names)}. "
        "Fix or remove them."
    )


def _next_part(sweep: Sweep) -> TimeSlice | None:
    """Return the next slice; None at the end of a pass, and while a gap lasts."""
    if sweep.to_at is None:
        return None
    return next_slice(sweep.from_at, sweep.to_at, sweep.cursor_at, sweep.span_seconds)
