"""Writes deliveries, many to a commit, in the fastest way that each database has.

The only hot path of the service: it holds a connection of its own and talks to the driver. On PostgreSQL a
batch is one statement and one round trip, which stores, commits and notifies; on SQLite it is one call to one
thread. Through SQLAlchemy the same batch took six round trips, and twice the time.
"""

import asyncio
import hashlib
import secrets
import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.engine import CHANNEL, Database
from app.db.failures import Failure, describe_failure, failure_of, is_data_fault
from app.db.sqlite_connections import prepare_sqlite
from app.db.tables import deliveries
from app.errors import StorageUnavailable
from app.ids import UNBOUND_ACCOUNT
from app.work.wakeups import INBOX

BARE = "content-raw-"
"""Prefix of the `uuid` of a delivery that is stored by its bytes alone."""


@dataclass(slots=True)
class Delivery:
    """One POST of RingCentral. `uuid` is the sender's, or made from the body where it has none.

    `day`: see `app.webhooks.intake.days`.
    """

    account_id: str
    uuid: str
    received_at: datetime
    telephony_session_id: str | None
    raw: bytes
    day: date

    @classmethod
    def bare(cls, raw: bytes, received_at: datetime, day: date | None = None) -> "Delivery":
        """Return a delivery that is known by its bytes alone: no id of the sender's is stored."""
        uuid = f"{BARE}{hashlib.sha256(raw).hexdigest()[:32]}"
        return cls(UNBOUND_ACCOUNT, uuid, received_at, None, raw, day or received_at.date())


PROBE_ACCOUNT = "~probe"
"""The account of the row that proves that deliveries can be stored. No delivery is read with it."""

_CHECK = "23514"
_TRIES = 4
_R = TypeVar("_R")

_PROBE_CHANNEL = "aftercall_probe"
"""Has no listeners."""

_PROBE_BYTES = 1024
"""About the size of an event: a page with room for one has room for the other."""

_FORGET_PROBE = "DELETE FROM deliveries WHERE account_id = $1 AND uuid = $2 AND day = $3"


def _probe(at: datetime) -> Delivery:
    """Return a row that is unique to this proof, so that replicas do not wait for each other."""
    return Delivery(PROBE_ACCOUNT, secrets.token_hex(16), at, None, bytes(_PROBE_BYTES), at.date())


def _unavailable(error: Exception) -> StorageUnavailable:
    return StorageUnavailable(f"the database did not store the deliveries: {describe_failure(error)}")


_STORE = """
WITH stored AS (
    INSERT INTO deliveries (account_id, uuid, received_at, telephony_session_id, raw, day)
    SELECT * FROM unnest($1::text[], $2::text[], $3::timestamptz[], $4::text[], $5::bytea[], $6::date[])
    ON CONFLICT DO NOTHING
    RETURNING 1
)
SELECT (SELECT count(*) FROM stored) AS stored, pg_notify($7, $8)
"""


async def _beside_new_partitions(insert: Callable[[], Awaitable[_R]]) -> _R:
    """Insert again if a partition for the day of a row was attached just now.

    PostgreSQL chooses the partition before it waits for the one who attaches. What it had chosen is then the
    default partition, which no longer takes the row.
    """
    for _ in range(_TRIES - 1):
        try:
            return await insert()
        except Exception as error:
            # The constraint of a partition has no name; all checks have one.
            is_partition = getattr(error, "sqlstate", None) == _CHECK and not getattr(
                error, "constraint_name", None
            )
            if not is_partition:
                raise
    return await insert()


class PostgresWriter:
    """Commits deliveries on PostgreSQL.

    Holds one connection of the pool; after an error it takes another one.

    Like `SqliteWriter`, used by one task at a time. `write` stores rows, none twice, and returns how many
    were new. It raises StorageUnavailable when the database cannot store any; all may be written again then.
    Any other error means that it refuses one of these rows, and that none was stored. `prove` stores and
    deletes a row that is no real delivery in one transaction, and raises StorageUnavailable when a delivery
    could not have been stored that way.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._held: AsyncConnection | None = None
        self._driver: Any = None

    async def write(self, rows: Sequence[Delivery]) -> int:
        try:
            await self._connect()
            stored = await _beside_new_partitions(lambda: self._insert(rows, CHANNEL))
        except Exception as error:
            failure = failure_of(error)
            if failure is Failure.DATA:
                raise  # a single statement has failed: the connection is as before
            await self._drop()
            if failure is None:
                raise
            raise _unavailable(error) from error
        except BaseException:
            await self._drop()  # cancelled: the state of the connection is unknown
            raise
        self._database.wake({INBOX})  # other replicas are woken by the notification
        return stored

    async def prove(self, at: datetime) -> None:
        probe = _probe(at)
        try:
            await self._connect()
            await _beside_new_partitions(lambda: self._insert_and_delete(probe))
        except Exception as error:
            await self._drop()
            raise _unavailable(error) from error
        except BaseException:
            await self._drop()
            raise

    async def _connect(self) -> None:
        if self._held is None:
            self._held = await self._database.engine.connect()
            self._driver = (await self._held.get_raw_connection()).driver_connection

    async def _insert_and_delete(self, probe: Delivery) -> None:
        async with self._driver.transaction():
            await self._insert([probe], _PROBE_CHANNEL)
            await self._driver.execute(_FORGET_PROBE, probe.account_id, probe.uuid, probe.day)

    async def _insert(self, rows: Sequence[Delivery], channel: str) -> int:
        (result,) = await self._driver.fetch(
            _STORE,
            [row.account_id for row in rows],
            [row.uuid for row in rows],
            [row.received_at for row in rows],
            [row.telephony_session_id for row in rows],
            [row.raw for row in rows],
            [row.day for row in rows],
            channel,
            INBOX,
        )
        return int(result["stored"])

    async def _drop(self) -> None:
        held, self._held = self._held, None
        if held is not None:
            await held.invalidate()
            await held.close()

    async def close(self) -> None:
        held, self._held = self._held, None
        if held is not None:
            await held.close()


_INSERT = (
    "INSERT INTO deliveries (account_id, uuid, received_at, telephony_session_id, raw, day)"
    " VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
)


class SqliteWriter:
    """Commits deliveries on SQLite, see `PostgresWriter`.

    Holds a connection and the only thread that uses it.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._path = database.url.database or ""
        self._thread = ThreadPoolExecutor(1, "inbox")
        self._connection: sqlite3.Connection | None = None
        as_stored = deliveries.c.received_at.type.bind_processor(database.engine.dialect)
        assert as_stored is not None  # noqa: S101 - the type is ours
        self._as_stored = as_stored

    async def write(self, rows: Sequence[Delivery]) -> int:
        values = [self._values(row) for row in rows]
        async with self._database.turn_to_write():
            stored = await asyncio.get_running_loop().run_in_executor(self._thread, self._insert, values)
        self._database.wake({INBOX})
        return stored

    async def prove(self, at: datetime) -> None:
        values = self._values(_probe(at))
        async with self._database.turn_to_write():
            await asyncio.get_running_loop().run_in_executor(self._thread, self._insert_and_delete, values)

    def _values(self, row: Delivery) -> tuple[Any, ...]:
        at, day = self._as_stored(row.received_at), row.day.isoformat()
        return row.account_id, row.uuid, at, row.telephony_session_id, row.raw, day

    def _insert_and_delete(self, values: tuple[Any, ...]) -> None:
        try:
            connection = self._connect()
            connection.execute("BEGIN IMMEDIATE")
            connection.execute(_INSERT, values)
            connection.execute("DELETE FROM deliveries WHERE account_id = ? AND uuid = ?", values[:2])
            connection.execute("COMMIT")
        except Exception as error:
            self._disconnect()
            raise _unavailable(error) from error

    def _insert(self, values: Sequence[tuple[Any, ...]]) -> int:
        try:
            connection = self._connect()
            connection.execute("BEGIN IMMEDIATE")
            stored = connection.executemany(_INSERT, values).rowcount
            connection.execute("COMMIT")
        except Exception as error:
            self._disconnect()  # which rolls back
            if is_data_fault(error):
                raise
            raise _unavailable(error) from error
        return max(0, stored)

    def _connect(self) -> sqlite3.Connection:
        if self._connection is None:
            self._database.prepare_file()
            self._connection = sqlite3.connect(self._path)
            prepare_sqlite(self._connection)
        return self._connection

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    async def close(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, self._disconnect)
        self._thread.shutdown()


Writer = PostgresWriter | SqliteWriter


def open_writer(database: Database) -> Writer:
    """Return the writer for this database; it connects when it first writes."""
    return SqliteWriter(database) if database.is_sqlite else PostgresWriter(database)
