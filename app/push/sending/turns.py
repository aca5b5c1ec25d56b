"""Takes endpoints that have messages to send: a lease of each, so that one replica sends to it at a time."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, and_, exists, func, not_, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.calls.feed.changes import load_changes
from app.db.lists import is_one_of, update_rows
from app.db.tables import webhook_endpoints, webhook_messages
from app.ids import AccountId
from app.push.endpoints import store
from app.push.endpoints.model import Endpoint, EndpointKey
from app.push.spreading.plan import Kind
from app.work.leases import is_free
from app.work.lookout import NOW

MESSAGES_OF_A_TURN = 100

_E = webhook_endpoints.c
_M = webhook_messages.c
_OWN = and_(_M.account_id == _E.account_id, _M.endpoint_id == _E.endpoint_id)

ANY_DUE: ColumnElement[bool] = exists().where(
    _E.disabled_at.is_(None), or_(_E.held_until.is_(None), _E.held_until <= NOW), _M.due_at <= NOW, _OWN
)
"""The condition that an endpoint has something to receive now, for the lookout."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A message to send. `attempts`: those that were made. `change`: as the feed shows it, None if it is not
    stored any more. `created_at`: when the change was committed.
    """

    key: EndpointKey
    seq: int
    kind: Kind
    message_id: str
    call_id: str | None
    type: str
    created_at: datetime
    attempts: int = 0
    change: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Turn:
    """An endpoint that was taken, and its messages that are due, in the order of their changes."""

    endpoint: Endpoint
    sealed: bytes = field(repr=False)
    messages: tuple[Message, ...]

    @property
    def key(self) -> EndpointKey:
        return self.endpoint.key


@dataclass(frozen=True, slots=True)
class Taken:
    """The turns that were taken.

    `are_others_locked`: whether more endpoints are due, but locked by another transaction: one that takes
    them, or one that spreads to them.
    """

    turns: Sequence[Turn] = ()
    are_others_locked: bool = False


async def take_turns(
    db: AsyncConnection,
    replica: str,
    lease_seconds: float,
    busy: Collection[EndpointKey],
    limit: int,
    now: datetime,
) -> Taken:
    """Take up to `limit` endpoints that have due messages, those that waited longest first.

    `busy`: endpoints that this replica is serving.
    """
    is_due = _is_due(busy, now)
    query = (
        select(webhook_endpoints)
        .where(is_due)
        .order_by(_E.turn_at.asc().nulls_first(), _E.endpoint_id)
        .limit(limit)
        .with_for_update(skip_locked=True, key_share=True)
    )
    rows = (await db.execute(query)).all()
    turns = await _take(db, rows, replica, lease_seconds, now) if rows else []
    if len(rows) == limit or db.dialect.name == "sqlite":
        return Taken(turns)
    # What was taken has a lease now, so only what was locked is still due.
    return Taken(turns, bool(await db.scalar(select(exists().where(is_due)))))


def _is_due(busy: Collection[EndpointKey], now: datetime) -> ColumnElement[bool]:
    """Return the condition that an endpoint has something to receive, and that no replica sends to it."""
    served = [not_(is_one_of(_E.endpoint_id, {key.endpoint_id for key in busy}))] if busy else []
    return and_(
        _E.disabled_at.is_(None),
        is_free(webhook_endpoints, now),
        or_(_E.held_until.is_(None), _E.held_until <= now),
        exists().where(_OWN, _M.due_at <= now),
        *served,
    )


async def _take(
    db: AsyncConnection, rows: Sequence[Any], replica: str, lease_seconds: float, now: datetime
) -> list[Turn]:
    until = now + timedelta(seconds=lease_seconds)
    taken = [
        {"account_id": row.account_id, "endpoint_id": row.endpoint_id, "lease_owner": replica,
         "lease_until": until, "turn_at": now}
        for row in rows
    ]  # fmt: skip
    await update_rows(db, webhook_endpoints, ("account_id", "endpoint_id"), taken)
    messages = await _load_due(db, [_key(row) for row in rows], now)
    return [Turn(store.read_row(row), row.secrets, tuple(messages[_key(row)])) for row in rows]


def _key(row: Any) -> EndpointKey:
    return EndpointKey(AccountId(row.account_id), row.endpoint_id)


async def _load_due(
    db: AsyncConnection, keys: Sequence[EndpointKey], now: datetime
) -> dict[EndpointKey, list[Message]]:
    """Return the due messages of each endpoint, the first ones of each."""
    place = func.row_number().over(partition_by=(_M.account_id, _M.endpoint_id), order_by=(_M.seq, _M.kind))
    numbered = (
        select(webhook_messages, place.label("place"))
        .where(
            is_one_of(_M.account_id, {key.account_id for key in keys}),
            is_one_of(_M.endpoint_id, {key.endpoint_id for key in keys}),
            _M.due_at <= now,
        )
        .subquery()
    )
    query = select(numbered).where(numbered.c.place <= MESSAGES_OF_A_TURN)
    rows = (await db.execute(query.order_by(numbered.c.seq, numbered.c.kind))).all()
    seqs: dict[AccountId, set[int]] = defaultdict(set)
    for row in rows:
        seqs[AccountId(row.account_id)].add(row.seq)
    changes = {account_id: await load_changes(db, account_id, of) for account_id, of in seqs.items()}
    found: dict[EndpointKey, list[Message]] = defaultdict(list)
    for row in rows:
        entry = changes[AccountId(row.account_id)].get(row.seq)
        message = Message(
            key=_key(row),
            seq=row.seq,
            kind=Kind(row.kind),
            message_id=row.message_id,
            call_id=row.call_id,
            type=row.type,
            created_at=row.created_at,
            attempts=row.attempts,
            change=None if entry is None else entry.shown,
        )
        found[message.key].append(message)
    return found
