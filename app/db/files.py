"""File modes of SQLite's files: call data is readable only by the user of the service."""

import os
import stat
from contextlib import suppress
from pathlib import Path

import structlog

from app.errors import SettingsError
from app.values.database_url import SqliteAddress

OWNER_ONLY = 0o600
_BESIDE = ("", "-wal", "-shm", "-journal")

log = structlog.get_logger(__name__)


def prepare_file(address: SqliteAddress, *, tighten: bool) -> bool:
    """Create the file if it does not exist, so that nobody else can ever read it; return True.

    SQLite creates its other files with the same mode. With `tighten`, remove the rights of others from
    existing files. Raises SettingsError if the file does not exist and the address says not to create it.
    """
    path = Path(address.path)
    if not address.creates and not path.exists():
        raise SettingsError(f"AFTERCALL_DATABASE_URL: {path} does not exist, and mode=rw does not create it")
    if os.name != "posix":
        return True
    with suppress(OSError):  # it exists, or cannot be created: SQLite says why
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, OWNER_ONLY))
    if tighten:
        for ending in _BESIDE:
            _tighten(Path(f"{path}{ending}"))
    return True


def _tighten(path: Path) -> None:
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        if not mode & 0o077:
            return
        path.chmod(mode & ~0o077)
    except FileNotFoundError:
        return
    except OSError as error:
        log.warning("others can read the database's file", file=str(path), error=error.strerror)
    else:
        log.warning(
            "others could read the database's file; now only its owner can", file=str(path), mode=f"{mode:o}"
        )
