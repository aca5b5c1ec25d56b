"""Every command on an unusable database prints one sentence with a remedy, and fails."""

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from sqlalchemy import text
from typer.main import get_command
from typer.testing import CliRunner, Result

from app.cli.commands import app
from app.db.diagnosis import describe, diagnose
from app.db.engine import Database
from app.db.migrations import current_revision, head
from app.errors import AftercallError, DatabaseUnusable, StorageUnavailable
from tests.cluster import Cluster, free_port
from tests.conftest import SECRETS

ROOT = Path(__file__).parents[3]
COMMANDS = {
    "serve": ("serve", "--port", "0"),
    "check": ("check",),
    "migrate": ("migrate",),
    "replay": ("replay",),
    "backfill": ("backfill", "--from", "2026-01-01"),
    "erase": ("erase", "--call", "1229016182016"),
    "audit": ("audit",),
    "keys create": ("keys", "create"),
    "keys set": ("keys", "set", "key_1"),
    "keys list": ("keys", "list"),
    "keys revoke": ("keys", "revoke", "key_1"),
    "keys rotate-secrets": ("keys", "rotate-secrets"),
    "accounts list": ("accounts", "list"),
    "accounts check": ("accounts", "check"),
    "accounts add": ("accounts", "add", "--jwt", "a-jwt"),
    "accounts remove": ("accounts", "remove", "1", "name"),
}
WITHOUT_DATABASE = {"accounts invite", "demo", "listen", "simulate", "version"}
NEEDS_SCHEMA = (
    "check",
    "replay",
    "audit",
    "keys set",
    "keys list",
    "keys revoke",
    "keys rotate-secrets",
    "accounts check",
)
FUTURE = "9999_of_the_future"

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_settings: Any) -> Run:
    """Runs a command in this process, with the database's address in the environment."""
    make_settings()  # takes the machine's own variables out
    monkeypatch.chdir(tmp_path)
    for name, value in SECRETS.items():
        monkeypatch.setenv(f"AFTERCALL_{name.upper()}", value)

    def call(url: str, *words: str) -> Result:
        monkeypatch.setenv("AFTERCALL_DATABASE_URL", url)
        return CliRunner().invoke(app, list(words))

    return call


def assert_told(done: Result, *, says: str, advises: str) -> None:
    """An error of ours, of which `main` prints the sentence alone; of `check`, a line among its findings."""
    assert done.exit_code != 0
    assert done.exception is not None
    if isinstance(done.exception, SystemExit):
        lines = [line for line in done.output.splitlines() if says in line]
        assert [line[:7] for line in lines] == ["not ok "], done.output
        shown = lines[0]
    else:
        assert isinstance(done.exception, AftercallError), "".join(traceback.format_exception(done.exception))
        shown = str(done.exception)
        # Here the log is not set up, and goes to standard output.
        assert [line for line in done.output.splitlines() if "[warning" not in line] == []
    assert says in shown
    assert advises in shown
    assert "\n" not in shown
    assert "hush" not in shown


def test_serve_prints_one_line_on_standard_error(tmp_path: Path) -> None:
    """As an operator sees it: also of `serve`, whose server logs what happens at its start."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AFTERCALL_")}
    environment |= {f"AFTERCALL_{name.upper()}": value for name, value in SECRETS.items()}
    environment |= {"AFTERCALL_DATABASE_URL": f"sqlite:///{tmp_path}/letter.txt", "PYTHONPATH": str(ROOT)}
    (tmp_path / "letter.txt").write_text("Dear Ana, " * 500)
    done = subprocess.run(
        [sys.executable, "-m", "app", "serve", "--port", "0"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 2
    # What came before is the log, a JSON object a line.
    *logged, line = done.stderr.splitlines()
    assert all(json.loads(one)["level"] == "warning" for one in logged)
    assert line.startswith(f"aftercall: sqlite:///{tmp_path}/letter.txt: the file is not an SQLite database.")


def test_all_commands_are_covered() -> None:
    group: Any = get_command(app)
    found = set()
    for name, command in group.commands.items():
        found |= {f"{name} {one}" for one in command.commands} if hasattr(command, "commands") else {name}
    assert found == set(COMMANDS) | WITHOUT_DATABASE


# --- each command, one fault --------------------------------------------------------------------------------


@pytest.mark.parametrize("command", COMMANDS)
def test_missing_folder(run: Run, command: str, tmp_path: Path) -> None:
    done = run(f"sqlite:///{tmp_path}/nowhere/aftercall.db", *COMMANDS[command])
    assert_told(done, says=f"the folder {tmp_path}/nowhere does not exist", advises="Create it")


@pytest.mark.parametrize("command", COMMANDS)
def test_unknown_scheme(run: Run, command: str) -> None:
    done = run("mysql://user:hush@localhost/aftercall", *COMMANDS[command])
    assert_told(done, says="must begin with sqlite://", advises="or postgresql://")


@pytest.fixture
async def newer_url(database_url: str) -> str:
    """A database that a newer version has migrated."""
    database = Database(database_url)
    async with database.write() as db:
        await db.execute(text("UPDATE alembic_version SET version_num = :revision"), {"revision": FUTURE})
    await database.close()
    return database_url


@pytest.mark.parametrize("command", COMMANDS)
def test_newer_schema(run: Run, command: str, newer_url: str) -> None:
    done = run(newer_url, *COMMANDS[command])
    assert_told(done, says=f"the schema is at {FUTURE}", advises="Run the newest version")


async def test_newer_schema_is_left_unchanged(run: Run, newer_url: str) -> None:
    for revision in ("head", "base", "-1"):
        done = await asyncio.to_thread(run, newer_url, "migrate", "--", revision)
        assert_told(done, says=f"the schema is at {FUTURE}", advises="Run the newest version")
    database = Database(newer_url)
    assert await current_revision(database) == FUTURE
    await database.close()


@pytest.fixture(params=["sqlite", "postgresql"])
async def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/empty.db"
    cluster: Cluster = request.getfixturevalue("postgres")
    connection = await asyncpg.connect(cluster.dsn())
    await connection.execute('DROP DATABASE IF EXISTS "unmigrated" WITH (FORCE)')
    await connection.execute('CREATE DATABASE "unmigrated"')
    await connection.close()
    return cluster.dsn("unmigrated")


@pytest.mark.parametrize("command", NEEDS_SCHEMA)
def test_unmigrated_schema(run: Run, command: str, empty_url: str) -> None:
    assert_told(
        run(empty_url, *COMMANDS[command]), says="has no schema yet", advises="Run `aftercall migrate`"
    )


@pytest.mark.parametrize("command", NEEDS_SCHEMA)
def test_older_schema(run: Run, command: str, empty_url: str) -> None:
    assert run(empty_url, "migrate").exit_code == 0
    assert run(empty_url, "migrate", "--", "-1").exit_code == 0
    done = run(empty_url, *COMMANDS[command])
    assert_told(done, says=f"expected {head()}", advises="Run `aftercall migrate`")


@pytest.mark.parametrize("revision", ["nothing", "-99", "+99"])
def test_unknown_revision(run: Run, sqlite_url: str, revision: str) -> None:
    done = run(sqlite_url, "migrate", "--", revision)
    assert_told(done, says="aftercall migrate", advises="newest revision")


# --- each fault, some commands ------------------------------------------------------------------------------

SOME = pytest.mark.parametrize("command", ["serve", "check", "migrate", "keys list", "accounts list"])


@pytest.fixture
def closed_folder(tmp_path: Path) -> Iterator[Path]:
    """A folder with a database in which this user may not write."""
    folder = tmp_path / "closed"
    folder.mkdir()
    folder.chmod(0o500)
    yield folder
    folder.chmod(0o700)


@SOME
@pytest.mark.skipif(
    os.geteuid() == 0, reason="root may write everywhere; run the tests as another user to try it"
)
def test_unwritable_folder(run: Run, command: str, closed_folder: Path) -> None:
    done = run(f"sqlite:///{closed_folder}/aftercall.db", *COMMANDS[command])
    assert_told(done, says="may not write", advises="Change their owner")


@SOME
@pytest.mark.skipif(not Path("/proc/version").exists(), reason="needs /proc, where nobody can write")
def test_read_only_file_system(run: Run, command: str) -> None:
    done = run("sqlite:////proc/aftercall.db", *COMMANDS[command])
    assert_told(done, says="may not write", advises="Change their owner")


@SOME
def test_file_that_is_not_sqlite(run: Run, command: str, tmp_path: Path) -> None:
    path = tmp_path / "letter.txt"
    path.write_text("Dear Ana, " * 500)
    done = run(f"sqlite:///{path}", *COMMANDS[command])
    assert_told(done, says="is not an SQLite database", advises="Correct AFTERCALL_DATABASE_URL")
    assert path.read_text() == "Dear Ana, " * 500


@SOME
def test_folder_instead_of_file(run: Run, command: str, tmp_path: Path) -> None:
    done = run(f"sqlite:///{tmp_path}", *COMMANDS[command])
    assert_told(done, says="this is a folder", advises="Name a file")


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///", "sqlite:///:memory:"])
def test_address_without_a_file(run: Run, url: str) -> None:
    assert_told(run(url, "migrate"), says="give a file", advises="sqlite:///aftercall.db")


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("postgresql://user:hush@host:port/name", "cannot be parsed"),
        ("postgresql://user:hush@[::1/name", "cannot be parsed"),
        ("postgresql://user:hush@host:99999/name", "port must be a number"),
        ("postgresql//user:hush@host/name", "must begin with"),
        ("aftercall.db", "must begin with"),
    ],
)
def test_unreadable_address(run: Run, url: str, says: str) -> None:
    done = run(url, "migrate")
    assert_told(done, says=says, advises="AFTERCALL_DATABASE_URL")


NO_SERVER = pytest.mark.parametrize("command", ["check", "migrate", "keys list", "accounts list"])


@NO_SERVER
def test_closed_port(run: Run, command: str) -> None:
    done = run(f"postgresql://user:hush@127.0.0.1:{free_port()}/aftercall", *COMMANDS[command])
    assert_told(done, says="nothing listens there", advises="Start the server")


@NO_SERVER
def test_unknown_host(run: Run, command: str) -> None:
    done = run("postgresql://user@no-such-host.invalid/aftercall", *COMMANDS[command])
    assert_told(done, says="this host name is not known", advises="Correct the host")


@pytest.fixture(scope="module")
def strict_server(postgres: Cluster) -> Iterator[Cluster]:
    """The server, asking for passwords of all but its superuser."""
    rules = postgres.data / "pg_hba.conf"
    before = rules.read_text()
    rules.write_text(
        f"host all {postgres.superuser} 127.0.0.1/32 trust\nhost all guest 127.0.0.1/32 trust\n"
        "host all stranger 127.0.0.1/32 reject\n"
        "host all all 127.0.0.1/32 scram-sha-256\n"
    )
    _reload(postgres)
    yield postgres
    rules.write_text(before)
    _reload(postgres)


def _reload(cluster: Cluster) -> None:
    process = cluster._process
    assert process is not None
    process.send_signal(signal.SIGHUP)


@SOME
@pytest.mark.parametrize(
    ("user", "database", "says", "advises"),
    [
        ("ana:hush", "postgres", "the password is wrong", "Correct it"),
        ("stranger:hush", "postgres", "does not let this user in", "pg_hba.conf"),
        (None, "missing", "the database does not exist", "createdb"),
    ],
)
def test_server_that_refuses(
    run: Run, command: str, strict_server: Cluster, user: str | None, database: str, says: str, advises: str
) -> None:
    who = user or strict_server.superuser
    done = run(f"postgresql://{who}@127.0.0.1:{strict_server.port}/{database}", *COMMANDS[command])
    assert_told(done, says=says, advises=advises)


async def test_user_without_rights(run: Run, strict_server: Cluster) -> None:
    connection = await asyncpg.connect(strict_server.dsn())
    await connection.execute("DROP DATABASE IF EXISTS shut WITH (FORCE)")
    await connection.execute("DROP ROLE IF EXISTS guest")
    await connection.execute("CREATE ROLE guest LOGIN")
    await connection.execute("CREATE DATABASE shut")
    await connection.close()
    connection = await asyncpg.connect(strict_server.dsn("shut"))
    await connection.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    await connection.close()
    done = await asyncio.to_thread(run, f"postgresql://guest@127.0.0.1:{strict_server.port}/shut", "migrate")
    assert_told(done, says="the user may not do this", advises="Grant it")


# --- what `serve` waits for ---------------------------------------------------------------------------------


def test_serve_does_not_wait_for_permanent_faults(run: Run, tmp_path: Path) -> None:
    done = run(f"sqlite:///{tmp_path}/nowhere/aftercall.db", "serve", "--port", "0")
    assert isinstance(done.exception, DatabaseUnusable)
    assert "waiting for the database" not in done.output


def test_temporary_faults_are_marked() -> None:
    url = "postgresql+asyncpg://user:hush@host/name?ssl=require"
    refused = StorageUnavailable("the database did not answer: refused")
    refused.__cause__ = ConnectionRefusedError(111, "Connection refused")
    found = diagnose(refused, url)
    assert found is not None
    assert found.passes
    assert found.sentence.startswith("postgresql://user:***@host/name: nothing listens there")
    assert describe(url) == "postgresql://user:***@host/name"
    missing = StorageUnavailable("the database did not answer: unable to open")
    missing.__cause__ = sqlite3.OperationalError("unable to open database file")
    missing.__cause__.sqlite_errorname = "SQLITE_CANTOPEN"
    found = diagnose(missing, "sqlite+aiosqlite:////nowhere/at/all.db")
    assert found is not None
    assert not found.passes


def test_other_errors_are_not_explained() -> None:
    assert diagnose(ConnectionRefusedError(111, "of RingCentral"), "sqlite:///x.db") is None
    assert diagnose(ValueError("a mistake of ours"), "sqlite:///x.db") is None
