"""Logs and measures requests to RingCentral: each answer at debug level, what is wrong once and not each time."""

from typing import Any

import structlog

from app import metrics
from app.clock import Clock
from app.repeats import Outage, Repeats
from app.ringcentral.wire import Request, Response

SETTLED_SECONDS = 60.0
"""One part of RingCentral may fail while others answer: an outage is over when nothing has failed for this long."""

_log = structlog.get_logger()


class Journal:
    """What is told of all requests of one process."""

    def __init__(self, clock: Clock | None = None) -> None:
        self.outage = Outage("RingCentral does not answer", clock, settled_seconds=SETTLED_SECONDS)
        self._repeats = Repeats(clock)

    def unanswered(self, request: Request, seconds: float, why: str) -> None:
        """Note that no answer came."""
        metrics.RC_SECONDS.labels(group=request.group).observe(seconds)
        self.outage.failed(why, route=request.route)
        _log.debug("ringcentral_unanswered", **_facts(request, seconds), why=why)

    def answered(self, request: Request, seconds: float, answer: Response) -> None:
        """Note an answer."""
        metrics.RC_SECONDS.labels(group=request.group).observe(seconds)
        facts = {**_facts(request, seconds), "status": answer.status, "rc_request_id": answer.request_id}
        if answer.status >= 500:
            self.outage.failed(f"status {answer.status}", route=request.route)
        else:
            self.outage.worked()
        if answer.is_success or answer.status >= 500:
            _log.debug("ringcentral_answered", **facts)
        else:
            self._repeats.tell(
                _log.warning, "ringcentral_answered", key=(request.route, answer.status), **facts
            )


def _facts(request: Request, seconds: float) -> dict[str, Any]:
    """What may be logged of a request: the route without its ids, no parameter, no header."""
    return {
        "method": request.method,
        "route": request.route,
        "group": request.group,
        "ms": round(seconds * 1000),
    }
