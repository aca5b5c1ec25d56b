"""Attempts in the database: listed, and made again."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.calls.feed.changes import load_changes
from app.calls.feed.positions import Position
from app.db.engine import wake
from app.db.tables import webhook_attempts, webhook_messages
from app.errors import BadInput, NotFound
from app.ids import new_id
from app.push.api.schemas import AttemptView, QueuedMessage
from app.push.endpoints.model import Deliver, Endpoint, EndpointKey
from app.push.payloads.examples import CALL_ID
from app.push.payloads.rendering import COMPLETE
from app.push.sending.turns import Message
from app.push.spreading.plan import Due, Kind, ReadChange
from app.push.spreading.rows import message_row, save_messages
from app.work import wakeups

_A = webhook_attempts.c
_M = webhook_messages.c
_PREFIX = "att_"


def view_attempt(row: Any) -> AttemptView:
    """Return a row of `webhook_attempts` as the API shows it."""
    return AttemptView(
        id=row.attempt_id,
        webhook_id=row.message_id,
        type=row.type,
        call_id=row.call_id,
        is_test=row.kind == Kind.TEST,
        number=row.number,
        outcome=row.outcome,
        status=row.status,
        error=row.error,
        seconds=row.seconds,
        started_at=row.started_at,
        next_attempt_at=row.next_at,
    )


async def list_attempts(
    db: AsyncConnection,
    key: EndpointKey,
    limit: int,
    before: str | None = None,
    outcome: str | None = None,
    message_id: str | None = None,
) -> Sequence[Row[Any]]:
    """Return attempts, newest first; `before`: those that are older than this one."""
    query = select(webhook_attempts).where(_A.account_id == key.account_id, _A.endpoint_id == key.endpoint_id)
    if before is not None:
        query = query.where(_A.attempt_id < before)
    if outcome is not None:
        query = query.where(_A.outcome == outcome)
    if message_id is not None:
        query = query.where(_A.message_id == message_id)
    return (await db.execute(query.order_by(_A.attempt_id.desc()).limit(limit))).all()


def test_message(key: EndpointKey, type_: str, now: datetime) -> Message:
    """Return a message to try an endpoint with."""
    return Message(
        key=key, seq=0, kind=Kind.TEST, message_id=new_id("test", now), call_id=CALL_ID, type=type_,
        created_at=now,
    )  # fmt: skip


async def resend(db: AsyncConnection, endpoint: Endpoint, name: str, now: datetime) -> QueuedMessage:
    """Send a message again at once, by the id of an attempt or by its `webhook-id`.

    One that waits for a retry is sent now. Raises NotFound for what does not exist or is not kept any more,
    and BadInput for a test.
    """
    key = endpoint.key
    own = _A.account_id == key.account_id, _A.endpoint_id == key.endpoint_id
    named = _A.attempt_id == name if name.startswith(_PREFIX) else _A.message_id == name
    query = select(_A.seq, _A.kind, _A.message_id).where(*own, named).order_by(_A.attempt_id.desc()).limit(1)
    row = (await db.execute(query)).one_or_none()
    if row is None and name.startswith(_PREFIX):
        raise NotFound(f"There is no attempt {name}")
    if row is not None and row.kind == Kind.TEST:
        raise BadInput("A test message is not sent again; send another one", parameter="attempt")
    seq = Position.parse(name).seq if row is None else row.seq
    entry = (await load_changes(db, key.account_id, [seq])).get(seq)
    if entry is None or (row is None and str(entry.position) != name):
        raise NotFound(f"There is no change {name}, or it is not kept any more")
    is_once = endpoint.rules.deliver is Deliver.ONCE
    kind = Kind(row.kind) if row is not None else Kind.COMPLETE if is_once else Kind.CHANGE
    change = ReadChange(seq, str(entry.position), entry.shown)
    type_ = COMPLETE if kind is Kind.COMPLETE else change.type
    await save_messages(db, [message_row(key.account_id, key.endpoint_id, change, kind, type_, Due(now))])
    mine = (_M.account_id == key.account_id) & (_M.endpoint_id == key.endpoint_id)
    waiting = update(webhook_messages).where(mine, _M.seq == seq, _M.kind == kind.value)
    await db.execute(waiting.values(due_at=now))
    wake(db, wakeups.PUSH)
    return QueuedMessage(webhook_id=change.cursor, type=type_, call_id=change.call_id)
