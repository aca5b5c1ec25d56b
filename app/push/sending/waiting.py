"""Brings messages forward that wait for their next attempt. The caller wakes the senders."""

from datetime import datetime

from sqlalchemy import ColumnElement, and_, case, exists, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.tables import webhook_messages
from app.push.endpoints.model import EndpointKey

_M = webhook_messages.c


def _own(key: EndpointKey) -> ColumnElement[bool]:
    return (_M.account_id == key.account_id) & (_M.endpoint_id == key.endpoint_id)


async def bring_forward(db: AsyncConnection, key: EndpointKey, now: datetime) -> None:
    """Date what waits for an endpoint after a success has ended its failure: `due_after_success` as SQL."""
    soonest_at = case((_M.soonest_at <= now, now), else_=_M.soonest_at)
    waiting = update(webhook_messages).where(_own(key), _M.due_at > now, _M.soonest_at < _M.due_at)
    await db.execute(waiting.values(due_at=soonest_at))


async def begin_anew(
    db: AsyncConnection, key: EndpointKey, now: datetime, after: int | None = None, until: int | None = None
) -> int:
    """Make what waits for an endpoint due, as if it had not been tried; return how many messages.

    Of a range of changes only those after the first number up to the second count, though the earlier ones
    of their calls become due with them, so that each call stays in order.
    """
    anew = update(webhook_messages).values(due_at=now, soonest_at=None, attempts=0)
    if after is None or until is None:
        return (await db.execute(anew.where(_own(key)))).rowcount
    within = and_(_own(key), _M.seq > after, _M.seq <= until)
    number = await db.scalar(select(func.count()).where(within))
    later = webhook_messages.alias("later")
    same = [later.c[name] == _M[name] for name in ("account_id", "endpoint_id", "call_id")]
    precedes = exists().where(*same, later.c.seq > after, later.c.seq <= until)
    await db.execute(anew.where(_own(key), or_(within, (_M.seq <= after) & precedes)))
    return int(number or 0)
