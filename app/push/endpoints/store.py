"""Endpoints in the database."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Row, delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.engine import wake
from app.db.tables import webhook_endpoints, webhook_messages, webhook_waits
from app.errors import NotFound
from app.ids import AccountId
from app.push.endpoints.model import Condition, DisabledReason, Endpoint, EndpointKey, Rules
from app.work import wakeups

_E = webhook_endpoints.c
MOST_ENDPOINTS = 1_000
"""Of one account."""

COLUMNS = tuple(column for column in _E if column.name != "secrets")


def read_row(row: Row[Any]) -> Endpoint:
    """Return the endpoint of a row that has `COLUMNS`."""
    return Endpoint(
        key=EndpointKey(AccountId(row.account_id), row.endpoint_id),
        url=row.url,
        description=row.description,
        rules=read_rules(row.rules),
        position=row.position_seq,
        recovery=None if row.recover_until is None else (row.recover_seq, row.recover_until, row.recover_all),
        condition=read_condition(row),
        created_by=row.created_by,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def read_condition(row: Row[Any]) -> Condition:
    """Return the condition of an endpoint, from a row that has its columns."""
    return Condition(
        failures=row.failures,
        failing_since=row.failing_since,
        last_success_at=row.last_success_at,
        held_until=row.held_until,
        disabled_at=row.disabled_at,
        disabled_reason=DisabledReason(row.disabled_reason) if row.disabled_reason else None,
    )


def condition_row(condition: Condition) -> dict[str, Any]:
    """Return the columns of an endpoint that `read_condition` reads."""
    return {
        "failures": condition.failures,
        "failing_since": condition.failing_since,
        "last_success_at": condition.last_success_at,
        "held_until": condition.held_until,
        "disabled_at": condition.disabled_at,
        "disabled_reason": condition.disabled_reason and condition.disabled_reason.value,
    }


@lru_cache(maxsize=1_024)
def _read_rules(stored: str) -> Rules:
    return Rules.model_validate_json(stored)


def read_rules(stored: Mapping[str, Any]) -> Rules:
    """Return rules that `rules_json` wrote."""
    return _read_rules(json.dumps(stored))


def rules_json(rules: Rules) -> dict[str, Any]:
    """Return rules as they are stored."""
    # Without what is not set: a process of the previous version refuses rules that it does not know.
    return rules.model_dump(mode="json", by_alias=True, exclude_none=True)


def is_endpoint(key: EndpointKey) -> ColumnElement[bool]:
    """The condition that selects one endpoint."""
    return (_E.account_id == key.account_id) & (_E.endpoint_id == key.endpoint_id)


async def list_endpoints(db: AsyncConnection, account_id: AccountId) -> list[Endpoint]:
    """Return the endpoints of an account, oldest first."""
    query = select(*COLUMNS).where(_E.account_id == account_id).order_by(_E.endpoint_id)
    return [read_row(row) for row in await db.execute(query)]


async def load_endpoint(db: AsyncConnection, key: EndpointKey, *, lock: bool = False) -> Endpoint:
    """Return one endpoint. Raises NotFound."""
    query = select(*COLUMNS).where(is_endpoint(key))
    row = (await db.execute(query.with_for_update(key_share=True) if lock else query)).one_or_none()
    if row is None:
        raise NotFound(f"There is no webhook endpoint {key.endpoint_id}")
    return read_row(row)


async def load_sealed(db: AsyncConnection, key: EndpointKey, *, lock: bool = False) -> bytes:
    """Return the encrypted secrets of an endpoint. Raises NotFound."""
    query = select(_E.secrets).where(is_endpoint(key))
    sealed: bytes | None = await db.scalar(query.with_for_update() if lock else query)
    if sealed is None:
        raise NotFound(f"There is no webhook endpoint {key.endpoint_id}")
    return sealed


async def count_endpoints(db: AsyncConnection, account_id: AccountId) -> int:
    """Return how many endpoints an account has."""
    query = select(func.count()).select_from(webhook_endpoints).where(_E.account_id == account_id)
    return int(await db.scalar(query) or 0)


class Waiting(NamedTuple):
    """What waits for an endpoint: how many messages, the oldest change, and when the first is due."""

    number: int = 0
    oldest_at: datetime | None = None
    due_at: datetime | None = None


async def count_waiting(db: AsyncConnection, account_id: AccountId) -> dict[str, Waiting]:
    """Return what waits for each endpoint of an account, by its id."""
    message = webhook_messages.c
    query = select(
        message.endpoint_id,
        func.count().label("number"),
        func.min(message.created_at).label("oldest_at"),
        func.min(message.due_at).label("due_at"),
    )
    rows = await db.execute(query.where(message.account_id == account_id).group_by(message.endpoint_id))
    return {row.endpoint_id: Waiting(row.number, row.oldest_at, row.due_at) for row in rows}


async def enabled_at(db: AsyncConnection, account_id: AccountId) -> dict[str, list[str]]:
    """Return the ids of an account's enabled endpoints by their address, the oldest first."""
    enabled = (_E.account_id == account_id) & _E.disabled_at.is_(None)
    found: dict[str, list[str]] = {}
    for row in await db.execute(select(_E.url, _E.endpoint_id).where(enabled).order_by(_E.endpoint_id)):
        found.setdefault(row.url, []).append(row.endpoint_id)
    return found


async def insert_endpoint(
    db: AsyncConnection, endpoint: Endpoint, sealed: bytes, created_by: str | None
) -> None:
    """Store a new endpoint."""
    await db.execute(
        webhook_endpoints.insert().values(
            account_id=endpoint.key.account_id,
            endpoint_id=endpoint.key.endpoint_id,
            url=endpoint.url,
            description=endpoint.description,
            rules=rules_json(endpoint.rules),
            secrets=sealed,
            position_seq=endpoint.position,
            created_by=created_by,
            created_at=endpoint.created_at,
            updated_at=endpoint.updated_at,
        )
    )
    wake(db, wakeups.of_timeline(endpoint.key.account_id))


async def change_endpoint(db: AsyncConnection, key: EndpointKey, **values: Any) -> None:
    """Write columns of an endpoint, and wake what sends to it. Raises NotFound."""
    changed = await db.execute(update(webhook_endpoints).where(is_endpoint(key)).values(values))
    if changed.rowcount != 1:
        raise NotFound(f"There is no webhook endpoint {key.endpoint_id}")
    wake(db, wakeups.of_timeline(key.account_id), wakeups.PUSH)


async def drop_waiting(db: AsyncConnection, key: EndpointKey, *, forget_sent: bool) -> None:
    """Delete everything that is still to be sent to an endpoint.

    `forget_sent`: also which calls it has received once.
    """
    message, wait = webhook_messages.c, webhook_waits.c
    of_message = (message.account_id == key.account_id) & (message.endpoint_id == key.endpoint_id)
    await db.execute(delete(webhook_messages).where(of_message))
    of_wait = (wait.account_id == key.account_id) & (wait.endpoint_id == key.endpoint_id)
    dropped = of_wait if forget_sent else of_wait & wait.seq.is_(None)
    await db.execute(delete(webhook_waits).where(dropped))


async def delete_endpoint(db: AsyncConnection, key: EndpointKey) -> bool:
    """Delete an endpoint with its messages and attempts; return whether it existed."""
    return (await db.execute(delete(webhook_endpoints).where(is_endpoint(key)))).rowcount == 1


async def load_disabled(db: AsyncConnection, *conditions: ColumnElement[bool]) -> Sequence[Row[Any]]:
    """Return the endpoints that the service has disabled: account, id, url, reason, and since when."""
    query = select(_E.account_id, _E.endpoint_id, _E.url, _E.disabled_reason, _E.disabled_at).where(
        _E.disabled_at.is_not(None), _E.disabled_reason != DisabledReason.PAUSED, *conditions
    )
    return [*await db.execute(query.order_by(_E.account_id, _E.endpoint_id))]
