"""Says in one sentence why a database cannot be used, and what to do about it.

Reads the whole chain of an exception: SQLAlchemy and `app.db.engine` wrap what the driver and the system
raise.
"""

import errno
import socket
import ssl
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from app.errors import SchemaMismatch, StorageUnavailable
from app.values.database_url import POSTGRES, SqliteAddress, read_database_url

VARIABLE = "AFTERCALL_DATABASE_URL"
_MIGRATE = "Run `aftercall migrate`."


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What is wrong, and what to do.

    `passes` says that it may end by itself: a server that is being started.
    """

    sentence: str
    passes: bool = False


def diagnose(error: BaseException, url: str) -> Diagnosis | None:
    """Return why the database at `url` cannot be used; None if the error is of another kind."""
    if not is_of_database(error):
        return None
    where = describe(url)
    found = next(
        filter(None, (_of_database(one, url) or _of_system(one) for one in _chain(error))),
        None,
    )
    if found is not None:
        return Diagnosis(f"{where}: {found.sentence}", found.passes)
    if isinstance(error, StorageUnavailable):
        return Diagnosis(f"{where}: {error}. Check that the server is up and that {VARIABLE} is right.", True)
    return None


def explain_refused_write(error: StorageUnavailable, url: str) -> str:
    """Return why the database at `url` does not store a row, and what to do, without naming the address."""
    found = next(filter(None, (_of_database(one, url) for one in _chain(error))), None)
    if found is None:
        # Before the errors of the system: a commit that takes too long ends in a TimeoutError of ours.
        said = str(error).lower()
        found = next((_explain(code, url) for words, code in _WORDS.items() if words in said), None)
    sentence = found.sentence if found else _UNKNOWN
    return sentence[0].upper() + sentence[1:]


def is_of_database(error: BaseException) -> bool:
    """Whether an error comes from the database or from the way to it."""
    return any(
        isinstance(one, StorageUnavailable | SQLAlchemyError | SchemaMismatch) for one in _chain(error)
    )


def describe(url: str) -> str:
    """Return the address as people write it: without password, options and driver."""
    address = read_database_url(url)
    if isinstance(address, SqliteAddress):
        return f"sqlite:///{address.path}"
    shown = address.shown.replace(POSTGRES, "postgresql", 1)
    return shown if any(host.startswith(("/", "@")) for host in address.hosts) else shown.partition("?")[0]


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop(0)
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        waiting += [getattr(one, "orig", None), one.__cause__, one.__context__]


def _of_database(error: BaseException, url: str) -> Diagnosis | None:
    if isinstance(error, SchemaMismatch):
        return Diagnosis(str(error))
    state, name = (str(getattr(error, key, None) or "") for key in ("sqlstate", "sqlite_errorname"))
    return _explain(state or name, url) or (_of_missing_table(error) if name else None)


def _explain(code: str, url: str) -> Diagnosis | None:
    """Look up a SQLSTATE of PostgreSQL, or the name of a result code of SQLite."""
    if code in _POSTGRESQL:
        return Diagnosis(*_POSTGRESQL[code])
    for beginning, explain in _SQLITE.items():
        if code.startswith(beginning):
            address = read_database_url(url)
            return explain(Path(address.path if isinstance(address, SqliteAddress) else ""))
    return None


# --- PostgreSQL: by SQLSTATE --------------------------------------------------------------------------------

_READ_ONLY = (
    "the server is read-only: it is a standby, or was set so, as hosting providers do when a disk fills up. "
    f"Point {VARIABLE} to the primary, or list all hosts: the one that accepts writes is used."
)
_LOCKED = (
    "another transaction locks the table. Find it (on PostgreSQL: pg_stat_activity, pg_locks) and end it; "
    "create indexes with CREATE INDEX CONCURRENTLY."
)
_NO_CONNECTION = (
    "the server has no connection left. Raise max_connections, or lower AFTERCALL_DATABASE_POOL_SIZE."
)
_POSTGRESQL: Mapping[str, tuple[str, bool]] = {
    "28P01": (f"the password is wrong. Correct it in {VARIABLE}.", False),
    "28000": (f"the server does not let this user in. Correct {VARIABLE}, or change pg_hba.conf.", False),
    "3D000": (f"the database does not exist. Create it (`createdb`), or correct {VARIABLE}.", False),
    "42501": ("the user may not do this. Grant it rights on the database and its schema `public`.", False),
    "25006": (_READ_ONLY, False),
    "42P01": (f"a table is missing. {_MIGRATE}", False),
    "42703": (f"a column is missing. {_MIGRATE}", False),
    "53300": (_NO_CONNECTION, True),
    "53100": ("the server's disk is full. Free space on it.", True),
    "55P03": (_LOCKED, True),
    "57014": (f"the statement was cancelled because it took too long, usually because {_LOCKED}", True),
    "57P03": ("the server is starting or stopping. Try again.", True),
}  # fmt: skip


# --- SQLite: by result code ---------------------------------------------------------------------------------


def _of_missing_table(error: BaseException) -> Diagnosis | None:
    text = str(error)
    if text.startswith(("no such table", "no such column")) or "has no column named" in text:
        return Diagnosis(f"{text}. {_MIGRATE}")
    return None


def _cannot_open(path: Path) -> Diagnosis:
    if path.is_dir():
        return Diagnosis(f"this is a folder. Name a file in {VARIABLE}.")
    if not path.parent.is_dir():
        return Diagnosis(f"the folder {path.parent} does not exist. Create it, or correct {VARIABLE}.")
    return _cannot_write(path)


def _cannot_write(path: Path) -> Diagnosis:
    return Diagnosis(
        f"this user may not write to the file and its folder {path.parent}. Change their owner, or correct "
        f"{VARIABLE}."
    )


_SQLITE: Mapping[str, Callable[[Path], Diagnosis]] = {
    "SQLITE_CANTOPEN": _cannot_open,
    "SQLITE_READONLY": _cannot_write,
    "SQLITE_PERM": _cannot_write,
    "SQLITE_NOTADB": lambda _: Diagnosis(f"the file is not an SQLite database. Correct {VARIABLE}."),
    "SQLITE_CORRUPT": lambda _: Diagnosis("the file is damaged. Restore it from a backup."),
    "SQLITE_FULL": lambda _: Diagnosis("the disk is full. Free space on it.", True),
    "SQLITE_BUSY": lambda _: Diagnosis("another process keeps the file locked. End it, or try again.", True),
    "SQLITE_IOERR": lambda _: Diagnosis("the disk cannot be read or written. Check it.", True),
}


# --- by the message, where it is all that is left of the cause ----------------------------------------------

_WORDS: Mapping[str, str] = {
    "read-only transaction": "25006",
    "takes writes": "25006",
    "is full": "53100",
    "no space left": "53100",
    "readonly database": "SQLITE_READONLY",
    "unable to open": "SQLITE_CANTOPEN",
    "locked": "55P03",
    "too long": "55P03",
}
_UNKNOWN = f"Check the log of the database, and that {VARIABLE} leads to a server that accepts writes."


# --- the way to a server ------------------------------------------------------------------------------------


def _of_system(error: BaseException) -> Diagnosis | None:
    if isinstance(error, socket.gaierror):
        return Diagnosis(f"this host name is not known. Correct the host in {VARIABLE}.", True)
    if isinstance(error, ssl.SSLError):
        return Diagnosis(
            f"no encrypted connection: {error.reason or error}. Correct the options in {VARIABLE}."
        )
    if isinstance(error, ConnectionRefusedError) or _says_refused(error):
        return Diagnosis(
            f"nothing listens there. Start the server, or correct host and port in {VARIABLE}.", True
        )
    if isinstance(error, OverflowError):
        return Diagnosis(f"the port is not a number up to 65535. Correct it in {VARIABLE}.")
    if isinstance(error, TimeoutError | ConnectionError | OSError):
        detail = getattr(error, "strerror", None) or "no answer in time"
        return Diagnosis(
            f"the server cannot be reached ({detail}). Check the way there, and {VARIABLE}.", True
        )
    return None


def _says_refused(error: BaseException) -> bool:
    """asyncio joins the errors of several addresses into the text of one."""
    is_plain = isinstance(error, OSError) and error.errno is None
    return is_plain and f"[Errno {errno.ECONNREFUSED}]" in str(error)
