"""What `aftercall check` checks: settings, database, credentials, subscription; a line each, with what to do.

Problems that RingCentral's responses show are recorded where the service records them at work. What does not
pass is then read from the list of problems that the dashboard shows, so both give a problem the same name.
"""

import asyncio

import httpx
from sqlalchemy.exc import SQLAlchemyError

from app.accounts.connections import Connections
from app.accounts.credentials import OWN
from app.calls import accounts
from app.clock import Clock, SystemClock
from app.db import diagnosis
from app.db.engine import Database
from app.db.schema import schema_state
from app.errors import SettingsError, StorageUnavailable
from app.ids import UNBOUND_ACCOUNT
from app.ops.checks.clock import check_clock
from app.ops.checks.connections import ConnectionChecker
from app.ops.checks.directories import retry_directories
from app.ops.checks.results import CheckResult, merge_lines
from app.ops.figures.summary import ServiceSummary, load_summary
from app.ops.problems.listing import each_once
from app.ops.problems.model import ProblemToFix, Subject
from app.settings import Settings, read_settings
from app.vault import Vault
from app.webhooks.subscriptions.supervisor import subscription_owners

_OF_ACCOUNTS = frozenset(
    {
        Subject.REACH,
        Subject.CREDENTIALS,
        Subject.SUBSCRIPTION,
        Subject.CLOCK,
        Subject.RATE_LIMIT,
        Subject.DIRECTORY,
    }
)


async def run_checks() -> list[CheckResult]:
    """Check everything that can be checked; a failure ends only what depends on it."""
    try:
        settings = read_settings()
        secret, _ = settings.secrets()
    except SettingsError as error:
        return [CheckResult("settings", False, str(error))]
    results = [CheckResult("settings", True, "complete")]
    database = Database(settings.database_url, direct_url=settings.database_direct_url)
    try:
        result = await _check_database(database)
        results.append(result)
        # Without a usable database nothing else can be recorded or read.
        if result.ok:
            results += await check_service(settings, database, Vault(secret), SystemClock())
    finally:
        await database.close()
    return results


async def _check_database(database: Database) -> CheckResult:
    url = database.address.url
    try:
        state = await schema_state(database)
    except (StorageUnavailable, SQLAlchemyError) as error:
        found = diagnosis.diagnose(error, url)
        if found is None:
            raise
        return CheckResult("database", False, found.sentence)
    where = diagnosis.describe(url)
    if not state.serves:
        return CheckResult("database", False, f"{where}: {state.sentence}")
    return CheckResult("database", True, f"{where}, schema {state.detail.removeprefix('at ')}")


async def check_service(
    settings: Settings, database: Database, vault: Vault, clock: Clock
) -> list[CheckResult]:
    """Check all credentials, as `check_accounts` does, and everything else that the service depends on."""
    passed, problems, summary = await _check_connections(settings, database, vault, clock)
    waiting = summary.inbox.waiting
    inbox = CheckResult("inbox", True, f"{waiting} waiting" if waiting else "empty")
    return merge_lines([*passed, inbox], problems)


async def check_accounts(
    settings: Settings, database: Database, vault: Vault, clock: Clock
) -> list[CheckResult]:
    """Check all credentials concurrently: those of the environment first, then those of added accounts."""
    passed, problems, _ = await _check_connections(settings, database, vault, clock)
    return merge_lines(passed, [problem for problem in problems if problem.about in _OF_ACCOUNTS])


async def _check_connections(
    settings: Settings, database: Database, vault: Vault, clock: Clock
) -> tuple[list[CheckResult], tuple[ProblemToFix, ...], ServiceSummary]:
    """Try all credentials, then load all problems, including those that the service has recorded."""
    async with database.write() as db:
        await accounts.open_unbound(db, clock.now())
    async with httpx.AsyncClient() as http:
        connections = Connections(settings, database, clock, vault, http, replica="check")
        own_first = sorted(await connections.all(), key=lambda one: one.kind != OWN)
        owners = {(one.holder, one.name) for one in subscription_owners(own_first)}
        async with database.read() as db:
            own_id = await accounts.resolve(db, UNBOUND_ACCOUNT)
        checker = ConnectionChecker(settings, connections, own_id)
        found = await asyncio.gather(
            *(checker.check(one, owns_subscription=(one.holder, one.name) in owners) for one in own_first)
        )
        await retry_directories(settings, database, clock, connections)
    # After the checks, so that the summary has what they recorded.
    async with database.read() as db:
        summary = await load_summary(db, None, settings, clock.now(), oversees=True)
    found.append(check_clock(connections))
    passed = [line for findings in found for line in findings.passed]
    problems = [problem for findings in found for problem in findings.problems]
    return passed, each_once([*problems, *summary.problems]), summary
