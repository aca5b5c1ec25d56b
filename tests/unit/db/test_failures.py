"""Database errors are classified by code as outages, schema faults or data faults."""

import sqlite3

import asyncpg
import pytest
from sqlalchemy.exc import DBAPIError, PendingRollbackError, StatementError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from app.db.failures import Failure, describe_failure, failure_of, is_data_fault

OUTAGES = (
    "08000 08003 08006 0A000 25006 25P03 25P04 26000 28000 28P01 3D000 40001 40P01 42P05 53100 53200 "
    "53300 53400"
    " 55000 55006 55P03 57000 57014 57P01 57P02 57P03 57P04 57P05 58000 58030 72000 F0000 XX000 XX001 XX002"
)
SCHEMA = "3F000 42501 42601 42703 42704 42804 42883 42P01 42P10"
DATA = "21000 22001 22003 22007 22021 22023 22P02 22P05 23502 23503 23505 23514 44000 54000 54001 P0001"
STATES = {
    **dict.fromkeys(OUTAGES.split(), Failure.OUTAGE),
    **dict.fromkeys(SCHEMA.split(), Failure.SCHEMA),
    **dict.fromkeys(DATA.split(), Failure.DATA),
}
CODES = {
    **dict.fromkeys(
        (
            "BUSY",
            "BUSY_SNAPSHOT",
            "LOCKED",
            "LOCKED_SHAREDCACHE",
            "FULL",
            "IOERR",
            "IOERR_WRITE",
            "IOERR_SHORT_READ",
            "CANTOPEN",
            "CANTOPEN_ISDIR",
            "READONLY",
            "READONLY_DBMOVED",
            "PROTOCOL",
            "NOMEM",
            "CORRUPT",
            "NOTADB",
            "SCHEMA",
            "PERM",
            "AUTH",
            "ABORT",
            "INTERRUPT",
            "INTERNAL",
            "MISUSE",
        ),
        Failure.OUTAGE,
    ),
    **dict.fromkeys(
        (
            "MISMATCH",
            "TOOBIG",
            "RANGE",
            "CONSTRAINT",
            "CONSTRAINT_UNIQUE",
            "CONSTRAINT_CHECK",
            "CONSTRAINT_TRIGGER",
        ),
        Failure.DATA,
    ),
}
MESSAGES = {
    "no such table: calls": Failure.SCHEMA,
    "no such column: nope": Failure.SCHEMA,
    "table calls has no column named nope": Failure.SCHEMA,
    'near "selekt": syntax error': Failure.SCHEMA,
    "cannot start a transaction within a transaction": Failure.OUTAGE,
    "too many SQL variables": Failure.DATA,
    "malformed JSON": Failure.DATA,
    "integer overflow": Failure.DATA,
}


def wrapped(orig: BaseException) -> DBAPIError:
    return DBAPIError("SELECT 1", None, orig)


@pytest.mark.parametrize("state", sorted(STATES))
def test_postgresql_errors_are_classified_by_sqlstate(state: str) -> None:
    error = asyncpg.PostgresError("said so")
    error.sqlstate = state
    assert failure_of(error) is STATES[state]
    assert failure_of(wrapped(error)) is STATES[state]
    assert describe_failure(wrapped(error)) == f"said so ({state})"


@pytest.mark.parametrize("name", sorted(CODES))
def test_sqlite_errors_are_classified_by_result_code(name: str) -> None:
    error = sqlite3.OperationalError("said so")
    error.sqlite_errorcode = getattr(sqlite3, f"SQLITE_{name}")
    error.sqlite_errorname = f"SQLITE_{name}"
    assert failure_of(error) is CODES[name]
    assert failure_of(wrapped(error)) is CODES[name]
    assert describe_failure(error) == f"said so (SQLITE_{name})"


@pytest.mark.parametrize("message", sorted(MESSAGES))
def test_sqlite_error_is_classified_by_its_message(message: str) -> None:
    error = sqlite3.OperationalError(message)
    error.sqlite_errorcode = sqlite3.SQLITE_ERROR
    assert failure_of(error) is MESSAGES[message]


def test_errors_without_a_code_are_classified_by_their_origin() -> None:
    assert (
        failure_of(asyncpg.InterfaceError("cannot perform operation: connection is closed")) is Failure.OUTAGE
    )
    assert (
        failure_of(asyncpg.InterfaceError("the number of query arguments cannot exceed 32767"))
        is Failure.DATA
    )
    assert (
        failure_of(asyncpg.InternalClientError("got result for unknown protocol state 3")) is Failure.OUTAGE
    )
    assert failure_of(sqlite3.ProgrammingError("Cannot operate on a closed database.")) is Failure.OUTAGE
    assert failure_of(sqlite3.OperationalError("no active connection")) is Failure.OUTAGE
    assert failure_of(sqlite3.ProgrammingError("Error binding parameter 1")) is Failure.DATA
    assert failure_of(OverflowError("Python int too large to convert to SQLite INTEGER")) is Failure.DATA
    assert failure_of(UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed")) is Failure.DATA
    assert failure_of(StatementError("bad value", None, None, ValueError())) is Failure.DATA
    assert failure_of(PendingRollbackError("lost within a transaction")) is Failure.OUTAGE
    assert (
        failure_of(DBAPIError("SELECT 1", None, Exception("gone"), connection_invalidated=True))
        is Failure.OUTAGE
    )
    for error in (PoolTimeout("no connection left"), TimeoutError(), ConnectionRefusedError()):
        assert failure_of(error) is Failure.OUTAGE


def test_our_own_errors_are_not_database_errors() -> None:
    assert failure_of(KeyError("x")) is None
    assert is_data_fault(KeyError("x"))
    assert is_data_fault(OverflowError())
    assert not is_data_fault(TimeoutError())
