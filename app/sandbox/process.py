"""Runs the service in its own process and makes sure that the process ends."""

import asyncio
import ctypes
import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from app.clock import Clock

PREFERRED_PORT = 8000
_GRACE_SECONDS = 8.0
_ERROR_PREFIX = "aftercall: "
_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG of Linux's prctl(2)


def choose_port(given: int | None) -> int:
    """Return the port for the service: the given one, or 8000, or a free one if 8000 is in use.

    Raises OSError if the given port is in use. The service needs its public address before it starts, so it
    cannot choose the port itself.
    """
    for port in (PREFERRED_PORT, 0) if given is None else (given,):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            # As the service will do: a port in TIME_WAIT after the last run counts as free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                if given is not None:
                    raise
                continue
            return int(probe.getsockname()[1])
    raise OSError("no free port on 127.0.0.1")


class ServiceProcess:
    """`aftercall serve` with its output in a file.

    It has its own process session, so that Ctrl-C reaches the demo only, which then stops the parts in order.
    On Linux the kernel ends it if the demo is killed.
    """

    def __init__(self, process: asyncio.subprocess.Process, log_path: Path, clock: Clock) -> None:
        self._process = process
        self._log_path = log_path
        self._clock = clock

    @classmethod
    async def start(
        cls, port: int, environment: Mapping[str, str], folder: Path, clock: Clock
    ) -> "ServiceProcess":
        log_path = folder / "service.log"
        command = (sys.executable, "-m", "app", "serve", "--host", "127.0.0.1", "--port", str(port))
        with log_path.open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=folder,
                env=dict(environment),
                start_new_session=True,
                preexec_fn=_end_with_parent(),
            )
        return cls(process, log_path, clock)

    @property
    def pid(self) -> int:
        """The id of the process."""
        return self._process.pid

    async def wait(self) -> int:
        """Wait until the process ends; returns its exit code."""
        return await self._process.wait()

    async def stop(self) -> None:
        """Terminate the process, and kill it if it is still running some seconds later."""
        if self._process.returncode is not None:
            return
        self._process.terminate()
        try:
            await asyncio.wait_for(self._process.wait(), _GRACE_SECONDS)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()

    def refusal(self) -> str | None:
        """Return the error sentence with which the command ended, None without one."""
        last = self.log_tail(1)
        return last.removeprefix(_ERROR_PREFIX) if last.startswith(_ERROR_PREFIX) else None

    def log_tail(self, lines: int = 20) -> str:
        """Return the last lines of the output."""
        try:
            text = self._log_path.read_text(errors="replace")
        except OSError:
            return ""
        return "\n".join(text.splitlines()[-lines:])


def _end_with_parent() -> Callable[[], None] | None:
    """Return what the child calls before it becomes the service: the kernel shall end it with its parent."""
    if sys.platform != "linux":
        return None
    libc, parent = ctypes.CDLL(None), os.getpid()

    def ask() -> None:
        libc.prctl(_DIE_WITH_PARENT, signal.SIGTERM)
        # The parent may have ended before the call, and then the kernel sends no signal.
        if os.getppid() != parent:
            os._exit(1)

    return ask
