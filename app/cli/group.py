"""How commands run, and how they report that the database cannot be used."""

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

import typer
from alembic.util import CommandError
from typer.core import TyperGroup

from app.db.diagnosis import diagnose, is_of_database
from app.errors import DatabaseUnusable, SettingsError
from app.settings import read_settings

T = TypeVar("T")

_SQLITE_THREAD = "_connection_worker_thread"  # aiosqlite's
_THREAD_SECONDS = 2.0


class Commands(TyperGroup):
    """The group of all commands. It turns an error of the database into one sentence, DatabaseUnusable."""

    def invoke(self, ctx: typer.Context) -> Any:  # type: ignore[override]
        """Run the command. Raises DatabaseUnusable."""
        try:
            return super().invoke(ctx)
        except CommandError as error:
            raise SettingsError(
                f"{error}. Without an argument `aftercall migrate` upgrades to the newest revision."
            ) from error
        except Exception as error:
            found = diagnose(error, read_settings().database_url) if is_of_database(error) else None
            if found is None:
                raise
            raise DatabaseUnusable(found.sentence) from error


def run_to_end(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a command's work. The threads of SQLite's connections end before the event loop does."""

    async def run() -> T:
        try:
            return await coroutine
        finally:
            await wait_for_sqlite()

    return asyncio.run(run())


async def wait_for_sqlite() -> None:
    """Wait for the threads of connections that failed: they report to the event loop when they end."""
    await asyncio.to_thread(_join_sqlite_threads)


def _join_sqlite_threads() -> None:
    for thread in threading.enumerate():
        if _SQLITE_THREAD in thread.name:
            thread.join(_THREAD_SECONDS)
