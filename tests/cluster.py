"""A throwaway PostgreSQL for one run of the tests, made of the binaries that `postgres_binaries` finds.

It listens on 127.0.0.1 and on a socket in its own folder, trusts everybody there, and does not sync: what is
tested against a crash starts a server of its own.
"""

import getpass
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from itertools import cycle
from pathlib import Path

from tests.postgres_binaries import NoPostgres, find_binaries, unprivileged_user

_START_SECONDS = 30.0
_STOP_SECONDS = 20.0
_FIRST_PORT = 10_000 + os.getpid() % 200 * 100
_ports = cycle(range(_FIRST_PORT, _FIRST_PORT + 100))


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on just now, another one each time.

    It lies below those that the kernel gives to outgoing connections, in a part that processes started
    shortly before or after this one do not use: so it stays free until a server takes it, and while that
    restarts.
    """
    for port in _ports:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("there is always a next port")


class Cluster:
    """A running server. `stop()` ends it and removes its folder.

    `fsync` for tests that pull the plug; `options` are further settings, "name=value", and
    `folders` are made beside the data, for the server's user. Raises NoPostgres when it cannot be started.
    """

    def __init__(
        self,
        *,
        fsync: bool = False,
        max_connections: int = 100,
        options: tuple[str, ...] = (),
        folders: tuple[str, ...] = (),
    ) -> None:
        self.binaries = find_binaries()
        self.user = unprivileged_user()
        self.superuser = self.user or getpass.getuser()
        self.folder = Path(tempfile.mkdtemp(prefix="aftercall-pg-"))
        self.data = self.folder / "data"
        self._fsync = fsync
        self._max_connections = max_connections
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0
        for made in (self.folder, *(self.folder / name for name in folders)):
            made.mkdir(exist_ok=True)
            if self.user:
                shutil.chown(made, self.user)
        self._initialise()
        self.start()

    def url(self, name: str = "postgres") -> str:
        """The address of one database, as our settings take it."""
        return f"postgresql+asyncpg://{self.superuser}@127.0.0.1:{self.port}/{name}"

    def dsn(self, name: str = "postgres") -> str:
        """The same as libpq and asyncpg take it."""
        return f"postgresql://{self.superuser}@127.0.0.1:{self.port}/{name}"

    def _initialise(self) -> None:
        command: list[str | Path] = [
            self.binaries / "initdb",
            *("--pgdata", self.data),
            *("--username", self.superuser),
            *("--auth", "trust"),
            *("--encoding", "UTF8"),
            *("--locale", "C"),
            "--no-sync",
        ]
        done = subprocess.run(
            command, user=self.user, cwd=self.folder, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise NoPostgres(f"initdb failed: {done.stderr.strip()}")

    def start(self) -> None:
        """Start the server, on the port that it had before if there was one."""
        port = self.port or free_port()
        quick = ["fsync=off", "full_page_writes=off", "synchronous_commit=off", "jit=off"]
        off = [] if self._fsync else quick
        size = [f"max_connections={self._max_connections}", "shared_buffers=64MB"]
        options = ["listen_addresses=127.0.0.1", *size, *off, *self._options]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    self.binaries / "postgres",
                    *("-D", self.data),
                    *("-p", str(port)),
                    *("-k", self.folder),
                    *(part for option in options for part in ("-c", option)),
                ],
                user=self.user,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self.port = port
        self._wait_until_ready()

    def _wait_until_ready(self) -> None:
        process = self._process
        ready: list[str | Path] = [
            self.binaries / "pg_isready",
            "-q",
            "-h",
            "127.0.0.1",
            "-p",
            str(self.port),
        ]
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline and process is not None and process.poll() is None:
            if subprocess.run(ready, check=False).returncode == 0:
                return
            time.sleep(0.05)
        said = (self.folder / "log").read_text(errors="replace")[-2000:]
        self.stop()
        raise NoPostgres(f"the server did not start: {said}")

    def halt(self, how: signal.Signals = signal.SIGINT) -> None:
        """End the server and keep its data: SIGINT for fast, SIGQUIT for a crash."""
        process, self._process = self._process, None
        if process is None or process.poll() is not None:
            return
        process.send_signal(how)
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGQUIT)
            process.wait(_STOP_SECONDS)

    def stop(self) -> None:
        """End the server and remove everything."""
        self.halt()
        shutil.rmtree(self.folder, ignore_errors=True)
