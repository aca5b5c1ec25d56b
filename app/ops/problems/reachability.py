"""Tells when a worker cannot reach RingCentral, so that nobody takes silence for quiet.

Every worker has a way of its own to RingCentral; one whose requests stay without an answer is a row, which the others
and the operator's pages can see.
"""

import socket
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import structlog
from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.clock import Clock
from app.db.engine import Database, upsert_into
from app.db.tables import work
from app.ids import UNBOUND_ACCOUNT
from app.ringcentral.reachability import FAILURES_BEFORE_ALARM, Failing, ReachMeter, Unreached

LOOK_SECONDS = 2.0
_KIND = "reach:"
_HOLDS = timedelta(seconds=60)
"""A worker that has said nothing for so long is gone."""

_RENEWED_EVERY = _HOLDS / 4

log = structlog.get_logger(__name__)


def describe_failing(failing: Failing | None, server_url: str, host: str) -> dict[str, Any] | None:
    """Return {code, detail, since} when RingCentral cannot be reached, None when it can or this may pass."""
    if failing is None or failing.failures < FAILURES_BEFORE_ALARM:
        return None
    server = urlsplit(server_url).netloc or server_url
    what = "RingCentral's server" if failing.code is Unreached.SERVER else "A request from"
    where = f"{what} {server}" if failing.code is Unreached.SERVER else f"{what} {host} to {server}"
    detail = f"{where}: {failing.detail}."
    return {"code": failing.code.value, "detail": detail, "since": failing.since.isoformat()}


class ReachWatch:
    """The background work that tells of it; asks for nothing of its own. `replica` names this process."""

    def __init__(
        self, database: Database, clock: Clock, meter: ReachMeter, server_url: str, *, replica: str
    ) -> None:
        self._database = database
        self._clock = clock
        self._meter = meter
        self._server_url = server_url
        self._kind = f"{_KIND}{replica}"
        self._told: dict[str, Any] | None = None
        self._tell_again_at: datetime | None = None

    async def step(self) -> float | None:
        """Look once; write down and log when RingCentral cannot be reached any more and when it can again."""
        problem = describe_failing(self._meter.failing, self._server_url, socket.gethostname())
        now = self._clock.now()
        if problem is not None:
            if problem != self._told or self._tell_again_at is None or now >= self._tell_again_at:
                await self._tell(problem, now)
        elif self._told is not None:
            await self._all_clear()
        return None

    async def _tell(self, problem: dict[str, Any], now: datetime) -> None:
        if self._told is None:
            log.warning("RingCentral cannot be reached", code=problem["code"], detail=problem["detail"])
        row = {"account_id": UNBOUND_ACCOUNT, "kind": self._kind}
        values = {"lease_until": now + _HOLDS, "state": {"problem": problem}}
        async with self._database.write() as db:
            await db.execute(delete(work).where(work.c.kind.startswith(_KIND), work.c.lease_until < now))
            insert = upsert_into(db, work).values({**row, **values})
            await db.execute(insert.on_conflict_do_update(index_elements=["account_id", "kind"], set_=values))
        self._told, self._tell_again_at = problem, now + _RENEWED_EVERY

    async def _all_clear(self) -> None:
        async with self._database.write() as db:
            await db.execute(delete(work).where(work.c.kind == self._kind))
        self._told = self._tell_again_at = None
        log.info("RingCentral can be reached again")


async def load_unreached(db: AsyncConnection, now: datetime) -> list[dict[str, Any]]:
    """Return the problem of each worker that cannot reach RingCentral, as {code, detail, since}."""
    query = select(work.c.state).where(
        work.c.account_id == UNBOUND_ACCOUNT, work.c.kind.startswith(_KIND), work.c.lease_until >= now
    )
    return [state["problem"] for state in await db.scalars(query.order_by(work.c.kind))]
