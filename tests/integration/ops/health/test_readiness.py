"""Probes: whether deliveries can be stored here, whatever else is the matter."""

import asyncio
import sqlite3
from datetime import UTC, datetime
from typing import Any

import asyncpg
import httpx
import pytest
from sqlalchemy import insert, text

from app.api.dependencies import Services
from app.db.diagnosis import explain_refused_write
from app.db.engine import Database
from app.db.tables import deliveries
from app.errors import StorageUnavailable
from app.ops.health import router as health
from app.ops.health import write_proof
from app.ops.health.router import check_all
from app.ops.health.write_proof import WriteProof
from app.webhooks.intake import inbox
from app.work.wakeups import Wakeups
from tests.fakes.clock import FakeClock


def names(response: httpx.Response) -> dict[str, bool]:
    return {check["name"]: check["ok"] for check in response.json()["checks"]}


@pytest.fixture(autouse=True)
def _no_repeats(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each probe looks anew, and a busy machine is given its time."""
    monkeypatch.setattr(write_proof, "_FRESH_SECONDS", 0.0)
    monkeypatch.setattr(health, "LONGEST_SECONDS", 60.0)


@pytest.fixture
def on_postgres(make_settings: Any, postgres_database: Database) -> Services:
    return services_on(make_settings, postgres_database)


def services_on(make_settings: Any, database: Database) -> Services:
    url = database.url.render_as_string(hide_password=False)
    return Services(make_settings(database_url=url), database, Wakeups(), FakeClock())


async def test_readiness_runs_all_checks(here: httpx.AsyncClient) -> None:
    response = await here.get("/readyz")
    assert response.status_code == 200, response.text
    assert names(response) == {"database": True, "schema": True, "intake": True, "inbox": True}


async def test_backlog_does_not_affect_intake_readiness(here: httpx.AsyncClient, database: Database) -> None:
    async with database.write() as db:
        row = {"account_id": "1", "uuid": "1", "received_at": datetime(2020, 1, 1, tzinfo=UTC), "raw": b""}
        await db.execute(insert(deliveries).values(row))
    assert (await here.get("/readyz")).status_code == 503
    response = await here.get("/readyz?for=intake")
    assert response.status_code == 200
    assert names(response) == {"intake": True}


@pytest.mark.parametrize("query", ["for=nothing", "for=", "fro=intake", "for=intake&more=1"])
async def test_unknown_readiness_query_is_refused(here: httpx.AsyncClient, query: str) -> None:
    assert (await here.get(f"/readyz?{query}")).status_code == 422


async def test_write_proof_stores_no_row(here: httpx.AsyncClient, database: Database) -> None:
    await here.get("/readyz?for=intake")
    async with database.read() as db:
        assert await db.scalar(text("SELECT count(*) FROM deliveries")) == 0


async def test_concurrent_probes_share_one_write_proof(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write_proof, "_FRESH_SECONDS", 1000.0)
    made = 0

    async def prove() -> None:
        nonlocal made
        made += 1
        await asyncio.sleep(0.01)
        if made > 1:
            raise StorageUnavailable("away")

    proof = WriteProof(services, prove)
    await asyncio.gather(*(proof.prove() for _ in range(50)))
    await proof.prove()
    assert made == 1
    monkeypatch.setattr(write_proof, "_FRESH_SECONDS", 0.0)
    for _ in range(2):
        with pytest.raises(StorageUnavailable):
            await proof.prove()


async def test_hanging_write_proof_is_not_ready(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(write_proof, "_LONGEST_SECONDS", 0.05)
    release = asyncio.Event()

    async def hang() -> None:
        await release.wait()

    (check,) = await check_all(services, "intake", WriteProof(services, hang))
    assert not check.ok
    assert "deliveries" in (check.todo or "")
    release.set()


async def test_locked_deliveries_table_is_not_ready(on_postgres: Services, postgres_url: str) -> None:
    holder = await asyncpg.connect(postgres_url.replace("+asyncpg", ""))
    async with holder.transaction():
        await holder.execute("LOCK TABLE deliveries IN SHARE MODE")  # what CREATE INDEX takes
        (check,) = await check_all(on_postgres, "intake")
    await holder.close()
    assert not check.ok
    assert "locks the table" in (check.todo or "")
    (check,) = await check_all(on_postgres, "intake")
    assert check.ok


async def test_read_only_server_is_not_ready(
    make_settings: Any, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # However busy the machine is, the server's answer counts and not the time that it takes.
    monkeypatch.setattr(inbox, "COMMIT_SECONDS", 60.0)
    for limit in ("COMMIT_SECONDS", "_LONGEST_SECONDS"):
        monkeypatch.setattr(write_proof, limit, 60.0)
    monkeypatch.setattr(health, "LONGEST_SECONDS", 60.0)
    standby = Database(f"{postgres_url}?options=-cdefault_transaction_read_only%3Don")
    checks = {check.name: check for check in await check_all(services_on(make_settings, standby))}
    assert checks["schema"].ok
    assert not checks["intake"].ok
    assert "primary" in (checks["intake"].todo or "")
    await standby.close()


async def test_locked_sqlite_file_is_not_ready(
    sqlite_url: str, make_settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.db.sqlite_connections._BUSY_MILLISECONDS", 50)
    path = sqlite_url.removeprefix("sqlite+aiosqlite:///")
    database = Database(sqlite_url)
    services = services_on(make_settings, database)
    with sqlite3.connect(path, isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        (check,) = await check_all(services, "intake")
        other.execute("ROLLBACK")
    other.close()
    assert (check.ok, "locked" in check.detail) == (False, True)
    (check,) = await check_all(services, "intake")
    assert check.ok
    await database.close()


@pytest.mark.parametrize(
    ("said", "todo"),
    [
        ("could not extend file: No space left on device", "disk is full"),
        ("database or disk is full", "disk is full"),
        ("attempt to write a readonly database", "may not write"),
        ("cannot execute INSERT in a read-only transaction", "primary"),
        ("database is locked", "locks the table"),
        ("something else", "log of the database"),
    ],
)
def test_remedy_follows_from_the_message(said: str, todo: str) -> None:
    error = StorageUnavailable(f"the database takes no deliveries: {said}")
    assert todo in explain_refused_write(error, "sqlite:///aftercall.db")


def test_remedy_follows_from_the_sqlstate() -> None:
    error = StorageUnavailable("die Platte ist voll")
    error.__cause__ = asyncpg.DiskFullError("die Platte ist voll")
    assert "disk is full" in explain_refused_write(error, "postgresql://host/aftercall")
