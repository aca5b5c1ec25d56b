"""What a database error means: an outage, a fault of the schema, or a fault of the data.

Decides by code: PostgreSQL's SQLSTATE, SQLite's result code. The message decides only if a driver gives no
code.

- An outage: wait, then retry. PostgreSQL: 08 connection, 25006 read-only, 25P03 and 25P04 time-outs of a
  transaction, 26 and 42P05 lost prepared statement, 28 and 3D000 cannot log in, 40 deadlock or serialization,
  53 no resources (disk full, too many connections), 55 lock not available, 57 shutdown, cancelled or
  starting, 58 I/O error, 72 snapshot too old, 0A000 cached plan, F0 configuration, XX internal or corrupted.
  SQLite: BUSY, LOCKED, FULL, IOERR, CANTOPEN, READONLY, PROTOCOL, NOMEM, CORRUPT, NOTADB, SCHEMA, PERM, AUTH,
  ABORT, INTERRUPT, INTERNAL, MISUSE, NOLFS; ERROR about a transaction or "schema is locked". Either: a closed
  connection, a time-out.
- The schema or the permissions do not fit this version: wait, and tell the operator. PostgreSQL: 42
  (undefined table or column, no privilege), 3F. SQLite: ERROR with "no such table", "no such column", "no
  such index", "has no column named", "syntax error".
- The data: set the one delivery or record aside. Everything else: PostgreSQL 22, 23, 54; SQLite MISMATCH,
  TOOBIG, RANGE, CONSTRAINT, other ERRORs; values that the driver cannot encode.
"""

import sqlite3
from collections.abc import Iterator
from enum import StrEnum

import asyncpg
from sqlalchemy.exc import DBAPIError, PendingRollbackError, ResourceClosedError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout


class Failure(StrEnum):
    """What is at fault for a database error."""

    OUTAGE = "outage"
    SCHEMA = "schema"
    DATA = "data"


_OUTAGE_STATES = (
    "08", "0A000", "25006", "25P03", "25P04", "26", "28", "3D000", "40", "42P05", "53", "55", "57", "58",
    "72", "F0", "XX",
)  # fmt: skip
_SCHEMA_STATES = ("3F", "42")
_OUTAGE_CODES = frozenset(
    getattr(sqlite3, f"SQLITE_{name}")
    for name in (
        "ABORT", "AUTH", "BUSY", "CANTOPEN", "CORRUPT", "FULL", "INTERNAL", "INTERRUPT", "IOERR", "LOCKED",
        "MISUSE", "NOLFS", "NOMEM", "NOTADB", "PERM", "PROTOCOL", "READONLY", "SCHEMA",
    )
)  # fmt: skip
_SCHEMA_MESSAGES = ("no such table", "no such column", "no such index", "has no column named", "syntax error")
# "cannot start a transaction within a transaction" and the like
_OUTAGE_MESSAGES = ("transaction", "schema is locked")
_CLOSED_MESSAGES = ("closed", "no active connection")
_TOO_MANY_ARGUMENTS = "query arguments cannot exceed"


def failure_of(error: BaseException) -> Failure | None:
    """Return what a database error means; None if the error does not come from the database.

    Accepts SQLAlchemy's errors and the drivers' own, which they raise when connecting.
    """
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return Failure.OUTAGE
    for cause in _causes(error):
        if found := _of_driver(cause):
            return found
    # A TimeoutError is an OSError. The next two follow a connection that was lost within a transaction.
    if isinstance(error, PoolTimeout | OSError | PendingRollbackError | ResourceClosedError):
        return Failure.OUTAGE
    if isinstance(error, OverflowError | UnicodeError):  # raised by SQLite's driver as they are
        return Failure.DATA
    return Failure.DATA if isinstance(error, SQLAlchemyError) else None


def is_data_fault(error: BaseException) -> bool:
    """Whether the data is at fault, so that its source may be set aside; errors of our own count as such.

    An outage or a schema that does not fit says nothing about the data: wait, and try again.
    """
    return failure_of(error) in (None, Failure.DATA)


def describe_failure(error: BaseException) -> str:
    """Return a database error in one line, with its code, without the values of the statement."""
    last = list(_causes(error))[-1]
    code = getattr(last, "sqlstate", None) or getattr(last, "sqlite_errorname", None)
    message = (str(last).splitlines() or [""])[0] or type(last).__name__
    return f"{message} ({code})" if code else message


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield the error, then what SQLAlchemy and its adapter have wrapped, down to the driver's error."""
    yield error
    inner = error.orig if isinstance(error, DBAPIError) else None
    if inner is not None:
        yield inner
        if isinstance(
            inner.__cause__, asyncpg.PostgresError | asyncpg.InterfaceError | asyncpg.InternalClientError
        ):
            yield inner.__cause__


def _of_driver(error: BaseException) -> Failure | None:
    if isinstance(error, asyncpg.PostgresError) or getattr(error, "sqlstate", None):
        return _of_state(str(getattr(error, "sqlstate", None) or ""))
    if isinstance(error, asyncpg.InterfaceError | asyncpg.InternalClientError):
        # A ValueError is a value that cannot be encoded, or a bad address. The others describe the state of
        # the connection: closed, busy.
        is_value = isinstance(error, ValueError) and not isinstance(error, asyncpg.ClientConfigurationError)
        is_data = is_value or _TOO_MANY_ARGUMENTS in str(error)
        return Failure.DATA if is_data else Failure.OUTAGE
    return _of_sqlite(error) if isinstance(error, sqlite3.Error) else None


def _of_state(state: str) -> Failure:
    if state.startswith(_OUTAGE_STATES):
        return Failure.OUTAGE
    return Failure.SCHEMA if state.startswith(_SCHEMA_STATES) else Failure.DATA


def _of_sqlite(error: sqlite3.Error) -> Failure:
    code: int | None = getattr(error, "sqlite_errorcode", None)
    message = str(error)
    if code is None:
        is_closed = any(words in message for words in _CLOSED_MESSAGES)
        return Failure.OUTAGE if is_closed or isinstance(error, sqlite3.OperationalError) else Failure.DATA
    primary = code & 0xFF  # the extended code has its kind in the lowest byte
    if primary in _OUTAGE_CODES:
        return Failure.OUTAGE
    if primary == sqlite3.SQLITE_ERROR and any(words in message for words in _SCHEMA_MESSAGES):
        return Failure.SCHEMA
    if primary == sqlite3.SQLITE_ERROR and any(words in message for words in _OUTAGE_MESSAGES):
        return Failure.OUTAGE
    return Failure.DATA
