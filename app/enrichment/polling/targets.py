"""Poll targets: whose active calls are polled, what was learnt about them, and which replica has the turn."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import and_, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.accounts.connections import Connection
from app.db.lists import is_one_of
from app.db.tables import calls, poll_targets
from app.ids import AccountId
from app.work.leases import Lease, is_free
from app.work.lookout import NOW

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
    lease = _lease(account_id, name, replica, lease_seconds)
    row = await lease.take(db, now)
    return None if row is None else Target(account_id, name, row.memory, row.visibility, lease)


@dataclass(frozen=True, slots=True)
class WaitingCalls:
    """The calls of an account that wait for their records, as far as a plan depends on them.

    Another call that ends, a poll and a later end all change it.
    """

    count: int
    known_at: datetime | None
    missed_at: datetime | None
    closes_at: datetime


_LAST_WINDOW = select(func.max(calls.c.window_closes_at)).where(calls.c.stage == "ended")
ANY_WAITING = _LAST_WINDOW.scalar_subquery() > NOW


async def find_waiting(db: AsyncConnection, now: datetime) -> dict[AccountId, WaitingCalls]:
    """Return the accounts in which a call waits for its record and its window is open."""
    column = calls.c
    # `IS NOT NULL` is part of the partial index that serves this query.
    is_open = (column.window_closes_at.is_not(None), column.window_closes_at > now)
    query = (
        select(
            column.account_id,
            func.count(),
            func.max(column.end_known_at),
            func.max(column.last_missed_at),
            func.max(column.window_closes_at),
        )
        .where(column.stage == "ended", *is_open)
        .group_by(column.account_id)
    )
    return {AccountId(account_id): WaitingCalls(*facts) for account_id, *facts in await db.execute(query)}


@dataclass(frozen=True, slots=True)
class StoredTarget:
    """What is stored of a target that shows every extension's calls; nothing, if it was never polled."""

    memory: dict[str, Any] | None = None
    visibility: dict[str, Any] | None = None
    last_poll_at: datetime | None = None


async def load_all(db: AsyncConnection, account_ids: Collection[AccountId]) -> dict[AccountId, StoredTarget]:
    """Return what is stored of the targets of these accounts."""
    column = poll_targets.c
    query = select(column.account_id, *(column[item.name] for item in fields(StoredTarget)))
    query = query.where(is_one_of(column.account_id, account_ids), column.target == ACCOUNT)
    stored = {AccountId(account_id): StoredTarget(*row) for account_id, *row in await db.execute(query)}
    return {account_id: stored.get(account_id, StoredTarget()) for account_id in account_ids}


async def claim_all(
    db: AsyncConnection,
    unchanged: Mapping[AccountId, StoredTarget],
    replica: str,
    now: datetime,
    lease_seconds: float,
) -> dict[AccountId, Target]:
    """Take those of the targets that are free and were not polled since they were read.

    A row that another transaction is writing is left out.
    """
    column = poll_targets.c
    mine = and_(is_one_of(column.account_id, unchanged), column.target == ACCOUNT)
    free = select(column.account_id, column.last_poll_at).where(mine, is_free(poll_targets, now))
    rows = await db.execute(free.order_by(column.account_id).with_for_update(skip_locked=True))
    taken = [row.account_id for row in rows if row.last_poll_at == unchanged[row.account_id].last_poll_at]
    if not taken:
        return {}
    held = {"lease_owner": replica, "lease_until": now + timedelta(seconds=lease_seconds)}
    own = and_(is_one_of(column.account_id, taken), column.target == ACCOUNT)
    await db.execute(update(poll_targets).where(own).values(held))
    return {
        account_id: Target(
            account_id,
            ACCOUNT,
            unchanged[account_id].memory,
            unchanged[account_id].visibility,
            _lease(account_id, ACCOUNT, replica, lease_seconds),
        )
        for account_id in map(AccountId, taken)
    }


def _lease(account_id: AccountId, name: str, replica: str, seconds: float) -> Lease:
    key = {"account_id": account_id, "target": name}
    return Lease(poll_targets, key, replica, seconds, f"the poll of account {account_id}", opens=True)
