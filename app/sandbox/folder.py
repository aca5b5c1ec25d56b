"""The folder of a sandbox: secrets that stay the same after a restart, database, calls and log."""

import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from app.sandbox.service import SandboxFailed

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_NAMES = ("secret_key", "webhook_token", "api_key")


class SandboxFolder:
    """A folder that only its owner can read."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()

    @property
    def database_url(self) -> str:
        """The SQLite database of the service."""
        return f"sqlite:///{self.path / 'aftercall.db'}"

    @property
    def journal(self) -> Path:
        """The file with the simulator's calls."""
        return self.path / "calls.jsonl"

    @property
    def log(self) -> Path:
        """The file with the service's output."""
        return self.path / "service.log"

    @contextmanager
    def held(self) -> Iterator[dict[str, str]]:
        """Make the folder if it is new, and keep it for this process. Yields its secrets by the names of
        `Credentials`.

        The kernel releases the folder when the process ends, however it ends. Raises SandboxFailed if the
        folder cannot be used, or another command uses it.
        """
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(self.path / "in-use", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise self._unusable(error) from error
        try:
            self._lock(descriptor)
            try:
                kept = self._read_secrets()
            except OSError as error:
                raise self._unusable(error) from error
            yield kept
        finally:
            os.close(descriptor)

    def _unusable(self, error: OSError) -> SandboxFailed:
        return SandboxFailed(
            f"The folder {self.path} cannot be used: {error.strerror or error}. Choose another with --folder."
        )

    def _lock(self, descriptor: int) -> None:
        if fcntl is None:
            return
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            user = os.pread(descriptor, 32, 0).decode(errors="replace").strip()
            raise SandboxFailed(
                f"Another sandbox, process {user or 'unknown'}, uses the folder {self.path}: two of them "
                "would mix their calls. End it, or choose another folder with --folder."
            ) from None
        except OSError:
            return  # such as a network drive without locks
        with suppress(OSError):  # a full disk: the number is only told to the next one
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, str(os.getpid()).encode(), 0)

    def _read_secrets(self) -> dict[str, str]:
        path = self.path / "secrets.json"
        if not path.exists():
            made = {
                "secret_key": secrets.token_hex(32),
                "webhook_token": secrets.token_hex(16),
                "api_key": f"ak_sandbox_{secrets.token_urlsafe(18)}",
            }
            # Renamed when it is complete: a command that is killed here leaves no half of it behind.
            draft = path.with_suffix(".new")
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
                json.dump(made, file, indent=2)
            draft.rename(path)
        try:
            kept: dict[str, Any] = json.loads(path.read_text())
            return {name: str(kept[name]) for name in _NAMES}
        except (ValueError, KeyError, TypeError) as error:
            raise SandboxFailed(
                f"{path} is not what this command wrote there. Delete it and the database beside it, or "
                "choose another folder with --folder."
            ) from error
