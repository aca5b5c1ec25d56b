"""Processes that are measured: the service's web process, and any other server beside it."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.cluster import free_port

_HERE = Path(__file__).parents[2]


@contextmanager
def web_process(database_url: str) -> Iterator[tuple[int, int]]:
    """Run a web process of the service; yield its port and process id."""
    port = free_port()
    env = {
        "AFTERCALL_DATABASE_URL": database_url,
        "AFTERCALL_KEY_REQUESTS_PER_MINUTE": "0",  # a load has one key
        "AFTERCALL_SECRET_KEY": "0123456789abcdef0123456789abcdef",
        "AFTERCALL_WEBHOOK_TOKEN": "a-verification-token",
        "AFTERCALL_LOG_LEVEL": "warning",
    }
    with server(["-m", "app", "serve", "--role", "web", "--port", str(port)], port, env) as pid:
        yield port, pid


@contextmanager
def server(arguments: Sequence[str], port: int, env: dict[str, str]) -> Iterator[int]:
    """Run Python with these arguments until it listens to `port`; yield its process id."""
    path = os.pathsep.join([str(_HERE), *filter(None, [os.environ.get("PYTHONPATH")])])
    with tempfile.NamedTemporaryFile() as log:
        process = subprocess.Popen(
            [sys.executable, *arguments],
            env={**os.environ, **env, "PYTHONPATH": path},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        try:
            _wait_until_ready(port)
            yield process.pid
        finally:
            process.kill()
            process.wait()


def _wait_until_ready(port: int) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            httpx.get(f"http://127.0.0.1:{port}/healthz", timeout=1)
        except httpx.HTTPError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
