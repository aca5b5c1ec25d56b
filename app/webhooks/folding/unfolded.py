"""The inbox as the database has it: deliveries that wait to be folded."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import and_, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app import metrics
from app.calls import accounts
from app.calls.attachments.parking import bind_account
from app.db.engine import wake
from app.db.lists import is_one_of
from app.db.tables import deliveries, subscriptions
from app.ids import UNBOUND_ACCOUNT, AccountId
from app.work.wakeups import SUBSCRIPTIONS


class Unfolded(NamedTuple):
    """A delivery that waits to be folded. `received_at` is aware UTC, `raw` the body as it came."""

    uuid: str
    received_at: datetime
    raw: bytes
    telephony_session_id: str | None


class Waiting(NamedTuple):
    """A delivery that waits, without its body, of which `size` is the length in bytes."""

    uuid: str
    telephony_session_id: str | None
    size: int


async def find_accounts(db: AsyncConnection) -> list[AccountId]:
    """Return the accounts whose deliveries wait."""
    # One look into the index for each account, however many deliveries wait.
    waits = deliveries.c.folded_at.is_(None)
    first = select(func.min(deliveries.c.account_id).label("account_id")).where(waits)
    found = first.cte("found", recursive=True)
    following = first.where(deliveries.c.account_id > found.c.account_id).scalar_subquery()
    found = found.union_all(select(following).where(found.c.account_id.is_not(None)))
    accounts_waiting = select(found.c.account_id).where(found.c.account_id.is_not(None))
    return [AccountId(account_id) for account_id in sorted(await db.scalars(accounts_waiting))]


async def find_owner(db: AsyncConnection, account_id: AccountId, now: datetime) -> AccountId:
    """Return the account that deliveries of `account_id` belong to.

    The first account that sends deliveries is bound as our own, unless credentials were added for it: then it
    is one of the others.
    """
    own = await accounts.resolve(db, UNBOUND_ACCOUNT)
    if account_id == UNBOUND_ACCOUNT:
        return own
    if own == UNBOUND_ACCOUNT and not await accounts.was_added(db, account_id):
        await bind_account(db, account_id, now)
    return account_id


async def load_waiting(db: AsyncConnection, account_id: AccountId, limit: int) -> list[Waiting]:
    """Return deliveries that wait, oldest first, without their bodies."""
    column = deliveries.c
    query = (
        select(column.uuid, column.telephony_session_id, func.length(column.raw))
        .where(column.account_id == account_id, column.folded_at.is_(None))
        .order_by(column.received_at, column.uuid)
        .limit(limit)
    )
    return [Waiting._make(row) for row in await db.execute(query)]


async def load_unfolded(db: AsyncConnection, account_id: AccountId, uuids: Sequence[str]) -> list[Unfolded]:
    """Return these deliveries in this order, without those that do not wait any more."""
    column = deliveries.c
    query = select(column.uuid, column.received_at, column.raw, column.telephony_session_id).where(
        column.account_id == account_id, is_one_of(column.uuid, uuids), column.folded_at.is_(None)
    )
    found = {row.uuid: Unfolded._make(row) for row in await db.execute(query)}
    return [found[uuid] for uuid in uuids if uuid in found]


async def mark_folded(
    db: AsyncConnection, account_id: AccountId, notes: Mapping[str, str | None], now: datetime
) -> None:
    """Mark deliveries as folded, each with its note; one statement per note."""
    by_note: dict[str | None, list[str]] = {}
    for uuid, note in notes.items():
        by_note.setdefault(note, []).append(uuid)
    for note, uuids in by_note.items():
        # Only what still waits: another replica may have folded some of them meanwhile, with notes of its
        # own.
        mine = and_(
            deliveries.c.account_id == account_id,
            is_one_of(deliveries.c.uuid, uuids),
            deliveries.c.folded_at.is_(None),
        )
        await db.execute(update(deliveries).where(mine).values(folded_at=now, fold_note=note))
        metrics.DELIVERIES_FOLDED.labels(outcome=(note or "call").partition(":")[0]).inc(len(uuids))


async def renew_reminded(db: AsyncConnection, subscription_ids: Collection[str], now: datetime) -> None:
    """Make the subscriptions due for renewal that RingCentral reminds of."""
    if not subscription_ids:
        return
    mine = is_one_of(subscriptions.c.subscription_id, subscription_ids)
    renewed = await db.execute(update(subscriptions).where(mine).values(renew_at=now))
    if renewed.rowcount:
        wake(db, SUBSCRIPTIONS)
