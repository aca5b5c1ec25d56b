"""What commands share: their context, and the terminal."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

import httpx
from rich.console import Console

from app.accounts.connections import Connections
from app.cli.group import run_to_end
from app.clock import Clock, SystemClock
from app.db.engine import Database
from app.db.migrations import check_schema
from app.settings import Settings, read_settings
from app.vault import Vault

T = TypeVar("T")

out = Console()
err = Console(stderr=True)


@dataclass(frozen=True, slots=True)
class CommandContext:
    """The settings, the open database and the clock of a command."""

    settings: Settings
    database: Database
    clock: Clock

    @property
    def vault(self) -> Vault:
        """What encrypts stored credentials. Raises SettingsError without AFTERCALL_SECRET_KEY."""
        return Vault(self.settings.secrets()[0])

    @asynccontextmanager
    async def connect(self, replica: str) -> AsyncIterator[tuple[httpx.AsyncClient, Connections]]:
        """Open an HTTP client, and the connections to RingCentral that use it."""
        async with httpx.AsyncClient() as http:
            yield (
                http,
                Connections(self.settings, self.database, self.clock, self.vault, http, replica=replica),
            )


def as_utc(moment: datetime) -> datetime:
    """Return a time of an option with its zone, which is UTC unless it says another."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


async def keep_schema(_database: Database) -> None:
    """Leave the schema as it is, for commands that do not need one."""


def run_with_database(
    work: Callable[[CommandContext], Awaitable[T]],
    prepare: Callable[[Database], Awaitable[object]] = check_schema,
) -> T:
    """Run a command's work on the database. `prepare` checks the schema, migrates it, or keeps it as it is.

    Raises SchemaMismatch if the schema does not fit this code.
    """
    settings = read_settings()

    async def opened() -> T:
        database = Database(settings.database_url, direct_url=settings.database_direct_url)
        # Closed within the event loop that opened it, also when the schema does not fit.
        try:
            await prepare(database)
            return await work(CommandContext(settings, database, SystemClock()))
        finally:
            await database.close()

    return run_to_end(opened())
