"""Looks through ranges of time in the Call Log for calls that no event told of: after gaps, regularly, on demand.

One slice a turn: claim the row, read all pages of the slice, bring in what was found, move the cursor. A crash
loses one slice, which is read again. No transaction is open while RingCentral thinks.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import structlog

from app import metrics
from app.accounts.connections import Connection, serving
from app.accounts.context import AccountsContext, AccountsWorker
from app.accounts.remedies import describe
from app.enrichment.call_log import gaps
from app.enrichment.call_log.change_feed import CallLogFeed, FeedBusyError
from app.enrichment.call_log.gaps import Reason, Sweep
from app.enrichment.call_log.ingest import Ingested, ingest, learn_owner
from app.enrichment.call_log.slices import (
    SHORTEST_SPAN_SECONDS,
    TimeSlice,
    belonging_to,
    next_slice,
    next_span,
    shorter,
    sort_by_call,
    start_of,
)
from app.enrichment.records.apply import CallLogPlan
from app.errors import AccessReason, LeaseLost, RateLimited, RequestRefused, RingCentralError
from app.ids import AccountId, RecordId
from app.ringcentral.models import CallRecord, RecordsPage
from app.ringcentral.protocol.paging import wants_next_page
from app.work.failures import log_failure
from app.work.lanes import Lanes
from app.work.leases import Lease, renewing
from app.work.wakeups import SWEEPS

MOST_PAGES = 4
"""What a slice should have: that much is held in memory, and read again after a crash."""

MOST_PAGES_AT_ALL = 100
"""What is read of a slice that cannot be shorter, or swings more than was thought."""

GAP_PASSES = 2
"""A gap is swept again later: a few records come minutes late."""

LONG_LOOK_EVERY = 8
"""Most regular looks go back a little; one in so many goes back all the way, for calls that lasted for hours."""

UNASKED = "users-not-asked"

_USERS_AT_ONCE = 8
"""Where nobody sees the whole account, so many of its users are asked for a slice side by side."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepRules:
    """Seconds; see `Settings`."""

    interval: float
    """From one regular look to the next."""

    lookback: float
    """How far the long ones go back: calls that started earlier and are over are not looked for any more."""

    overlap: float
    """How far the short ones reach into what was looked at: a few records come minutes late."""

    grace: float
    """A call is left to its events for so long after its end."""

    margin: float
    """The records of one call may start so far apart."""

    first_after: float
    """From the end of a gap to its first sweep: the Call Log follows the calls after 15-30 s."""

    second_after: float
    spacing: float
    """Between two slices that nobody waits for."""

    lease: float
    """After so long a crashed replica's slice is free; it is held for longer while the work goes on."""

    longest: float
    """What takes longer to read is read in shorter slices."""


@dataclass(frozen=True, slots=True)
class _Reading:
    """All records of a slice. `part` may be shorter than what was asked for; `account_id` is the answer's.

    `sent_at` is when the first of the requests left that told of it.
    """

    part: TimeSlice
    records: Sequence[CallRecord]
    account_id: AccountId | None
    sent_at: datetime


class _CutShort(Exception):
    """The budget ended within a slice, which has to be read again: `seconds` of it, so that it will last."""

    def __init__(self, seconds: float, error: RateLimited) -> None:
        super().__init__(error.detail)
        self.seconds = max(SHORTEST_SPAN_SECONDS, seconds)
        self.error = error


class Sweeper(AccountsWorker):
    """The background work that sweeps."""

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
        self._page_size = plan.page_size
        self._looked_over: set[AccountId] = set()
        self._lanes: Lanes[AccountId] = context.lanes("sweeps", SWEEPS, longest_seconds=rules.longest * 2)

    async def step(self) -> float | None:
        """Read one slice of each account that has something due; 0 when there may be more.

        An account that takes longer than our patience goes on beside the others.
        """
        await self._open_regular()
        async with self._database.read() as db:
            due = await gaps.find_due(db, self._clock.now())
        return await self._lanes.run({sweep.account_id: partial(self._serve, sweep) for sweep in due})

    async def close(self) -> None:
        """Stop the readings that are under way; what was due stays so."""
        await self._lanes.close()

    async def _serve(self, sweep: Sweep) -> float | None:
        return 0.0 if await self.advance(sweep) else None

    async def _open_regular(self) -> None:
        """Look over every account that there are credentials for."""
        holders = {connection.holder for connection in await self._connections.all()}
        if holders - self._looked_over:
            now = self._clock.now()
            async with self._database.write() as db:
                for holder in sorted(holders):
                    await gaps.open_regular(db, holder, now, timedelta(seconds=self._rules.interval))
        # Whoever goes and comes back later is new.
        self._looked_over = holders

    async def advance(self, due: Sweep) -> bool:
        """Read the next slice of a row, if it can be had; say whether it may go on at once."""
        async with self._database.write() as db:
            sweep = await gaps.claim(db, due, self._replica, self._clock.now(), self._rules.lease)
        if sweep is None:
            return False
        try:
            async with renewing(self._database, self._clock, self._lease(sweep)):
                return await self._advance(sweep)
        except RingCentralError as error:
            return await self._excuse(sweep, error)
        except _CutShort as cut:
            return await self._excuse(replace(sweep, span_seconds=cut.seconds), cut.error)
        except LeaseLost as lost:
            log.warning("a sweep begins anew", why=str(lost))
            return True

    def _lease(self, sweep: Sweep) -> Lease:
        return gaps.lease_of(sweep, self._replica, self._rules.lease)

    async def _advance(self, sweep: Sweep) -> bool:
        connections = await self._connections.of(sweep.account_id)
        readers = serving(connections, beside_polls=True)
        unasked = self._unasked(sweep, connections, readers)
        place, part = sweep, _next_part(sweep)
        if not part and unasked is None and _left_unasked(sweep) is not None:
            # It begins anew once its first slice is read: until then nobody knows that everybody can be asked.
            place = replace(sweep, cursor_at=None, problem=None)
            part = _next_part(place)
        if not part:
            await self._end_pass(sweep, unasked)
            return False
        if not readers:
            await self._stall(
                sweep,
                {
                    "code": AccessReason.NO_CREDENTIALS,
                    "detail": "No credentials that work serve this account.",
                },
            )
            return False
        if sweep.reason == Reason.REGULAR and await self._look_at_feed(sweep, readers[0]):
            return False
        reading = await self._read(readers, part)
        brought = await self._bring_in(place, reading)
        await self._move(place, reading, brought, unasked)
        return sweep.is_gap

    def _unasked(
        self, sweep: Sweep, connections: Sequence[Connection], readers: Sequence[Connection]
    ) -> dict[str, Any] | None:
        """Say whose calls nobody shows just now. The regular look waits for none of them: it is beside the events."""
        names = sorted(item.name for item in connections if item.access.problem is not None)
        if not names or sweep.reason == Reason.REGULAR or any(item.is_company_wide for item in readers):
            return None
        return {
            "code": UNASKED,
            "detail": f"The calls that only these credentials show were not looked for: {', '.join(names)}. "
            "Mend or remove them.",
        }

    async def _look_at_feed(self, sweep: Sweep, connection: Connection) -> bool:
        """Let the feed of changes, where there is one, stand for a short regular look; say whether it did."""
        is_long = sweep.passes > 0 and sweep.passes % LONG_LOOK_EVERY == 0
        if self._feed is None or is_long or sweep.cursor_at is not None:
            return False
        try:
            feed = await self._feed.read(connection)
        except FeedBusyError:
            await self._finish_pass(sweep)  # whoever reads it now looks as well
            return True
        if feed is None:
            return False
        await self._finish_pass(replace(sweep, found=sweep.found + len(feed.brought.opened)))
        return True

    async def _read(self, readers: Sequence[Connection], part: TimeSlice) -> _Reading:
        """Read a slice with each connection; where one of them has too much of it, all read less."""
        deadline = self._clock.now() + timedelta(seconds=self._rules.longest)
        turns = asyncio.Semaphore(_USERS_AT_ONCE)

        async def read(connection: Connection) -> _Reading:
            async with turns:
                return await self._read_noted(connection, part, deadline)

        told = await asyncio.gather(*map(read, readers), return_exceptions=True)
        for error in told:
            if isinstance(error, BaseException):
                raise error
        readings = [reading for reading in told if isinstance(reading, _Reading)]
        records = {record.id: record for reading in readings for record in reading.records}
        return _Reading(
            part=min((reading.part for reading in readings), key=lambda one: one.end),
            records=list(records.values()),
            account_id=next((one.account_id for one in readings if one.account_id is not None), None),
            sent_at=min(reading.sent_at for reading in readings),
        )

    async def _read_noted(self, connection: Connection, part: TimeSlice, deadline: datetime) -> _Reading:
        """Read a slice with one connection, and remember what that says of its rights."""
        try:
            reading = await self._read_with(connection, part, deadline)
        except RingCentralError as error:
            await self._connections.note(connection, error)
            raise
        await self._connections.note(connection, None)
        return reading

    async def _read_with(self, connection: Connection, asked: TimeSlice, deadline: datetime) -> _Reading:
        part = asked
        records: list[CallRecord] = []
        seen: set[RecordId] = set()
        account_id: AccountId | None = None
        sent_at, number = self._clock.now(), 0
        while number < MOST_PAGES_AT_ALL:
            number += 1
            if number > 1 and self._clock.now() >= deadline:
                raise _CutShort(part.seconds / 2, _takes_too_long(self._clock.now()))
            try:
                page = await self._fetch(connection, part, number, deadline)
            except RateLimited as error:
                if number == 1 and part == asked:
                    raise
                raise _CutShort(part.seconds / min(number, 2), error) from error
            sent_at = page.sent_at if number == 1 else sent_at
            goes_on = wants_next_page(number, page, seen)
            records += [record for record in page.records if record.id not in seen]
            seen |= {record.id for record in page.records}
            account_id = account_id or page.account_id
            if not goes_on:
                break
            less = shorter(part, self._rules.margin, start_of(records), MOST_PAGES) if number == 1 else None
            if less is not None:
                part, records, seen, number = less, [], set(), 0
            elif number == MOST_PAGES_AT_ALL:
                log.warning("a slice holds more calls than can be read at once", begin=str(part.begin))
        return _Reading(part, records, account_id, sent_at)

    async def _fetch(
        self, connection: Connection, part: TimeSlice, number: int, deadline: datetime
    ) -> RecordsPage:
        margin = timedelta(seconds=self._rules.margin)
        return await connection.client.fetch_call_log_window(
            part.begin - margin,
            part.end + margin,
            page=number,
            per_page=self._page_size,
            extension_id=connection.extension_id,
            deadline=deadline,
        )

    async def _bring_in(self, sweep: Sweep, reading: _Reading) -> Ingested:
        async with self._database.write() as db:
            owner = await learn_owner(db, sweep.account_id, reading.account_id, self._clock.now())
        if owner is None:
            return Ingested()
        calls = belonging_to(reading.part, sort_by_call(reading.records))
        grace = timedelta(seconds=self._rules.grace)
        return await ingest(
            self._database, self._clock, self._plan, owner, calls, reading.sent_at, grace=grace
        )

    async def _move(
        self, sweep: Sweep, reading: _Reading, brought: Ingested, unasked: dict[str, Any] | None
    ) -> None:
        now = self._clock.now()
        if brought.opened:
            metrics.SWEPT.labels(reason=sweep.reason).inc(len(brought.opened))
        write = log.info if brought.opened or sweep.is_gap else log.debug
        write(
            "swept", reason=sweep.reason, begin=str(reading.part.begin), end=str(reading.part.end),
            records=len(reading.records), read=len(brought.read), found=len(brought.opened),
        )  # fmt: skip
        waits_for_nobody = timedelta(seconds=0.0 if sweep.is_gap else self._rules.spacing)
        async with self._database.write() as db:
            await self._lease(sweep).release(
                db,
                cursor_at=reading.part.end,
                span_seconds=next_span(reading.part, len(reading.records), MOST_PAGES * self._page_size // 2),
                due_at=None if sweep.due_at is None else now + waits_for_nobody,
                records=sweep.records + len(reading.records),
                found=sweep.found + len(brought.opened),
                problem=self._told(sweep, unasked or _left_unasked(sweep)),
            )

    async def _end_pass(self, sweep: Sweep, unasked: dict[str, Any] | None) -> None:
        """Finish a pass, unless somebody is still to be asked."""
        if unasked is not None and _left_unasked(sweep) is not None:
            await self._stall(sweep, unasked)
        else:
            await self._finish_pass(sweep)

    async def _finish_pass(self, sweep: Sweep) -> None:
        now = self._clock.now()
        passes = sweep.passes + 1
        changes: dict[str, Any] = {"passes": passes, "found": sweep.found, "problem": None}
        if sweep.reason == Reason.REGULAR:
            changes |= self._next_look(sweep, passes, now)
        elif sweep.is_gap and passes < GAP_PASSES:
            changes |= {"cursor_at": None, "due_at": now + timedelta(seconds=self._rules.second_after)}
        else:
            changes |= {"due_at": None, "done_at": now}
        async with self._database.write() as db:
            await self._lease(sweep).release(db, **changes)

    def _next_look(self, sweep: Sweep, passes: int, now: datetime) -> dict[str, Any]:
        """Plan the next regular look, from the end of this one on; what was before we began is not ours."""
        due_at = now + timedelta(seconds=self._rules.interval)
        back = self._rules.lookback if passes % LONG_LOOK_EVERY == 0 else self._rules.overlap
        from_at = min(sweep.to_at or now, due_at) - timedelta(seconds=back)
        return {
            "from_at": max(sweep.created_at, from_at),
            "to_at": due_at,
            "cursor_at": None,
            "due_at": due_at,
            "done_at": now,
        }

    async def _excuse(self, sweep: Sweep, error: RingCentralError) -> bool:
        """Give a row back after a failure, to be read on later."""
        now = self._clock.now()
        log_failure(log, "a sweep was held up", error, account_id=sweep.account_id)
        if isinstance(error, RateLimited):
            await self._stall(sweep, None, max(error.retry_at, now))
            return False
        problem = describe(error)
        if isinstance(error, RequestRefused):
            problem = {"code": error.code, "detail": error.detail}
        elif _left_unasked(sweep) is not None:
            problem = None  # somebody is still not to be asked; his connection says why
        told = self._told(sweep, problem)
        pause = timedelta(seconds=self._rules.first_after)
        if told is not None:
            # The longer it lasts, the longer the pause.
            lasted = now - datetime.fromisoformat(told["since"])
            pause = min(max(pause, lasted), timedelta(seconds=self._rules.interval))
        await self._stall(sweep, problem, now + pause)
        return False

    async def _stall(
        self, sweep: Sweep, problem: dict[str, Any] | None, retry_at: datetime | None = None
    ) -> None:
        """Give a row back as far as it came. A pass that not everybody was asked in begins anew after another problem."""
        due_at = retry_at or self._clock.now() + timedelta(seconds=self._rules.interval)
        unasked = _left_unasked(sweep)
        begins_anew = unasked is not None and problem is not None and problem["code"] != UNASKED
        changes: dict[str, Any] = {"cursor_at": None} if begins_anew else {}
        async with self._database.write() as db:
            await self._lease(sweep).release(
                db,
                span_seconds=sweep.span_seconds,
                due_at=None if sweep.due_at is None else due_at,
                problem=self._told(sweep, problem or unasked),
                **changes,
            )

    def _told(self, sweep: Sweep, problem: dict[str, Any] | None) -> dict[str, Any] | None:
        """Return a problem with since when it is there."""
        if problem is None:
            return None
        before = sweep.problem or {}
        since = before.get("since") if before.get("code") == problem["code"] else None
        return {**problem, "since": since or self._clock.now().isoformat()}


def _next_part(sweep: Sweep) -> TimeSlice | None:
    """Return the slice that comes next; None at the end of a pass, and while a gap lasts."""
    if sweep.to_at is None:
        return None
    return next_slice(sweep.from_at, sweep.to_at, sweep.cursor_at, sweep.span_seconds)


def _left_unasked(sweep: Sweep) -> dict[str, Any] | None:
    """Return the problem that not everybody was asked in this pass, if it is that one."""
    return sweep.problem if sweep.problem is not None and sweep.problem.get("code") == UNASKED else None


def _takes_too_long(now: datetime) -> RateLimited:
    return RateLimited("reading a slice takes too long", retry_at=now, status=None)
