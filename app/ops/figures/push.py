"""How outbound webhooks are doing, in figures."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import and_, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.tables import webhook_endpoints, webhook_messages
from app.ops.account_scope import among
from app.push.endpoints import store
from app.push.endpoints.model import DisabledReason, Endpoint

_E = webhook_endpoints.c
_M = webhook_messages.c
_MOST_SHOWN = 50


@dataclass(frozen=True, slots=True)
class EndpointFigures:
    """An endpoint, the number of messages that wait for it, and the time of the oldest change among them."""

    endpoint: Endpoint
    waiting: int
    oldest_at: datetime | None


@dataclass(frozen=True, slots=True)
class PushFigures:
    """Endpoints by state, and what is due for those that are enabled."""

    by_state: Mapping[str, int]
    waiting: int
    oldest_seconds: float


def state_of(reason: str | None, failures: int) -> str:
    """Return the state of an endpoint, as the dashboard and the metrics name it."""
    if reason is not None:
        return "paused" if reason == DisabledReason.PAUSED else "disabled"
    return "failing" if failures else "enabled"


async def load_push_figures(db: AsyncConnection, only: Sequence[str] | None, now: datetime) -> PushFigures:
    """Return the figures of these accounts; None: of all."""
    query = select(_E.disabled_reason, _E.failures).where(among(_E.account_id, only))
    counts = Counter(state_of(*row) for row in await db.execute(query))
    own = and_(_E.account_id == _M.account_id, _E.endpoint_id == _M.endpoint_id)
    due = (
        select(func.count(), func.min(_M.created_at))
        .select_from(webhook_messages.join(webhook_endpoints, own))
        .where(among(_M.account_id, only), _E.disabled_at.is_(None), _M.due_at <= now)
    )
    number, oldest = (await db.execute(due)).one()
    return PushFigures(counts, number, max(0.0, (now - oldest).total_seconds()) if oldest else 0.0)


async def load_endpoint_figures(
    db: AsyncConnection, only: Sequence[str] | None
) -> tuple[EndpointFigures, ...]:
    """Return endpoints of these accounts for the dashboard: those that need attention first."""
    query = select(*store.COLUMNS).where(among(_E.account_id, only))
    order = (_E.disabled_at.is_(None), _E.failures.desc(), _E.account_id, _E.endpoint_id)
    rows = (await db.execute(query.order_by(*order).limit(_MOST_SHOWN))).all()
    counts = {
        account_id: await store.count_waiting(db, account_id)
        for account_id in {store.read_row(row).key.account_id for row in rows}
    }
    found = []
    for row in rows:
        endpoint = store.read_row(row)
        waiting = counts[endpoint.key.account_id].get(endpoint.key.endpoint_id, store.Waiting())
        found.append(EndpointFigures(endpoint, waiting.number, waiting.oldest_at))
    return tuple(found)
