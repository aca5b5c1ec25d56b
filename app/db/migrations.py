"""Upgrades or downgrades the schema while the service goes on.

Processes that start together take turns: on PostgreSQL by an advisory lock, on SQLite by its one writer. On
PostgreSQL each migration is a transaction of its own. Its statements have no time limit, but they wait only
briefly for a lock: whatever waits for a table's lock blocks all that come after it, deliveries included. A
migration that did not get its lock is rolled back and tried again. A killed process leaves only complete
migrations behind; the next one continues there.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import structlog
from alembic import command
from alembic.util import CommandError
from sqlalchemy import event, text
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from app.clock import Clock, SystemClock
from app.db.engine import Database, _storage_errors
from app.db.schema import SchemaState, head, knows, schema_state, scripts
from app.db.schema import config as _config
from app.errors import SchemaMismatch, SettingsError, StorageUnavailable

__all__ = ["_config", "await_schema", "current_revision", "head", "migrate"]

_TURN = 4_202_611_23
_TRY_TURN = text("SELECT pg_try_advisory_xact_lock(:turn)")
LOCK_MILLISECONDS = 1500
"""How long a migration waits for a lock: less than the intake waits for its commit."""

_LOCK_PATIENCE_SECONDS = 600.0
_LONGEST_PAUSE_SECONDS = 15.0
_LOOK_SECONDS = 1.0
_SAY_SECONDS = 15.0
_SCHEMA_TRIES = 30
_NEWEST = "Without an argument `aftercall migrate` goes to the newest revision."
# The lock was not available; a deadlock, in which waits for locks can end.
_TRY_AGAIN = ("55P03", "40P01")
_UNLIMITED = {"statement_timeout": "0", "lock_timeout": "0"}
# Reads pg_settings first, since an older server may not have all of them.
_LIMITS = (
    "SELECT set_config(name, CASE name WHEN 'lock_timeout' THEN '{lock}ms' ELSE '0' END, true) FROM "
    "pg_settings"
    " WHERE name IN ('lock_timeout', 'statement_timeout', 'transaction_timeout',"
    " 'idle_in_transaction_session_timeout')"
)

log = structlog.get_logger(__name__)


async def migrate(database: Database, revision: str = "head", clock: Clock | None = None) -> None:
    """Bring the schema to `revision`; "base" removes everything. Repeating it changes nothing.

    Waits while another process migrates. Raises SchemaMismatch if the schema is newer than this code and does
    not serve it, SettingsError if the revision does not exist, and StorageUnavailable if the database cannot
    be reached, or a lock was not available for ten minutes.
    """
    clock = clock or SystemClock()
    state = await schema_state(database)
    is_up, is_down = revision == "head", revision == "base" or revision.startswith("-")
    if state.is_newer and not is_up:
        raise SchemaMismatch(state.sentence, is_behind=False)
    if is_up and _is_done(state):
        return
    if database.is_sqlite:
        await _wait_and_move(database, _target(state.revision, revision), is_down, clock)
        return
    engine = database.open_migrating(_UNLIMITED)
    event.listen(engine.sync_engine, "begin", _limit)
    try:
        with _storage_errors(database.outage):
            async with _turn(engine, clock):
                state = await schema_state(database)
                if not (is_up and _is_done(state)):
                    await _move_patiently(engine, _target(state.revision, revision), is_down, clock)
    finally:
        await engine.dispose()


async def _wait_and_move(database: Database, revision: str, is_down: bool, clock: Clock) -> None:
    """Migrate SQLite in one step. Waits for its lock, since another process may be migrating."""
    began = clock.monotonic()
    while True:
        try:
            async with database.write() as db:
                await db.run_sync(_move, revision, is_down)
        except StorageUnavailable as error:
            waited = clock.monotonic() - began
            if "locked" not in str(error) or waited > _LOCK_PATIENCE_SECONDS:
                raise
            log.warning("waiting for another process that uses the database", seconds=round(waited))
            await clock.sleep(_LOOK_SECONDS)
        else:
            return


async def check_schema(database: Database) -> None:
    """Raise SchemaMismatch unless this code works on the schema."""
    state = await schema_state(database)
    if not state.serves:
        raise SchemaMismatch(state.sentence, is_behind=not state.is_newer)


async def current_revision(database: Database) -> str | None:
    """Return the revision of the database; None for an empty one."""
    return (await schema_state(database)).revision


async def await_schema(database: Database, clock: Clock) -> None:
    """Wait for a schema that serves this code: half a minute, or while somebody migrates.

    Raises SchemaMismatch with what to do if there is none then.
    """
    tries, said = 0, None
    while not (state := await schema_state(database)).serves:
        is_underway = await _is_migrating(database)
        tries += 0 if is_underway else 1
        if state.is_newer or tries >= _SCHEMA_TRIES:
            raise SchemaMismatch(state.sentence, is_behind=not state.is_newer)
        if said is None or clock.monotonic() - said > _SAY_SECONDS:
            said = clock.monotonic()
            log.warning("waiting for the schema", schema=state.detail, is_being_migrated=is_underway)
        await clock.sleep(_LOOK_SECONDS)


def _is_done(state: SchemaState) -> bool:
    if state.is_newer and state.serves:
        log.warning("the schema is newer than this code, and serves it", schema=state.detail)
    elif state.is_newer:
        raise SchemaMismatch(state.sentence, is_behind=False)
    return state.serves


@asynccontextmanager
async def _turn(engine: AsyncEngine, clock: Clock) -> AsyncIterator[None]:
    """Hold the lock that lets one process migrate, in a transaction that does nothing else.

    Polls for it instead of waiting in the server: a waiting statement has a snapshot, and CREATE INDEX
    CONCURRENTLY waits for the end of all snapshots. A transaction, since that works through a pooler as well.
    """
    began, said = clock.monotonic(), -_SAY_SECONDS
    while True:
        async with engine.connect() as db, db.begin():
            if await db.scalar(_TRY_TURN, {"turn": _TURN}):
                # The driver leaves the result's portal open, and its snapshot with it. A plain query closes
                # it.
                await (await db.get_raw_connection()).driver_connection.execute("SELECT 1")  # type: ignore[union-attr]
                yield
                return
        waited = clock.monotonic() - began
        if waited - said >= _SAY_SECONDS:
            said = waited
            log.warning("waiting for another process that migrates the schema", seconds=round(waited))
        await clock.sleep(_LOOK_SECONDS)


async def _is_migrating(database: Database) -> bool:
    if database.is_sqlite:
        return False
    async with database.read() as db:
        return not await db.scalar(_TRY_TURN, {"turn": _TURN})


async def _move_patiently(engine: AsyncEngine, revision: str, is_down: bool, clock: Clock) -> None:
    began, pause = clock.monotonic(), _LOOK_SECONDS
    while True:
        try:
            async with engine.connect() as db:
                await db.run_sync(_move, revision, is_down)
        except (DBAPIError, asyncpg.PostgresError) as error:
            if _sqlstate(error) not in _TRY_AGAIN:
                raise
            waited = clock.monotonic() - began
            if waited > _LOCK_PATIENCE_SECONDS:
                raise StorageUnavailable(
                    f"a migration did not get its lock within {waited:.0f} s: a transaction of another "
                    "program holds "
                    "it (see pg_stat_activity); end that, and migrate again"
                ) from error
            log.warning(
                "a migration waits for a lock that others hold", seconds=round(waited), next_try=pause
            )
        else:
            return
        await clock.sleep(pause)
        pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)


def _sqlstate(error: BaseException) -> str | None:
    return getattr(getattr(error, "orig", error), "sqlstate", None)


def _limit(connection: Connection) -> None:
    if connection.get_execution_options().get("isolation_level") != "AUTOCOMMIT":
        connection.exec_driver_sql(_LIMITS.format(lock=LOCK_MILLISECONDS))


def _target(current: str | None, revision: str) -> str:
    """Return a step down as the revision that it leads to: when it is retried, it must not be taken twice.

    Raises SettingsError if there is no such step.
    """
    if not revision.startswith("-"):
        return revision
    below: Any = current
    for _ in range(int(revision[1:]) if revision[1:].isdecimal() else 0):
        if not below or not knows(below):
            raise SettingsError(
                f"there is no revision {revision} below {current or 'an empty schema'}. {_NEWEST}"
            )
        script = scripts().get_revision(below)
        below = script.down_revision if script else None
    return below or "base"


def _move(connection: Connection, revision: str, is_down: bool) -> None:
    try:
        (command.downgrade if is_down else command.upgrade)(_config(connection), revision)
    except CommandError as error:
        raise SettingsError(f"the schema cannot be brought to {revision}: {error}. {_NEWEST}") from error
