"""One process of the service: all its parts, opened in order and closed in reverse."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from enum import StrEnum

import httpx
import structlog

from app.accounts.connections import Connections
from app.accounts.context import AccountsContext
from app.accounts.onboarding import Onboarding
from app.api.dependencies import Services
from app.background import (
    forget_erased,
    open_webhook_client,
    push_loops,
    request_loop,
    watched,
    worker_loops,
)
from app.call_log_api.rules import make_lists
from app.clock import Clock
from app.db.engine import Database
from app.enrichment.audio import archive_store
from app.ops.startup import prepare_database
from app.recordings_api import playback, voicemail_playback
from app.settings import Settings
from app.vault import Vault
from app.webhooks.intake_service import IntakeService, heartbeat_loop
from app.work import loops, wakeups

_PATIENCE_SECONDS = 0.5
"""How long accounts wait for each other: about as long as a response from RingCentral takes."""

log = structlog.get_logger(__name__)


class Role(StrEnum):
    """What a process does: `web` answers requests, `worker` does background work. Each needs the other."""

    ALL = "all"
    WEB = "web"
    WORKER = "worker"


class Process:
    """All parts of one process. Made without I/O, and opened by the lifespan.

    The server sets `serving` once it accepts connections.
    """

    def __init__(
        self,
        settings: Settings,
        role: Role,
        clock: Clock,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """`transport` carries the requests to RingCentral; None: the network."""
        self.settings = settings
        self.role = role
        self.clock = clock
        self._transport = transport
        self.replica = f"replica-{secrets.token_hex(6)}"
        self.serving = asyncio.Event()
        self._is_prepared = False
        secret, webhook_token = settings.secrets()
        self.vault = Vault(secret)
        self.wakeups = wakeups.Wakeups()
        self.database = Database(
            settings.database_url, settings.database_pool_size, settings.database_direct_url
        )
        self.database.waker = self.wakeups.wake
        self.archive = archive_store.open_archive(settings)
        self.intake = IntakeService(self.database, clock, settings, webhook_token)
        self.crew = loops.LoopGroup(self.wakeups, clock)
        self.services = Services(settings, self.database.for_requests(), self.wakeups, clock)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Open the database, then the client, then the loops."""
        settings, database, clock = self.settings, self.database, self.clock
        async with AsyncExitStack() as stack:
            stack.push_async_callback(database.close)
            await self.prepare_database()
            http = await stack.enter_async_context(httpx.AsyncClient(transport=self._transport))
            self.connections = Connections(settings, database, clock, self.vault, http, replica=self.replica)
            stack.enter_context(self.wakeups.tell(wakeups.CREDENTIALS, lambda _: self.connections.forget()))
            self.onboarding = Onboarding(settings, database, clock, self.vault, http, self.connections)
            self.lists = make_lists(settings, database, clock, self.connections)
            stack.push_async_callback(self.lists.close)
            self.playback = playback.Playback(
                database, clock, self.connections, self.archive, patience=settings.reader_patience_seconds
            )
            self.voicemails = voicemail_playback.VoicemailPlayback(
                database, clock, self.connections, self.archive, patience=settings.reader_patience_seconds
            )
            context = AccountsContext(
                database=database,
                clock=clock,
                connections=self.connections,
                replica=self.replica,
                lease_seconds=settings.short_lease_seconds,
                patience_seconds=_PATIENCE_SECONDS,
            )
            heartbeat = await stack.enter_async_context(self.intake.open(context, self.services.stopping))
            if not settings.has_credentials:
                log.warning(
                    "no credentials of its own: set RC_CLIENT_ID, RC_CLIENT_SECRET and RC_JWT to enrich calls"
                )
            self.webhooks = await stack.enter_async_context(open_webhook_client(settings, clock))
            # After the intake, so that the loops end before it does.
            stack.push_async_callback(self.crew.stop)
            self.crew.watch(wakeups.relay(database, self.wakeups, clock), "relay")
            self.crew.watch(forget_erased(self.wakeups, self.services.answers), "forget")
            if self.role is not Role.WEB:
                loops = worker_loops(
                    context,
                    settings,
                    intake=self.intake,
                    archive=self.archive,
                    onboarding=self.onboarding,
                    serving=self.serving,
                )
                pushing = push_loops(context, settings, self.vault, self.webhooks)
                self.crew.start(watched(context, settings, self.wakeups.wake, [*loops, *pushing]))
            if self.role is not Role.WORKER:
                self.crew.start(
                    [
                        heartbeat_loop(heartbeat, settings, self.serving),
                        request_loop(self.services.recent_requests),
                    ]
                )
            # The first to run: from here on the heartbeat proves nothing more.
            stack.callback(lambda: self.services.stopping.begin(clock.now()))
            yield

    async def prepare_database(self) -> None:
        """Make the database ready, once; see `app.ops.startup`."""
        if not self._is_prepared:
            await prepare_database(self.database, self.clock, self.settings)
            self._is_prepared = True
