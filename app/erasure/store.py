"""Reads and writes erasures, and the orders to begin them."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, and_, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.audit import SERVICE, AuditAction, record
from app.db.tables import erased_files, erasures
from app.erasure.model import Counts, Erasure, Order, Progress, Status, Subject
from app.erasure.selection import count_all, count_held
from app.erasure.subjects import hash_of, seal, unseal
from app.errors import Conflict, HeldCalls, NotFound
from app.ids import AccountId, new_id
from app.vault import InvalidToken, Vault

PLANNED_FOR = timedelta(days=1)
"""A plan that nobody has carried out by then is deleted, with the subject that it keeps encrypted."""


def _read(row: Row[Any]) -> Erasure:
    return Erasure(**row._mapping)  # noqa: SLF001 - the documented way from a row to keywords


async def plan_erasure(
    db: AsyncConnection, vault: Vault, account_id: AccountId, subject: Subject, order: Order, now: datetime
) -> Erasure:
    """Count what an erasure would erase, and store it as a plan. Nothing is erased."""
    row = {
        "account_id": account_id,
        "erasure_id": new_id("erasure", now),
        "kind": subject.kind.value,
        "subject": seal(vault, subject),
        "subject_hash": hash_of(vault, account_id, subject),
        "status": Status.PLANNED.value,
        "planned": dict(await count_all(db, account_id, subject)),
        "erased": {},
        "held": await count_held(db, account_id, subject),
        "progress": Progress().to_json(),
        "ordered_by": order.to_json(),
        "planned_at": now,
    }
    return _read((await db.execute(insert(erasures).values(row).returning(*erasures.c))).one())


async def begin_erasure(
    db: AsyncConnection,
    vault: Vault,
    account_id: AccountId,
    erasure_id: str,
    order: Order,
    now: datetime,
    *,
    spare_held: bool,
) -> Erasure:
    """Order a planned erasure to be carried out. One that runs or is done is returned as it is.

    Raises HeldCalls if calls of it are under legal hold, unless they are to be spared; Conflict if the plan
    has expired or was made under another secret key.
    """
    found = await load_erasure(db, account_id, erasure_id)
    if found.status != Status.PLANNED:
        return found
    if found.planned_at < now - PLANNED_FOR:
        raise Conflict("The plan is older than a day. Plan the erasure anew.")
    try:
        subject = unseal(vault, found.subject or b"")
    except InvalidToken as error:
        raise Conflict("The plan was made under another secret key. Plan the erasure anew.") from error
    held = await count_held(db, account_id, subject)
    if held and not spare_held:
        raise HeldCalls(
            f"{held} {'call is' if held == 1 else 'calls are'} under legal hold and cannot be erased. "
            "Nothing was erased.",
            heldCalls=held,
        )
    changes = {
        "status": Status.RUNNING.value,
        "held": held,
        "spare_held": spare_held,
        "ordered_by": order.to_json(),
        "started_at": now,
        "due_at": now,
    }
    mine = and_(_is_one(account_id, erasure_id), erasures.c.status == Status.PLANNED)
    await db.execute(update(erasures).where(mine).values(changes))
    return await load_erasure(db, account_id, erasure_id)


async def record_done(
    db: AsyncConnection, account_id: AccountId, erasure_id: str, erased: Counts, held: int, now: datetime
) -> None:
    """Write into the audit that an erasure is done."""
    told = {"erased": {kind: number for kind, number in erased.items() if number}, "heldCalls": held}
    await record(db, now, account_id, AuditAction.ERASURE_DONE, SERVICE, target=erasure_id, details=told)


async def load_erasure(db: AsyncConnection, account_id: AccountId, erasure_id: str) -> Erasure:
    """Return an erasure. Raises NotFound."""
    row = (await db.execute(select(erasures).where(_is_one(account_id, erasure_id)))).first()
    if row is None:
        raise NotFound(f"There is no erasure {erasure_id}")
    return _read(row)


async def list_erasures(
    db: AsyncConnection, account_id: AccountId, limit: int, before: str | None = None
) -> Sequence[Erasure]:
    """Return the erasures of an account, newest first; those planned before the erasure `before`."""
    query = select(erasures).where(erasures.c.account_id == account_id)
    if before is not None:
        query = query.where(erasures.c.erasure_id < before)
    rows = await db.execute(query.order_by(erasures.c.erasure_id.desc()).limit(limit))
    return [_read(row) for row in rows]


async def find_due(db: AsyncConnection, now: datetime, limit: int) -> Sequence[Erasure]:
    """Return running erasures that are due, longest due first."""
    query = select(erasures).where(erasures.c.due_at <= now).order_by(erasures.c.due_at).limit(limit)
    return [_read(row) for row in await db.execute(query)]


async def find_next_due(db: AsyncConnection, now: datetime) -> datetime | None:
    """Return the next time at which a running erasure is due; None if none is."""
    query = select(func.min(erasures.c.due_at)).where(erasures.c.due_at > now)
    next_at: datetime | None = await db.scalar(query)
    return next_at


async def delete_expired(db: AsyncConnection, now: datetime) -> None:
    """Delete plans that nobody has carried out."""
    old = and_(erasures.c.status == Status.PLANNED, erasures.c.planned_at < now - PLANNED_FOR)
    await db.execute(delete(erasures).where(old))


async def load_files(
    db: AsyncConnection, account_id: AccountId, erasure_id: str, limit: int
) -> Sequence[Row[Any]]:
    """Return files that an erasure has to delete, longest due first."""
    mine = and_(erased_files.c.account_id == account_id, erased_files.c.erasure_id == erasure_id)
    query = select(erased_files).where(mine).order_by(erased_files.c.due_at, erased_files.c.path)
    return (await db.execute(query.limit(limit))).all()


async def forget_files(db: AsyncConnection, account_id: AccountId, paths: Sequence[str]) -> None:
    """Note that files are deleted."""
    mine = and_(erased_files.c.account_id == account_id, erased_files.c.path.in_(paths))
    await db.execute(delete(erased_files).where(mine))


def _is_one(account_id: str, erasure_id: str) -> Any:
    return and_(erasures.c.account_id == account_id, erasures.c.erasure_id == erasure_id)
