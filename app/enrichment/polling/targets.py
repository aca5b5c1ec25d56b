"""Poll targets: whose active calls are polled, what was learnt about them, and which replica has its turn."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, and_, or_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.engine import upsert_into
from app.db.tables import poll_targets
from app.errors import LeaseLost
from app.ids import AccountId

ACCOUNT = "account"
"""The target that shows every extension's calls."""


@dataclass(frozen=True, slots=True)
class Target:
    """A target while we hold its lease. `memory` and `visibility` are JSON of planner and visibility."""

    account_id: AccountId
    target: str
    memory: dict[str, Any] | None
    visibility: dict[str, Any] | None


async def claim(
    db: AsyncConnection, account_id: AccountId, name: str, replica: str, now: datetime, lease_seconds: float
) -> Target | None:
    """Take a target for a while; None when another replica has it."""
    fresh = upsert_into(db, poll_targets).values(account_id=account_id, target=name)
    await db.execute(fresh.on_conflict_do_nothing())
    free = or_(
        poll_targets.c.lease_until.is_(None),
        poll_targets.c.lease_until < now,
        poll_targets.c.lease_owner == replica,
    )
    taken = (
        update(poll_targets)
        .where(poll_targets.c.account_id == account_id, poll_targets.c.target == name, free)
        .values(lease_owner=replica, lease_until=now + timedelta(seconds=lease_seconds))
        .returning(poll_targets.c.memory, poll_targets.c.visibility)
    )
    row = (await db.execute(taken)).one_or_none()
    return None if row is None else Target(account_id, name, row.memory, row.visibility)


async def renew(
    db: AsyncConnection, target: Target, replica: str, now: datetime, lease_seconds: float
) -> None:
    """Hold a target for longer; does nothing when another replica has it by now."""
    await db.execute(
        update(poll_targets)
        .where(_held(target, replica))
        .values(lease_until=now + timedelta(seconds=lease_seconds))
    )


async def confirm(db: AsyncConnection, target: Target, replica: str) -> None:
    """Make sure that the target is still ours when this transaction commits. Raises LeaseLost as `release` does."""
    held = await db.execute(update(poll_targets).where(_held(target, replica)).values(lease_owner=replica))
    if held.rowcount != 1:
        raise LeaseLost(f"the poll of account {target.account_id} was taken over")


def _held(target: Target, replica: str) -> ColumnElement[bool]:
    return and_(
        poll_targets.c.account_id == target.account_id,
        poll_targets.c.target == target.target,
        poll_targets.c.lease_owner == replica,
    )


async def release(db: AsyncConnection, target: Target, replica: str, **changes: Any) -> None:
    """Give the target back with what was learnt.

    Raises LeaseLost when another replica has it by now: then nothing of this turn may be written.
    """
    given_back = await db.execute(
        update(poll_targets)
        .where(_held(target, replica))
        .values(lease_owner=None, lease_until=None, **changes)
    )
    if given_back.rowcount != 1:
        raise LeaseLost(f"the poll of account {target.account_id} was taken over")
