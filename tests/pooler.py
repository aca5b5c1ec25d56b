"""A throwaway pgbouncer in front of the throwaway PostgreSQL.

It refuses root, so it runs as the server's user.
"""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

from tests.cluster import Cluster, free_port

_START_SECONDS = 20.0
_STOP_SECONDS = 10.0


class Pooler:
    """A running pgbouncer.

    Few sessions of the server, so that transactions of one client meet several of them.
    """

    def __init__(self, cluster: Cluster, mode: str = "transaction", size: int = 3) -> None:
        binary = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin:/usr/local/sbin")
        if binary is None:
            if os.environ.get("CI") and os.environ.get("AFTERCALL_REQUIRE_POSTGRES") == "1":
                pytest.fail("pgbouncer is required: install the package pgbouncer")
            pytest.skip("no pgbouncer on this machine: install the package pgbouncer")
        self._superuser = cluster.superuser
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="aftercall-pgbouncer-"))
        (self.folder / "users").write_text(f'"{self._superuser}" ""\n')
        (self.folder / "ini").write_text(
            f"""[databases]
* = host=127.0.0.1 port={cluster.port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {self.port}
unix_socket_dir =
auth_type = trust
auth_file = {self.folder}/users
pool_mode = {mode}
default_pool_size = {size}
max_client_conn = 200
server_round_robin = 1
"""
        )
        user = cluster.user
        if user:
            for path in (self.folder, *self.folder.iterdir()):
                shutil.chown(path, user)
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [binary, self.folder / "ini"],
                user=user,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self._wait_until_ready()

    def url(self, name: str) -> str:
        """The address of one database through the pooler."""
        return f"postgresql://{self._superuser}@127.0.0.1:{self.port}/{name}"

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        said = (self.folder / "log").read_text(errors="replace")[-2000:]
        self.stop()
        pytest.fail(f"pgbouncer did not start: {said}")

    def stop(self) -> None:
        """End it and remove its folder."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(_STOP_SECONDS)
        shutil.rmtree(self.folder, ignore_errors=True)
