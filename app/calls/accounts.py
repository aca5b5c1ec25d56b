"""Accounts: opening them, locking them, and what `~` turned out to be.

The account's row is the lock under which all its calls change and the counter of its timeline. Whoever
changes calls takes it first and holds it until the commit, so the timeline is gap-free in commit order:
a transaction that commits late cannot appear behind a cursor that has already passed.
"""

from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.engine import upsert_into
from app.db.tables import accounts, crm_links, dispositions, notes, sentiments
from app.ids import UNBOUND_ACCOUNT, AccountId


async def lock(db: AsyncConnection, account_id: AccountId, now: datetime) -> int:
    """Hold the account until this transaction ends; return the last number of its timeline.

    An account that is not there yet is opened.
    """
    seq = await _lock_row(db, account_id)
    if seq is None:
        await _open(db, account_id, now)
        seq = await _lock_row(db, account_id)
    return seq or 0


async def _lock_row(db: AsyncConnection, account_id: AccountId) -> int | None:
    query = select(accounts.c.timeline_seq).where(accounts.c.account_id == account_id).with_for_update()
    seq: int | None = await db.scalar(query)
    return seq


async def _open(db: AsyncConnection, account_id: AccountId, now: datetime) -> None:
    insert = upsert_into(db, accounts).values(account_id=account_id, created_at=now)
    await db.execute(insert.on_conflict_do_nothing())


async def open_unbound(db: AsyncConnection, now: datetime) -> None:
    """Make sure that the account of the service's own credentials is there, known or not."""
    await _open(db, UNBOUND_ACCOUNT, now)


async def resolve(db: AsyncConnection, account_id: str) -> AccountId:
    """Return what `~` is bound to, `~` itself while that is unknown, any other id as it is."""
    if account_id != UNBOUND_ACCOUNT:
        return AccountId(account_id)
    bound = await db.scalar(select(accounts.c.bound_to).where(accounts.c.account_id == UNBOUND_ACCOUNT))
    return AccountId(bound) if bound else UNBOUND_ACCOUNT


async def bind(db: AsyncConnection, account_id: AccountId, now: datetime) -> bool:
    """Say which account the service's own credentials belong to, if nobody has said so yet.

    What was parked under `~` moves along, within this transaction, so nothing written before is lost.
    """
    await lock(db, UNBOUND_ACCOUNT, now)
    if await resolve(db, UNBOUND_ACCOUNT) != UNBOUND_ACCOUNT:
        return False
    await lock(db, account_id, now)
    await db.execute(
        update(accounts).where(accounts.c.account_id == UNBOUND_ACCOUNT).values(bound_to=account_id)
    )
    for table in (notes, sentiments, dispositions, crm_links):
        await db.execute(
            update(table).where(table.c.account_id == UNBOUND_ACCOUNT).values(account_id=account_id)
        )
    return True


async def add(db: AsyncConnection, account_id: AccountId, now: datetime) -> None:
    """Note that somebody gave credentials for this account: `~` will not be bound to it. Holds its lock."""
    await lock(db, account_id, now)
    unknown = (accounts.c.account_id == account_id) & accounts.c.added_at.is_(None)
    await db.execute(update(accounts).where(unknown).values(added_at=now))


async def is_known(db: AsyncConnection, account_id: AccountId) -> bool:
    """Whether there is such an account here."""
    return (
        await db.scalar(select(accounts.c.account_id).where(accounts.c.account_id == account_id)) is not None
    )


async def was_added(db: AsyncConnection, account_id: AccountId) -> bool:
    """Whether somebody ever gave credentials for this account; its last events may come after these are gone."""
    query = select(accounts.c.added_at).where(accounts.c.account_id == account_id)
    return await db.scalar(query) is not None


async def has_own_credentials(db: AsyncConnection, account_id: AccountId) -> bool:
    """Whether the service's own credentials serve this account."""
    return await resolve(db, UNBOUND_ACCOUNT) == account_id
