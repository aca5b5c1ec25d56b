"""`aftercall check`, against the simulator over HTTP."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import httpx
import pytest

from app.accounts.connections import Connections
from app.calls import accounts
from app.clock import SystemClock
from app.db.engine import Database
from app.errors import PermissionMissing
from app.ids import AccountId
from app.ops.checks.results import CheckResult
from app.ops.checks.service import check_accounts, run_checks
from app.settings import read_settings
from app.simulator import Faults, Simulator, SimulatorSettings, serving
from app.simulator.platform.subscriptions import Subscription, read_filter
from app.vault import Vault
from tests.factories_calls import BEN
from tests.fakes.clock import FakeClock


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with serving(SimulatorSettings(port=0, media_port=0, speed=50)) as running:
        yield running


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, make_settings: Any) -> pytest.MonkeyPatch:
    make_settings()  # takes the machine's own variables out
    monkeypatch.setenv("AFTERCALL_SECRET_KEY", "0123456789abcdef0123456789abcdef")
    monkeypatch.setenv("AFTERCALL_WEBHOOK_TOKEN", "a-verification-token")
    return monkeypatch


def connect(environment: pytest.MonkeyPatch, simulator: Simulator, url: str) -> None:
    environment.setenv("AFTERCALL_DATABASE_URL", url)
    environment.setenv("RC_SERVER_URL", simulator.links.platform)
    environment.setenv("RC_MEDIA_URL", simulator.links.media)
    environment.setenv("RC_CLIENT_ID", "sim-client")
    environment.setenv("RC_CLIENT_SECRET", "sim-secret")
    environment.setenv("RC_JWT", "sim-jwt")


def listen(simulator: Simulator, text: str) -> None:
    """Let Ben's subscription listen to this filter."""
    now = simulator.now()
    subscription = Subscription(
        id="subscription-of-ben",
        owner_id=BEN,
        address="http://127.0.0.1:1/webhooks/ringcentral",
        token=None,
        filters=[read_filter(text, simulator.company.account_id, BEN)],
        disabled=[],
        created_at=now,
        expires_at=now + timedelta(days=7),
    )
    simulator.subscriptions[subscription.id] = subscription


def by_name(findings: list[CheckResult]) -> dict[str, CheckResult]:
    return {finding.subject: finding for finding in findings}


async def test_check_names_missing_secrets(environment: pytest.MonkeyPatch) -> None:
    environment.delenv("AFTERCALL_WEBHOOK_TOKEN")
    (finding,) = await run_checks()
    assert not finding.ok
    assert "AFTERCALL_WEBHOOK_TOKEN" in finding.detail


async def test_check_of_empty_database_advises_migrate(
    environment: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    environment.setenv("AFTERCALL_DATABASE_URL", f"sqlite:///{tmp_path}/new.db")
    found = by_name(await run_checks())
    assert found["settings"].ok
    assert "aftercall migrate" in found["database"].detail


async def test_check_reports_unavailable_database(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("AFTERCALL_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    found = by_name(await run_checks())
    assert not found["database"].ok
    assert "AFTERCALL_DATABASE_URL" in found["database"].detail


async def test_valid_credentials_pass_the_check(
    environment: pytest.MonkeyPatch, simulator: Simulator, sqlite_url: str
) -> None:
    connect(environment, simulator, sqlite_url)
    found = by_name(await run_checks())
    assert found["credentials"].ok
    assert found["active calls"].ok
    assert found["clock"].ok
    assert found["clock"].detail.startswith("within ")
    assert "AFTERCALL_PUBLIC_URL" in found["setup"].detail
    environment.setenv("AFTERCALL_PUBLIC_URL", "http://127.0.0.1:1")
    found = by_name(await run_checks())
    assert "there is none" in found["subscription"].detail


@pytest.mark.parametrize("is_known", [False, True], ids=["not known yet", "known"])
async def test_check_expects_the_extension_filters_of_a_limited_user(
    environment: pytest.MonkeyPatch, simulator: Simulator, sqlite_url: str, is_known: bool
) -> None:
    connect(environment, simulator, sqlite_url)
    environment.setenv("RC_JWT", "sim-jwt-limited")
    environment.setenv("AFTERCALL_PUBLIC_URL", "http://127.0.0.1:1")
    settings, clock, vault = read_settings(), SystemClock(), Vault("0123456789abcdef0123456789abcdef")
    database = Database(sqlite_url)
    async with httpx.AsyncClient() as http:
        connections = Connections(settings, database, clock, vault, http, replica="test")
        (own,) = await connections.all()
        if is_known:
            lacks = PermissionMissing("no", permission="ReadCompanyCallLog", code="CMN-408")
            await connections.note(own, lacks)
    await database.close()
    listen(simulator, "/restapi/v1.0/account/~/extension/~/telephony/sessions")
    found = by_name(await run_checks())
    assert found["subscription"].ok, found["subscription"].detail
    listen(simulator, "/restapi/v1.0/account/~/extension/~/presence")
    found = by_name(await run_checks())
    assert "other filters" in found["subscription"].detail


async def test_check_reports_clock_skew_and_recorded_problems(
    environment: pytest.MonkeyPatch, simulator: Simulator, sqlite_url: str
) -> None:
    connect(environment, simulator, sqlite_url)
    settings, clock, vault = read_settings(), FakeClock(), Vault("0123456789abcdef0123456789abcdef")
    database = Database(sqlite_url)
    async with httpx.AsyncClient() as http:
        connections = Connections(settings, database, clock, vault, http, replica="test")
        (own,) = await connections.all()
        refusal = PermissionMissing("no", permission="ReadCallRecording", code="CMN-401")
        await connections.note(own, refusal)
    findings = await check_accounts(settings, database, vault, clock)
    await database.close()
    found = by_name(findings)
    assert found["credentials"].detail.startswith("An app scope is missing. ")
    assert "ReadCallRecording" in found["credentials"].detail
    assert not found["clock"].ok
    assert "behind RingCentral's" in found["clock"].detail


async def test_check_tries_a_refused_directory_again(
    environment: pytest.MonkeyPatch, simulator: Simulator, sqlite_url: str
) -> None:
    connect(environment, simulator, sqlite_url)
    database = Database(sqlite_url)
    async with database.write() as db:
        await accounts.bind(db, AccountId(simulator.company.account_id), simulator.now())
    await database.close()
    simulator.faults = Faults(missing_scopes=("ReadAccounts",))
    refused = by_name(await run_checks())["directory"]
    assert not refused.ok
    assert refused.detail.startswith("An app scope is missing. ")
    assert "ReadAccounts" in refused.detail
    simulator.faults = Faults(directory_available=False, missing_permissions=("ReadExtensions",))
    assert "user permission ReadExtensions" in by_name(await run_checks())["directory"].detail
    environment.setenv("AFTERCALL_DIRECTORY_REFRESH_SECONDS", "0")
    assert "directory" not in by_name(await run_checks())
    environment.delenv("AFTERCALL_DIRECTORY_REFRESH_SECONDS")
    simulator.faults = Faults()
    assert "directory" not in by_name(await run_checks())


async def test_check_reports_wrong_credentials(
    environment: pytest.MonkeyPatch, simulator: Simulator, sqlite_url: str
) -> None:
    connect(environment, simulator, sqlite_url)
    environment.setenv("RC_JWT", "wrong")
    found = by_name(await run_checks())
    assert not found["credentials"].ok
    assert "active calls" not in found


async def test_check_names_missing_credential_variables(
    environment: pytest.MonkeyPatch, sqlite_url: str
) -> None:
    environment.setenv("AFTERCALL_DATABASE_URL", sqlite_url)
    found = by_name(await run_checks())
    assert found["setup"].detail.startswith("No RingCentral credentials are configured. ")
    assert "RC_CLIENT_ID, RC_CLIENT_SECRET, RC_JWT" in found["setup"].detail
