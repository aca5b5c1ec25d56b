"""Opens connections to PostgreSQL: one way for the engine, the intake, LISTEN and migrations.

A pooler such as pgbouncer in transaction mode gives each transaction another session of the server. What
belongs to a session does not work through it: prepared statements, LISTEN, session locks. Unless the address
says so, `Connector` detects a pooler, and connects in a way that works with it.
"""

import asyncio
import os
import ssl
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import asyncpg
import structlog

from app.errors import SettingsError
from app.values.database_url import DEFAULT_APPLICATION, TLS_FILES, PostgresAddress

CONNECT_SECONDS = 5.0
_SYSTEM = "system"
_NEXT_HOST = (
    OSError,
    asyncpg.TargetServerAttributeNotMatched,
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.TooManyConnectionsError,
)
"""Errors that say that this host accepts no connection, but another one may."""


log = structlog.get_logger(__name__)


class PooledConnection(asyncpg.Connection):  # type: ignore[misc]
    """A connection that a pooler may assign to another session after each transaction.

    The driver sends a statement in two steps, prepare and execute. Outside a transaction they could reach two
    sessions, so each statement gets a transaction. Statements have no name, or the next user of the session
    would meet them.
    """

    async def fetch(self, *args: Any, **options: Any) -> Any:
        async with self._one_session():
            return await super().fetch(*args, **options)

    async def fetchrow(self, *args: Any, **options: Any) -> Any:
        async with self._one_session():
            return await super().fetchrow(*args, **options)

    async def fetchval(self, *args: Any, **options: Any) -> Any:
        async with self._one_session():
            return await super().fetchval(*args, **options)

    async def execute(self, query: str, *args: Any, **options: Any) -> Any:
        if not args:  # sent in one step, like BEGIN and COMMIT
            return await super().execute(query, **options)
        async with self._one_session():
            return await super().execute(query, *args, **options)

    def _one_session(self) -> Any:
        return AsyncExitStack() if self.is_in_transaction() else self.transaction()


class Connector:
    """Connects to one address. `pooled` is None until it is known whether there is a pooler.

    Raises SettingsError if a file that the address names cannot be read.
    """

    def __init__(self, address: PostgresAddress) -> None:
        self.address = address
        self.pooled = address.pooled
        self._finding_out = asyncio.Lock()
        self._first = 0
        for name in TLS_FILES:
            path = address.tls.get(name)
            if path and path != _SYSTEM and not os.access(path, os.R_OK):
                raise SettingsError(
                    f"AFTERCALL_DATABASE_URL: the file of {name}, {Path(path)}, cannot be read"
                )
        for note in address.notes:
            log.warning("a part of the database's address is not used", detail=note)

    async def find_out(self) -> bool:
        """Return whether there is a pooler.

        A pooler greets a client with an invented process id, since no process of the server is its own.
        """
        async with self._finding_out:
            if self.pooled is None:
                connection = await self._open(pooled=True)
                try:
                    own = await connection.fetchval("SELECT pg_backend_pid()")
                    self.pooled = own != connection.get_server_pid()
                finally:
                    await connection.close(timeout=CONNECT_SECONDS)
                if self.pooled:
                    log.info("the database is behind a pooler: statements are not kept prepared")
        return self.pooled

    async def connect(self, command_timeout: float | None, settings: dict[str, str] | None = None) -> Any:
        """Return a connection of the driver. `settings` are for its session, if it has one of its own.

        Raises what the driver does, OSError if no host accepts writes, SettingsError if the address cannot be
        used.
        """
        pooled = await self.find_out()
        return await self._open(pooled=pooled, command_timeout=command_timeout, settings=settings)

    async def _open(
        self, *, pooled: bool, command_timeout: float | None = None, settings: dict[str, str] | None = None
    ) -> Any:
        options: dict[str, Any] = {"command_timeout": command_timeout}
        if pooled:
            options |= {"connection_class": PooledConnection, "statement_cache_size": 0}
        try:
            return await self._try_hosts(options, {} if pooled else settings or {})
        except asyncpg.TargetServerAttributeNotMatched as error:
            raise ConnectionError("none of its hosts accepts writes now") from error
        except asyncpg.ClientConfigurationError as error:
            raise SettingsError(f"AFTERCALL_DATABASE_URL: {error}") from error

    async def _try_hosts(self, options: dict[str, Any], settings: dict[str, str]) -> Any:
        """Try the hosts in turn, each with the full time-out, starting with the last one that accepted us.

        A caller that gave up on a silent host starts with the next one.
        """
        several = max(1, len(self.address.hosts))
        for place in range(several):
            host, self._first = self._first, (self._first + 1) % several
            target = connect_options(self.address, host)
            target["server_settings"] |= settings
            try:
                connection = await asyncpg.connect(**target, **options)
            except _NEXT_HOST:
                if place == several - 1:
                    raise
            else:
                self._first = host
                return connection
        raise AssertionError("the last host returns or raises")


def connect_options(address: PostgresAddress, place: int = 0) -> dict[str, Any]:
    """Return the driver's arguments for one host of an address. The driver takes what is left open from
    libpq's environment variables, password file and service file.
    """
    tls = dict(address.tls)
    sslmode: Any = address.sslmode
    if tls.get("sslrootcert") == _SYSTEM:
        sslmode = _trust_system(tls)
        tls = {}
    options: dict[str, Any] = {
        "dsn": f"postgresql://?{urlencode(tls)}" if tls else None,
        "host": address.hosts[place] or None if address.hosts else None,
        "port": address.ports[place] if address.ports else None,
        "user": address.user,
        "password": address.password,
        "database": address.database,
        "ssl": sslmode,
        "timeout": address.connect_timeout or CONNECT_SECONDS,
        "server_settings": {"application_name": DEFAULT_APPLICATION, **address.server_settings},
        "target_session_attrs": _target(address),
        **address.passed,
    }
    return {name: value for name, value in options.items() if value is not None}


def _target(address: PostgresAddress) -> str | None:
    """Of several hosts, select the one that accepts writes."""
    if address.target_session_attrs or "PGTARGETSESSIONATTRS" in os.environ:
        return address.target_session_attrs
    several = len(address.hosts) > 1 or "," in os.environ.get("PGHOST", "")
    return "read-write" if several else None


def _trust_system(tls: dict[str, str]) -> ssl.SSLContext:
    """Trust the machine's certificate authorities, and check the host's name, as libpq does for
    `sslrootcert=system`.
    """
    context = ssl.create_default_context()
    if "sslcert" in tls:
        context.load_cert_chain(tls["sslcert"], tls.get("sslkey"), tls.get("sslpassword"))
    return context
