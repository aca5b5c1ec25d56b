"""What has to be in the database before a process can work."""

from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from app.api import keys
from app.audit import SERVICE, AuditAction, record
from app.calls.accounts import open_unbound
from app.calls.regions import store_home_country
from app.clock import Clock
from app.db.diagnosis import diagnose
from app.db.engine import Database
from app.db.migrations import await_schema, migrate
from app.errors import StorageUnavailable
from app.ids import UNBOUND_ACCOUNT
from app.settings import Settings

_DATABASE_TRIES = 30


async def prepare_database(database: Database, clock: Clock, settings: Settings) -> None:
    """Wait for the database, migrate it if that is configured, and write the rows that every process needs.

    Raises StorageUnavailable, or SchemaMismatch when the schema does not fit this code.
    """
    for tries_left in reversed(range(_DATABASE_TRIES)):
        try:
            if settings.migrate_on_start:
                await migrate(database, clock=clock)
            await await_schema(database, clock)
            async with database.write() as db:
                await _write_settings(db, clock.now(), settings)
        except StorageUnavailable as error:
            if not tries_left or not _may_pass(error, settings):
                raise
            database.outage.failed(str(error))
            await clock.sleep(1.0)
        else:
            return


async def _write_settings(db: AsyncConnection, now: datetime, settings: Settings) -> None:
    await open_unbound(db, now)
    if await store_home_country(db, settings.home_country):
        told = {"homeCountry": settings.home_country}
        await record(db, now, UNBOUND_ACCOUNT, AuditAction.SETTINGS_CHANGED, SERVICE, details=told)
    if settings.api_key is None:
        return
    known = await keys.load_key(db, UNBOUND_ACCOUNT, keys.FIRST_KEY)
    if await keys.ensure_first_key(db, settings.api_key.get_secret_value(), now):
        action = AuditAction.KEY_CREATED if known is None else AuditAction.KEY_CHANGED
        why = {"setting": "AFTERCALL_API_KEY"}
        await record(db, now, UNBOUND_ACCOUNT, action, SERVICE, target=keys.FIRST_KEY, details=why)


def _may_pass(error: StorageUnavailable, settings: Settings) -> bool:
    """Whether the database may become usable while the process waits, for example because it is starting."""
    found = diagnose(error, settings.database_url)
    return found is None or found.passes
