"""The service as a process of its own: started, watched, and ended for certain."""

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
_SAYS = "aftercall: "
_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG of Linux's prctl(2)


def choose_port(wanted: int | None) -> int:
    """Return the port for the service: the wanted one, else 8000 if nobody has it, else any free one.

    Raises OSError when the wanted one is taken. The service has to know its public address before it starts,
    so it cannot choose for itself.
    """
    for port in (PREFERRED_PORT, 0) if wanted is None else (wanted,):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                if wanted is not None:
                    raise
                continue
            return int(probe.getsockname()[1])
    raise OSError("no free port on 127.0.0.1")


class ServiceProcess:
    """`aftercall serve` with its output in a file.

    It has a session of its own, so that Ctrl-C reaches the demo alone and things end in order. On Linux the
    kernel ends it should the demo be killed.
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
                preexec_fn=_ending_with_parent(),
            )
        return cls(process, log_path, clock)

    @property
    def pid(self) -> int:
        return self._process.pid

    async def wait(self) -> int:
        """Wait until it ends; return its exit code."""
        return await self._process.wait()

    async def stop(self) -> None:
        """Ask it to end and, if it doesn't within some seconds, end it."""
        if self._process.returncode is not None:
            return
        self._process.terminate()
        try:
            await asyncio.wait_for(self._process.wait(), _GRACE_SECONDS)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()

    def refusal(self) -> str | None:
        """Return the sentence with which the command ended, None when it said nothing of the kind."""
        last = self.log_tail(1)
        return last.removeprefix(_SAYS) if last.startswith(_SAYS) else None

    def log_tail(self, lines: int = 20) -> str:
        """Return the last lines of its output."""
        try:
            text = self._log_path.read_text(errors="replace")
        except OSError:
            return ""
        return "\n".join(text.splitlines()[-lines:])


def _ending_with_parent() -> Callable[[], None] | None:
    """Return what the child does before it becomes the service: ask the kernel to end it with its parent."""
    if sys.platform != "linux":
        return None
    libc, parent = ctypes.CDLL(None), os.getpid()

    def ask() -> None:
        libc.prctl(_DIE_WITH_PARENT, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(1)

    return ask
