"""The queries behind the gauges that describe the whole service. Each is bounded in rows."""

import math
from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app import metrics
from app.accounts.credentials import OWN
from app.accounts.overview import AccountOverview
from app.calls.model import Stage
from app.db.tables import accounts, calls, credentials, subscriptions, sweeps
from app.enrichment.gaps import NO_GAPS
from app.ids import UNBOUND_ACCOUNT
from app.metric_labels import OTHER
from app.ops.figures.budget import load_budget
from app.ops.figures.call_figures import count_calls
from app.ops.figures.intake import load_inbox
from app.ops.figures.push import load_push_figures
from app.ops.prometheus.gauge_values import GaugeValues
from app.ops.states import ACTIVE, MOST_COUNTED
from app.settings import Settings

_SUSPENDED = ("suspended", "blacklisted")


async def read_gauges(db: AsyncConnection, settings: Settings, now: datetime) -> GaugeValues:
    """Return all values that are read from the database, but for the state of the credentials."""
    values = GaugeValues()
    await _read_calls(db, settings, now, values)
    await _read_budget(db, settings, now, values)
    await _read_gaps(db, now, values)
    await _read_subscriptions(db, settings, now, values)
    inbox = await load_inbox(db, None, now)
    values.whole[metrics.INBOX] = inbox.waiting
    values.whole[metrics.INBOX_SECONDS] = inbox.oldest_seconds or 0.0
    figures = await load_push_figures(db, None, now)
    values.by_state[metrics.WEBHOOK_ENDPOINTS] = {state: float(n) for state, n in figures.by_state.items()}
    values.whole[metrics.WEBHOOK_WAITING] = figures.waiting
    values.whole[metrics.WEBHOOK_WAITING_SECONDS] = figures.oldest_seconds
    return values


def count_credentials(overview: Iterable[AccountOverview]) -> Counter[str]:
    """Count credentials: `refused` cannot read any calls, `restricted` lack some right."""
    return Counter(
        "refused" if member.is_blocked else "restricted" if member.problems else "working"
        for account in overview
        for member in account.members
    )


async def _read_calls(db: AsyncConnection, settings: Settings, now: datetime, values: GaugeValues) -> None:
    is_ended, closes_at = calls.c.stage == Stage.ENDED, calls.c.window_closes_at
    values.whole[metrics.WAITING] = await count_calls(db, is_ended, closes_at > now)
    is_overdue = is_ended & (closes_at <= now)
    values.whole[metrics.OVERDUE] = await count_calls(db, is_overdue)
    oldest = await db.scalar(select(func.min(closes_at)).where(is_overdue))
    values.whole[metrics.OVERDUE_SECONDS] = (now - oldest).total_seconds() if oldest else 0.0
    is_live = calls.c.account_id.in_(select(accounts.c.account_id)) & (calls.c.stage == Stage.LIVE)
    stale_before = now - timedelta(seconds=settings.call_stale_seconds)
    values.whole[metrics.LIVE] = await count_calls(db, is_live)
    values.whole[metrics.LIVE_LONG] = await count_calls(db, is_live, calls.c.started_at < stale_before)


async def _read_budget(db: AsyncConnection, settings: Settings, now: datetime, values: GaugeValues) -> None:
    budget = await load_budget(db, None, settings, now)
    silent = budget.silent_until if budget else None
    values.whole[metrics.BUDGET_FREE] = budget.free if budget else settings.rate_limit_heavy
    values.whole[metrics.BUDGET_SILENT] = (silent - now).total_seconds() if silent else 0.0


async def _read_gaps(db: AsyncConnection, now: datetime, values: GaugeValues) -> None:
    is_open = sweeps.c.done_at.is_(None) & sweeps.c.reason.not_in(NO_GAPS)
    lasting, ended = is_open & sweeps.c.to_at.is_(None), is_open & sweeps.c.to_at.is_not(None)
    counts, seconds = {}, {}
    for state, condition, since in (
        ("lasting", lasting, sweeps.c.from_at),
        ("unswept", ended, sweeps.c.to_at),
    ):
        number, oldest = (await db.execute(select(func.count(), func.min(since)).where(condition))).one()
        counts[state] = number
        seconds[state] = max(0.0, (now - oldest).total_seconds()) if oldest else 0.0
    values.by_state[metrics.GAPS] = counts
    values.by_state[metrics.GAP_SECONDS] = seconds


async def _read_subscriptions(
    db: AsyncConnection, settings: Settings, now: datetime, values: GaugeValues
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
    values.by_state[metrics.SUBSCRIPTIONS] = counts
    values.whole[metrics.SUBSCRIPTION_SECONDS] = (soonest - now).total_seconds() if soonest else math.nan


def subscription_state(
    status: str, expires_at: datetime | None, refused_since: datetime | None, now: datetime
) -> str:
    """Return whether a stored subscription delivers, as a value of the label `state`."""
    # An expired subscription is expired, whatever its last known status was.
    if expires_at is not None and expires_at <= now:
        return "expired"
    if status.lower() in _SUSPENDED:
        return "suspended"
    if refused_since is not None:
        return "deliveries-refused"
    return ACTIVE if status.lower() == ACTIVE else OTHER


async def _count_without_subscription(db: AsyncConnection, settings: Settings) -> int:
    """Count the accounts that have credentials and no known subscription."""
    query = select(credentials.c.account_id, credentials.c.kind).limit(MOST_COUNTED)
    # Rows of the environment count only while the environment has credentials.
    holders = {
        row.account_id
        for row in await db.execute(query)
        if row.kind != OWN and row.account_id != UNBOUND_ACCOUNT
    }
    if settings.has_credentials:
        holders.add(UNBOUND_ACCOUNT)
    known = set(await db.scalars(select(subscriptions.c.account_id).distinct().limit(MOST_COUNTED)))
    return len(holders - known)
