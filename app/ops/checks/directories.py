"""Reads the directories that could not be read: what was missing may have been granted."""

from app.accounts.connections import Connections
from app.accounts.context import AccountsContext
from app.accounts.directory.worker import DirectoryReader
from app.clock import Clock
from app.db.engine import Database
from app.settings import Settings


async def retry_directories(
    settings: Settings, database: Database, clock: Clock, connections: Connections
) -> None:
    """Try again, and record the result where the service records it at work."""
    if settings.directory_refresh_seconds > 0:
        context = AccountsContext(database=database, clock=clock, connections=connections, replica="check")
        await DirectoryReader(context, settings.directory_refresh_seconds).retry()
