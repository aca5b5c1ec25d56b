"""The commands `serve` and `keys create`, as an operator calls them."""

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import text
from typer.testing import CliRunner, Result

from app.api import keys
from app.api.keys import KeyInfo
from app.cli.check import _line
from app.cli.commands import app, main
from app.cli.context import out
from app.db.engine import Database
from app.errors import SettingsError
from app.ids import UNBOUND_ACCOUNT
from app.ops.checks.results import CheckResult
from tests.conftest import SECRETS

ROOT = Path(__file__).parents[3]


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, make_settings: Any, sqlite_url: str) -> pytest.MonkeyPatch:
    make_settings()  # takes the machine's own variables out
    for name, value in SECRETS.items():
        monkeypatch.setenv(f"AFTERCALL_{name.upper()}", value)
    monkeypatch.setenv("AFTERCALL_DATABASE_URL", sqlite_url)
    return monkeypatch


async def run(*words: str) -> Result:
    return await asyncio.to_thread(lambda: CliRunner().invoke(app, list(words)))


async def listed(url: str) -> list[KeyInfo]:
    database = Database(url)
    async with database.read() as db:
        found = await keys.list_keys(db, UNBOUND_ACCOUNT)
    await database.close()
    return list(found)


async def test_serve_logs_its_particulars_once(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    words = (sys.executable, "-m", "app", "serve", "--port", "0", "--role", "web")
    process = await asyncio.create_subprocess_exec(
        *words, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}, stderr=asyncio.subprocess.PIPE
    )
    assert process.stderr is not None
    try:
        async with asyncio.timeout(240):
            said: dict[str, Any] = {}
            while said.get("event") != "serving":
                said = json.loads(await process.stderr.readline())
        async with httpx.AsyncClient(trust_env=False) as client:
            assert (await client.get(f"{said['address']}/healthz")).is_success
            assert (await client.get(said["docs"])).is_success
        assert (said["role"], said["database"]) == ("web", "sqlite")
    finally:
        process.terminate()
        _, rest = await process.communicate()
    assert b'"serving"' not in rest


async def test_serve_does_not_log_serving_when_start_fails(
    environment: pytest.MonkeyPatch, sqlite_url: str, tmp_path: Path
) -> None:
    database = Database(sqlite_url)
    async with database.write() as db:
        await db.execute(text("UPDATE alembic_version SET version_num = 'of-the-future'"))
    await database.close()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "app", "serve", "--port", "0"),
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(240):
        _, said = await process.communicate()
    assert process.returncode != 0
    assert b"of-the-future" in said
    assert b'"serving"' not in said
    assert b"AttributeError" not in said


@pytest.mark.parametrize("name", ["SECRET_KEY", "WEBHOOK_TOKEN", "API_KEY"])
async def test_serve_rejects_a_weak_secret(environment: pytest.MonkeyPatch, name: str) -> None:
    environment.setenv(f"AFTERCALL_{name}", "secret")
    refused = await run("serve")
    assert isinstance(refused.exception, SettingsError)
    assert f"AFTERCALL_{name}" in str(refused.exception)
    assert "openssl rand" in str(refused.exception)


async def test_new_key_has_connector_scopes_by_default(
    environment: pytest.MonkeyPatch, sqlite_url: str
) -> None:
    assert (await run("keys", "create", "--name", "crm")).exit_code == 0
    assert (await run("keys", "create", "--name", "operator", "--scope", "admin")).exit_code == 0
    made = {info.name: info.scopes for info in await listed(sqlite_url)}
    assert made == {"crm": ("calls:read", "notes:write"), "operator": ("admin",)}


@pytest.mark.parametrize("detail", ["install the extra `aftercall[s3]`", "[/red] closes what nobody opened"])
def test_error_is_printed_as_one_line_without_markup(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], detail: str
) -> None:
    def fail() -> None:
        raise SettingsError(f"{detail}, and so on, further than the edge of the screen" * 2)

    monkeypatch.setattr("app.cli.commands.app", fail)
    with pytest.raises(SystemExit):
        main()
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"aftercall: {detail}")


def test_check_result_is_printed_without_markup(capsys: pytest.CaptureFixture[str]) -> None:
    out.print(_line(CheckResult("account [1]", False, "[s3] is not [bold]")))
    assert capsys.readouterr().out.split() == ["not", "ok", "account", "[1]:", "[s3]", "is", "not", "[bold]"]


async def test_key_name_is_listed_without_markup(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("COLUMNS", "200")
    assert (await run("keys", "create", "--name", "crm [old]")).exit_code == 0
    assert "crm [old]" in (await run("keys", "list")).output
