"""Puts the service together: `create_app(settings)` wires it, its lifespan opens everything and closes it in reverse."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from enum import StrEnum
from pathlib import Path
from typing import Any

import httpx
import structlog
from fastapi import Depends, FastAPI
from fastapi.responses import RedirectResponse

from app import __version__
from app.accounts.connections import Connections
from app.accounts.onboarding import Onboarding
from app.accounts.token_refresh import CHECK_SECONDS, TokenRefresher
from app.api import keys, problems
from app.api.dependencies import Services
from app.api.head_requests import HeadAsGet
from app.api.redirects import RelativeRedirects
from app.api.request_limits import Limits
from app.api.request_log import LogsRequests, RequestLog
from app.api.strictness import refuse_misunderstandings, refuse_repeated
from app.call_log_api import router as readers_router
from app.call_log_api.lists import CallLogLists
from app.call_log_api.response_cache import ResponseCache
from app.call_log_api.rules import list_rules
from app.calls import router as calls_router
from app.calls.accounts import open_unbound
from app.calls.attachments import router as attachments_router
from app.calls.insights import router as insights_router
from app.clock import Clock, SystemClock
from app.db.diagnosis import diagnose
from app.db.engine import Database
from app.db.migrations import await_schema, migrate
from app.enrichment.call_log.change_feed import CallLogFeed
from app.enrichment.call_log.reader import CallLogReader
from app.enrichment.call_log.sweeper import Sweeper
from app.enrichment.insights.reader import InsightsReader
from app.enrichment.polling.poller import Poller
from app.enrichment.recordings import router as recordings_router
from app.enrichment.recordings.archive_store import open_archive
from app.enrichment.recordings.archiver import Archiver
from app.enrichment.recordings.playback import Playback
from app.enrichment.recordings.watcher import RecordingWatcher
from app.enrichment.rules import call_log_plan, insights_plan, planner_limits, recording_plan, sweep_rules
from app.errors import StorageUnavailable
from app.ops import api_docs as docs
from app.ops import health, metrics_router
from app.ops import router as ops_router
from app.ops.accounts import oauth
from app.ops.accounts import router as accounts_router
from app.ops.clock_skew import LOOK_SECONDS, ClockWatch
from app.ops.dashboard import router as dashboard
from app.ops.reachability import LOOK_SECONDS as REACH_LOOK_SECONDS
from app.ops.reachability import ReachWatch
from app.settings import Settings
from app.vault import Vault
from app.webhooks.folding.end_watch import EndWatch
from app.webhooks.folding.fold import Folder
from app.webhooks.intake import router as webhooks
from app.webhooks.intake.inbox import Inbox
from app.webhooks.retention import Retention
from app.webhooks.rules import end_rules
from app.webhooks.subscriptions.heartbeat import Heartbeat
from app.webhooks.subscriptions.keeper import Wanted
from app.webhooks.subscriptions.supervisor import SubscriptionSupervisor
from app.work import wakeups
from app.work.loops import Crew, Loop
from app.work.wakeups import Wakeups

_DATABASE_TRIES = 30
_UPKEEP_SECONDS = 600.0
_PATIENCE_SECONDS = 0.5
"""How long accounts wait for each other: about what an answer of RingCentral's takes."""
_SHORTEST_BEAT_SECONDS = 1.0

log = structlog.get_logger(__name__)


class Role(StrEnum):
    """What a process does. `web` answers requests, `worker` does the background work; both need the other."""

    ALL = "all"
    WEB = "web"
    WORKER = "worker"


class Process:
    """All parts of one process; made without I/O, opened by the lifespan.

    `serving` is set by whoever runs the server, once it accepts connections.
    """

    def __init__(self, settings: Settings, role: Role, clock: Clock) -> None:
        self.settings = settings
        self.role = role
        self.clock = clock
        self.replica = f"replica-{secrets.token_hex(6)}"
        self.serving = asyncio.Event()
        self._is_prepared = False
        secret, token = self.settings.secrets()
        self.vault = Vault(secret)
        self.webhook_token = token
        self.wakeups = Wakeups()
        self.database = Database(
            settings.database_url, settings.database_pool_size, settings.database_direct_url
        )
        self.database.waker = self.wakeups.wake
        self.archive = open_archive(self.settings)
        self.inbox = Inbox(self.database, self.clock)
        self.endpoint = webhooks.NotificationEndpoint(
            self.inbox, token, settings.webhook_max_body_bytes, self.clock
        )
        self.pulse: Heartbeat | None = None
        self.crew = Crew(self.wakeups, self.clock)
        self.services = Services(self.settings, self.database, self.wakeups, self.clock)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Open the database, then the client, then the loops."""
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self.database.close)
            await self.prepare_database()
            # What was refused until the very end is written down last.
            stack.push_async_callback(self._end_pulse)
            self.inbox.start()
            stack.push_async_callback(self.inbox.stop)
            http = await stack.enter_async_context(httpx.AsyncClient())
            self.connections = Connections(
                self.settings, self.database, self.clock, self.vault, http, replica=self.replica
            )
            shared = ResponseCache(self.database, self.clock, lease=self.settings.lease_seconds)
            stack.push_async_callback(shared.close)
            self.lists = CallLogLists(self.clock, self.connections, shared, list_rules(self.settings))
            self.listening = Playback(
                self.database,
                self.clock,
                self.connections,
                self.archive,
                patience=self.settings.reader_patience_seconds,
            )
            self.onboarding = Onboarding(
                self.settings, self.database, self.clock, self.vault, http, self.connections
            )
            if not self.settings.has_credentials:
                log.warning(
                    "no credentials of its own: set RC_CLIENT_ID, RC_CLIENT_SECRET and RC_JWT to enrich calls"
                )
            stack.push_async_callback(self.crew.stop)
            self.crew.watch(wakeups.relay(self.database, self.wakeups, self.clock), "relay")
            if self.role is not Role.WEB:
                self.crew.start(self._loops(self.connections))
            if self.role is not Role.WORKER:
                self.crew.watch(self._beat(self._pulse(self.connections)), "pulse")
            stack.callback(lambda: self.services.stopping.begin(self.clock.now()))
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
        """Whether the database may become usable while we wait: it is being started, for instance."""
        found = diagnose(error, self.settings.database_url)
        return found is None or found.passes

    def _loops(self, connections: Connections) -> Sequence[Loop]:
        settings, database, clock = self.settings, self.database, self.clock
        rules = end_rules(settings)
        plan = call_log_plan(settings)
        step = min(1.0, settings.active_calls_window_seconds / 60)
        folder = Folder(database, clock, rules, self.inbox, patience_seconds=_PATIENCE_SECONDS)
        ends = EndWatch(
            database,
            clock,
            rules,
            connections,
            replica=self.replica,
            lease_seconds=settings.short_lease_seconds,
            patience_seconds=_PATIENCE_SECONDS,
        )
        reader = CallLogReader(
            database,
            clock,
            connections,
            plan,
            page_size=settings.active_calls_page_size,
            patience_seconds=_PATIENCE_SECONDS,
            feed=self._feed("readings"),
            replica=self.replica,
            lease_seconds=settings.short_lease_seconds,
        )
        poller = Poller(
            database,
            clock,
            connections,
            planner_limits(settings),
            plan,
            replica=self.replica,
            page_size=settings.active_calls_page_size,
            lease_seconds=settings.short_lease_seconds,
            patience_seconds=_PATIENCE_SECONDS,
        )
        recordings, insights = self._recording_keeper(connections), self._insights_reader(connections)
        sweeper = self._sweeper(connections)
        if settings.webhook_address is not None:
            self.crew.watch(self._keep_subscriptions(connections, settings.webhook_address), "subscriptions")
        return [
            Loop(
                "fold",
                folder.step,
                (wakeups.INBOX,),
                step,
                folder.close,
                gather=step / 20,
            ),
            Loop("ends", ends.step, (wakeups.ENDS,), step, ends.close),
            Loop("polls", poller.step, (wakeups.POLLS,), step, poller.close),
            Loop("readings", reader.step, (wakeups.READINGS,), step, reader.close),
            Loop("recordings", recordings.step, (), step * 2, recordings.close),
            *self._archive_loops(connections, step),
            Loop("insights", insights.step, (), step * 2, insights.close),
            Loop("sweeps", sweeper.step, (wakeups.SWEEPS,), step, sweeper.close),
            Loop("own account", self.onboarding.learn_own, (), CHECK_SECONDS),
            Loop("sign-ins", TokenRefresher(connections, clock).step, (wakeups.REFUSALS,), CHECK_SECONDS),
            Loop(
                "clock",
                ClockWatch(database, clock, connections.meter, replica=self.replica).step,
                (),
                LOOK_SECONDS,
            ),
            Loop(
                "reach",
                ReachWatch(
                    database, clock, connections.reach, settings.rc_server_url, replica=self.replica
                ).step,
                (),
                REACH_LOOK_SECONDS,
            ),
            Loop("upkeep", Retention(database, clock, settings).step, (), _UPKEEP_SECONDS),
        ]

    def _recording_keeper(self, connections: Connections) -> RecordingWatcher:
        plan = recording_plan(self.settings)
        return RecordingWatcher(
            self.database, self.clock, connections, plan, patience_seconds=_PATIENCE_SECONDS
        )

    def _insights_reader(self, connections: Connections) -> InsightsReader:
        plan = insights_plan(self.settings)
        return InsightsReader(
            self.database, self.clock, connections, plan, patience_seconds=_PATIENCE_SECONDS
        )

    def _archive_loops(self, connections: Connections, step: float) -> Sequence[Loop]:
        if self.archive is None:
            return []
        spool = self.settings.archive_spool_folder
        archivist = Archiver(
            self.database,
            self.clock,
            connections,
            self.archive,
            recording_plan(self.settings),
            spool=Path(spool) if spool else None,
            patience_seconds=_PATIENCE_SECONDS,
        )
        return [Loop("archive", archivist.step, (), step * 2, archivist.close)]

    def _sweeper(self, connections: Connections) -> Sweeper:
        settings = self.settings
        return Sweeper(
            self.database,
            self.clock,
            connections,
            call_log_plan(settings),
            sweep_rules(settings),
            replica=self.replica,
            page_size=settings.active_calls_page_size,
            feed=self._feed("sweeps"),
            patience_seconds=_PATIENCE_SECONDS,
        )

    def _feed(self, reader: str) -> CallLogFeed:
        settings = self.settings
        return CallLogFeed(
            self.database,
            self.clock,
            call_log_plan(settings),
            replica=f"{self.replica}-{reader}",
            lease_seconds=settings.short_lease_seconds,
            patience_seconds=max(settings.lease_seconds / 2, settings.rate_limit_window_seconds),
        )

    def _pulse(self, connections: Connections) -> Heartbeat:
        self.pulse = Heartbeat(
            self.database,
            self.clock,
            connections,
            self.endpoint.take_refused,
            prove=self.inbox.prove_writable,
            refusals=self.endpoint.refusals,
            replica=self.replica,
            interval_seconds=self._beat_seconds,
            sweep_after_seconds=self.settings.first_reading_seconds,
            stopping=self.services.stopping,
        )
        return self.pulse

    @property
    def _beat_seconds(self) -> float:
        return max(_SHORTEST_BEAT_SECONDS, self.settings.active_calls_window_seconds / 12)

    async def _beat(self, pulse: Heartbeat) -> None:
        # A gap ends when deliveries are accepted again, not before.
        await wakeups.wait(self.serving, 2.0)
        await Loop("pulse", pulse.step, (), self._beat_seconds).run(self.wakeups, self.clock)

    async def _end_pulse(self) -> None:
        if self.pulse is not None:
            await self.pulse.stop()

    async def _keep_subscriptions(self, connections: Connections, address: str) -> None:
        # RingCentral shakes hands while it creates: be reachable first.
        await wakeups.wait(self.serving, 2.0)
        settings = self.settings
        wanted = Wanted(
            address=address,
            filters=settings.event_filters,
            token=self.webhook_token,
            expires_in_seconds=settings.subscription_expires_seconds,
        )
        guard = SubscriptionSupervisor(
            self.database,
            self.clock,
            connections,
            wanted,
            replica=self.replica,
            check_seconds=settings.subscription_check_seconds,
            lease_seconds=settings.short_lease_seconds,
            sweep_after_seconds=settings.first_reading_seconds,
            patience_seconds=_PATIENCE_SECONDS,
        )
        pause = settings.subscription_check_seconds
        loop = Loop("subscriptions", guard.step, (wakeups.SUBSCRIPTIONS,), pause, guard.close)
        await loop.run(self.wakeups, self.clock)


class _App(LogsRequests, webhooks.IntakeApp):
    """Logs every request, then gives deliveries to the intake and the rest to FastAPI."""


_DESCRIPTION = """
From hang-up to enriched call record. RingCentral tells this service of calls, connectors read the enriched record
here and attach notes and sentiment, by `sessionId` or `telephonySessionId`, also before the record exists.

Every error is a problem document (RFC 9457) that says whose fault it is and what to do.
"""


def create_app(settings: Settings, *, role: Role = Role.ALL, clock: Clock | None = None) -> FastAPI:
    """Return the service as an ASGI app. Nothing is opened before its lifespan begins.

    Raises SettingsError when the service may not start as it is set.
    """
    process = Process(settings, role, clock or SystemClock())

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with process.open():
            yield

    app = _App(
        title="Aftercall",
        version=__version__,
        description=_DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,  # FastAPI's page would load its scripts from another host
        redoc_url=None,
    )
    app.state.services = process.services
    app.state.process = process
    webhooks.mount(app, process.endpoint)
    for router in (
        calls_router.router,
        calls_router.feed,
        attachments_router.router,
        insights_router.router,
        recordings_router.router,
        readers_router.router,
        ops_router.router,
        accounts_router.router,
    ):
        app.include_router(router, dependencies=[Depends(refuse_misunderstandings)])
    for router in (oauth.router, health.router, metrics_router.router, dashboard.router):
        app.include_router(router, dependencies=[Depends(refuse_repeated)])
    app.mount(dashboard.STATIC_PATH, dashboard.static_files())
    app.state.dashboard = dashboard.Dashboard(process.services)
    app.add_route("/", lambda _: RedirectResponse(dashboard.PATH), include_in_schema=False)
    app.add_middleware(HeadAsGet)
    app.add_middleware(RelativeRedirects)
    app.add_middleware(Limits, but=frozenset({webhooks.PATH}))
    problems.install(app)
    docs.install(app)
    _describe_webhook(app)
    app.request_log = RequestLog(process.clock, webhooks.PATH)
    app.request_log.learn_routes(app.routes)
    return app


def _describe_webhook(app: FastAPI) -> None:
    """Put the intake, a route of its own kind, into the API description."""
    plain = app.openapi

    def openapi() -> dict[str, Any]:
        description = plain()
        description["paths"] = {webhooks.PATH: webhooks.OPENAPI, **description["paths"]}
        return description

    app.openapi = openapi  # type: ignore[method-assign]
