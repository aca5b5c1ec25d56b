"""The inbox as the database has it: deliveries that wait to be folded."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date, datetime
from types import MappingProxyType
from typing import NamedTuple

from sqlalchemy import (
    ColumnElement,
    LargeBinary,
    Text,
    and_,
    bindparam,
    cast,
    column,
    func,
    select,
    true,
    type_coerce,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY
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
    day: date


_FIRST_WAITING = select(func.min(deliveries.c.account_id)).where(deliveries.c.folded_at.is_(None))
ANY_WAITING = _FIRST_WAITING.scalar_subquery().is_not(None)


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
    stored = deliveries.c
    query = (
        select(stored.uuid, stored.telephony_session_id, func.length(stored.raw), stored.day)
        .where(stored.account_id == account_id, stored.folded_at.is_(None))
        .order_by(stored.received_at, stored.uuid)
        .limit(limit)
    )
    return [Waiting._make(row) for row in await db.execute(query)]


Days = tuple[date, date]
"""The first and the last day of some deliveries, which name the partitions that they are in."""


def days_of(waiting: Iterable[Waiting]) -> Days | None:
    """Return the days of deliveries; None for none."""
    days = {one.day for one in waiting}
    return (min(days), max(days)) if days else None


def _within(days: Days | None) -> ColumnElement[bool]:
    return true() if days is None else deliveries.c.day.between(*days)


async def load_unfolded(
    db: AsyncConnection, account_id: AccountId, uuids: Sequence[str], days: Days | None = None
) -> list[Unfolded]:
    """Return these deliveries in this order, without those that do not wait any more.

    `days`: all of theirs.
    """
    stored = deliveries.c
    # As it came: what waits is not packed, whatever its first bytes are.
    raw = type_coerce(stored.raw, LargeBinary).label("raw")
    query = select(stored.uuid, stored.received_at, raw, stored.telephony_session_id).where(
        stored.account_id == account_id,
        is_one_of(stored.uuid, uuids),
        stored.folded_at.is_(None),
        _within(days),
    )
    found = {row.uuid: Unfolded._make(row) for row in await db.execute(query)}
    return [found[uuid] for uuid in uuids if uuid in found]


async def mark_folded(
    db: AsyncConnection,
    account_id: AccountId,
    notes: Mapping[str, str | None],
    now: datetime,
    days: Days | None = None,
    packed: Mapping[str, bytes] = MappingProxyType({}),
) -> None:
    """Mark deliveries as folded, each with its note. `days`: all of theirs.

    A mark is another version of the row, so this is when a body can become small at no further cost:
    `packed` has bodies to store instead of those that came, by uuid.
    """
    if not notes:
        return
    # Only what still waits: another replica may have folded some of them meanwhile, with notes of its own.
    mine = and_(deliveries.c.account_id == account_id, deliveries.c.folded_at.is_(None), _within(days))
    if db.dialect.name == "sqlite":
        marks = update(deliveries).where(mine, deliveries.c.uuid == bindparam("mark_uuid"))
        body = func.coalesce(bindparam("body", type_=LargeBinary), deliveries.c.raw)
        marks = marks.values(folded_at=now, fold_note=bindparam("note"), raw=body)
        rows = [{"mark_uuid": uuid, "note": note, "body": packed.get(uuid)} for uuid, note in notes.items()]
        await db.execute(marks, rows)
    else:
        marked = func.unnest(
            cast(list(notes), ARRAY(Text)),
            cast(list(notes.values()), ARRAY(Text)),
            cast([packed.get(uuid) for uuid in notes], ARRAY(LargeBinary)),
        ).table_valued(column("uuid"), column("note"), column("body", LargeBinary), name="marked")
        marked = marked.render_derived()
        marks = update(deliveries).where(mine, deliveries.c.uuid == marked.c.uuid)
        body = func.coalesce(marked.c.body, deliveries.c.raw)
        await db.execute(marks.values(folded_at=now, fold_note=marked.c.note, raw=body))
    outcomes = Counter((note or "call").partition(":")[0] for note in notes.values())
    for outcome, number in outcomes.items():
        metrics.DELIVERIES_FOLDED.labels(outcome=outcome).inc(number)


async def renew_reminded(db: AsyncConnection, subscription_ids: Collection[str], now: datetime) -> None:
    """Make the subscriptions due for renewal that RingCentral reminds of."""
    if not subscription_ids:
        return
    mine = is_one_of(subscriptions.c.subscription_id, subscription_ids)
    renewed = await db.execute(update(subscriptions).where(mine).values(renew_at=now))
    if renewed.rowcount:
        wake(db, SUBSCRIPTIONS)
