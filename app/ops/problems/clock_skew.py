"""Reports when this machine's clock and RingCentral's disagree.

A call's end is given in RingCentral's time; the window after it is computed in ours. Each worker has its own
clock, so each reports for itself.
"""

import math
import socket
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from app import metrics
from app.clock import Clock
from app.db.engine import Database
from app.ids import UNBOUND_ACCOUNT
from app.ops.problems.model import ProblemCode, ProblemToFix, Subject, read_problem
from app.ops.problems.worker_reports import WorkerReport, load_reports
from app.ringcentral.skew import Skew, SkewMeter

TOLERATED_SECONDS = 2.0
"""Less is uncertain, since responses are dated in whole seconds, and hardly matters in a window of 120 s."""

CHECK_SECONDS = 30.0
_LIFETIME = timedelta(seconds=CHECK_SECONDS * 10)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ReportedSkew:
    """A worker's clock that is wrong; positive `seconds` are ahead of RingCentral."""

    problem: ProblemToFix
    seconds: float


def describe_skew(skew: Skew, host: str) -> ProblemToFix | None:
    """Return the problem of a clock that is wrong, None for one that is right."""
    if abs(skew.least) <= TOLERATED_SECONDS:
        return None
    direction = "ahead of" if skew.least > 0 else "behind"
    detail = (
        f"The clock of {host} is at least {math.floor(abs(skew.least))} s {direction} RingCentral's, so the "
        "window in which a call's record can be found is computed wrongly: synchronize it by NTP (chrony, "
        "systemd-timesyncd)."
    )
    return ProblemToFix(UNBOUND_ACCOUNT, Subject.CLOCK, ProblemCode.CLOCK_SKEW, detail)


class ClockWatch:
    """The loop that compares the clocks. It sends no requests of its own. `replica` names this process."""

    def __init__(self, database: Database, clock: Clock, meter: SkewMeter, *, replica: str) -> None:
        self._clock = clock
        self._meter = meter
        self._report = WorkerReport(database, Subject.CLOCK, replica, _LIFETIME)
        self._wrong_since: datetime | None = None

    async def step(self) -> float | None:
        """Compare once; report and log when the clock becomes wrong and when it is right again."""
        skew = self._meter.skew
        if skew is None:
            return None
        metrics.CLOCK_SKEW.set(skew.least)
        problem = describe_skew(skew, socket.gethostname())
        if problem is not None:
            now, seconds = self._clock.now(), round(skew.least, 1)
            if self._wrong_since is None:
                log.warning("this machine's clock is wrong", seconds=seconds, detail=problem.detail)
            since = self._wrong_since or now
            state = {"problem": replace(problem, since=since).to_json(), "seconds": seconds}
            await self._report.publish(state, now)
            # Set after the commit: a report that failed is logged again.
            self._wrong_since = since
        elif self._wrong_since is not None:
            await self._report.withdraw()
            self._wrong_since = None
            log.info("this machine's clock is right again")
        return None


async def load_skews(db: AsyncConnection, now: datetime) -> list[ReportedSkew]:
    """Return the skew of each worker whose clock is wrong."""
    return [
        ReportedSkew(read_problem(Subject.CLOCK, UNBOUND_ACCOUNT, state["problem"]), float(state["seconds"]))
        for state in await load_reports(db, Subject.CLOCK, now)
    ]
