"""Endpoints as the API shows them."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from app.push.api.schemas import EndpointView, EndpointWarning, Recovery
from app.push.endpoints import store
from app.push.endpoints.model import Condition, Endpoint


async def view_endpoints(db: AsyncConnection, endpoints: Sequence[Endpoint]) -> list[EndpointView]:
    """Return endpoints of one account as the API shows them."""
    if not endpoints:
        return []
    account_id = endpoints[0].key.account_id
    counts = await store.count_waiting(db, account_id)
    enabled = await store.enabled_at(db, account_id)
    return [
        _view(one, counts.get(one.key.endpoint_id, store.Waiting()), warnings=_warnings(one, enabled))
        for one in endpoints
    ]


async def view_endpoint(db: AsyncConnection, endpoint: Endpoint) -> EndpointView:
    """Return one endpoint as the API shows it."""
    (shown,) = await view_endpoints(db, [endpoint])
    return shown


def next_due(condition: Condition, due_at: datetime | None) -> datetime | None:
    """Return when an endpoint gets a message that is due then; None: not while it is disabled."""
    if due_at is None or condition.disabled_at is not None:
        return None
    return max(due_at, condition.held_until or due_at)


def _warnings(endpoint: Endpoint, enabled: Mapping[str, Sequence[str]]) -> list[EndpointWarning]:
    others = [one for one in enabled.get(endpoint.url, ()) if one != endpoint.key.endpoint_id]
    if not others or endpoint.condition.disabled_at is not None:
        return []
    detail = (
        f"{others[0]} sends to this address as well, and signs with another secret. Delete one of the two, "
        "or give each an address of its own"
    )
    return [EndpointWarning(code="same-url", detail=detail)]


def _view(endpoint: Endpoint, waiting: store.Waiting, *, warnings: list[EndpointWarning]) -> EndpointView:
    rules, condition = endpoint.rules, endpoint.condition
    recovery = None
    if endpoint.recovery is not None:
        after, until, sends_all = endpoint.recovery
        include = "all" if sends_all else "undelivered"
        recovery = Recovery.model_validate(
            {"since": str(after), "after": str(after), "until": str(until), "include": include}
        )
    return EndpointView(
        id=endpoint.key.endpoint_id,
        url=endpoint.url,
        description=endpoint.description,
        enabled=condition.disabled_at is None,
        disabled_reason=condition.disabled_reason and condition.disabled_reason.value,
        disabled_at=condition.disabled_at,
        types=rules.types,
        filters=rules.filters,
        payload=rules.payload,
        deliver=rules.deliver,
        exclude=rules.exclude,
        complete=rules.complete,
        at_once=rules.at_once,
        per_second=rules.per_second,
        cursor=str(endpoint.position),
        waiting=waiting.number,
        oldest_waiting_at=waiting.oldest_at,
        next_attempt_at=next_due(condition, waiting.due_at),
        failures=condition.failures,
        failing_since=condition.failing_since,
        last_success_at=condition.last_success_at,
        held_until=condition.held_until,
        recovery=recovery,
        warnings=warnings,
        created_at=endpoint.created_at,
        updated_at=endpoint.updated_at,
    )
