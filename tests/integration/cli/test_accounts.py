"""`aftercall accounts …` and `aftercall keys rotate-secrets`, against the simulator over HTTP."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from app import log
from app.cli.commands import app
from app.errors import AftercallError, SettingsError
from app.simulator import Simulator, serving_accounts
from tests.integration.accounts.conftest import COFFEE, TEA, company

OLD, NEW = "o" * 32, "n" * 32


@pytest.fixture
async def companies(
    monkeypatch: pytest.MonkeyPatch, make_settings: Any, sqlite_url: str
) -> AsyncIterator[list[Simulator]]:
    make_settings()  # takes the machine's own variables out
    settings = [company(account_id=TEA, jwt="tea"), company(account_id=COFFEE, jwt="coffee", seed=2)]
    async with serving_accounts(settings) as running:
        for name, value in {
            "AFTERCALL_SECRET_KEY": OLD,
            "AFTERCALL_WEBHOOK_TOKEN": "a-verification-token",
            "AFTERCALL_DATABASE_URL": sqlite_url,
            "RC_SERVER_URL": running[0].links.platform,
            "RC_MEDIA_URL": running[0].links.media,
            "RC_CLIENT_ID": "sim-client",
            "RC_CLIENT_SECRET": "sim-secret",
            "COLUMNS": "200",
        }.items():
            monkeypatch.setenv(name, value)
        yield running


async def run(*words: str, typed: str | None = None) -> Result:
    return await asyncio.to_thread(lambda: CliRunner().invoke(app, list(words), typed))


async def test_account_is_added_listed_checked_and_removed(companies: list[Simulator]) -> None:
    added = await run("accounts", "add", "--jwt", "-", typed="coffee\n")
    assert added.exit_code == 0, added.output
    assert COFFEE in added.output
    assert "the whole account" in added.output
    listed = await run("accounts", "list")
    assert COFFEE in listed.output
    assert "ext-711000101" in listed.output
    checked = await run("accounts", "check")
    assert checked.exit_code == 0, checked.output
    assert "ok" in checked.output
    removed = await run("accounts", "remove", COFFEE, "ext-711000101")
    assert removed.exit_code == 0
    assert companies[1].tokens.sessions == []
    again = await run("accounts", "remove", COFFEE, "ext-711000101")
    assert isinstance(again.exception, AftercallError)


async def test_credential_is_prompted_for_without_echo(companies: list[Simulator]) -> None:
    added = await run("accounts", "add", typed="coffee-limited\n")
    assert added.exit_code == 0, added.output
    assert "coffee-limited" not in added.output
    assert "extension 711000102 only" in added.output


async def test_credential_is_read_from_the_environment(
    companies: list[Simulator], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AFTERCALL_ACCOUNT_JWT", "coffee")
    added = await run("accounts", "add", "--name", "backup")
    assert "Added backup" in added.output


async def test_missing_app_scopes_are_reported_by_add_and_check(companies: list[Simulator]) -> None:
    coffee = companies[1]
    coffee.tokens.rules = coffee.tokens.rules.__class__(
        "sim-client", "sim-secret", ("ReadCallLog",), 3600.0, 604800.0, 5
    )
    added = await run("accounts", "add", "--jwt", "-", typed="coffee\n")
    assert "grant the app the scope CallControl" in added.output
    checked = await run("accounts", "check")
    assert checked.exit_code == 1
    assert "SubscriptionWebhook" in checked.output


async def test_invite_prints_only_the_link(
    companies: list[Simulator], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AFTERCALL_PUBLIC_URL", "https://calls.example.com")
    invited = await run("accounts", "invite", "--hours", "2")
    (line,) = invited.output.splitlines()
    assert line.startswith("https://calls.example.com/oauth/ringcentral/start?invitation=")


async def test_secret_key_rotation(companies: list[Simulator], monkeypatch: pytest.MonkeyPatch) -> None:
    await run("accounts", "add", "--jwt", "-", typed="coffee\n")
    monkeypatch.setenv("AFTERCALL_SECRET_KEY", f"{NEW},{OLD}")
    rotated = await run("keys", "rotate-secrets")
    assert rotated.exit_code == 0
    assert rotated.output.startswith("2 secrets encrypted again")
    monkeypatch.setenv("AFTERCALL_SECRET_KEY", NEW)
    assert (await run("accounts", "check")).exit_code == 0
    monkeypatch.setenv("AFTERCALL_SECRET_KEY", OLD)
    checked = await run("accounts", "check")
    assert checked.exit_code == 1
    assert "AFTERCALL_SECRET_KEY" in checked.output
    lost = await run("keys", "rotate-secrets")
    assert lost.exit_code == 1


async def test_check_records_and_clears_problems(
    companies: list[Simulator],
) -> None:
    coffee = companies[1]
    await run("accounts", "add", "--jwt", "-", typed="coffee\n")
    coffee.faults = coffee.faults.model_copy(update={"missing_scopes": ("ReadCallLog",)})
    checked = await run("accounts", "check")
    assert "ReadCallLog" in checked.output
    assert "ReadCallLog" in (await run("accounts", "list")).output
    coffee.faults = coffee.faults.model_copy(update={"missing_scopes": ()})
    assert (await run("accounts", "check")).exit_code == 0
    assert "ReadCallLog" not in (await run("accounts", "list")).output


async def test_revoked_token_fails_the_check(
    companies: list[Simulator],
) -> None:
    coffee = companies[1]
    await run("accounts", "add", "--jwt", "-", typed="coffee\n")
    coffee.tokens.revoke_all()
    coffee.tokens.users = {}
    checked = await run("accounts", "check")
    assert checked.exit_code == 1
    said = [line for line in checked.output.splitlines() if "ext-711000101" in line]
    assert [line.split("  ")[0][:6] for line in said if line.startswith(("ok", "not ok"))] == ["not ok"]
    assert "aftercall accounts add" in checked.output
    assert "OAU-210" in (await run("accounts", "list")).output


async def test_check_retries_refused_credentials(companies: list[Simulator]) -> None:
    coffee = companies[1]
    await run("accounts", "add", "--jwt", "-", typed="coffee\n")
    coffee.tokens.revoke_all()
    users, coffee.tokens.users = coffee.tokens.users, {}
    assert (await run("accounts", "check")).exit_code == 1
    coffee.tokens.users = users
    checked = await run("accounts", "check")
    assert checked.exit_code == 0, checked.output
    assert "OAU-210" not in (await run("accounts", "list")).output


async def test_only_the_subscription_owner_is_checked_for_a_subscription(
    companies: list[Simulator], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AFTERCALL_PUBLIC_URL", "http://127.0.0.1:1")
    for jwt in ("coffee", "coffee-second", "coffee-limited"):
        await run("accounts", "add", "--jwt", "-", typed=f"{jwt}\n")
    checked = await run("accounts", "check")
    said = [line for line in checked.output.splitlines() if ": subscription: " in line]
    assert len(said) == 1
    assert "ext-711000101" in said[0]


async def test_refused_credential_names_the_remedy(companies: list[Simulator]) -> None:
    refused = await run("accounts", "add", "--jwt", "-", typed="stale\n")
    assert isinstance(refused.exception, SettingsError)
    assert "OAU-210" in str(refused.exception)
    assert "nothing was stored" in str(refused.exception)
    for one in companies:
        one.faults = one.faults.model_copy(update={"token_status": 503})
    away = await run("accounts", "add", "--jwt", "-", typed="coffee\n")
    assert isinstance(away.exception, SettingsError)
    assert "RC_SERVER_URL" in str(away.exception)


@pytest.mark.parametrize("words", [("accounts", "check"), ("keys", "list"), ("keys", "rotate-secrets")])
async def test_command_on_empty_database_advises_migrate(
    companies: list[Simulator], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, words: tuple[str, ...]
) -> None:
    monkeypatch.setenv("AFTERCALL_DATABASE_URL", f"sqlite:///{tmp_path}/new.db")
    found = await run(*words)
    assert isinstance(found.exception, SettingsError)
    assert "aftercall migrate" in str(found.exception)


async def test_commands_silence_the_log(companies: list[Simulator], monkeypatch: pytest.MonkeyPatch) -> None:
    levels: list[str] = []
    monkeypatch.setattr(log, "configure", lambda level, form: levels.append(level))
    await run("accounts", "list")
    assert levels == ["critical"]
