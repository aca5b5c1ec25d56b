"""Tells when the clock of this machine and RingCentral's disagree: a call's end is told in RingCentral's time, the
window after it is reckoned in ours.

Every worker has a clock of its own; one that is off is a row, which the others and the operator's pages can see.
"""

import math
import socket
from datetime import datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app import metrics
from app.clock import Clock
from app.db.engine import Database, upsert_into
from app.db.tables import work
from app.ids import UNBOUND_ACCOUNT
from app.ringcentral.skew import Skew, SkewMeter

CODE = "clock-skew"
TOLERATED_SECONDS = 2.0
"""Less is neither certain, answers being dated in whole seconds, nor does it matter within a window of 120."""

LOOK_SECONDS = 30.0
_KIND = "clock:"
_HOLDS = timedelta(seconds=LOOK_SECONDS * 10)
"""A worker that has said nothing for so long is gone."""

log = structlog.get_logger(__name__)


def describe_skew(skew: Skew, host: str) -> dict[str, Any] | None:
    """Return {code, detail} for a clock that is off, None for one that is right."""
    if abs(skew.least) <= TOLERATED_SECONDS:
        return None
    way = "ahead of" if skew.least > 0 else "behind"
    detail = (
        f"The clock of {host} is at least {math.floor(abs(skew.least))} s {way} RingCentral's, so the window in which "
        "a call's record can be found is reckoned wrongly: let it be set by NTP (chrony, systemd-timesyncd)."
    )
    return {"code": CODE, "detail": detail}


class ClockWatch:
    """The background work that compares the clocks; asks for nothing of its own. `replica` names this process."""

    def __init__(self, database: Database, clock: Clock, meter: SkewMeter, *, replica: str) -> None:
        self._database = database
        self._clock = clock
        self._meter = meter
        self._kind = f"{_KIND}{replica}"
        self._off_since: datetime | None = None

    async def step(self) -> float | None:
        """Look once; write down and log when the clock begins to be off and when it is right again."""
        skew = self._meter.skew
        if skew is None:
            return None
        metrics.CLOCK_SKEW.set(skew.least)
        problem = describe_skew(skew, socket.gethostname())
        if problem is not None:
            await self._tell(problem, skew)
        elif self._off_since is not None:
            await self._all_clear()
        return None

    async def _tell(self, problem: dict[str, Any], skew: Skew) -> None:
        now = self._clock.now()
        if self._off_since is None:
            log.warning("this machine's clock is off", seconds=round(skew.least, 1), detail=problem["detail"])
        since = self._off_since or now
        state = {"problem": {**problem, "since": since.isoformat()}, "seconds": round(skew.least, 1)}
        row = {"account_id": UNBOUND_ACCOUNT, "kind": self._kind}
        values = {"lease_until": now + _HOLDS, "state": state}
        async with self._database.write() as db:
            await db.execute(delete(work).where(work.c.kind.startswith(_KIND), work.c.lease_until < now))
            insert = upsert_into(db, work).values({**row, **values})
            await db.execute(insert.on_conflict_do_update(index_elements=["account_id", "kind"], set_=values))
        self._off_since = since

    async def _all_clear(self) -> None:
        async with self._database.write() as db:
            await db.execute(delete(work).where(work.c.kind == self._kind))
        self._off_since = None
        log.info("this machine's clock is right again")


async def load_skews(db: AsyncConnection, now: datetime) -> list[dict[str, Any]]:
    """Return {problem, seconds} of each worker whose clock is off; positive seconds are ahead of RingCentral."""
    query = select(work.c.state).where(
        work.c.account_id == UNBOUND_ACCOUNT, work.c.kind.startswith(_KIND), work.c.lease_until >= now
    )
    return list(await db.scalars(query.order_by(work.c.kind)))
