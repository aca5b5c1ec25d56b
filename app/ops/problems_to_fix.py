"""What needs a person: the one list of problems that the dashboard, `aftercall check` and `/v1/ops/summary` show."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, select, true
from sqlalchemy.ext.asyncio import AsyncConnection

from app.accounts.credentials import OWN
from app.accounts.overview import AccountOverview
from app.db.tables import accounts, sweeps, work
from app.enrichment.call_log.gaps import REGULAR_ID
from app.enrichment.records.set_aside import load_set_aside
from app.errors import AccessReason
from app.ids import UNBOUND_ACCOUNT
from app.ops.clock_skew import load_skews
from app.ops.reachability import load_unreached
from app.ops.remedies import remedy_of
from app.ops.states import InboxState, SubscriptionState, is_backlog
from app.rate_limits.silences import load_silences
from app.ringcentral.reachability import FAILURES_BEFORE_ALARM
from app.settings import Settings
from app.webhooks.subscriptions.keeper import KIND as SUBSCRIPTION_WORK

MISSING = "subscription-missing"
BACKLOG = "inbox-backlog"
_REPLACED_WITHIN = timedelta(seconds=60)
"""A subscription that is lost is replaced by then; after that somebody should look."""

_UNREACHED = "unreachable-"


@dataclass(frozen=True, slots=True)
class ProblemToFix:
    """Something that only a person can put right.

    `about` is "setup", "reach", "credentials", "rate-limit", "records", "subscription", "sweep", "inbox" or "clock".
    `credentials` names those that it is about, of the account.
    """

    account_id: str
    about: str
    code: str
    detail: str
    since: datetime | None = None
    credentials: str | None = None

    @property
    def title(self) -> str:
        return remedy_of(self.about, self.code).title

    @property
    def todo(self) -> str:
        return remedy_of(self.about, self.code).todo


def read_problem(about: str, account_id: str, stored: Mapping[str, Any]) -> ProblemToFix:
    """Read the stored form of a problem: code (may be null), detail, since."""
    since = stored.get("since")
    code = str(stored.get("code") or about)
    return ProblemToFix(
        account_id=account_id,
        about="reach" if code.startswith(_UNREACHED) else about,
        code=code,
        detail=str(stored.get("detail") or ""),
        since=datetime.fromisoformat(since) if isinstance(since, str) else None,
    )


async def load_problems(
    db: AsyncConnection,
    only: Sequence[str] | None,
    settings: Settings,
    now: datetime,
    *,
    shown: Sequence[AccountOverview],
    subscriptions: Sequence[SubscriptionState],
    inbox: InboxState,
) -> tuple[ProblemToFix, ...]:
    """Return all problems of these accounts (None: of all), those of the whole service first, each once."""
    clocks = [read_problem("clock", UNBOUND_ACCOUNT, skew["problem"]) for skew in await load_skews(db, now)]
    reach = [read_problem("reach", UNBOUND_ACCOUNT, problem) for problem in await load_unreached(db, now)]
    refused = await _load_subscription_problems(db, only)
    return each_once(
        [
            *setup_problems(settings, shown, only),
            *clocks,
            *reach,
            *_of_credentials(shown),
            *await _load_response_problems(db, only, now),
            *refused,
            *_of_subscriptions(settings, shown, subscriptions, refused, now),
            *await _load_sweep_problems(db, only),
            *inbox_problems(inbox, settings.active_calls_window_seconds),
        ]
    )


def setup_problems(
    settings: Settings, shown: Iterable[AccountOverview], only: Sequence[str] | None
) -> list[ProblemToFix]:
    """Return what was never set up, for who looks after the service's own account."""
    if only is not None and UNBOUND_ACCOUNT not in only:
        return []
    if not settings.has_credentials and not any(account.members for account in shown):
        missing = ", ".join(
            name
            for name, value in (
                ("RC_CLIENT_ID", settings.rc_client_id),
                ("RC_CLIENT_SECRET", settings.rc_client_secret),
                ("RC_JWT", settings.rc_jwt),
            )
            if not value
        )
        detail = f"Without {missing} no call is enriched."
        return [ProblemToFix(UNBOUND_ACCOUNT, "setup", AccessReason.NO_CREDENTIALS, detail)]
    if settings.webhook_address is None:
        detail = "Without AFTERCALL_PUBLIC_URL no event of a call comes in."
        return [ProblemToFix(UNBOUND_ACCOUNT, "setup", "no-public-url", detail)]
    return []


def inbox_problems(inbox: InboxState, window_seconds: float) -> list[ProblemToFix]:
    """Return a problem when events wait for so long that their calls may be looked up too late."""
    if not is_backlog(inbox, window_seconds):
        return []
    detail = f"The oldest of {inbox.number} events has waited for {inbox.oldest_seconds or 0.0:.0f} s."
    return [ProblemToFix(UNBOUND_ACCOUNT, "inbox", BACKLOG, detail)]


def _of_credentials(shown: Iterable[AccountOverview]) -> list[ProblemToFix]:
    """Return what credentials want of a person, those of each account by themselves."""
    return [
        replace(read_problem("credentials", account.account_id, complaint), credentials=member.name)
        for account in shown
        for member in account.members
        for complaint in member.problems
    ]


async def _load_response_problems(
    db: AsyncConnection, only: Sequence[str] | None, now: datetime
) -> list[ProblemToFix]:
    """Return what RingCentral's responses ask of people: long silences, and records that could not be stored."""
    own = await db.scalar(select(accounts.c.bound_to).where(accounts.c.account_id == UNBOUND_ACCOUNT))
    found = [
        *(("rate-limit", *silence) for silence in await load_silences(db, now)),
        *(("records", aside.account_id, None, aside.problem) for aside in await load_set_aside(db, now)),
    ]
    return [
        replace(
            read_problem(about, own if own and account_id == UNBOUND_ACCOUNT else account_id, problem),
            credentials=name,
        )
        for about, account_id, name, problem in found
        if only is None or account_id in only
    ]


async def _load_subscription_problems(db: AsyncConnection, only: Sequence[str] | None) -> list[ProblemToFix]:
    """Return what the keepers of subscriptions complain of."""
    own = await db.scalar(select(accounts.c.bound_to).where(accounts.c.account_id == UNBOUND_ACCOUNT))
    query = select(work.c.account_id, work.c.kind, work.c.failures, work.c.state).where(
        among(work.c.account_id, only), work.c.kind.startswith(SUBSCRIPTION_WORK), work.c.state.is_not(None)
    )
    found = []
    for row in await db.execute(query.order_by(work.c.account_id, work.c.kind)):
        complaint = row.state.get("problem")
        # The first failures may be a passing trouble of the network; what RingCentral disabled is none.
        if complaint and (row.failures == 0 or row.failures >= FAILURES_BEFORE_ALARM):
            account_id = own if own and row.account_id == UNBOUND_ACCOUNT else row.account_id
            name = row.kind.partition(":")[2] or OWN
            found.append(replace(read_problem("subscription", account_id, complaint), credentials=name))
    return found


def _of_subscriptions(
    settings: Settings,
    shown: Iterable[AccountOverview],
    subscriptions: Sequence[SubscriptionState],
    refused: Sequence[ProblemToFix],
    now: datetime,
) -> list[ProblemToFix]:
    """Return whose events do not come although nobody has said why: no worker looks after the subscription."""
    if settings.webhook_address is None:
        return []
    explained = {problem.account_id for problem in refused}
    found = []
    for account in shown:
        holders = {account.account_id, UNBOUND_ACCOUNT} if account.is_own else {account.account_id}
        ours = [one for one in subscriptions if one.account_id in holders]
        lost_at = _lost_at(account, ours)
        if account.account_id in explained or lost_at is None or now - lost_at <= _REPLACED_WITHIN:
            continue
        last = f"The last one is {ours[0].status.lower()}, and no" if ours else "None was made yet: no"
        detail = f"{last} other one delivers the events of this account."
        found.append(ProblemToFix(account.account_id, "subscription", MISSING, detail, lost_at))
    return found


def _lost_at(account: AccountOverview, ours: Sequence[SubscriptionState]) -> datetime | None:
    """Return since when no subscription of an account delivers; None while one does, or none can be made."""
    if not account.members or account.problem is not None or any(one.is_active for one in ours):
        return None
    if not ours:
        return account.added_at
    return min((one.lost_at for one in ours if one.lost_at is not None), default=ours[0].checked_at)


async def _load_sweep_problems(db: AsyncConnection, only: Sequence[str] | None) -> list[ProblemToFix]:
    """Return why gaps, backfills and the regular look through the Call Log do not get on."""
    query = select(sweeps.c.account_id, sweeps.c.problem).where(
        among(sweeps.c.account_id, only),
        sweeps.c.problem.is_not(None),
        (sweeps.c.done_at.is_(None)) | (sweeps.c.sweep_id == REGULAR_ID),
    )
    rows = await db.execute(query.order_by(sweeps.c.account_id, sweeps.c.from_at))
    return [read_problem("sweep", row.account_id, row.problem) for row in rows if row.problem]


def each_once(problems: Iterable[ProblemToFix]) -> tuple[ProblemToFix, ...]:
    """Leave out what says the same again: the same refusal of the same credentials, met by somebody else.

    While RingCentral cannot be reached everything fails of that: it is one problem.
    """
    kept: list[ProblemToFix] = []
    for problem in problems:
        if not any(_is_same(problem, other) for other in kept):
            kept.append(problem)
    return tuple(kept)


def _is_same(problem: ProblemToFix, other: ProblemToFix) -> bool:
    if problem.about == "reach":
        return other.about == "reach"
    if problem.code == other.code == MISSING:
        return problem.account_id == other.account_id
    if problem.about == "sweep":  # it does not say whose credentials were refused
        return (problem.account_id, problem.code) == (other.account_id, other.code)
    if {problem.about, other.about} <= {"subscription", "credentials"} and problem.about != other.about:
        return _refusal(problem) == _refusal(other)
    return replace(problem, since=None) == replace(other, since=None)


def _refusal(problem: ProblemToFix) -> tuple[str, str | None, str]:
    return problem.account_id, problem.credentials, problem.code


def among(column: ColumnElement[str], only: Sequence[str] | None) -> ColumnElement[bool]:
    """Select these accounts; None: all."""
    return true() if only is None else column.in_(only)
