"""GET /metrics: the metrics of this process in Prometheus' text format.

Gauges that tell of the whole service are read from the database at each scrape, so every replica reports the
same; take the maximum over replicas, not the sum. While the database is away they are not a number.
"""

import math

from fastapi import APIRouter
from fastapi.responses import Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from app import metrics
from app.dependencies import CurrentServices, Services
from app.errors import StorageUnavailable
from app.ops.summary import count_waiting, load_budget, load_inbox

router = APIRouter(include_in_schema=False)


@router.get("/metrics")
async def show_metrics(services: CurrentServices) -> Response:
    """Everything in app.metrics, and what the client library says of the process."""
    await refresh_gauges(services)
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


async def refresh_gauges(services: Services) -> None:
    """Read from the database what no process can know by itself."""
    now = services.clock.now()
    waiting = budget_free = inbox = inbox_seconds = math.nan
    try:
        async with services.database.read() as db:
            waiting = await count_waiting(db, now)
            budget = await load_budget(db, None, services.settings, now)
            backlog = await load_inbox(db, None, now)
        budget_free = budget.free if budget else services.settings.rate_limit_heavy
        inbox, inbox_seconds = backlog.waiting, backlog.oldest_seconds or 0.0
    except StorageUnavailable:
        pass
    metrics.WAITING.set(waiting)
    metrics.BUDGET_FREE.set(budget_free)
    metrics.INBOX.set(inbox)
    metrics.INBOX_SECONDS.set(inbox_seconds)
