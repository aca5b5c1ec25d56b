"""What commands change is in the audit, and `aftercall audit` shows it."""

import asyncio
import json
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from app.cli.commands import app
from tests.conftest import SECRETS
from tests.factories_calls import CUSTOMER


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, make_settings: Any, database_url: str) -> None:
    make_settings()  # takes the machine's own variables out
    for name, value in SECRETS.items():
        monkeypatch.setenv(f"AFTERCALL_{name.upper()}", value)
    monkeypatch.setenv("AFTERCALL_DATABASE_URL", database_url)


async def run(*words: str) -> Result:
    done = await asyncio.to_thread(lambda: CliRunner().invoke(app, list(words)))
    assert done.exit_code == 0, (done.output, done.exception)
    return done


async def told(*words: str) -> list[dict[str, Any]]:
    """The entries as JSON, oldest first."""
    printed = (await run("audit", "--json", *words)).stdout
    return [json.loads(line) for line in reversed(printed.splitlines())]


@pytest.mark.usefixtures("environment")
async def test_commands_are_told_with_what_they_changed() -> None:
    await run("keys", "create", "--name", "crm", "--requests-per-minute", "60")
    (made,) = await told()
    key_id = made["target"]
    assert made["details"] == {
        "scopes": ["calls:read", "notes:write"], "origins": [], "requestsPerMinute": 60,
    }  # fmt: skip
    for words in (
        ("keys", "set", key_id, "--requests-per-minute", "0"),
        ("keys", "revoke", key_id),
        ("keys", "revoke", key_id),
        ("keys", "rotate-secrets"),
        ("erase", "--phone-number", CUSTOMER, "--run"),
    ):
        await run(*words)
    found = await told()
    told_of = [(one["action"], one["outcome"]) for one in found]
    assert told_of[:5] == [
        ("api-key.created", "done"),
        ("api-key.changed", "done"),
        ("api-key.revoked", "done"),
        ("api-key.revoked", "unchanged"),
        ("secrets.rotated", "done"),
    ]
    # Planned and started within one transaction, perhaps within one millisecond.
    assert {action for action, _ in told_of[5:]} == {"erasure.planned", "erasure.started", "erasure.done"}
    assert {one["requestId"] for one in found} == {None}
    assert sorted(one["actor"]["kind"] for one in found) == ["command"] * 7 + ["service"]
    assert found[1]["details"] == {"requestsPerMinute": {"from": 60, "to": 0}}
    assert [one["action"] for one in await told("--action", "api-key.changed")] == ["api-key.changed"]
    assert [one["action"] for one in await told("--target", key_id, "--limit", "1")] == ["api-key.revoked"]
    assert await told("--until", "2020-01-01") == []
    assert await told("--account", "908070001") == []


@pytest.mark.usefixtures("environment")
async def test_a_line_has_whole_ids() -> None:
    await run("keys", "create", "--name", "crm")
    (made,) = await told()
    (line,) = (await run("audit")).stdout.splitlines()
    assert line.split("  ")[1:] == ["api-key.created", made["target"], "by command", "account ~", "done"]
