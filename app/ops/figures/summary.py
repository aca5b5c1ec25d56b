"""How the service is doing, in figures: queries in, one `ServiceSummary` out.

Everything is counted in the database, so each replica reports the same. Calls are counted over the last hour,
by the moment they ended.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.accounts.overview import AccountOverview, load_overview
from app.calls.model import Stage
from app.db.tables import calls, poll_targets, sweeps
from app.ops.account_scope import among, load_scope
from app.ops.figures import call_figures
from app.ops.figures.budget import Budget, count_429, load_budget
from app.ops.figures.call_figures import CallFigures, CallInWindow, Delays, Minute
from app.ops.figures.intake import load_inbox, load_subscriptions
from app.ops.figures.push import EndpointFigures, load_endpoint_figures
from app.ops.problems.clock_skew import load_skews
from app.ops.problems.listing import KnownState, load_problems
from app.ops.problems.model import ProblemToFix
from app.ops.states import InboxState, SubscriptionState
from app.settings import Settings
from app.vault import Vault


@dataclass(frozen=True, slots=True)
class ServiceSummary:
    """What the operator sees at a glance. `rate_limited` counts the 429 responses to all replicas, ever.

    `clock_skew_seconds` is that of the worker whose clock differs most from RingCentral's; positive is ahead,
    0 stands for every difference that is tolerated. `last_read_at` is when calls were last read from
    RingCentral.
    """

    at: datetime
    window_seconds: float
    lag_min_seconds: float
    lag_max_seconds: float
    calls: CallFigures = field(default_factory=CallFigures)
    delays: Delays = field(default_factory=Delays)
    minutes: tuple[Minute, ...] = ()
    waiting: tuple[CallInWindow, ...] = ()
    budget: Budget | None = None
    inbox: InboxState = field(default_factory=InboxState)
    subscriptions: tuple[SubscriptionState, ...] = ()
    accounts: tuple[AccountOverview, ...] = ()
    problems: tuple[ProblemToFix, ...] = ()
    rate_limited: int = 0
    clock_skew_seconds: float = 0.0
    last_read_at: datetime | None = None
    endpoints: tuple[EndpointFigures, ...] = ()


async def load_summary(
    db: AsyncConnection, account_id: str | None, settings: Settings, now: datetime, *, oversees: bool = False
) -> ServiceSummary:
    """Load the figures of an account, None: of all. With `oversees` the problems are those of all."""
    scope = await load_scope(db, account_id)
    only = None if account_id is None else scope
    # `only` limits the figures, `watched` the accounts and problems.
    watched = None if oversees else only
    since, window = call_figures.period_start(now), settings.active_calls_window_seconds
    groups = await call_figures.load_minutes(db, scope, since, now)
    ticks = await call_figures.load_ticks(db, scope, since, window)
    is_live = calls.c.account_id.in_(scope), calls.c.stage == Stage.LIVE
    subscriptions = await load_subscriptions(db, only, now)
    known = KnownState(
        now,
        await _load_accounts(db, watched, settings, now),
        subscriptions if watched == only else await load_subscriptions(db, watched, now),
        await load_inbox(db, only, now),
        await load_skews(db, now),
    )
    return ServiceSummary(
        at=now,
        window_seconds=window,
        lag_min_seconds=settings.active_calls_lag_min_seconds,
        lag_max_seconds=settings.active_calls_lag_max_seconds,
        calls=call_figures.add_up_figures(groups, live=await call_figures.count_calls(db, *is_live)),
        delays=call_figures.summarize_delays(ticks, window),
        minutes=call_figures.fill_minutes(groups, now),
        waiting=await call_figures.load_waiting(db, scope, now),
        budget=await load_budget(db, only, settings, now),
        inbox=known.inbox,
        subscriptions=subscriptions,
        accounts=known.accounts,
        problems=await load_problems(db, watched, settings, known),
        rate_limited=await count_429(db, only),
        clock_skew_seconds=max((skew.seconds for skew in known.skews), key=abs, default=0.0),
        last_read_at=await _load_last_read(db, only),
        endpoints=await load_endpoint_figures(db, watched),
    )


async def _load_accounts(
    db: AsyncConnection, only: Sequence[str] | None, settings: Settings, now: datetime
) -> tuple[AccountOverview, ...]:
    found = await load_overview(db, settings, Vault(settings.secrets()[0]), now)
    return tuple(one for one in found if only is None or one.account_id in only)


async def _load_last_read(db: AsyncConnection, only: Sequence[str] | None) -> datetime | None:
    """Return when calls were last read: by a poll of Active Calls, or by a sweep of the Call Log."""
    polled = select(func.max(poll_targets.c.last_poll_at)).where(among(poll_targets.c.account_id, only))
    swept = select(func.max(sweeps.c.done_at)).where(among(sweeps.c.account_id, only))
    moments = [await db.scalar(polled), await db.scalar(swept)]
    return max((moment for moment in moments if moment is not None), default=None)
