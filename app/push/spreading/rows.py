"""What spreading reads and writes: the traits of calls, messages, and calls that are sent once."""

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from sqlalchemy import bindparam, delete, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.calls.views import readiness_json
from app.db.engine import upsert_into
from app.db.lists import insert_rows, is_one_of
from app.db.tables import calls, webhook_attempts, webhook_messages, webhook_waits
from app.ids import AccountId
from app.push.endpoints.matching import CallTraits
from app.push.spreading.plan import Due, Kind, ReadChange, Wait

_C = calls.c
_M = webhook_messages.c
_W = webhook_waits.c
TRAITS = (
    _C.call_id, _C.stage, _C.direction, _C.internal, _C.main_call_id, _C.readiness, _C.ended_at,
    _C.changed_seq,
)  # fmt: skip


def read_traits(row: Any) -> CallTraits:
    """Return the traits of a call, from a row that has `TRAITS`."""
    return CallTraits(
        stage=row.stage,
        direction=row.direction,
        internal=row.internal,
        is_main=row.main_call_id in (None, row.call_id),
        readiness=readiness_json(row),
        ended_at=row.ended_at,
    )


async def load_traits(
    db: AsyncConnection, account_id: AccountId, call_ids: Collection[str]
) -> dict[str, CallTraits]:
    """Return the traits of those of the calls that exist, by id."""
    if not call_ids:
        return {}
    query = select(*TRAITS).where(_C.account_id == account_id, is_one_of(_C.call_id, call_ids))
    return {row.call_id: read_traits(row) for row in await db.execute(query)}


async def load_pending(
    db: AsyncConnection, account_id: AccountId, call_ids: Collection[str]
) -> dict[tuple[str, str], Due]:
    """Return when the last waiting message of each endpoint and call is due."""
    soonest_at = func.coalesce(_M.soonest_at, _M.due_at, type_=_M.due_at.type)
    query = select(
        _M.endpoint_id,
        _M.call_id,
        func.max(_M.due_at).label("due_at"),
        func.max(soonest_at, type_=_M.due_at.type).label("soonest_at"),
    )
    query = query.where(_M.account_id == account_id, is_one_of(_M.call_id, call_ids))
    rows = await db.execute(query.group_by(_M.endpoint_id, _M.call_id))
    return {(row.endpoint_id, row.call_id): Due(row.due_at, row.soonest_at) for row in rows}


async def load_waits(
    db: AsyncConnection, account_id: AccountId, call_ids: Collection[str]
) -> dict[tuple[str, str], Wait]:
    """Return what is known of calls that endpoints receive once, by endpoint and call."""
    if not call_ids:
        return {}
    query = select(webhook_waits).where(_W.account_id == account_id, is_one_of(_W.call_id, call_ids))
    return {(row.endpoint_id, row.call_id): Wait(row.due_at, row.seq) for row in await db.execute(query)}


async def save_waits(
    db: AsyncConnection, account_id: AccountId, waits: Iterable[tuple[str, str, Wait]]
) -> None:
    """Store what became of calls that endpoints receive once."""
    rows = [
        {"account_id": account_id, "endpoint_id": endpoint_id, "call_id": call_id, "due_at": one.due_at,
         "seq": one.seq}
        for endpoint_id, call_id, one in waits
    ]  # fmt: skip
    if not rows:
        return
    insert = upsert_into(db, webhook_waits)
    changed = {name: insert.excluded[name] for name in ("due_at", "seq")}
    await db.execute(
        insert.on_conflict_do_update(index_elements=["account_id", "endpoint_id", "call_id"], set_=changed),
        rows,
    )


def message_row(
    account_id: AccountId, endpoint_id: str, change: ReadChange, kind: Kind, type_: str, due: Due
) -> dict[str, Any]:
    """Return a new row of `webhook_messages`."""
    return {
        "account_id": account_id,
        "endpoint_id": endpoint_id,
        "seq": change.seq,
        "kind": kind.value,
        "message_id": change.cursor,
        "call_id": change.call_id,
        "type": type_,
        "due_at": due.at,
        "soonest_at": due.soonest_at,
        "created_at": change.at,
    }


async def save_messages(db: AsyncConnection, rows: Sequence[dict[str, Any]]) -> None:
    """Store messages; one that is waiting already stays as it is."""
    await insert_rows(db, webhook_messages, rows, or_ignore=True)


async def supersede(db: AsyncConnection, rows: Sequence[dict[str, Any]]) -> None:
    """Delete the waiting messages of the same calls and endpoints that are older than these rows."""
    if not rows:
        return
    own = (
        _M.account_id == bindparam("of_account"),
        _M.endpoint_id == bindparam("of_endpoint"),
        _M.call_id == bindparam("of_call"),
        _M.seq < bindparam("before"),
    )
    newest = [
        {"of_account": row["account_id"], "of_endpoint": row["endpoint_id"], "of_call": row["call_id"],
         "before": row["seq"]}
        for row in rows
    ]  # fmt: skip
    await db.execute(delete(webhook_messages).where(*own), newest)


async def count_pending(
    db: AsyncConnection, account_id: AccountId, endpoint_ids: Collection[str]
) -> dict[str, int]:
    """Return how many messages wait for each of these endpoints."""
    query = select(_M.endpoint_id, func.count().label("number"))
    query = query.where(_M.account_id == account_id, is_one_of(_M.endpoint_id, endpoint_ids))
    return {row.endpoint_id: row.number for row in await db.execute(query.group_by(_M.endpoint_id))}


async def load_delivered(
    db: AsyncConnection, account_id: AccountId, endpoint_id: str, after: int, until: int
) -> set[int]:
    """Return the numbers of changes in a range that were delivered to an endpoint."""
    attempt = webhook_attempts.c
    query = select(attempt.seq).where(
        attempt.account_id == account_id,
        attempt.endpoint_id == endpoint_id,
        attempt.seq > after,
        attempt.seq <= until,
        attempt.outcome == "delivered",
    )
    return set(await db.scalars(query))
