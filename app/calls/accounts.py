"""Creates accounts, locks them, and resolves `~`.

The account's row is the lock for all changes of its calls, and the counter of its timeline. A transaction
that changes calls takes the lock first and holds it until it commits, so the timeline has no gaps and follows
the order of commits: a transaction that commits late cannot appear before a cursor that has already passed.
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.engine import upsert_into
from app.db.lists import is_one_of
from app.db.tables import accounts, crm_links, dispositions, notes, sentiments, webhook_endpoints
from app.ids import UNBOUND_ACCOUNT, AccountId


async def lock(db: AsyncConnection, account_id: AccountId, now: datetime) -> int:
    """Lock the account, after creating it if necessary; return the last number of its timeline."""
    seq = await _lock_row(db, account_id)
    if seq is None:
        # Another transaction may insert the row first, so it is locked and read again after that.
        await create(db, account_id, now)
        seq = await _lock_row(db, account_id)
    return seq or 0


async def try_lock(
    db: AsyncConnection, account_id: AccountId, *columns: ColumnElement[Any]
) -> Row[Any] | None:
    """Lock the account unless another transaction has it; return `timeline_seq` and these columns.

    None: another transaction has it, or the account does not exist. What the columns read is current, as
    nothing was waited for.
    """
    query = (
        select(accounts.c.timeline_seq, *columns)
        .where(accounts.c.account_id == account_id)
        .with_for_update(skip_locked=True, of=accounts)
    )
    return (await db.execute(query)).one_or_none()


async def try_lock_all(
    db: AsyncConnection, account_ids: Collection[str], *columns: ColumnElement[Any]
) -> Sequence[Row[Any]]:
    """Lock those of the accounts that exist and that no other transaction has, in the order of their ids.

    Return their `account_id`, `timeline_seq` and these columns, as `try_lock` does.
    """
    if not account_ids:
        return []
    query = (
        select(accounts.c.account_id, accounts.c.timeline_seq, *columns)
        .where(is_one_of(accounts.c.account_id, account_ids))
        .order_by(accounts.c.account_id)
        .with_for_update(skip_locked=True, of=accounts)
    )
    return (await db.execute(query)).all()


async def _lock_row(db: AsyncConnection, account_id: AccountId) -> int | None:
    query = select(accounts.c.timeline_seq).where(accounts.c.account_id == account_id).with_for_update()
    seq: int | None = await db.scalar(query)
    return seq


async def create(db: AsyncConnection, account_id: AccountId, now: datetime) -> None:
    """Create the account unless it exists."""
    insert = upsert_into(db, accounts).values(account_id=account_id, created_at=now)
    await db.execute(insert.on_conflict_do_nothing())


async def open_unbound(db: AsyncConnection, now: datetime) -> None:
    """Create the account of the service's own credentials, `~`, unless it exists."""
    await create(db, UNBOUND_ACCOUNT, now)


async def list_ids(db: AsyncConnection) -> list[AccountId]:
    """Return the ids of all accounts."""
    return [
        AccountId(one)
        for one in await db.scalars(select(accounts.c.account_id).order_by(accounts.c.account_id))
    ]


async def resolve(db: AsyncConnection, account_id: str) -> AccountId:
    """Return what `~` is bound to, or `~` itself while it is not bound; any other id unchanged."""
    if account_id != UNBOUND_ACCOUNT:
        return AccountId(account_id)
    bound = await db.scalar(select(accounts.c.bound_to).where(accounts.c.account_id == UNBOUND_ACCOUNT))
    return AccountId(bound) if bound else UNBOUND_ACCOUNT


async def bind(db: AsyncConnection, account_id: AccountId, now: datetime) -> bool:
    """Bind `~` to the account of the service's own credentials; return False if it is bound already.

    Attachments that are parked under `~` move to the account in the same transaction, so none is lost, and so
    do its webhook endpoints.
    """
    # `~` is always locked first, so that two transactions cannot deadlock.
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
    await _move_endpoints(db, account_id)
    return True


async def _move_endpoints(db: AsyncConnection, account_id: AccountId) -> None:
    """Move webhook endpoints that were created under `~`. They begin at the current end of the account."""
    query = select(accounts.c.timeline_seq).where(accounts.c.account_id == account_id)
    moved = update(webhook_endpoints).where(webhook_endpoints.c.account_id == UNBOUND_ACCOUNT)
    await db.execute(moved.values(account_id=account_id, position_seq=await db.scalar(query) or 0))


async def add(db: AsyncConnection, account_id: AccountId, now: datetime) -> None:
    """Record that credentials were added for this account, so that `~` is not bound to it. Takes its lock."""
    await lock(db, account_id, now)
    unknown = (accounts.c.account_id == account_id) & accounts.c.added_at.is_(None)
    await db.execute(update(accounts).where(unknown).values(added_at=now))


async def is_known(db: AsyncConnection, account_id: AccountId) -> bool:
    """Whether the account exists."""
    return (
        await db.scalar(select(accounts.c.account_id).where(accounts.c.account_id == account_id)) is not None
    )


async def was_added(db: AsyncConnection, account_id: AccountId) -> bool:
    """Whether credentials were ever added; the last events of an account may arrive after their removal."""
    query = select(accounts.c.added_at).where(accounts.c.account_id == account_id)
    return await db.scalar(query) is not None


async def has_own_credentials(db: AsyncConnection, account_id: AccountId) -> bool:
    """Whether the service's own credentials serve this account."""
    return await resolve(db, UNBOUND_ACCOUNT) == account_id
