"""The dashboard, `aftercall check` and the API give a problem the same name, and none shows it as green."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.accounts.access import Level
from app.api.dependencies import Services
from app.db.engine import Database
from app.db.tables import accounts, deliveries, directories, poll_targets, subscriptions, sweeps, work
from app.enrichment import gaps
from app.enrichment.gaps import Reason
from app.ids import UNBOUND_ACCOUNT, AccountId
from app.ops.checks.connections import ConnectionChecker
from app.ops.checks.results import CheckResult, Findings
from app.ops.checks.service import check_service
from app.ops.dashboard.page import PageRows
from app.ops.dashboard.router import Dashboard
from app.ops.dashboard.sign_in import Viewer
from app.ops.figures.summary import ServiceSummary, load_summary
from app.ops.problems.model import Subject
from app.ops.schemas import OpsSummary
from app.vault import Vault
from tests.conftest import SECRETS
from tests.fakes.clock import FakeClock
from tests.integration.ops.figures.test_figures import NOW, seed_rights

HOUR = timedelta(hours=1)
OPERATOR = Viewer(account_id=None, may_unmask=False)
SET_UP = {
    "rc_client_id": "id",
    "rc_client_secret": "secret",
    "rc_jwt": "jwt",
    "rc_server_url": "https://platform.example.com",
    "public_url": "https://aftercall.example.com",
}
Seed = Callable[[AsyncConnection], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Trouble:
    """A state of the database, and what everybody calls it. `figures` of the dashboard must not be green."""

    name: str
    seed: Seed
    title: str
    figures: tuple[str, ...]
    settings: dict[str, Any]


TROUBLES: list[Trouble] = []


def trouble(title: str, *figures: str, **settings: Any) -> Callable[[Seed], Seed]:
    def note(seed: Seed) -> Seed:
        TROUBLES.append(Trouble(seed.__name__, seed, title, figures, settings))
        return seed

    return note


async def complain(db: AsyncConnection, code: str | None, detail: str = "RingCentral answered 400") -> None:
    """What the subscription's keeper writes down after some failures."""
    problem = {"code": code, "detail": detail, "since": NOW.isoformat()}
    row = {"account_id": UNBOUND_ACCOUNT, "kind": "subscription", "failures": 5}
    await db.execute(insert(work).values(**row, state={"problem": problem}))


async def lose(db: AsyncConnection, status: str = "Missing", reason: Reason = Reason.MISSING) -> None:
    """What the keeper writes down when the subscription delivers no more."""
    await db.execute(update(subscriptions).values(status=status))
    since = NOW - HOUR
    await gaps.note_gap(db, UNBOUND_ACCOUNT, reason, since, None, since, sweep_after=HOUR)


async def worker_says(db: AsyncConnection, kind: str, state: dict[str, Any]) -> None:
    row = {"account_id": UNBOUND_ACCOUNT, "kind": kind, "lease_until": NOW + HOUR, "state": state}
    await db.execute(insert(work).values(row))


def unreached(code: str) -> dict[str, Any]:
    return {"problem": {"code": code, "detail": "no answer: it failed", "since": NOW.isoformat()}}


@trouble("RingCentral cannot reach us", "subscription")
async def lost_and_its_renewal_refused(db: AsyncConnection) -> None:
    await lose(db)
    await complain(db, "SUB-521")


@trouble("RingCentral cannot reach us", "subscription")
async def renewal_refused_while_it_still_delivers(db: AsyncConnection) -> None:
    await complain(db, "SUB-525")


@trouble("RingCentral refuses the subscription", "subscription")
async def refused_for_another_reason(db: AsyncConnection) -> None:
    await lose(db, "Suspended", Reason.SUSPENDED)
    await complain(db, None, "RingCentral answered 400")


@trouble("No subscription delivers events", "subscription")
async def expired_and_nobody_renews_it(db: AsyncConnection) -> None:
    await db.execute(update(subscriptions).values(expires_at=NOW - HOUR))


@trouble("No subscription delivers events", "subscription")
async def deliveries_carry_another_secret(db: AsyncConnection) -> None:
    await db.execute(update(subscriptions).values(refused_since=NOW - HOUR))


@trouble("No subscription delivers events", "subscription")
async def none_was_ever_made(db: AsyncConnection) -> None:
    await db.execute(subscriptions.delete())
    await db.execute(update(accounts).values(added_at=NOW - HOUR))


async def refuse_directory(db: AsyncConnection, code: str) -> None:
    problem = {
        "code": code,
        "detail": "RingCentral refuses it.",
        "permission": None,
        "since": NOW.isoformat(),
    }
    account_id = await db.scalar(select(accounts.c.bound_to).where(accounts.c.account_id == UNBOUND_ACCOUNT))
    values = {"account_id": account_id or UNBOUND_ACCOUNT, "version": "v1", "problem": problem}
    await db.execute(insert(directories).values(**values))


@trouble("An app scope is missing")
async def the_scope_of_the_directory_is_missing(db: AsyncConnection) -> None:
    await refuse_directory(db, "CMN-401")


@trouble("The company directory cannot be read")
async def the_directory_is_refused(db: AsyncConnection) -> None:
    await refuse_directory(db, "refused-404")


@trouble("RingCentral omits some events", "subscription")
async def filters_are_disabled(db: AsyncConnection) -> None:
    problem = {"code": "disabled-filters", "detail": "/presence: no", "since": NOW.isoformat()}
    row = {"account_id": UNBOUND_ACCOUNT, "kind": "subscription", "failures": 0}
    await db.execute(insert(work).values(**row, state={"problem": problem}))


@trouble("RingCentral cannot be reached", "accounts", "subscription")
async def its_name_does_not_resolve(db: AsyncConnection) -> None:
    await worker_says(db, "reach:one", unreached("unreachable-name"))
    await complain(db, "unreachable-name", "no answer: the name of the server does not resolve")


@trouble("RingCentral cannot be reached", "accounts", "subscription")
async def the_keeper_alone_met_a_time_out(db: AsyncConnection) -> None:
    await complain(db, "unreachable-timeout", "no response within 10 s")


@trouble("RingCentral answers with errors", "accounts", "subscription")
async def ringcentral_is_down(db: AsyncConnection) -> None:
    await worker_says(db, "reach:one", unreached("unreachable-server"))


@trouble("RingCentral refuses our credentials", "accounts")
async def credentials_are_refused(db: AsyncConnection) -> None:
    refused = {"code": "OAU-213", "detail": "the token is not valid", "since": NOW.isoformat()}
    await seed_rights(db, UNBOUND_ACCOUNT, "own", problem=refused)
    await complain(db, "OAU-213")


@trouble("A permission is missing", "accounts")
async def a_permission_is_missing(db: AsyncConnection) -> None:
    lacking = {"code": "CMN-408", "detail": "for want of ReadCompanyCallLog", "until": NOW.isoformat()}
    await seed_rights(
        db, UNBOUND_ACCOUNT, "own", level=Level.EXTENSION, lacks={"ReadCompanyCallLog": lacking}
    )


@trouble("An app scope is missing", "accounts")
async def a_scope_is_missing(db: AsyncConnection) -> None:
    await seed_rights(db, UNBOUND_ACCOUNT, "own", scopes=("ReadCallLog", "SubscriptionWebhook"))


@trouble("A clock is wrong")
async def a_clock_is_off(db: AsyncConnection) -> None:
    problem = {"code": "clock-skew", "detail": "The clock is off.", "since": NOW.isoformat()}
    await worker_says(db, "clock:one", {"problem": problem, "seconds": 9.0})


@trouble("Events are waiting to be processed", "inbox")
async def events_wait(db: AsyncConnection) -> None:
    row = {
        "account_id": UNBOUND_ACCOUNT,
        "uuid": "1",
        "received_at": NOW - timedelta(seconds=90),
        "raw": b"{}",
    }
    await db.execute(insert(deliveries).values(row))


@trouble("Part of the Call Log cannot be read")
async def a_gap_does_not_get_on(db: AsyncConnection) -> None:
    since = NOW - HOUR
    await gaps.note_gap(db, UNBOUND_ACCOUNT, Reason.SERVICE_DOWN, since, NOW, since, sweep_after=HOUR)
    unasked = {"code": "users-not-asked", "detail": "ext-2 was not asked", "since": NOW.isoformat()}
    await db.execute(update(sweeps).values(problem=unasked))


@trouble("No public address is configured", "subscription", public_url=None)
async def there_is_no_public_address(db: AsyncConnection) -> None:
    await db.execute(subscriptions.delete())


@trouble(
    "No RingCentral credentials are configured",
    "accounts",
    rc_client_id=None,
    rc_client_secret=None,
    rc_jwt=None,
)
async def there_are_no_credentials(db: AsyncConnection) -> None:
    await db.execute(subscriptions.delete())


async def seed_good_day(db: AsyncConnection) -> None:
    row = {
        "account_id": UNBOUND_ACCOUNT,
        "subscription_id": "1",
        "address": "https://aftercall.example.com/webhooks/ringcentral",
        "filters": [],
        "status": "Active",
        "expires_at": NOW + timedelta(days=7),
        "checked_at": NOW,
    }
    await db.execute(insert(subscriptions).values(row))
    polled = {"account_id": UNBOUND_ACCOUNT, "target": "account", "last_poll_at": NOW - timedelta(minutes=1)}
    await db.execute(insert(poll_targets).values(polled))


@dataclass(frozen=True, slots=True)
class Stories:
    """What the three of them say of one state."""

    summary: ServiceSummary
    api: OpsSummary
    board: PageRows
    findings: list[CheckResult]

    @property
    def green(self) -> set[str]:
        figures = {"subscription": self.board["subscription"], "inbox": self.board["inbox"]}
        figures["accounts"] = self.board["accounts"]["state"]
        return {name for name, figure in figures.items() if figure["tone"] == "good"}


async def tell(services: Services, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Stories:
    async def nobody_is_asked(*_args: object, **_more: object) -> Findings:
        return Findings()

    monkeypatch.setattr(ConnectionChecker, "check", nobody_is_asked)
    monkeypatch.setattr("app.ops.checks.service.retry_directories", nobody_is_asked)
    here = Services(settings, services.database, services.wakeups, services.clock)
    async with services.database.read() as db:
        summary = await load_summary(db, None, settings, services.clock.now(), oversees=True)
    board = await Dashboard(here).board(OPERATOR, unmasked=False)
    findings = await check_service(settings, services.database, Vault(SECRETS["secret_key"]), services.clock)
    return Stories(summary, OpsSummary.model_validate(summary), board, findings)


async def prepare(database: Database, clock: FakeClock, seed: Seed | None) -> None:
    clock.set(NOW)
    async with database.write() as db:
        await seed_good_day(db)
        if seed is not None:
            await seed(db)


async def test_all_checks_pass_without_problems(
    services: Services,
    account: AccountId,
    make_settings: Any,
    clock: FakeClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await prepare(services.database, clock, None)
    found = await tell(services, make_settings(**SET_UP), monkeypatch)
    assert (found.summary.problems, found.board["problems"], found.api.problems) == ((), [], [])
    assert all(finding.ok for finding in found.findings)
    assert found.green == {"subscription", "inbox", "accounts"}


@pytest.mark.parametrize("trouble", TROUBLES, ids=lambda one: str(one.name))
async def test_dashboard_check_and_api_name_the_same_problem(
    services: Services,
    account: AccountId,
    make_settings: Any,
    clock: FakeClock,
    monkeypatch: pytest.MonkeyPatch,
    trouble: Trouble,
) -> None:
    await prepare(services.database, clock, trouble.seed)
    found = await tell(services, make_settings(**{**SET_UP, **trouble.settings}), monkeypatch)
    titles = [problem.title for problem in found.summary.problems]
    assert titles == [trouble.title]
    assert [problem["title"] for problem in found.board["problems"]] == titles
    assert [problem.title for problem in found.api.problems] == titles
    (line,) = [finding for finding in found.findings if not finding.ok]
    assert line.detail.startswith(f"{trouble.title}. ")
    assert line.detail.endswith(found.summary.problems[0].todo)
    assert not found.green & set(trouble.figures)
    if found.summary.problems[0].about is not Subject.SETUP:
        assert found.board["headline"] == "A problem needs your attention."
