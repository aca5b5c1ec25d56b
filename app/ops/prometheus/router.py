"""GET /metrics: the metrics of this process in Prometheus' text format.

Gauges that describe the whole service are read from the database at each scrape, so every replica reports the
same; take the maximum over replicas, not the sum. While the database is unavailable they are not a number.
"""

from weakref import WeakKeyDictionary

from fastapi import APIRouter
from fastapi.responses import Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from app.api.dependencies import CurrentServices, Services
from app.db.engine import Database
from app.ops.prometheus.gauges import GaugeReader

router = APIRouter(include_in_schema=False)

_readers: WeakKeyDictionary[Database, GaugeReader] = WeakKeyDictionary()


@router.get("/metrics")
async def show_metrics(services: CurrentServices) -> Response:
    """Return everything in app.metrics, and what the client library reports about the process."""
    await refresh_gauges(services)
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


async def refresh_gauges(services: Services) -> None:
    """Read from the database what a process cannot know by itself."""
    # One reader per database, so that concurrent scrapes share its reading; it goes with the database.
    reader = _readers.get(services.database)
    if reader is None:
        reader = _readers[services.database] = GaugeReader(services.clock)
    await reader.refresh(services)
