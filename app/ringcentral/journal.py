"""Logs and measures requests to RingCentral: each response at debug level, a fault once and not each time."""

from typing import Any

import structlog

from app import metrics
from app.clock import Clock
from app.log_repeats import Outage, Repeats
from app.ringcentral.wire import Request, Response

SETTLED_SECONDS = 60.0
"""One part of RingCentral may fail while others respond: an outage is over when nothing has failed for this
long.
"""

_log = structlog.get_logger()


class Journal:
    """Logs the requests of one process."""

    def __init__(self, clock: Clock | None = None) -> None:
        self.outage = Outage("RingCentral does not answer", clock, settled_seconds=SETTLED_SECONDS)
        self._repeats = Repeats(clock)

    def unanswered(self, request: Request, seconds: float, why: str) -> None:
        """Log a request without a response."""
        metrics.RC_SECONDS.labels(group=request.group).observe(seconds)
        self.outage.failed(why, route=request.route)
        _log.debug("ringcentral_unanswered", **_facts(request, seconds), why=why)

    def answered(self, request: Request, seconds: float, response: Response) -> None:
        """Log a response."""
        metrics.RC_SECONDS.labels(group=request.group).observe(seconds)
        facts = {**_facts(request, seconds), "status": response.status, "rc_request_id": response.request_id}
        if response.status >= 500:
            self.outage.failed(f"status {response.status}", route=request.route)
        else:
            self.outage.worked()
        if response.is_success or response.is_not_modified or response.status >= 500:
            _log.debug("ringcentral_answered", **facts)
        else:
            self._repeats.tell(
                _log.warning, "ringcentral_answered", key=(request.route, response.status), **facts
            )


def _facts(request: Request, seconds: float) -> dict[str, Any]:
    """Return what may be logged of a request: the route without its ids, no parameter, no header."""
    return {
        "method": request.method,
        "route": request.route,
        "group": request.group,
        "ms": round(seconds * 1000),
    }
