"""What `aftercall check` looks at: settings, database, credentials, subscription; a finding each, with what to do.

What RingCentral says to it is written down where the service writes it down at work. What is not well is then read from
the one list of problems that the dashboard shows, so both call the same trouble by the same name.
"""

import asyncio
import socket
from collections.abc import Sequence
from dataclasses import dataclass, replace

import httpx
from sqlalchemy.exc import SQLAlchemyError

from app.accounts.access import COMPANY_CODES, Level
from app.accounts.connections import Connection, Connections
from app.accounts.credentials import OWN
from app.accounts.remedies import describe
from app.calls import accounts
from app.clock import Clock, SystemClock
from app.db.diagnosis import describe as describe_address
from app.db.diagnosis import diagnose
from app.db.engine import Database
from app.db.schema import schema_state
from app.errors import (
    CredentialsRefused,
    PermissionMissing,
    RateLimited,
    RingCentralError,
    SettingsError,
    StorageUnavailable,
)
from app.ids import UNBOUND_ACCOUNT, AccountId
from app.ops.clock_skew import describe_skew
from app.ops.problems_to_fix import MISSING, ProblemToFix, each_once, read_problem
from app.ops.summary import ServiceSummary, load_summary
from app.ringcentral.client import RingCentralClient
from app.ringcentral.ports import Priority
from app.ringcentral.protocol.subscriptions import has_same_filters
from app.ringcentral.reachability import code_of
from app.settings import Settings, read_settings
from app.vault import Vault
from app.webhooks.subscriptions.keeper import describe_disabled, of_extension
from app.webhooks.subscriptions.remedies import advise
from app.webhooks.subscriptions.supervisor import subscription_owner

_OF_ACCOUNTS = ("reach", "credentials", "subscription", "clock", "rate-limit")
_LABELS = {"reach": "RingCentral", "sweep": "Call Log", "rate-limit": "rate limit"}
"""What a line is about, where it is not called as the problem's subject."""


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One line. `detail` says what is, and where it is not well what to do."""

    what: str
    is_well: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Looked:
    """What a look at a connection brought: what is well, and what only RingCentral knows yet."""

    well: tuple[CheckResult, ...] = ()
    problems: tuple[ProblemToFix, ...] = ()


async def run_checks() -> list[CheckResult]:
    """Look at everything that can be looked at; a failure ends what depends on it and nothing else."""
    try:
        settings = read_settings()
        secret, _ = settings.secrets()
    except SettingsError as error:
        return [CheckResult("settings", False, str(error))]
    findings = [CheckResult("settings", True, "complete")]
    database = Database(settings.database_url, direct_url=settings.database_direct_url)
    try:
        finding = await _check_database(database)
        findings.append(finding)
        if finding.is_well:
            findings += await check_service(settings, database, Vault(secret), SystemClock())
    finally:
        await database.close()
    return findings


async def _check_database(database: Database) -> CheckResult:
    try:
        state = await schema_state(database)
    except (StorageUnavailable, SQLAlchemyError) as error:
        found = diagnose(error, database.address.url)
        if found is None:
            raise
        return CheckResult("database", False, found.sentence)
    where = describe_address(database.address.url)
    if not state.serves:
        return CheckResult("database", False, f"{where}: {state.sentence}")
    return CheckResult("database", True, f"{where}, schema {state.detail.removeprefix('at ')}")


async def check_service(
    settings: Settings, database: Database, vault: Vault, clock: Clock
) -> list[CheckResult]:
    """Look at all credentials, as `check_accounts` does, and at everything else that the service stands on."""
    well, problems, summary = await _look_at_all(settings, database, vault, clock)
    return _lines([*well, *_check_inbox(summary)], problems)


async def check_accounts(
    settings: Settings, database: Database, vault: Vault, clock: Clock
) -> list[CheckResult]:
    """Look at all credentials, side by side: those of the environment first, then those of added accounts."""
    well, problems, _ = await _look_at_all(settings, database, vault, clock)
    return _lines(well, [problem for problem in problems if problem.about in _OF_ACCOUNTS])


async def _look_at_all(
    settings: Settings, database: Database, vault: Vault, clock: Clock
) -> tuple[list[CheckResult], Sequence[ProblemToFix], ServiceSummary]:
    """Ask RingCentral with all credentials, then gather all problems, also those that the service has met."""
    async with database.write() as db:
        await accounts.open_unbound(db, clock.now())
    async with httpx.AsyncClient() as http:
        connections = Connections(settings, database, clock, vault, http, replica="check")
        own_first = sorted(await connections.all(), key=lambda one: one.kind != OWN)
        listening = {(one.holder, one.name) for one in subscription_owner(own_first)}
        async with database.read() as db:
            own_id = await accounts.resolve(db, UNBOUND_ACCOUNT)
        look = _Look(settings, connections, own_id)
        looks = await asyncio.gather(
            *(look.at(one, listens=(one.holder, one.name) in listening) for one in own_first)
        )
    async with database.read() as db:
        summary = await load_summary(db, None, settings, clock.now(), oversees=True)
    looks.append(_check_clock(connections))
    met = [problem for looked in looks for problem in looked.problems]
    well = [finding for looked in looks for finding in looked.well]
    return well, each_once([*met, *summary.problems]), summary


def _lines(well: Sequence[CheckResult], problems: Sequence[ProblemToFix]) -> list[CheckResult]:
    """Put together what is well and what is not; of what has a problem nothing is called well beside it."""
    troubled = [CheckResult(_label(problem), False, _words(problem)) for problem in problems]
    names = {finding.what for finding in troubled}
    return [finding for finding in well if finding.what not in names] + troubled


def _label(problem: ProblemToFix) -> str:
    what = _LABELS.get(problem.about, problem.about)
    own = problem.credentials in (None, OWN)
    return what if own else f"account {problem.account_id}, {problem.credentials}: {what}"


def _words(problem: ProblemToFix) -> str:
    detail = problem.detail if problem.detail.endswith((".", "!", "?")) else f"{problem.detail}."
    return f"{problem.title}. {detail} {problem.todo}"


def _check_clock(connections: Connections) -> Looked:
    """Compare our clock with RingCentral's, if it answered at all."""
    skew = connections.meter.skew
    if skew is None:
        return Looked()
    problem = describe_skew(skew, socket.gethostname())
    if problem is not None:
        return Looked(problems=(read_problem("clock", UNBOUND_ACCOUNT, problem),))
    return Looked((CheckResult("clock", True, f"within {skew.most:.1f} s of RingCentral's"),))


def _check_inbox(summary: ServiceSummary) -> list[CheckResult]:
    waiting = summary.inbox.waiting
    return [CheckResult("inbox", True, f"{waiting} waiting" if waiting else "empty")]


class _Look:
    """One look at each connection. What RingCentral says of its rights is noted as if it had been met at work."""

    def __init__(self, settings: Settings, connections: Connections, own_id: AccountId) -> None:
        self._settings = settings
        self._connections = connections
        self._own_id = own_id

    async def at(self, connection: Connection, *, listens: bool) -> Looked:
        """Return what was found; `listens` says that the account's events come through this connection."""
        try:
            looked = await self._findings(connection, listens=listens)
        except RingCentralError as error:
            await self._connections.note(connection, error)
            return Looked(problems=(self._problem(connection, "credentials", error),))
        label = "" if connection.kind == OWN else f"account {connection.holder}, {connection.name}: "
        return replace(
            looked, well=tuple(replace(finding, what=f"{label}{finding.what}") for finding in looked.well)
        )

    def _problem(self, connection: Connection, about: str, error: RingCentralError) -> ProblemToFix:
        """Name what a request met, as it is named when the service meets it."""
        what = describe(error, connection.kind) if about == "credentials" else None
        code = "rate-limited" if isinstance(error, RateLimited) else code_of(error)
        where = f"{self._settings.rc_server_url}: " if connection.kind == OWN else ""
        detail = what["detail"] if what else where + advise(code, error.detail)
        stored = {"code": what["code"] if what else code, "detail": detail}
        return replace(read_problem(about, self._account_of(connection), stored), credentials=connection.name)

    def _account_of(self, connection: Connection) -> AccountId:
        return self._own_id if connection.holder == UNBOUND_ACCOUNT else connection.holder

    async def _findings(self, connection: Connection, *, listens: bool) -> Looked:
        """Raises CredentialsRefused from wherever it comes: a token at hand may have died meanwhile."""
        settings, client = self._settings, connection.client
        await self._connections.forget_refusal(connection)
        token = await client.fetch_token()
        await self._connections.learn_scopes(connection, token)
        scopes = " ".join(sorted(token.scopes)) or "no scopes named"
        well = [CheckResult("credentials", True, f"extension {token.owner_id}, {scopes}")]
        problems: list[ProblemToFix] = []
        try:
            finding, sees_company = await self._check_active_calls(connection, token.owner_id)
            well += [finding] if finding else []
        except RateLimited as limited:
            sees_company = True
            well.append(_unasked(limited))
        if listens and settings.webhook_address is not None:
            filters = settings.event_filters
            if not (sees_company and connection.is_company_wide):
                filters = of_extension(filters)
            try:
                found = await _check_subscription(settings, client, filters)
            except (CredentialsRefused, PermissionMissing):
                raise
            except RingCentralError as error:
                found = self._problem(connection, "subscription", error)
            if isinstance(found, CheckResult):
                well.append(found)
            else:
                account_id = self._account_of(connection)
                problems.append(replace(found, account_id=account_id, credentials=connection.name))
        return Looked(tuple(well), tuple(problems))

    async def _check_active_calls(
        self, connection: Connection, owner_id: str | None
    ) -> tuple[CheckResult | None, bool]:
        """Return what was found, None if it was refused; and False if the user does not see the whole account."""
        of_account = replace(connection, access=replace(connection.access, level=Level.ACCOUNT))
        try:
            page = await connection.client.fetch_active_calls_page(1, 1, priority=Priority.CONTENT)
        except PermissionMissing as missing:
            await self._connections.note(of_account, missing)
            sees_company = missing.code not in COMPANY_CODES
            if sees_company or connection.kind == OWN:
                return None, sees_company
            detail = (
                f"readable of extension {owner_id} alone; for the whole account grant {missing.permission}"
            )
            return CheckResult("active calls", True, detail), False
        await self._connections.note(of_account, None)
        return CheckResult("active calls", True, f"readable, account {page.account_id or 'not named'}"), True


def _unasked(limited: RateLimited) -> CheckResult:
    detail = f"not asked, the limit is used up until {limited.retry_at:%H:%M:%S} UTC"
    return CheckResult("active calls", True, detail)


async def _check_subscription(
    settings: Settings, client: RingCentralClient, filters: Sequence[str]
) -> CheckResult | ProblemToFix:
    """Ask RingCentral for the subscription. Of a problem the account and credentials are still to be named."""
    token = await client.fetch_token()
    found = await client.list_subscriptions()
    ours = [item for item in found if item.is_webhook and item.address == settings.webhook_address]
    active = [item for item in ours if item.is_active]
    if not active:
        states = ", ".join(f"{item.id} is {item.status}" for item in ours) or "there is none"
        return _missing(f"At RingCentral {states} for {settings.webhook_address}")
    best = active[0]
    disabled = describe_disabled(best)
    if disabled is not None:
        return read_problem("subscription", UNBOUND_ACCOUNT, disabled)
    if not has_same_filters(filters, best.event_filters, token.owner_id):
        return _missing(f"{best.id} listens to other filters")
    return CheckResult("subscription", True, f"{best.id}, until {best.expiration_time}")


def _missing(detail: str) -> ProblemToFix:
    return ProblemToFix(UNBOUND_ACCOUNT, "subscription", MISSING, f"{detail}; `aftercall serve` mends that.")
