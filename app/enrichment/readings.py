"""Reads ended calls in the Call Log: those that the window did not give, and the rest to make them true.

Where the tenant has a feed of changes, one request tells of all calls. Elsewhere many calls share a request where
their starts lie close together, or by the ids of their records where they only have to be confirmed. What is not there yet is asked for again after
a growing pause, until the horizon; then the call is closed as absent, with the reason.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

import structlog
from sqlalchemy import and_, func, select

from app.calls import recordings, store
from app.calls.insights_store import PART
from app.calls.ledger import Ledger, open_ledger
from app.calls.model import Call, Source, Stage
from app.clock import Clock
from app.db.engine import Database
from app.db.tables import calls
from app.enrichment.connections import Connection, Connections, serving
from app.enrichment.feed import Feed, FeedRead
from app.enrichment.matching import answers, match_records
from app.enrichment.records import ReadingPlan, apply_readings, as_sought, finish, settle, stands
from app.enrichment.troubles import note_trouble
from app.errors import RateLimited, RingCentralError
from app.ids import AccountId, RecordId, SessionId, is_alias
from app.ringcentral.models import CallRecord
from app.ringcentral.protocol import wants_next_page
from app.work.lanes import Lanes, Serve
from app.work.leases import Lease, leased
from app.work.wakeups import READINGS

BATCH = 500
MOST_PAGES = 20
_BEFORE_START_SECONDS = 60.0
_AFTER_START_SECONDS = 120.0
_LONGEST_SPAN_SECONDS = 3600.0
_START_TOLERANCE_SECONDS = 5.0
_MOST_DOUBLINGS = 6
_MOST_CONFIRMED = 30
"""Records in one bulk read."""
_LONGEST_TURN_SECONDS = 300.0

NEVER_LOGGED = "never-logged"
NO_CREDENTIALS = "no-credentials"
NO_PERMISSION = "no-permission"

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class BySession:
    """Ask for one session, with `view` alone: other parameters are refused beside it (CLG-110)."""

    call_id: str
    session_id: SessionId


@dataclass(frozen=True, slots=True)
class ByWindow:
    """Ask for all calls whose *start* lies between the two; serves many calls at once."""

    date_from: datetime
    date_to: datetime
    call_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ByRecords:
    """Ask for records by their ids: tells whether they have changed, not whether there are more."""

    call_ids: tuple[str, ...]
    record_ids: tuple[RecordId, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """A call that is due to be read: what the choice of the request depends on.

    `record_ids` are those of a call of which all is known and that only has to be confirmed.
    """

    call_id: str
    session_id: str | None
    started_at: datetime
    reads: int
    record_ids: tuple[str, ...] = ()


def plan_reading(due: Sequence[Due]) -> BySession | ByWindow | ByRecords:
    """Choose the next request: for the call that is due longest, with all that it can take along.

    A lone call is asked for by its session first; where that has failed before, or several wait, by start time.
    Calls that only have to be confirmed, and started at far-off times, share a request by their records.
    """
    first = due[0]
    if (
        len(due) == 1
        and first.reads % 2 == 0
        and first.session_id is not None
        and is_alias(first.session_id)
        and first.session_id.isdecimal()
    ):
        return BySession(first.call_id, SessionId(first.session_id))
    span = timedelta(seconds=_LONGEST_SPAN_SECONDS)
    near = [call for call in due if abs(call.started_at - first.started_at) <= span / 2]
    by_records = _confirm(due) if first.record_ids else None
    if by_records is not None and len(by_records.call_ids) > len(near):
        return by_records
    starts = [call.started_at for call in near]
    return ByWindow(
        date_from=min(starts) - timedelta(seconds=_BEFORE_START_SECONDS),
        date_to=max(starts) + timedelta(seconds=_AFTER_START_SECONDS),
        call_ids=tuple(call.call_id for call in near),
    )


def _confirm(due: Sequence[Due]) -> ByRecords:
    """Take along what fits into one bulk read, whole calls only."""
    call_ids: list[str] = []
    record_ids: list[RecordId] = []
    for call in due:
        fits = not record_ids or len(record_ids) + len(call.record_ids) <= _MOST_CONFIRMED
        if call.record_ids and fits:
            call_ids.append(call.call_id)
            record_ids += map(RecordId, call.record_ids)
    return ByRecords(tuple(call_ids), tuple(record_ids))


def next_reading(call: Call, plan: ReadingPlan, now: datetime) -> datetime | None:
    """Say when to read a call again that was just looked for; None when its horizon has passed, or when nothing
    is missing any more but a recording or its insights."""
    ended_at = call.ended_at or call.started_at
    horizon = ended_at + timedelta(seconds=plan.horizon)
    if now >= horizon:
        return None
    if call.stage == Stage.RECONCILED:
        if stands(call, plan, now) and (recordings.is_awaited(call) or call.awaits(PART)):
            return None  # whoever waits for the recording or the insights makes it final
        return now + timedelta(seconds=plan.settled_after)
    pause = timedelta(seconds=plan.gap * 2.0 ** min(max(call.reads - 1, 0), _MOST_DOUBLINGS))
    return min(now + pause, horizon)


@dataclass(frozen=True, slots=True)
class _Turn:
    """What came of one connection's turn: when it wants the next, and whether it could ask for all it may see."""

    pause: float | None
    is_through: bool = True


class Reader:
    """The background work that reads the Call Log, and closes what its horizon has passed."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        connections: Connections,
        plan: ReadingPlan,
        *,
        page_size: int,
        patience_seconds: float | None = None,
        feed: Feed | None = None,
        replica: str = "one",
        lease_seconds: float = 15.0,
    ) -> None:
        self._feed = feed
        self._replica = replica
        self._lease_seconds = lease_seconds
        self._database = database
        self._clock = clock
        self._connections = connections
        self._pause = plan.gap / 6
        self._plan = plan
        self._page_size = page_size
        self._not_before: dict[tuple[AccountId, str], datetime] = {}
        self._lanes: Lanes[AccountId] = Lanes(
            "readings",
            wake=lambda: database.wake((READINGS,)),
            longest_seconds=_LONGEST_TURN_SECONDS,
            patience_seconds=patience_seconds,
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
        turns = [turn for turn in told if isinstance(turn, _Turn)]
        is_company_wide = any(item.is_company_wide for item in readers)
        # Whoever was held back may yet see what is due; only what nobody may see is put off.
        if not is_company_wide and all(turn.is_through for turn in turns):
            await self._put_off_unseen(account_id, NO_PERMISSION if connections else NO_CREDENTIALS)
        return min((turn.pause for turn in turns if turn.pause is not None), default=None)

    async def _read_with(self, account_id: AccountId, connection: Connection) -> _Turn:
        now = self._clock.now()
        held_back = self._not_before.get((account_id, connection.name))
        if held_back is not None and now < held_back:
            return _Turn((held_back - now).total_seconds(), is_through=False)
        async with self._database.read() as db:
            due = await store.find_due_readings(db, account_id, now, BATCH, connection.extension_id)
        if not due:
            return _Turn(None)
        async with leased(self._database, self._clock, self._lease(account_id, connection)) as is_ours:
            if not is_ours:
                return _Turn(self._pause, is_through=False)
            async with self._database.read() as db:
                due = await store.find_due_readings(
                    db, account_id, self._clock.now(), BATCH, connection.extension_id
                )
            try:
                if due:
                    await self._read(account_id, connection, due)
            except RingCentralError as error:
                return _Turn(await self._excuse(account_id, connection, error), is_through=False)
        return _Turn(0.0)

    def _lease(self, account_id: AccountId, connection: Connection) -> Lease:
        kind = f"readings:{connection.name}"
        return Lease(account_id, kind, self._replica, self._lease_seconds)

    async def _read(self, account_id: AccountId, connection: Connection, due: Sequence[Call]) -> None:
        feed = await self._feed.read(connection) if self._feed is not None else None
        if feed is not None:
            due = await self._take_feed(account_id, due, feed)
            # Those that become due meanwhile share the next request.
            gathering = timedelta(seconds=self._plan.gap / 2)
            self._not_before[(account_id, connection.name)] = self._clock.now() + gathering
        if not due:
            return
        request = plan_reading(await self._as_due(account_id, due))
        if isinstance(request, ByRecords):
            items = await connection.client.fetch_call_records(
                request.record_ids, extension_id=connection.extension_id
            )
            records, asked = [item.record for item in items if item.record], list(request.call_ids)
        elif isinstance(request, BySession):
            page = await connection.client.fetch_call_log_by_session(
                request.session_id, extension_id=connection.extension_id
            )
            records, asked = list(page.records), [request.call_id]
        else:
            records, asked = await self._read_window(connection, request), list(request.call_ids)
        await self._write(account_id, connection, asked, records)

    async def _take_feed(self, account_id: AccountId, due: Sequence[Call], feed: FeedRead) -> list[Call]:
        """Note what the feed said of calls that were due; return those to ask for in another way.

        A call that it did not show has not changed: one that is reconciled stands, one without its record is asked
        for in another way every other time, in case the feed told of it while it was still going on.
        """
        left: list[Call] = []
        async with self._database.write() as db, open_ledger(db, account_id, self._clock.now()) as ledger:
            loaded = await store.load_by_ids(db, account_id, [call.call_id for call in due])
            for call in loaded.values():
                is_covered = feed.is_complete and (call.ended_at or call.started_at) >= feed.since
                if call.call_id in feed.brought.read:
                    self._after(ledger, call)
                elif is_covered and call.stage == Stage.RECONCILED:
                    settle(ledger, call, self._plan)
                    self._after(ledger, call)
                elif is_covered and call.reads % 2 == 0:
                    self._after(ledger, call)
                else:
                    left.append(call)
        return left

    async def _as_due(self, account_id: AccountId, due: Sequence[Call]) -> list[Due]:
        settled = [call.call_id for call in due if call.stage == Stage.RECONCILED]
        async with self._database.read() as db:
            rows = await store.load_records(db, account_id, settled)
        return [_as_due(call, [row.record_id for row in rows.get(call.call_id, ())]) for call in due]

    async def _read_window(self, connection: Connection, window: ByWindow) -> list[CallRecord]:
        records: list[CallRecord] = []
        seen: set[RecordId] = set()
        for number in range(1, MOST_PAGES + 1):
            page = await connection.client.fetch_call_log_window(
                window.date_from,
                window.date_to,
                page=number,
                per_page=self._page_size,
                extension_id=connection.extension_id,
            )
            goes_on = wants_next_page(number, page, seen)
            records += [record for record in page.records if record.id not in seen]
            seen |= {record.id for record in page.records}
            if not goes_on:
                break
        return records

    async def _write(
        self,
        account_id: AccountId,
        connection: Connection,
        asked: Sequence[str],
        records: Sequence[CallRecord],
    ) -> None:
        fetched_at = self._clock.now()
        async with self._database.write() as db, open_ledger(db, account_id, self._clock.now()) as ledger:
            loaded = await store.load_by_ids(db, account_id, asked)
            matching = match_records(
                records, [as_sought(call) for call in loaded.values()], _START_TOLERANCE_SECONDS
            )
            found = {call_id: final for call_id, rows in matching.found.items() if (final := answers(rows))}
            await apply_readings(ledger, loaded, found, Source.CALL_LOG, fetched_at, self._plan)
            if connection.is_company_wide:
                await note_trouble(db, account_id, None, ledger.now)
            for call in loaded.values():
                self._after(ledger, call)
        log.info("read the call log", due=len(asked), found=len(found), records=len(records))

    def _after(self, ledger: Ledger, call: Call, *, reason: str = NEVER_LOGGED) -> None:
        """Plan the next reading of a call, or close it."""
        call.reads += 1
        if call.stage in (Stage.FINAL, Stage.ABSENT, Stage.LIVE):
            call.read_at = None
        else:
            call.read_at = next_reading(call, self._plan, ledger.now)
            if call.read_at is None:
                _close(ledger, call, reason)
        ledger.keep(call)

    async def _put_off_unseen(self, account_id: AccountId, reason: str) -> None:
        """Plan anew what is due and nobody may see; close what has passed its horizon."""
        now = self._clock.now()
        async with self._database.write() as db, open_ledger(db, account_id, now) as ledger:
            for call in await store.find_due_readings(db, account_id, now, BATCH):
                self._after(ledger, call, reason=reason)

    async def _excuse(self, account_id: AccountId, connection: Connection, error: RingCentralError) -> float:
        now = self._clock.now()
        retry_at = error.retry_at if isinstance(error, RateLimited) else now + timedelta(seconds=self._pause)
        self._not_before[(account_id, connection.name)] = retry_at
        log.warning(
            "reading the call log failed", why=error.detail, code=error.code, request_id=error.request_id
        )
        await self._connections.note(connection, error)
        async with self._database.write() as db:
            await note_trouble(db, account_id, error, now)
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
        ledger.move(call, Stage.FINAL, "call.final", reason=reason)
    elif call.stage == Stage.RECONCILED:
        finish(ledger, call, reason="horizon")


def _as_due(call: Call, record_ids: Sequence[str]) -> Due:
    return Due(
        call_id=call.call_id,
        session_id=call.session_id,
        started_at=call.started_at,
        reads=call.reads,
        record_ids=tuple(record_ids),
    )
