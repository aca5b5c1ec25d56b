"""Reports when a worker cannot reach RingCentral, so that silence is not mistaken for a quiet day.

Each worker has its own network path to RingCentral, so each reports for itself.
"""

import socket
from datetime import datetime, timedelta
from urllib.parse import urlsplit

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from app.clock import Clock
from app.db.engine import Database
from app.ids import UNBOUND_ACCOUNT
from app.ops.problems.model import ProblemToFix, Subject, read_problem
from app.ops.problems.worker_reports import WorkerReport, load_reports
from app.ringcentral.reachability import FAILURES_BEFORE_ALARM, Failing, ReachMeter, Unreached

CHECK_SECONDS = 2.0
_LIFETIME = timedelta(seconds=60)
_RENEWED_EVERY = _LIFETIME / 4

log = structlog.get_logger(__name__)


def describe_failing(failing: Failing | None, server_url: str, host: str) -> ProblemToFix | None:
    """Return the problem when RingCentral cannot be reached; None when it can, or after few failures."""
    if failing is None or failing.failures < FAILURES_BEFORE_ALARM:
        return None
    server = urlsplit(server_url).netloc or server_url
    is_theirs = failing.code is Unreached.SERVER
    where = f"RingCentral's server {server}" if is_theirs else f"A request from {host} to {server}"
    detail = f"{where}: {failing.detail}."
    return ProblemToFix(UNBOUND_ACCOUNT, Subject.REACH, failing.code.value, detail, failing.since)


class ReachWatch:
    """The loop that reports it. It sends no requests of its own. `replica` names this process."""

    def __init__(
        self, database: Database, clock: Clock, meter: ReachMeter, server_url: str, *, replica: str
    ) -> None:
        self._clock = clock
        self._meter = meter
        self._server_url = server_url
        self._report = WorkerReport(database, Subject.REACH, replica, _LIFETIME)
        self._reported: ProblemToFix | None = None
        self._renew_at: datetime | None = None

    async def step(self) -> float | None:
        """Check once; report and log when RingCentral can no longer be reached and when it can again."""
        problem = describe_failing(self._meter.failing, self._server_url, socket.gethostname())
        if problem is not None:
            now = self._clock.now()
            if problem != self._reported or self._renew_at is None or now >= self._renew_at:
                # Renewed before it expires, and at once when the cause changes; logged once.
                if self._reported is None:
                    log.warning("RingCentral cannot be reached", code=problem.code, detail=problem.detail)
                await self._report.publish({"problem": problem.to_json()}, now)
                self._reported, self._renew_at = problem, now + _RENEWED_EVERY
        elif self._reported is not None:
            await self._report.withdraw()
            self._reported = self._renew_at = None
            log.info("RingCentral can be reached again")
        return None


async def load_unreached(db: AsyncConnection, now: datetime) -> list[ProblemToFix]:
    """Return the problem of each worker that cannot reach RingCentral."""
    return [
        read_problem(Subject.REACH, UNBOUND_ACCOUNT, state["problem"])
        for state in await load_reports(db, Subject.REACH, now)
    ]
