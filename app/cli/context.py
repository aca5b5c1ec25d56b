"""What commands share: the database, and the way to the terminal."""

from collections.abc import Awaitable, Callable

from rich.console import Console

from app.cli.group import run_to_end
from app.db.engine import Database
from app.db.migrations import check_schema
from app.settings import Settings, read_settings

out = Console()


err = Console(stderr=True)


def with_schema(run: Callable[[Database], Awaitable[None]]) -> None:
    """Run what needs the tables to be there. Raises SchemaMismatch if they are not, or are of another version."""

    async def checked(database: Database) -> None:
        await check_schema(database)
        await run(database)

    with_database(checked)


def with_database(run: Callable[[Database], Awaitable[None]]) -> None:
    settings: Settings = read_settings()

    async def opened() -> None:
        database = Database(settings.database_url, direct_url=settings.database_direct_url)
        try:
            await run(database)
        finally:
            await database.close()

    run_to_end(opened())
