"""Sets the gauges that describe the whole service, read from the database at each scrape.

Every replica reports the same. Scrapes at the same time share one reading, which is bounded in time and in
rows.
"""

import asyncio
import math
from collections.abc import Sequence

from app import metrics
from app.accounts.overview import AccountOverview, load_overview
from app.api.dependencies import Services
from app.clock import Clock
from app.db.pool import pool_state
from app.errors import StorageUnavailable
from app.ops.prometheus.gauge_queries import count_credentials, read_gauges
from app.ops.prometheus.gauge_values import GaugeValues, set_gauges, set_pool
from app.vault import Vault

LONGEST_SECONDS = 5.0
"""Prometheus gives a scrape ten seconds."""

OVERVIEW_SECONDS = 15.0
"""How long the state of the credentials is reused: to read it, their secrets have to be decrypted."""


class GaugeReader:
    """Sets the gauges of this process."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._reading: asyncio.Task[None] | None = None
        self._overview: Sequence[AccountOverview] = ()
        self._overview_at = -math.inf

    async def refresh(self, services: Services) -> None:
        """Read everything again, or wait for the reading that is in progress."""
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._refresh(services), name="gauges")
        # A scrape that is cut off must not take the reading away from the others.
        await asyncio.shield(self._reading)

    async def _refresh(self, services: Services) -> None:
        set_pool(pool_state(services.database.engine))
        values: GaugeValues | None = None
        try:
            async with asyncio.timeout(LONGEST_SECONDS):
                values = await self._read(services)
        except (StorageUnavailable, TimeoutError):
            pass
        metrics.DATABASE_UP.set(1 if values else 0)
        set_gauges(values or GaugeValues())

    async def _read(self, services: Services) -> GaugeValues:
        now, settings = services.clock.now(), services.settings
        async with services.database.read() as db:
            if self._clock.monotonic() - self._overview_at >= OVERVIEW_SECONDS:
                self._overview = await load_overview(db, settings, Vault(settings.secrets()[0]), now)
                self._overview_at = self._clock.monotonic()
            values = await read_gauges(db, settings, now)
        values.by_state[metrics.CREDENTIALS] = count_credentials(self._overview)
        return values
