"""Messages that wait for an endpoint, in the database."""

from datetime import datetime
from typing import Any

from sqlalchemy import and_, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.tables import webhook_attempts, webhook_messages
from app.push.api.schemas import WaitingMessage, WaitingMessageList
from app.push.api.views import next_due
from app.push.endpoints.model import Condition, Endpoint, EndpointKey

_A = webhook_attempts.c
_M = webhook_messages.c


async def list_waiting(
    db: AsyncConnection, endpoint: Endpoint, limit: int, cursor: str | None, now: datetime
) -> WaitingMessageList:
    """Return the messages after a cursor, which names a change and the kind of its message."""
    key = endpoint.key
    query = select(webhook_messages).where(_M.account_id == key.account_id, _M.endpoint_id == key.endpoint_id)
    if cursor is not None:
        seq, _, kind = cursor.partition("-")
        query = query.where(or_(_M.seq > int(seq), (_M.seq == int(seq)) & (_M.kind > kind)))
    rows = (await db.execute(query.order_by(_M.seq, _M.kind).limit(limit + 1))).all()
    shown = rows[:limit]
    last = await _load_last_attempts(db, key, shown[0].seq, shown[-1].seq) if shown else {}
    data = [_view(endpoint.condition, row, last.get((row.seq, row.kind)), now) for row in shown]
    next_cursor = f"{shown[-1].seq}-{shown[-1].kind}" if len(rows) > limit else None
    return WaitingMessageList(data=data, next_cursor=next_cursor)


async def _load_last_attempts(
    db: AsyncConnection, key: EndpointKey, first: int, last: int
) -> dict[tuple[int, str], Any]:
    """Return the last attempt of each waiting message of a range that was tried."""
    same = [_A[name] == _M[name] for name in ("account_id", "endpoint_id", "seq", "kind")]
    newest = (
        select(_A.seq, _A.kind, func.max(_A.attempt_id).label("attempt_id"))
        .join(webhook_messages, and_(*same))
        .where(_M.account_id == key.account_id, _M.endpoint_id == key.endpoint_id)
        .where(_M.seq >= first, _M.seq <= last)
        .group_by(_A.seq, _A.kind)
        .subquery()
    )
    own = (_A.account_id == key.account_id) & (_A.attempt_id == newest.c.attempt_id)
    query = select(newest.c.seq, newest.c.kind, _A.status, _A.error).join(newest, own)
    return {(row.seq, row.kind): row for row in await db.execute(query)}


def _view(condition: Condition, row: Any, last: Any, now: datetime) -> WaitingMessage:
    return WaitingMessage.model_validate(
        {
            "webhook_id": row.message_id,
            "type": row.type,
            "call_id": row.call_id,
            "changed_at": row.created_at,
            "reason": why_waiting(condition, row.attempts, row.due_at, now),
            "attempts": row.attempts,
            "status": None if last is None else last.status,
            "error": None if last is None else last.error,
            "next_attempt_at": next_due(condition, row.due_at),
        }
    )


def why_waiting(condition: Condition, attempts: int, due_at: datetime, now: datetime) -> str:
    """Return why a message waits, as the API names it."""
    if condition.disabled_at is not None:
        return "disabled"
    if due_at > now:
        return "retry" if attempts else "earlier-change"
    return "held" if condition.held_until is not None and condition.held_until > now else "due"
