"""The calls on the live board, and what all viewers of a process share.

The database is queried once, however many viewers there are: the first one refreshes, the others reuse the
result. Nothing runs without viewers.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Generic, TypeVar

from sqlalchemy import ColumnElement, Select, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.calls.attachments.rules.sentiments import choose_label
from app.calls.model import Source, Stage
from app.clock import Clock
from app.db.engine import Database
from app.db.tables import calls, notes, sentiments
from app.ops.account_scope import load_scope
from app.ops.figures.completeness import Completeness, load_completeness
from app.ops.figures.summary import ServiceSummary, load_summary
from app.settings import Settings

T = TypeVar("T")

LANES = 12
"""The most calls on the board."""

STAY_SECONDS = 6.0
"""A found call stays on the board at least this long, so that a person sees what became of it."""

_LANES_GAP_SECONDS = 0.25
_SUMMARY_GAP_SECONDS = 1.0
_COMPLETENESS_GAP_SECONDS = 2.0
_COMPLETENESS_DAYS = 2
_COUNTING_SHARE = 0.05
"""The share of the time that each kind of counting may take: slow counting happens less often."""

_LONGEST_GAP_SECONDS = 15.0
"""One slow response of the database must not leave the page outdated for minutes."""

_COLUMNS = (
    calls.c.call_id,
    calls.c.stage,
    calls.c.direction,
    calls.c.internal,
    calls.c.outcome,
    calls.c.caller,
    calls.c.callee,
    calls.c.started_at,
    calls.c.answered_at,
    calls.c.ended_at,
    calls.c.has_recording,
    calls.c.window_closes_at,
    calls.c.bootstrapped_at,
    calls.c.bootstrapped_by,
    calls.c.absent_reason,
    calls.c.source,
    calls.c.main_call_id,
)

_FELT = tuple(sentiments.c[name] for name in ("subject", "source", "made_by", "scope", "label", "updated_at"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """One call on the board.

    `main_call_id`: the main call of its conversation, None if that is this call. `sentiment` is the label
    that counts for the call.
    """

    call_id: str
    stage: str
    started_at: datetime
    direction: str | None = None
    internal: bool | None = None
    outcome: str = "inProgress"
    caller: Mapping[str, Any] | None = None
    callee: Mapping[str, Any] | None = None
    answered_at: datetime | None = None
    ended_at: datetime | None = None
    has_recording: bool = False
    window_closes_at: datetime | None = None
    bootstrapped_at: datetime | None = None
    bootstrapped_by: str | None = None
    absent_reason: str | None = None
    source: str = Source.WEBHOOK
    main_call_id: str | None = None
    notes: int = 0
    sentiment: str | None = None


def choose(candidates: Sequence[Lane], shown: frozenset[str], now: datetime, size: int = LANES) -> list[Lane]:
    """Choose the calls for the board, the latest start first.

    A call that waits for its record takes precedence over a live one, and a live one over a finished one.
    Among equals a call that is on the board stays, unless both are finished: then the later one is chosen. So
    a quiet company sees its last calls, and a busy one sees each call on the board until it is finished.
    """

    def rank(lane: Lane) -> tuple[int, bool, datetime]:
        interest = _interest(lane, now)
        return interest, interest > 0 and lane.call_id in shown, lane.started_at

    best = sorted(candidates, key=rank, reverse=True)[:size]
    return sorted(best, key=lambda lane: (lane.started_at, lane.call_id), reverse=True)


def _interest(lane: Lane, now: datetime) -> int:
    if lane.stage == Stage.ENDED and lane.window_closes_at is not None and now < lane.window_closes_at:
        return 2
    found_at = lane.bootstrapped_at
    if found_at is not None and now - found_at < timedelta(seconds=STAY_SECONDS):
        return 2
    return 1 if lane.stage == Stage.LIVE else 0


async def load_lanes(
    db: AsyncConnection, scope: Sequence[str], shown: frozenset[str], now: datetime
) -> list[Lane]:
    """Return the calls for the board of these accounts; `shown` are on it already."""
    present: Select[Any] = select(*_COLUMNS).where(
        calls.c.account_id.in_(scope), calls.c.call_id.in_(sorted(shown))
    )
    # One query per account and order: each is answered from the end of an index.
    queries: list[Select[Any]] = [present] if shown else []
    for account_id in scope:
        queries.append(_newest(account_id, calls.c.started_at))
        queries.append(_newest(account_id, calls.c.ended_at, calls.c.ended_at.is_not(None)))
    rows = [row for query in queries for row in (await db.execute(query)).mappings()]
    found = {row["call_id"]: Lane(**row) for row in rows}
    return await _with_marks(db, scope, choose(list(found.values()), shown, now))


def _newest(account_id: str, order: ColumnElement[Any], *conditions: ColumnElement[bool]) -> Select[Any]:
    query = select(*_COLUMNS).where(calls.c.account_id == account_id, *conditions)
    return query.order_by(order.desc(), calls.c.call_id.desc()).limit(LANES)


async def _with_marks(db: AsyncConnection, scope: Sequence[str], lanes: Sequence[Lane]) -> list[Lane]:
    """Add the number of notes and the label of each call's sentiment."""
    ids = [lane.call_id for lane in lanes]
    noted = select(notes.c.subject, func.count().label("number")).where(
        notes.c.account_id.in_(scope), notes.c.subject.in_(ids)
    )
    counts = {row.subject: row.number for row in await db.execute(noted.group_by(notes.c.subject))}
    felt = select(*_FELT).where(sentiments.c.account_id.in_(scope), sentiments.c.subject.in_(ids))
    by_call = defaultdict(list)
    for row in await db.execute(felt):
        by_call[row.subject].append(row)
    labels = {call_id: choose_label(rows) for call_id, rows in by_call.items()}
    return [
        replace(lane, notes=counts.get(lane.call_id, 0), sentiment=labels.get(lane.call_id)) for lane in lanes
    ]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a viewer sees: the board and the figures, each as of the last query."""

    at: datetime
    lanes: tuple[Lane, ...]
    summary: ServiceSummary
    completeness: Completeness


class _Cached(Generic[T]):
    """A value that is loaded again after `gap_seconds`, or later if loading takes long."""

    def __init__(self, clock: Clock, gap_seconds: float) -> None:
        self._clock = clock
        self._gap_seconds = gap_seconds
        self._value: T | None = None
        self._due_at = 0.0

    async def get(self, load: Callable[[], Awaitable[T]]) -> T:
        """Return the value. If loading it fails, the error is raised and the next call loads again."""
        started = self._clock.monotonic()
        if self._value is None or started >= self._due_at:
            self._value = await load()
            ended = self._clock.monotonic()
            pause = min(_LONGEST_GAP_SECONDS, (ended - started) / _COUNTING_SHARE)
            self._due_at = ended + max(self._gap_seconds, pause)
        return self._value


class ViewerBoard:
    """The board of one account, None for all. With `oversees` it shows the problems of all accounts."""

    def __init__(
        self,
        database: Database,
        settings: Settings,
        clock: Clock,
        account_id: str | None,
        *,
        oversees: bool = False,
    ) -> None:
        self._database = database
        self._settings = settings
        self._clock = clock
        self._account_id = account_id
        self._oversees = oversees
        self._refreshing = asyncio.Lock()
        self._lanes: tuple[Lane, ...] = ()
        self._lanes_due_at = 0.0
        self._summary: _Cached[ServiceSummary] = _Cached(clock, _SUMMARY_GAP_SECONDS)
        self._completeness: _Cached[Completeness] = _Cached(clock, _COMPLETENESS_GAP_SECONDS)

    async def snapshot(self) -> Snapshot:
        """Return the board and the figures, refreshed if too old. Raises StorageUnavailable."""
        # Viewers that come while one refreshes wait for it, then find everything fresh.
        async with self._refreshing:
            now = self._clock.now()
            if self._clock.monotonic() >= self._lanes_due_at:
                await self._refresh_lanes(now)
            summary = await self._summary.get(lambda: self._load_summary(now))
            completeness = await self._completeness.get(lambda: self._load_completeness(now))
            return Snapshot(now, self._lanes, summary, completeness)

    async def _refresh_lanes(self, now: datetime) -> None:
        shown = frozenset(lane.call_id for lane in self._lanes)
        async with self._database.read() as db:
            scope = await load_scope(db, self._account_id)
            self._lanes = tuple(await load_lanes(db, scope, shown, now))
        self._lanes_due_at = self._clock.monotonic() + _LANES_GAP_SECONDS

    async def _load_summary(self, now: datetime) -> ServiceSummary:
        async with self._database.read() as db:
            return await load_summary(db, self._account_id, self._settings, now, oversees=self._oversees)

    async def _load_completeness(self, now: datetime) -> Completeness:
        stale_seconds = self._settings.call_stale_seconds
        async with self._database.read() as db:
            return await load_completeness(db, self._account_id, now, _COMPLETENESS_DAYS, stale_seconds)


class Boards:
    """The boards of a process, by account. It belongs to the app's state."""

    def __init__(self, database: Database, settings: Settings, clock: Clock) -> None:
        self._database = database
        self._settings = settings
        self._clock = clock
        self._boards: dict[tuple[str | None, bool], ViewerBoard] = {}

    def of(self, account_id: str | None, *, oversees: bool = False) -> ViewerBoard:
        """Return the board of this account; None: of all."""
        key = account_id, oversees
        if key not in self._boards:
            self._boards[key] = ViewerBoard(
                self._database, self._settings, self._clock, account_id, oversees=oversees
            )
        return self._boards[key]
