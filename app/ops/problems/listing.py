"""The one list of problems to fix, which the dashboard, `aftercall check` and `/v1/ops/summary` show."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.accounts.credentials import OWN
from app.accounts.overview import AccountOverview
from app.calls import accounts
from app.db.tables import directories, work
from app.enrichment.records.set_aside import load_set_aside
from app.errors import AccessReason
from app.ids import UNBOUND_ACCOUNT
from app.ops.account_scope import among
from app.ops.problems.background import load_sweep_problems, load_webhook_problems
from app.ops.problems.clock_skew import ReportedSkew
from app.ops.problems.model import ProblemCode, ProblemToFix, Subject, read_problem
from app.ops.problems.reachability import load_unreached
from app.ops.states import InboxState, SubscriptionState, is_backlog
from app.rate_limits.penalties import load_silences
from app.ringcentral.reachability import FAILURES_BEFORE_ALARM
from app.settings import Settings
from app.webhooks.subscriptions.keeper import KIND as SUBSCRIPTION_WORK

_REPLACED_WITHIN = timedelta(seconds=60)
"""A worker replaces a lost subscription within this time; after that a person should look."""


@dataclass(frozen=True, slots=True)
class KnownState:
    """What the caller has loaded already, of the accounts whose problems are asked for."""

    now: datetime
    accounts: tuple[AccountOverview, ...]
    subscriptions: Sequence[SubscriptionState]
    inbox: InboxState
    skews: Sequence[ReportedSkew]


async def load_problems(
    db: AsyncConnection, only: Sequence[str] | None, settings: Settings, known: KnownState
) -> tuple[ProblemToFix, ...]:
    """Return the problems of these accounts (None: of all), each once, those of the whole service first."""
    refused = await _load_subscription_problems(db, only)
    return each_once(
        [
            *setup_problems(settings, known.accounts, only),
            *(skew.problem for skew in known.skews),
            *await load_unreached(db, known.now),
            *_credential_problems(known.accounts),
            *await _load_response_problems(db, only, known.now),
            # After the credentials: a subscription that they cause to be refused is the same problem.
            *refused,
            *_silent_subscriptions(settings, known, refused),
            *await load_sweep_problems(db, only),
            *await _load_directory_problems(db, only, settings),
            *await load_webhook_problems(db, only),
            *inbox_problems(known.inbox, settings.active_calls_window_seconds),
        ]
    )


def setup_problems(
    settings: Settings, shown: Iterable[AccountOverview], only: Sequence[str] | None
) -> list[ProblemToFix]:
    """Return what was never configured, if the service's own account is among `only`."""
    if only is not None and UNBOUND_ACCOUNT not in only:
        return []
    if not settings.has_credentials and not any(account.members for account in shown):
        values = {
            "RC_CLIENT_ID": settings.rc_client_id,
            "RC_CLIENT_SECRET": settings.rc_client_secret,
            "RC_JWT": settings.rc_jwt,
        }
        missing = ", ".join(name for name, value in values.items() if not value)
        detail = f"Without {missing} no call is enriched."
        return [ProblemToFix(UNBOUND_ACCOUNT, Subject.SETUP, AccessReason.NO_CREDENTIALS, detail)]
    if settings.webhook_address is None:
        detail = "Without AFTERCALL_PUBLIC_URL no call events arrive."
        return [ProblemToFix(UNBOUND_ACCOUNT, Subject.SETUP, ProblemCode.NO_PUBLIC_URL, detail)]
    return []


def inbox_problems(inbox: InboxState, window_seconds: float) -> list[ProblemToFix]:
    """Return a problem when events have waited so long that their calls may be looked up too late."""
    if not is_backlog(inbox, window_seconds):
        return []
    detail = f"The oldest of {inbox.number} events has waited for {inbox.oldest_seconds or 0.0:.0f} s."
    return [ProblemToFix(UNBOUND_ACCOUNT, Subject.INBOX, ProblemCode.INBOX_BACKLOG, detail)]


def _credential_problems(shown: Iterable[AccountOverview]) -> list[ProblemToFix]:
    """Return the problems of each account's credentials."""
    return [
        read_problem(Subject.CREDENTIALS, account.account_id, problem, member.name)
        for account in shown
        for member in account.members
        for problem in member.problems
    ]


async def _load_response_problems(
    db: AsyncConnection, only: Sequence[str] | None, now: datetime
) -> list[ProblemToFix]:
    """Return the problems of RingCentral's responses: long silences, and records that cannot be stored."""
    own = await accounts.resolve(db, UNBOUND_ACCOUNT)
    found = [
        *((Subject.RATE_LIMIT, *silence) for silence in await load_silences(db, now)),
        *(
            (Subject.RECORDS, aside.account_id, None, aside.problem)
            for aside in await load_set_aside(db, now)
        ),
    ]
    return [
        read_problem(about, own if account_id == UNBOUND_ACCOUNT else account_id, problem, name)
        for about, account_id, name, problem in found
        if only is None or account_id in only
    ]


async def _load_subscription_problems(db: AsyncConnection, only: Sequence[str] | None) -> list[ProblemToFix]:
    """Return the problems that the owners of subscriptions have recorded."""
    own = await accounts.resolve(db, UNBOUND_ACCOUNT)
    query = select(work.c.account_id, work.c.kind, work.c.failures, work.c.state).where(
        among(work.c.account_id, only), work.c.kind.startswith(SUBSCRIPTION_WORK), work.c.state.is_not(None)
    )
    found = []
    for row in await db.execute(query.order_by(work.c.account_id, work.c.kind)):
        problem = row.state.get("problem")
        # The network may cause the first few failures. Filters that RingCentral disables count none.
        if problem and (row.failures == 0 or row.failures >= FAILURES_BEFORE_ALARM):
            account_id = own if row.account_id == UNBOUND_ACCOUNT else row.account_id
            name = row.kind.partition(":")[2] or OWN
            found.append(read_problem(Subject.SUBSCRIPTION, account_id, problem, name))
    return found


def _silent_subscriptions(
    settings: Settings, known: KnownState, refused: Sequence[ProblemToFix]
) -> list[ProblemToFix]:
    """Return the accounts whose events do not arrive for no known reason: no worker is renewing."""
    if settings.webhook_address is None:
        return []
    # An account whose subscription was refused has that problem in the list already.
    explained = {problem.account_id for problem in refused}
    found = []
    for account in known.accounts:
        # Until the own account is known, its subscription is stored under `~`.
        holders = {account.account_id, UNBOUND_ACCOUNT} if account.is_own else {account.account_id}
        ours = [one for one in known.subscriptions if one.account_id in holders]
        lost_at = _lost_at(account, ours)
        if account.account_id in explained or lost_at is None or known.now - lost_at <= _REPLACED_WITHIN:
            continue
        detail = "No subscription has been created yet for the events of this account."
        if ours:
            last = ours[0].status.lower()
            detail = f"The last subscription is {last}, and no other one delivers the events of this account."
        code = ProblemCode.SUBSCRIPTION_MISSING
        found.append(ProblemToFix(account.account_id, Subject.SUBSCRIPTION, code, detail, lost_at))
    return found


def _lost_at(account: AccountOverview, ours: Sequence[SubscriptionState]) -> datetime | None:
    """Return since when no subscription of an account delivers; None while one does, or none can be made."""
    if not account.members or account.problem is not None or any(one.is_active for one in ours):
        return None
    # One that was never created is missing since the account was added.
    if not ours:
        return account.added_at
    return min((one.lost_at for one in ours if one.lost_at is not None), default=ours[0].checked_at)


async def _load_directory_problems(
    db: AsyncConnection, only: Sequence[str] | None, settings: Settings
) -> list[ProblemToFix]:
    """Return why directories cannot be read, unless they are not wanted."""
    if settings.directory_refresh_seconds <= 0:
        return []
    query = select(directories.c.account_id, directories.c.problem).where(
        among(directories.c.account_id, only), directories.c.problem.is_not(None)
    )
    rows = await db.execute(query.order_by(directories.c.account_id))
    return [
        read_problem(Subject.DIRECTORY, row.account_id, row.problem)
        for row in rows
        # That nobody can read anything of the account is a problem of its own.
        if row.problem.get("code") != AccessReason.NO_CREDENTIALS
    ]


def each_once(problems: Iterable[ProblemToFix]) -> tuple[ProblemToFix, ...]:
    """Leave out repetitions: the same refusal of the same credentials, met by another part of the service.

    While RingCentral cannot be reached every request fails for that reason: it is one problem.
    """
    kept: list[ProblemToFix] = []
    for problem in problems:
        if not any(_is_same(problem, other) for other in kept):
            kept.append(problem)
    return tuple(kept)


def _is_same(problem: ProblemToFix, other: ProblemToFix) -> bool:
    if problem.about is Subject.REACH:
        return other.about is Subject.REACH
    if problem.code == other.code == ProblemCode.SUBSCRIPTION_MISSING:
        return problem.account_id == other.account_id
    if problem.about is Subject.SWEEP:  # a sweep's problem does not say whose credentials were refused
        return (problem.account_id, problem.code) == (other.account_id, other.code)
    if {problem.about, other.about} == {Subject.SUBSCRIPTION, Subject.CREDENTIALS}:
        return _refusal(problem) == _refusal(other)
    return replace(problem, since=None) == replace(other, since=None)


def _refusal(problem: ProblemToFix) -> tuple[str, str | None, str]:
    return problem.account_id, problem.credentials, problem.code
