"""One process of the service: all its parts, opened in order and closed in reverse."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from enum import StrEnum

import httpx
import structlog

from app.accounts.connections import Connections
from app.accounts.context import AccountsContext
from app.accounts.loops import account_loops
from app.accounts.onboarding import Onboarding
from app.api import keys
from app.api.dependencies import Services
from app.call_log_api.lists import CallLogLists
from app.call_log_api.response_cache import ResponseCache
from app.call_log_api.rules import list_rules
from app.calls.accounts import open_unbound
from app.clock import Clock
from app.db.diagnosis import diagnose
from app.db.engine import Database
from app.db.migrations import await_schema, migrate
from app.enrichment.loops import enrichment_loops
from app.enrichment.recordings.archive_store import open_archive
from app.enrichment.recordings.playback import Playback
from app.errors import StorageUnavailable
from app.ops.loops import ops_loops
from app.settings import Settings
from app.vault import Vault
from app.webhooks.intake.inbox import Inbox
from app.webhooks.intake.router import NotificationEndpoint
from app.webhooks.loops import heartbeat_loop, webhook_loops
from app.webhooks.subscriptions.heartbeat import Heartbeat
from app.work import wakeups
from app.work.loops import Crew, Loop
from app.work.wakeups import Wakeups

_DATABASE_TRIES = 30
_PATIENCE_SECONDS = 0.5
"""How long accounts wait for each other: about as long as a response of RingCentral takes."""

log = structlog.get_logger(__name__)


class Role(StrEnum):
    """What a process does. `web` answers requests, `worker` does the background work; both need the other."""

    ALL = "all"
    WEB = "web"
    WORKER = "worker"


class Process:
    """All parts of one process. Made without I/O, and opened by the lifespan.

    The server sets `serving` once it accepts connections.
    """

    def __init__(self, settings: Settings, role: Role, clock: Clock) -> None:
        self.settings = settings
        self.role = role
        self.clock = clock
        self.replica = f"replica-{secrets.token_hex(6)}"
        self.serving = asyncio.Event()
        self._is_prepared = False
        secret, self.webhook_token = settings.secrets()
        self.vault = Vault(secret)
        self.wakeups = Wakeups()
        self.database = Database(
            settings.database_url, settings.database_pool_size, settings.database_direct_url
        )
        self.database.waker = self.wakeups.wake
        self.archive = open_archive(settings)
        self.inbox = Inbox(self.database, clock)
        self.endpoint = NotificationEndpoint(
            self.inbox, self.webhook_token, settings.webhook_max_body_bytes, clock
        )
        self.crew = Crew(self.wakeups, clock)
        self.services = Services(settings, self.database, self.wakeups, clock)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Open the database, then the client, then the loops."""
        settings, database, clock = self.settings, self.database, self.clock
        async with AsyncExitStack() as stack:
            stack.push_async_callback(database.close)
            await self.prepare_database()
            http = await stack.enter_async_context(httpx.AsyncClient())
            self.connections = Connections(settings, database, clock, self.vault, http, replica=self.replica)
            self.onboarding = Onboarding(settings, database, clock, self.vault, http, self.connections)
            cache = ResponseCache(database, clock, lease=settings.lease_seconds)
            stack.push_async_callback(cache.close)
            self.lists = CallLogLists(clock, self.connections, cache, list_rules(settings))
            self.playback = Playback(
                database, clock, self.connections, self.archive, patience=settings.reader_patience_seconds
            )
            heartbeat = self._heartbeat()
            # What was refused until the very end is written down last.
            stack.push_async_callback(heartbeat.stop)
            self.inbox.start()
            stack.push_async_callback(self.inbox.stop)
            if not settings.has_credentials:
                log.warning(
                    "no credentials of its own: set RC_CLIENT_ID, RC_CLIENT_SECRET and RC_JWT to enrich calls"
                )
            stack.push_async_callback(self.crew.stop)
            self.crew.watch(wakeups.relay(database, self.wakeups, clock), "relay")
            if self.role is not Role.WEB:
                self.crew.start(self._loops())
            if self.role is not Role.WORKER:
                self.crew.start([heartbeat_loop(heartbeat, settings, self.serving)])
            stack.callback(lambda: self.services.stopping.begin(clock.now()))
            yield

    async def prepare_database(self) -> None:
        """Wait for the database, migrate it if that is set, and write what every process needs; once.

        Raises StorageUnavailable, or SchemaMismatch when the schema does not serve this code.
        """
        if self._is_prepared:
            return
        for tries_left in reversed(range(_DATABASE_TRIES)):
            try:
                if self.settings.migrate_on_start:
                    await migrate(self.database, clock=self.clock)
                await await_schema(self.database, self.clock)
                async with self.database.write() as db:
                    await open_unbound(db, self.clock.now())
                    if self.settings.api_key is not None:
                        await keys.ensure_first_key(
                            db, self.settings.api_key.get_secret_value(), self.clock.now()
                        )
            except StorageUnavailable as error:
                if not tries_left or not self._may_pass(error):
                    raise
                self.database.outage.failed(str(error))
                await self.clock.sleep(1.0)
            else:
                self._is_prepared = True
                return

    def _may_pass(self, error: StorageUnavailable) -> bool:
        """Whether the database may become usable while the process waits, for instance because it starts."""
        found = diagnose(error, self.settings.database_url)
        return found is None or found.passes

    def _loops(self) -> Iterator[Loop]:
        settings = self.settings
        context = AccountsContext(
            database=self.database,
            clock=self.clock,
            connections=self.connections,
            replica=self.replica,
            lease_seconds=settings.short_lease_seconds,
            patience_seconds=_PATIENCE_SECONDS,
        )
        yield from webhook_loops(context, settings, self.inbox, self.webhook_token, self.serving)
        yield from enrichment_loops(context, settings, self.archive)
        yield from account_loops(context, self.onboarding)
        yield from ops_loops(context, settings)

    def _heartbeat(self) -> Heartbeat:
        return Heartbeat(
            self.database,
            self.clock,
            self.connections,
            self.endpoint.take_refused,
            prove=self.inbox.prove_writable,
            refusals=self.endpoint.refusals,
            replica=self.replica,
            interval_seconds=self.settings.beat_seconds,
            sweep_after_seconds=self.settings.first_reading_seconds,
            stopping=self.services.stopping,
        )
