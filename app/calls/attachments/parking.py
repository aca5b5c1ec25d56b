"""Gives parked attachments to their calls, in the transaction that gives the calls their names."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import Any

from sqlalchemy import ColumnElement, and_, bindparam, delete, literal, select, union_all, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.audit import SERVICE, AuditAction, record
from app.calls import accounts, store
from app.calls.attachments.idempotency import forget_notes
from app.calls.attachments.store import record_change
from app.calls.attachments.stored import KINDS, NOTE, AttachmentKind, StoredAttachment
from app.calls.ledger import Ledger, open_ledger
from app.calls.model import Call
from app.db.lists import is_one_of
from app.ids import UNBOUND_ACCOUNT, AccountId, is_alias

_NAMES_PER_QUERY = 1_000


async def join_parked(ledger: Ledger, joins: Mapping[str, Call]) -> int:
    """Give calls the attachments that are parked under their new names; return how many joined.

    Call it in the transaction that gives calls new names, with name -> call for the whole batch. It takes one
    query if nothing is parked. If both sides have the same slot, the newer attachment stays, with the highest
    version plus one, so that no ETag ever stands for two contents. Each joined attachment is one change of
    its call.
    """
    joined = 0
    names = (name for name in joins if is_alias(name))
    while batch := list(islice(names, _NAMES_PER_QUERY)):
        waiting = await _find_parked(ledger, batch)
        for kind in KINDS:
            if subjects := waiting[kind.word]:
                joined += await _join(ledger, kind, {subject: joins[subject] for subject in subjects})
    return joined


async def bind_account(db: AsyncConnection, account_id: AccountId, now: datetime) -> bool:
    """Bind `~` to an account and give calls what is parked under `~`; return False if `~` is bound already.

    This is the only correct way to call `accounts.bind`. Do not call it within a ledger of the account.
    """
    await accounts.lock(db, UNBOUND_ACCOUNT, now)
    if await accounts.resolve(db, UNBOUND_ACCOUNT) != UNBOUND_ACCOUNT:
        return False
    await accounts.lock(db, account_id, now)
    # Before the rows move: both accounts may have the same slot, which is unique.
    for kind in KINDS:
        await _drop_older_of_both(db, kind, account_id)
    await accounts.bind(db, account_id, now)
    await record(db, now, account_id, AuditAction.ACCOUNT_BOUND, SERVICE)
    async with open_ledger(db, account_id, now) as ledger:
        await join_parked(ledger, await _find_calls_of_parked(ledger))
    return True


async def _find_parked(ledger: Ledger, names: Sequence[str]) -> dict[str, set[str]]:
    """Return the names that have parked attachments, by kind, with one query for all four tables."""
    found: dict[str, set[str]] = defaultdict(set)
    parts = (_parked(kind, ledger.account_id, is_one_of(kind.table.c.subject, names)) for kind in KINDS)
    for word, subject in await ledger.db.execute(union_all(*parts)):
        found[word].add(subject)
    return found


def _parked(kind: AttachmentKind, account_id: AccountId, *conditions: ColumnElement[bool]) -> Any:
    table = kind.table
    return select(literal(kind.word), table.c.subject).where(
        table.c.account_id == account_id, table.c.parked.is_(True), *conditions
    )


async def _join(ledger: Ledger, kind: AttachmentKind, joins: Mapping[str, Call]) -> int:
    calls: dict[str, Call] = {call.call_id: call for call in joins.values()}
    table = kind.table
    query = (
        select(table)
        .where(table.c.account_id == ledger.account_id, is_one_of(table.c.subject, [*joins, *calls]))
        .order_by(table.c.updated_at, table.c.created_at)
    )
    found = [StoredAttachment.read(kind, row) for row in (await ledger.db.execute(query)).mappings()]
    # Without a parked attachment among them, there is nothing to decide.
    contests = [rivals for rivals in _by_slot(found, joins) if any(one.parked for one in rivals)]
    # Sorted by time: the last one of each contest is the newest and wins. The losers are deleted first,
    # because the winner takes their slot, which is unique.
    losers = [loser for rivals in contests for loser in rivals[:-1]]
    if kind is NOTE and losers:
        await forget_notes(ledger, [loser.columns["note_id"] for loser in losers])
    await _drop(ledger, kind, losers)
    await _attach(ledger, kind, contests, joins)
    for *beaten, winner in contests:
        call = joins[winner.subject] if winner.parked else calls[winner.subject]
        for loser in beaten:
            # A note has an id that clients know; the other kinds are known by their slot, which stays filled.
            if kind is NOTE and not loser.parked:
                record_change(ledger, call, "note.deleted", loser)
        record_change(ledger, call, f"{kind.word}.joined" if winner.parked else kind.changed, winner)
    return len(contests)


def _by_slot(
    attachments: Iterable[StoredAttachment], joins: Mapping[str, Call]
) -> Iterable[list[StoredAttachment]]:
    """Group attachments, oldest first, by the slot that they will have once they have joined."""
    slots: dict[tuple[Any, ...], list[StoredAttachment]] = defaultdict(list)
    for one in attachments:
        subject = joins[one.subject].call_id if one.parked else one.subject
        # A row without a slot competes with nothing but itself.
        slot = one.slot if None not in one.slot else tuple(one.row_key.values())
        slots[(subject, *slot)].append(one)
    return slots.values()


async def _drop(ledger: Ledger, kind: AttachmentKind, losers: Sequence[StoredAttachment]) -> None:
    if losers:
        statement = delete(kind.table).where(_is_bound_row(kind, ledger.account_id))
        await ledger.db.execute(statement, [_bound_key(loser) for loser in losers])


async def _attach(
    ledger: Ledger,
    kind: AttachmentKind,
    contests: Sequence[Sequence[StoredAttachment]],
    joins: Mapping[str, Call],
) -> None:
    """Move the winners to their calls."""
    if not contests:
        return
    statement = (
        update(kind.table)
        .where(_is_bound_row(kind, ledger.account_id))
        .values(subject=bindparam("to_subject"), parked=False, version=bindparam("to_version"))
    )
    await ledger.db.execute(
        statement,
        [
            {
                **_bound_key(winner),
                "to_subject": joins[winner.subject].call_id if winner.parked else winner.subject,
                "to_version": max(one.version for one in (*losers, winner)) + bool(losers),
            }
            for *losers, winner in contests
        ],
    )


def _is_bound_row(kind: AttachmentKind, account_id: AccountId) -> ColumnElement[bool]:
    own = (kind.table.c[column] == bindparam(f"key_{column}") for column in kind.row_key)
    return and_(kind.table.c.account_id == account_id, *own)


def _bound_key(attachment: StoredAttachment) -> dict[str, Any]:
    return {f"key_{column}": value for column, value in attachment.row_key.items()}


async def _drop_older_of_both(db: AsyncConnection, kind: AttachmentKind, account_id: AccountId) -> None:
    """Where `~` and the account have the same slot filled, delete the older attachment of the two."""
    ours, theirs = kind.table.alias("ours"), kind.table.alias("theirs")
    same = [ours.c[column] == theirs.c[column] for column in ("subject", *kind.slot)]
    query = select(
        *(ours.c[column].label(f"key_{column}") for column in kind.row_key),
        *(theirs.c[column].label(f"their_{column}") for column in kind.row_key),
        (ours.c.updated_at >= theirs.c.updated_at).label("ours_is_newer"),
    ).where(ours.c.account_id == UNBOUND_ACCOUNT, theirs.c.account_id == account_id, *same)
    for pair in await db.execute(query):
        loser, side = (account_id, "their") if pair.ours_is_newer else (UNBOUND_ACCOUNT, "key")
        own = (kind.table.c[column] == getattr(pair, f"{side}_{column}") for column in kind.row_key)
        await db.execute(delete(kind.table).where(kind.table.c.account_id == loser, *own))


async def _find_calls_of_parked(ledger: Ledger) -> dict[str, Call]:
    """Return the names under which something is parked although a call has the name, with that call.

    Only rows that come from `~` can be in this state. If several calls have the name, the first one gets all.
    """
    parts = (_parked(kind, ledger.account_id) for kind in KINDS)
    names = sorted({subject for _, subject in await ledger.db.execute(union_all(*parts))})
    first = {}
    for name in names:
        if found := await store.find_ids(ledger.db, ledger.account_id, name):
            first[name] = min(found)
    calls = await store.load_by_ids(ledger.db, ledger.account_id, set(first.values()))
    return {name: calls[call_id] for name, call_id in first.items()}
