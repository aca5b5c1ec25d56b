"""Which calls an erasure is about, and what belongs to them, by kind."""

from collections.abc import Sequence

from sqlalchemy import ColumnElement, Select, Table, and_, func, not_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.calls import accounts
from app.calls.lifetime.legal_holds import is_held
from app.db.lists import is_one_of
from app.db.tables import (
    call_parties,
    calls,
    deliveries,
    erased_calls,
    erased_names,
    legal_holds,
    metadata,
)
from app.erasure.model import Counts, Subject, SubjectKind, camel
from app.ids import UNBOUND_ACCOUNT, AccountId

_KEPT = frozenset({erased_calls, erased_names, legal_holds})

TABLES_OF_CALLS: Sequence[Table] = tuple(
    table
    for table in reversed(metadata.sorted_tables)  # those that refer to others come first
    if "call_id" in table.c and table not in _KEPT
)
"""All tables with rows of a call; `calls` itself is the last."""

TABLES_OF_SUBJECTS: Sequence[Table] = tuple(
    table for table in metadata.sorted_tables if {"subject", "parked"} <= set(table.c.keys())
)
"""The tables of attachments, whose `subject` is a call's id or one of its names."""


def of_subject(account_id: AccountId, subject: Subject) -> ColumnElement[bool]:
    """Return the condition that a row of `calls` is one of a subject's."""
    mine = calls.c.account_id == account_id
    if subject.kind is SubjectKind.CALL:
        return and_(mine, calls.c.call_id == subject.value)
    party = call_parties.c
    kind = "number" if subject.kind is SubjectKind.PHONE_NUMBER else "extension"
    found = select(party.call_id).where(
        party.account_id == account_id, party.kind == kind, is_one_of(party.value, subject.values)
    )
    return and_(mine, calls.c.call_id.in_(found))


_HELD = is_held(calls.c.account_id, calls.c.call_id)


async def find_next_calls(
    db: AsyncConnection, account_id: AccountId, subject: Subject, limit: int
) -> list[str]:
    """Return calls of a subject that are not under legal hold, by id."""
    query = select(calls.c.call_id).where(of_subject(account_id, subject), not_(_HELD))
    return list(await db.scalars(query.order_by(calls.c.call_id).limit(limit)))


async def count_held(db: AsyncConnection, account_id: AccountId, subject: Subject) -> int:
    """Return how many calls of a subject are under legal hold."""
    query = select(func.count()).select_from(calls).where(of_subject(account_id, subject), _HELD)
    return int(await db.scalar(query) or 0)


async def count_calls(db: AsyncConnection, account_id: AccountId, subject: Subject) -> int:
    """Return how many calls of a subject an erasure would erase."""
    query = select(func.count()).select_from(calls).where(of_subject(account_id, subject), not_(_HELD))
    return int(await db.scalar(query) or 0)


async def count_all(db: AsyncConnection, account_id: AccountId, subject: Subject) -> Counts:
    """Count what an erasure would delete of a subject's calls, by kind; kinds without rows are left out."""
    mine = and_(of_subject(account_id, subject), not_(_HELD))
    counts: Counts = Counts()
    for table in TABLES_OF_CALLS:
        counts[camel(table.name)] = await _count(
            db, table, account_id, "call_id", select(calls.c.call_id).where(mine)
        )
    for table in TABLES_OF_SUBJECTS:
        counts[camel(table.name)] = await _count(
            db, table, account_id, "subject", select(calls.c.call_id).where(mine)
        )
    sessions = select(calls.c.telephony_session_id).where(mine)
    for one in await accounts_of(db, account_id):
        counts["deliveries"] += await _count(db, deliveries, one, "telephony_session_id", sessions)
    return +counts


async def _count(
    db: AsyncConnection, table: Table, account_id: AccountId, column: str, found: Select[tuple[str]]
) -> int:
    mine = and_(table.c.account_id == account_id, table.c[column].in_(found))
    return int(await db.scalar(select(func.count()).select_from(table).where(mine)) or 0)


async def accounts_of(db: AsyncConnection, account_id: AccountId) -> list[AccountId]:
    """Return the accounts under which rows of an account are stored: `~` as well if it means this one."""
    own = await accounts.resolve(db, UNBOUND_ACCOUNT)
    return [account_id, UNBOUND_ACCOUNT] if own == account_id != UNBOUND_ACCOUNT else [account_id]
