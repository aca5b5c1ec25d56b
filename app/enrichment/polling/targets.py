"""Poll targets: whose active calls are polled, what was learnt about them, and which replica has the turn."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.accounts.connections import Connection
from app.db.tables import calls, poll_targets
from app.ids import AccountId
from app.work.leases import Lease

ACCOUNT = "account"
"""The target that shows every extension's calls."""


@dataclass(frozen=True, slots=True)
class Target:
    """A target while this process holds its lease. `memory` and `visibility` are JSON of a `PollMemory`."""

    account_id: AccountId
    name: str
    memory: dict[str, Any] | None
    visibility: dict[str, Any] | None
    lease: Lease


def name_of(connection: Connection) -> str:
    """Return the name of the target that a connection shows. Two ways into one extension share a target."""
    return ACCOUNT if connection.is_company_wide else connection.extension_id or connection.name


async def claim(
    db: AsyncConnection, account_id: AccountId, name: str, replica: str, now: datetime, lease_seconds: float
) -> Target | None:
    """Take a target for a while. Return None when another replica has it."""
    key = {"account_id": account_id, "target": name}
    lease = Lease(poll_targets, key, replica, lease_seconds, f"the poll of account {account_id}", opens=True)
    row = await lease.take(db, now)
    return None if row is None else Target(account_id, name, row.memory, row.visibility, lease)


async def find_waiting_accounts(db: AsyncConnection, now: datetime) -> Sequence[AccountId]:
    """Return the accounts in which a call waits for its record and its window is open."""
    # `IS NOT NULL` is part of the partial index that serves this query.
    is_open = (calls.c.window_closes_at.is_not(None), calls.c.window_closes_at > now)
    query = select(calls.c.account_id).where(calls.c.stage == "ended", *is_open).group_by(calls.c.account_id)
    return [AccountId(account_id) for account_id in await db.scalars(query)]
