"""Poll targets: whose active calls are polled, what was learnt about them, and which replica has its turn."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.tables import poll_targets
from app.ids import AccountId
from app.work.leases import Lease

ACCOUNT = "account"
"""The target that shows every extension's calls."""


@dataclass(frozen=True, slots=True)
class Target:
    """A target while this process holds its lease. `memory` and `visibility` are JSON of planner and visibility."""

    account_id: AccountId
    target: str
    memory: dict[str, Any] | None
    visibility: dict[str, Any] | None
    lease: Lease


async def claim(
    db: AsyncConnection, account_id: AccountId, name: str, replica: str, now: datetime, lease_seconds: float
) -> Target | None:
    """Take a target for a while. Return None when another replica has it."""
    key = {"account_id": account_id, "target": name}
    lease = Lease(poll_targets, key, replica, lease_seconds, f"the poll of account {account_id}", opens=True)
    row = await lease.take(db, now)
    return None if row is None else Target(account_id, name, row.memory, row.visibility, lease)
