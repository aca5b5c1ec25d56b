"""Opens the database and provides transactions: `read()` to read, `write()` to change.

A write transaction is short and never spans a network call. What it wakes (`wake`) is woken after its commit,
in this process and, through NOTIFY on PostgreSQL, in all others.

SQLite: one writer at a time, queued fairly in this process and by `BEGIN IMMEDIATE` between processes; WAL
with `synchronous=FULL`, so that committed data survives a power failure.
"""

import asyncio
import copy
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any, Self

from sqlalchemy import NullPool, Table, event, text
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.engine import URL, ExceptionContext
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.util import await_only

from app.db.connecting import CONNECT_SECONDS, Connector
from app.db.failures import Failure, describe_failure, failure_of
from app.db.files import prepare_file
from app.db.pool import CountingPool, pool_state
from app.db.sqlite_connections import IMMEDIATE, SqliteConnections
from app.errors import SettingsError, StorageUnavailable
from app.log_repeats import Outage
from app.values.database_url import POSTGRES, SQLITE, Address, SqliteAddress, authority, read_database_url
from app.values.exact_json import read_json

CHANNEL = "aftercall"
_WAKES = "aftercall_wakes"
_AFTER_COMMIT = "aftercall_after_commit"
_STATEMENT_SECONDS = 30.0
_READ_ONLY = "25006"

Waker = Callable[[Collection[str]], None]


def wake(db: AsyncConnection, *topics: str) -> None:
    """Wake these topics once this transaction is committed."""
    db.sync_connection.info.setdefault(_WAKES, set()).update(topics)  # type: ignore[union-attr]


def after_commit(db: AsyncConnection, act: Callable[[], None]) -> None:
    """Call `act` once this transaction is committed; never if it is rolled back."""
    db.sync_connection.info.setdefault(_AFTER_COMMIT, []).append(act)  # type: ignore[union-attr]


def upsert_into(db: AsyncConnection, table: Table) -> Any:
    """Return an INSERT that supports ON CONFLICT, in the dialect of this connection."""
    return sqlite_insert(table) if db.dialect.name == "sqlite" else postgresql_insert(table)


class Database:
    """One SQLite or PostgreSQL database. Open it in the lifespan, and `close()` it after everything else."""

    def __init__(self, url: str, pool_size: int = 10, direct_url: str | None = None) -> None:
        """`direct_url` bypasses a pooler, for what needs a session of its own: LISTEN and migrations.

        Raises SettingsError if an address cannot be used.
        """
        self.address = _read_address("AFTERCALL_DATABASE_URL", url)
        self.is_sqlite = isinstance(self.address, SqliteAddress)
        self.url = _shown_url(self.address)
        self.connector = None if isinstance(self.address, SqliteAddress) else Connector(self.address)
        self.direct = self.connector
        if direct_url is not None:
            direct = _read_address("AFTERCALL_DATABASE_DIRECT_URL", direct_url)
            if self.is_sqlite or isinstance(direct, SqliteAddress) or direct.pooled:
                raise SettingsError(
                    "AFTERCALL_DATABASE_DIRECT_URL must lead to the same PostgreSQL as "
                    "AFTERCALL_DATABASE_URL, "
                    "without a pooler in between"
                )
            self.direct = Connector(replace(direct, pooled=False))
        self.waker: Waker | None = None
        self.outage = Outage("the database is away")
        self._one_writer = asyncio.Lock()
        self._places: asyncio.Semaphore | None = None
        self._is_private = False
        self._sqlite: SqliteConnections | None = None
        self.engine = self._open_sqlite() if self.is_sqlite else self._open_postgresql(pool_size)

    def _open_sqlite(self) -> AsyncEngine:
        engine = create_async_engine(
            self.url,
            poolclass=CountingPool,
            pool_size=4,
            max_overflow=4,
            pool_timeout=CONNECT_SECONDS,
            hide_parameters=True,  # errors are logged, and what people wrote must not be
            json_deserializer=read_json,
        )
        self._sqlite = SqliteConnections(engine.sync_engine, self.prepare_file)
        return engine

    def prepare_file(self) -> None:
        """Create SQLite's file before SQLite does, readable only by its owner.

        Raises SettingsError if it does not exist and may not be created.
        """
        assert isinstance(self.address, SqliteAddress)  # noqa: S101 - only an engine of SQLite asks
        self._is_private = prepare_file(self.address, tighten=not self._is_private)

    def _open_postgresql(self, pool_size: int) -> AsyncEngine:
        return self._engine_of(
            self.connector,
            _STATEMENT_SECONDS,
            poolclass=CountingPool,
            pool_size=pool_size,
            max_overflow=pool_size,
            pool_timeout=CONNECT_SECONDS,
            pool_pre_ping=True,
        )

    def for_requests(self) -> Self:
        """Return the same database for requests, which may hold two thirds of its connections at a time.

        So however many requests there are, the loops and the intake find a connection.
        """
        state = pool_state(self.engine)
        assert state is not None  # noqa: S101 - both kinds of databases have a pool
        share = copy.copy(self)
        share._places = asyncio.Semaphore(state.limit - max(1, state.limit // 3))  # noqa: SLF001
        return share

    def open_migrating(self, settings: dict[str, str]) -> AsyncEngine:
        """Return a PostgreSQL engine without a statement time limit; dispose of it after use."""
        return self._engine_of(self.direct, None, settings, poolclass=NullPool)

    def _engine_of(
        self,
        connector: Connector | None,
        command_timeout: float | None,
        settings: dict[str, str] | None = None,
        **pool: Any,
    ) -> AsyncEngine:
        assert connector is not None  # noqa: S101 - only an engine of PostgreSQL is made here

        async def connect(**_: Any) -> Any:
            return await connector.connect(command_timeout, settings)

        engine = create_async_engine(
            "postgresql+asyncpg://",
            hide_parameters=True,
            json_deserializer=read_json,
            connect_args={"async_creator_fn": connect},
            **pool,
        )
        event.listen(engine.sync_engine, "do_connect", partial(_keep_nothing_prepared, connector))
        event.listen(engine.sync_engine, "handle_error", _drop_read_only)
        return engine

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A transaction for reading.

        Raises StorageUnavailable if the database cannot be reached.
        """
        with _storage_errors(self.outage):
            async with self._place(), self.engine.connect() as db, db.begin():
                yield db

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """A transaction for changes: commits at the end of the block, rolls back on an error.

        Raises StorageUnavailable if the database cannot be reached or did not commit.
        """
        woken: set[str] = set()
        acts: list[Callable[[], None]] = []
        with _storage_errors(self.outage):
            async with self.turn_to_write(), self._transaction(woken, acts) as db:
                yield db
        self.wake(woken)
        for act in acts:
            act()

    @asynccontextmanager
    async def turn_to_write(self) -> AsyncIterator[None]:
        """Wait until no other task of this process writes to SQLite, in order of arrival."""
        # On SQLite a writer needs no place among the readers: there is one at a time.
        async with self._one_writer if self.is_sqlite else self._place():
            yield

    @asynccontextmanager
    async def _place(self) -> AsyncIterator[None]:
        """Wait until this user may take a connection; see `for_requests`."""
        if self._places is None:
            yield
            return
        pool = self.engine.pool
        assert isinstance(pool, CountingPool)  # noqa: S101 - see __init__
        pool.waiting += 1
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await self._places.acquire()
        finally:
            pool.waiting -= 1
        try:
            yield
        finally:
            self._places.release()

    def wake(self, topics: Collection[str]) -> None:
        """Wake the tasks of this process that wait for topics of what was just committed."""
        if topics and self.waker is not None:
            self.waker(topics)

    @asynccontextmanager
    async def _transaction(
        self, woken: set[str], acts: list[Callable[[], None]]
    ) -> AsyncIterator[AsyncConnection]:
        async with self.engine.connect() as db:
            info = db.sync_connection.info  # type: ignore[union-attr]
            info.pop(_WAKES, None)
            info.pop(_AFTER_COMMIT, None)
            if self.is_sqlite:
                await db.execution_options(**{IMMEDIATE: True})
            async with db.begin():
                yield db
                woken.update(info.pop(_WAKES, ()))
                acts += info.pop(_AFTER_COMMIT, ())
                if woken and not self.is_sqlite:
                    await db.execute(_NOTIFY, {"channel": CHANNEL, "topics": sorted(woken)})

    async def close(self) -> None:
        """Close all connections."""
        await self.engine.dispose()
        if self._sqlite is not None:
            await self._sqlite.close()


def _read_address(setting: str, url: str) -> Address:
    try:
        return read_database_url(url)
    except ValueError as error:
        raise SettingsError(f"{setting}: {error}") from None


def _shown_url(address: Address) -> URL:
    """Return an address as SQLAlchemy's URL, for code that reads or shows parts of it."""
    if isinstance(address, SqliteAddress):
        return URL.create(SQLITE, database=address.path)
    name, port = ("", None) if len(address.hosts) != 1 else (address.hosts[0], address.ports[0])
    query: dict[str, Any] = dict(address.parameters)
    if len(address.hosts) > 1:
        pairs = zip(address.hosts, address.ports, strict=True)
        query["host"] = tuple(authority(host, port) for host, port in pairs)
    elif name.startswith(("/", "@")):
        query |= {"host": name, "port": str(port)} if port else {"host": name}
        name, port = "", None
    return URL.create(
        POSTGRES, address.user, address.password, name or None, port, address.database, query=query
    )


def _keep_nothing_prepared(
    connector: Connector, _dialect: Any, _record: Any, _arguments: Any, options: Any
) -> None:
    """Disable SQLAlchemy's cache of prepared statements behind a pooler; the driver's is disabled as well."""
    if await_only(connector.find_out()):
        options["prepared_statement_cache_size"] = 0


def _drop_read_only(context: ExceptionContext) -> None:
    """Drop all connections if the server accepts no writes: it was the primary before a switch-over."""
    if getattr(context.original_exception, "sqlstate", None) == _READ_ONLY:
        context.is_disconnect = True


_NOTIFY = text("SELECT pg_notify(:channel, topic) FROM unnest(cast(:topics AS text[])) AS topic")


class _storage_errors:  # noqa: N801 - reads as a statement at its call sites
    """Turn an outage of the database into StorageUnavailable; pass on all other errors.

    Every outage passes through here, so it is logged here: once when it begins and once when it is over.
    """

    def __init__(self, outage: Outage) -> None:
        self._outage = outage

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if error is None:
            self._outage.worked()
        elif failure_of(error) is Failure.OUTAGE:
            why = describe_failure(error)
            self._outage.failed(why)
            raise StorageUnavailable(f"the database did not answer: {why}") from error
