"""Who is measured: our service, the Express handler, pgbench. Each is started once and runs alone while it is
measured.

The others are stopped (SIGSTOP) meanwhile: our service folds deliveries long after the load has ended, and
should neither hinder the others nor be spared it itself.
"""

import hashlib
import json
import math
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Protocol

from bench import notifications
from bench.generator import Load, Measured
from tests.cluster import Cluster, free_port
from tests.postgres_binaries import find_binaries

PATH = "/webhooks/ringcentral"
_TOKEN = "a-verification-token"
_HERE = Path(__file__).parent
_START_SECONDS = 60.0
_INSTALL_SECONDS = 900.0
_NUMBERS_PER_LOAD = 10**9


class NotAvailable(Exception):
    """A contender cannot be had on this machine, with the reason."""


class Contender(Protocol):
    """Somebody who stores notifications durably."""

    name: str
    accepted: int

    def measure(self, connections: int, seconds: float, warm_up_seconds: float) -> Measured: ...
    def count_stored(self) -> int: ...
    def stop(self) -> None: ...


Counting = Callable[[str], int]
"""Counts the rows of a table."""


class WebHandler:
    """A process that takes notifications over HTTP."""

    def __init__(
        self,
        name: str,
        command: list[str],
        env: dict[str, str],
        port: int,
        folder: Path,
        count: Callable[[], int],
    ) -> None:
        self.name = name
        self.accepted = 0
        self.count_stored = count
        self._port = port
        self._loads = 0
        self._log = folder / f"{name}-{port}.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command, env={**os.environ, **env}, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        self._wait_until_ready()
        # V8 compiles what it has run for a while, connection pools fill: nobody is measured cold.
        self.measure(16, seconds=0.1, warm_up_seconds=1.0)

    def measure(self, connections: int, seconds: float, warm_up_seconds: float) -> Measured:
        """Put this contender, and nobody else, under load."""
        self._process.send_signal(signal.SIGCONT)
        try:
            measured = self._load(connections, seconds, warm_up_seconds)
        finally:
            self._pause()
        self.accepted += measured.accepted
        return measured

    def _load(self, connections: int, seconds: float, warm_up_seconds: float) -> Measured:
        self._loads += 1
        load = Load(
            port=self._port,
            path=PATH,
            token=_TOKEN,
            connections=connections,
            seconds=seconds,
            warm_up_seconds=warm_up_seconds,
            first=10**18 + self._loads * _NUMBERS_PER_LOAD,
        )
        done = subprocess.run(
            [sys.executable, "-m", "bench.generator"],
            input=json.dumps(asdict(load)),
            capture_output=True,
            text=True,
            check=True,
            cwd=_HERE.parent,
            timeout=seconds + warm_up_seconds + 60,
        )
        return Measured(**json.loads(done.stdout))

    def stop(self) -> None:
        """End the process."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def _pause(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{self._port}/", timeout=1)
            except urllib.error.HTTPError:
                return
            except OSError:
                time.sleep(0.05)
            else:
                return
        self.stop()
        raise NotAvailable(f"{self.name} did not start: {self._log.read_text(errors='replace')[-1500:]}")


def start_ours(database_url: str, folder: Path, count: Counting) -> WebHandler:
    """Start our service as operators do, all roles in one process."""
    port = free_port()
    command = [sys.executable, "-m", "app", "serve", "--role", "all", "--port", str(port)]
    env = {
        "AFTERCALL_DATABASE_URL": database_url,
        "AFTERCALL_KEY_REQUESTS_PER_MINUTE": "0",  # a load has one key
        "AFTERCALL_SECRET_KEY": "0123456789abcdef0123456789abcdef",
        "AFTERCALL_WEBHOOK_TOKEN": _TOKEN,
        "AFTERCALL_LOG_LEVEL": "warning",
        "PYTHONPATH": os.pathsep.join([str(_HERE.parent), *filter(None, [os.environ.get("PYTHONPATH")])]),
    }
    return WebHandler("aftercall", command, env, port, folder, lambda: count("deliveries"))


def start_express(database_url: str, folder: Path, count: Counting) -> WebHandler:
    """Start the handler that looks up and then inserts. Raises NotAvailable without Node or its packages."""
    home = _install_express()
    if database_url.startswith("sqlite") and not (home / "node_modules/sqlite3").exists():
        raise NotAvailable(
            "npm's package sqlite3 could not be installed: it has neither a binary nor a compiler here"
        )
    port = free_port()
    env = {"DATABASE_URL": database_url, "PORT": str(port), "TOKEN": _TOKEN, "NODE_ENV": "production"}
    command = [_program("node"), str(home / "server.js")]
    return WebHandler("express", command, env, port, folder, lambda: count("express_deliveries"))


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise NotAvailable(f"{name} is not installed")
    return found


def _install_express() -> Path:
    """Install the handler's packages into a scratch folder of their own, once for each set of versions."""
    npm = _program("npm")
    wanted = (_HERE / "express/package.json").read_bytes()
    home = Path(tempfile.gettempdir()) / f"aftercall-bench-express-{hashlib.sha256(wanted).hexdigest()[:12]}"
    installed = home / "installed"
    home.mkdir(exist_ok=True)
    for name in ("package.json", "server.js"):
        shutil.copyfile(_HERE / "express" / name, home / name)
    if not installed.exists():
        command = [npm, "install", "--no-package-lock", "--no-fund", "--no-audit", "--loglevel=error"]
        try:
            done = subprocess.run(
                command, cwd=home, capture_output=True, text=True, check=False, timeout=_INSTALL_SECONDS
            )
        except subprocess.TimeoutExpired as error:
            raise NotAvailable(f"npm install took longer than {_INSTALL_SECONDS:.0f} s") from error
        if done.returncode != 0:
            raise NotAvailable(f"npm install failed: {done.stderr.strip()[-500:]}")
        installed.touch()
    return home


class Pgbench:
    """pgbench with a prepared single-row INSERT into a table with our columns and primary key."""

    name = "pgbench"

    def __init__(self, cluster: Cluster, folder: Path, count: Counting) -> None:
        self.accepted = 0
        self.count_stored = lambda: count("pgbench_rows")
        self._program = find_binaries() / "pgbench"
        if not self._program.exists():
            raise NotAvailable("this PostgreSQL comes without pgbench")
        self._cluster = cluster
        self._script = folder / "insert.sql"
        self._script.write_text(
            "\\set call random(1, 1000000000)\n"
            "INSERT INTO pgbench_rows (account_id, uuid, received_at, telephony_session_id, raw) VALUES ("
            f"'{notifications.ACCOUNT}', gen_random_uuid(), now(), 's-a0c14f2b77d1ez' || :call, "
            "cast(:raw AS bytea));\n"
        )
        self._raw = notifications.sample().decode()

    def measure(self, connections: int, seconds: float, warm_up_seconds: float) -> Measured:
        """Insert rows; pgbench knows whole seconds only and has no warm-up."""
        command: list[str | Path] = [
            self._program,
            *("--no-vacuum", "--protocol", "prepared"),
            *("--client", str(connections), "--jobs", str(min(connections, 2))),
            *("--time", str(math.ceil(seconds)), "--file", self._script, "--define", f"raw={self._raw}"),
            self._cluster.dsn(),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=seconds + 60)
        processed = _figure(r"number of transactions actually processed: (\d+)", done.stdout)
        self.accepted += int(processed)
        return Measured(
            accepted=int(processed),
            refused={},
            rate=_figure(r"tps = ([\d.]+)", done.stdout),
            p50_ms=None,
            p99_ms=None,
            busy=None,
        )

    def stop(self) -> None:
        """Nothing runs between two measurements."""


def _figure(pattern: str, text: str) -> float:
    found = re.search(pattern, text)
    if found is None:
        raise ValueError(f"pgbench said nothing like {pattern}: {text[-500:]}")
    return float(found[1])


def count_in_postgres(cluster: Cluster) -> Counting:
    """Return what counts rows of the cluster's database."""

    def count(table: str) -> int:
        return int(query(cluster, f"SELECT count(*) FROM {table}"))  # noqa: S608 - a name of ours

    return count


def query(cluster: Cluster, statement: str) -> str:
    """Run a statement; return what psql prints."""
    command: list[str | Path] = [find_binaries() / "psql", "-XAtq", "-c", statement, cluster.dsn()]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def count_in_sqlite(path: Path) -> Counting:
    """Return what counts rows of a file."""

    def count(table: str) -> int:
        with sqlite3.connect(path) as db:
            return int(db.execute(f"SELECT count(*) FROM {table}").fetchone()[0])  # noqa: S608 - a name of ours

    return count
