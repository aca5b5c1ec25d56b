"""The intake of one process: the endpoint, the inbox, and the heartbeat that proves that both work."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from app.accounts.context import AccountsContext
from app.clock import Clock
from app.db.engine import Database
from app.settings import Settings
from app.webhooks.intake.inbox import Inbox
from app.webhooks.intake.router import NotificationEndpoint
from app.webhooks.subscriptions.heartbeat import Heartbeat, IntakeHealth
from app.work.loops import Loop
from app.work.stopping import StopSignal


class IntakeService:
    """Accepts deliveries while it is open. Made without I/O. `token` is the webhook's secret."""

    def __init__(self, database: Database, clock: Clock, settings: Settings, token: str) -> None:
        self._settings = settings
        self.token = token
        self.inbox = Inbox(database, clock)
        self.endpoint = NotificationEndpoint(self.inbox, token, settings.webhook_max_body_bytes, clock)

    @asynccontextmanager
    async def open(self, context: AccountsContext, stopping: StopSignal) -> AsyncIterator[Heartbeat]:
        """Accept deliveries until the block ends; yield the heartbeat."""
        heartbeat = Heartbeat(
            context,
            IntakeHealth(
                prove=self.inbox.prove_writable,
                refusals=self.endpoint.refusals,
                take_refused=self.endpoint.take_refused,
            ),
            interval_seconds=self._settings.beat_seconds,
            sweep_after_seconds=self._settings.first_reading_seconds,
            rate_window_seconds=self._settings.rate_limit_window_seconds,
            stopping=stopping,
        )
        self.inbox.start()
        try:
            yield heartbeat
        finally:
            await self.inbox.stop()
            # Last: the inbox may refuse deliveries until the very end, and those are recorded here.
            await heartbeat.stop()


def heartbeat_loop(heartbeat: Heartbeat, settings: Settings, serving: asyncio.Event) -> Loop:
    """Return the loop of a process that accepts deliveries; `serving` is set once it accepts connections."""
    # A gap ends when deliveries are accepted again, not before.
    return Loop("pulse", heartbeat.step, (), settings.beat_seconds, after=serving)
