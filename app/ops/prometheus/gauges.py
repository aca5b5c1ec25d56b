"""The gauges that tell of the whole service: read from the database at each scrape, so every replica says the same.

Scrapes at the same time share one reading, and a reading is bounded in time and in rows.
"""

import asyncio
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from prometheus_client import Gauge
from sqlalchemy import Select, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app import metrics
from app.accounts.credentials import OWN
from app.accounts.overview import AccountOverview, load_overview
from app.api.dependencies import Services
from app.calls.model import Stage
from app.clock import Clock
from app.db.pool import pool_state
from app.db.tables import accounts, calls, credentials, subscriptions, sweeps
from app.enrichment.call_log.gaps import NO_GAPS
from app.errors import StorageUnavailable
from app.ids import UNBOUND_ACCOUNT
from app.metric_labels import OTHER
from app.ops.figures.summary import count_waiting, load_budget, load_inbox
from app.ops.states import MOST_COUNTED
from app.settings import Settings
from app.vault import Vault

LONGEST_SECONDS = 5.0
"""Prometheus gives a scrape ten seconds."""

ROSTER_SECONDS = 15.0
"""Whether credentials work is looked up this often: their secrets have to be decrypted."""

_ACTIVE = "active"
_SUSPENDED = ("suspended", "blacklisted")


@dataclass(slots=True)
class Figures:
    """What one reading of the database tells; NaN where it could not be read."""

    values: dict[Gauge, float] = field(default_factory=dict)
    states: dict[Gauge, Mapping[str, float]] = field(default_factory=dict)
    """By state; what is not named is 0."""


_WHOLE = (
    metrics.WAITING, metrics.OVERDUE, metrics.OVERDUE_SECONDS, metrics.LIVE, metrics.LIVE_LONG, metrics.BUDGET_FREE,
    metrics.BUDGET_SILENT, metrics.INBOX, metrics.INBOX_SECONDS, metrics.SUBSCRIPTION_SECONDS,
)  # fmt: skip
_BY_STATE = (metrics.SUBSCRIPTIONS, metrics.CREDENTIALS, metrics.GAPS, metrics.GAP_SECONDS)


class GaugeReader:
    """Sets the gauges of this process."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._reading: asyncio.Task[None] | None = None
        self._roster: list[AccountOverview] = []
        self._roster_at = -math.inf

    async def refresh(self, services: Services) -> None:
        """Read everything anew, or wait for the reading that is under way."""
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._refresh(services), name="gauges")
        await asyncio.shield(self._reading)

    async def _refresh(self, services: Services) -> None:
        _set_pool(services)
        figures: Figures | None = None
        try:
            async with asyncio.timeout(LONGEST_SECONDS):
                figures = await self._read(services)
        except (StorageUnavailable, TimeoutError):
            pass
        metrics.DATABASE_UP.set(1 if figures else 0)
        _set(figures or Figures())

    async def _read(self, services: Services) -> Figures:
        now, settings = services.clock.now(), services.settings
        figures = Figures()
        async with services.database.read() as db:
            await self._read_roster(db, settings, now)
            figures.values[metrics.WAITING] = await count_waiting(db, now)
            await _read_overdue(db, now, figures)
            await _read_live(db, settings, now, figures)
            await _read_budget(db, settings, now, figures)
            await _read_gaps(db, now, figures)
            await _read_subscriptions(db, settings, now, figures)
            inbox = await load_inbox(db, None, now)
        figures.values[metrics.INBOX] = inbox.waiting
        figures.values[metrics.INBOX_SECONDS] = inbox.oldest_seconds or 0.0
        figures.states[metrics.CREDENTIALS] = count_credentials(self._roster)
        return figures

    async def _read_roster(self, db: AsyncConnection, settings: Settings, now: datetime) -> None:
        if self._clock.monotonic() - self._roster_at < ROSTER_SECONDS:
            return
        self._roster = list(await load_overview(db, settings, Vault(settings.secrets()[0]), now))
        self._roster_at = self._clock.monotonic()


def count_credentials(roster: list[AccountOverview]) -> dict[str, float]:
    """Count credentials: `refused` cannot read anything, `restricted` lack something beside."""
    counts: Counter[str] = Counter()
    for account in roster:
        for member in account.members:
            state = "refused" if member.is_blocked else "restricted" if member.problems else "working"
            counts[state] += 1
    return {state: float(number) for state, number in counts.items()}


async def _count(db: AsyncConnection, query: Select[tuple[str]]) -> int:
    counted = query.limit(MOST_COUNTED).subquery()
    return await db.scalar(select(func.count()).select_from(counted)) or 0


async def _read_overdue(db: AsyncConnection, now: datetime, figures: Figures) -> None:
    is_overdue = (calls.c.stage == Stage.ENDED.value) & (calls.c.window_closes_at <= now)
    figures.values[metrics.OVERDUE] = await _count(db, select(calls.c.call_id).where(is_overdue))
    oldest = await db.scalar(select(func.min(calls.c.window_closes_at)).where(is_overdue))
    figures.values[metrics.OVERDUE_SECONDS] = (now - oldest).total_seconds() if oldest else 0.0


async def _read_live(db: AsyncConnection, settings: Settings, now: datetime, figures: Figures) -> None:
    ours = select(accounts.c.account_id)
    live = select(calls.c.call_id).where(calls.c.account_id.in_(ours), calls.c.stage == Stage.LIVE.value)
    figures.values[metrics.LIVE] = await _count(db, live)
    before = now - timedelta(seconds=settings.call_stale_seconds)
    figures.values[metrics.LIVE_LONG] = await _count(db, live.where(calls.c.started_at < before))


async def _read_budget(db: AsyncConnection, settings: Settings, now: datetime, figures: Figures) -> None:
    budget = await load_budget(db, None, settings, now)
    silent = budget.silent_until if budget else None
    figures.values[metrics.BUDGET_FREE] = budget.free if budget else settings.rate_limit_heavy
    figures.values[metrics.BUDGET_SILENT] = (silent - now).total_seconds() if silent else 0.0


async def _read_gaps(db: AsyncConnection, now: datetime, figures: Figures) -> None:
    is_open = sweeps.c.done_at.is_(None) & sweeps.c.reason.not_in(NO_GAPS)
    lasts, ended = is_open & sweeps.c.to_at.is_(None), is_open & sweeps.c.to_at.is_not(None)
    counts, seconds = {}, {}
    for state, condition, since in (("lasting", lasts, sweeps.c.from_at), ("unswept", ended, sweeps.c.to_at)):
        number, oldest = (await db.execute(select(func.count(), func.min(since)).where(condition))).one()
        counts[state] = float(number)
        seconds[state] = max(0.0, (now - oldest).total_seconds()) if oldest else 0.0
    figures.states[metrics.GAPS] = counts
    figures.states[metrics.GAP_SECONDS] = seconds


async def _read_subscriptions(
    db: AsyncConnection, settings: Settings, now: datetime, figures: Figures
) -> None:
    column = subscriptions.c
    counts: Counter[str] = Counter()
    query = select(column.status, column.expires_at, column.refused_since).limit(MOST_COUNTED)
    soonest: datetime | None = None
    for row in await db.execute(query):
        counts[subscription_state(row.status, row.expires_at, row.refused_since, now)] += 1
        if row.expires_at is not None:
            soonest = min(soonest or row.expires_at, row.expires_at)
    if settings.webhook_address is not None:
        counts["missing"] = await _count_without_subscription(db, settings)
    figures.states[metrics.SUBSCRIPTIONS] = {state: float(number) for state, number in counts.items()}
    figures.values[metrics.SUBSCRIPTION_SECONDS] = (soonest - now).total_seconds() if soonest else math.nan


def subscription_state(
    status: str, expires_at: datetime | None, refused_since: datetime | None, now: datetime
) -> str:
    """Say whether a subscription delivers, from what is stored of it."""
    if expires_at is not None and expires_at <= now:
        return "expired"
    if status.lower() in _SUSPENDED:
        return "suspended"
    if refused_since is not None:
        return "deliveries-refused"
    return _ACTIVE if status.lower() == _ACTIVE else OTHER


async def _count_without_subscription(db: AsyncConnection, settings: Settings) -> int:
    """Count accounts with credentials for which no subscription is known."""
    query = select(credentials.c.account_id, credentials.c.kind).limit(MOST_COUNTED)
    holders = {
        row.account_id
        for row in await db.execute(query)
        if row.kind != OWN and row.account_id != UNBOUND_ACCOUNT
    }
    if settings.has_credentials:
        holders.add(UNBOUND_ACCOUNT)
    known = set(await db.scalars(select(subscriptions.c.account_id).distinct().limit(MOST_COUNTED)))
    return len(holders - known)


def _set_pool(services: Services) -> None:
    state = pool_state(services.database.engine)
    metrics.POOL.labels(state="in-use").set(state.in_use if state else math.nan)
    metrics.POOL.labels(state="idle").set(state.idle if state else math.nan)
    metrics.POOL_LIMIT.set(state.limit if state else math.nan)
    metrics.POOL_WAITING.set(state.waiting if state else math.nan)


def _set(figures: Figures) -> None:
    """Set every gauge; those that could not be read are not a number."""
    for gauge in _WHOLE:
        gauge.set(figures.values.get(gauge, math.nan))
    for labelled in _BY_STATE:
        by_state = figures.states.get(labelled)
        for state in (*labelled.values["state"], OTHER):
            value = math.nan if by_state is None else by_state.get(state, 0.0)
            labelled.labels(state=state).set(value)
