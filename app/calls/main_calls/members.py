"""Finds the calls of conversations and which of them have another main call now.

Reads only what the choice depends on. A few statements serve all conversations of a transaction.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, exists, func, select, union_all
from sqlalchemy.ext.asyncio import AsyncConnection

from app.calls.main_calls.rule import Member, main_of
from app.calls.model import LinkKind
from app.db.lists import is_one_of
from app.db.tables import call_links, calls
from app.ids import AccountId

MOST_MEMBERS = 64
"""How many main calls, and how many others, of a conversation are looked at. All members of a larger one are
looked at as they change."""

_AT_ONCE = 20
"""The conversations of one statement: SQLite combines 500 queries at most."""


@dataclass(frozen=True, slots=True)
class NewMain:
    """A call whose main call is another one now. `main_call_id`: None if it is itself."""

    call_id: str
    stage: str
    version: int
    conversation_id: str
    main_call_id: str | None


async def find_new_mains(
    db: AsyncConnection, account_id: AccountId, conversation_ids: Iterable[str]
) -> list[NewMain]:
    """Choose the main call of each conversation; return the calls for which that is a change, by id."""
    changed: list[NewMain] = []
    for rows in await _load(db, account_id, sorted(set(conversation_ids))):
        main = main_of(read_member(row) for row in rows)
        for row in rows:
            wanted = None if row.call_id == main else main
            if row.main_call_id != wanted:
                changed.append(NewMain(row.call_id, row.stage, row.version, row.conversation_id, wanted))
    return sorted(changed, key=lambda change: change.call_id)


async def find_mains_of(db: AsyncConnection, account_id: AccountId, call_ids: Iterable[str]) -> list[Any]:
    """Return the main calls of these calls, each once, by id, without those that are their own."""
    other = calls.alias()
    of_these = select(other.c.main_call_id).where(
        other.c.account_id == account_id, is_one_of(other.c.call_id, call_ids)
    )
    query = select(calls.c.call_id, calls.c.stage, calls.c.version, calls.c.conversation_id).where(
        calls.c.account_id == account_id, calls.c.call_id.in_(of_these)
    )
    return [*await db.execute(query.order_by(calls.c.call_id))]


async def find_unsettled(db: AsyncConnection, limit: int) -> dict[AccountId, list[str]]:
    """Return conversations that have several main calls, by account: at most `limit`.

    Their calls were linked by a version of the service that did not choose.
    """
    ids = (calls.c.account_id, calls.c.conversation_id)
    query = (
        select(*ids)
        .where(calls.c.conversation_id.is_not(None), calls.c.main_call_id.is_(None))
        .group_by(*ids)
        .having(func.count() > 1)
        .limit(limit)
    )
    found: dict[AccountId, list[str]] = {}
    for row in await db.execute(query):
        found.setdefault(AccountId(row.account_id), []).append(row.conversation_id)
    return found


def read_member(row: Row[Any]) -> Member:
    """Return the member of a row with `MEMBER_COLUMNS`."""
    callee = row.callee or {}
    number = callee.get("phoneNumber")
    return Member(
        call_id=row.call_id,
        key=row.telephony_session_id,
        started_at=row.started_at,
        internal=row.internal,
        external_number=row.external_number,
        outcome=row.outcome,
        origin=row.details.get("origin"),
        action=row.action,
        dialed=number if isinstance(number, str) else None,
        calls_extension=bool(callee.get("extensionId") or callee.get("extensionNumber")),
        supervises=row.supervises,
        was_picked_up=row.was_picked_up,
    )


def _names(kind: LinkKind) -> ColumnElement[bool]:
    """Whether a call names another session as related in this way."""
    link = call_links.c
    return exists().where(
        link.account_id == calls.c.account_id, link.call_id == calls.c.call_id, link.kind == kind.value
    )


MEMBER_COLUMNS = (
    calls.c.call_id,
    calls.c.telephony_session_id,
    calls.c.started_at,
    calls.c.internal,
    calls.c.external_number,
    calls.c.outcome,
    calls.c.details,
    calls.c.action,
    calls.c.callee,
    _names(LinkKind.SUPERVISING).label("supervises"),
    _names(LinkKind.PICKUP).label("was_picked_up"),
)
"""What a `Member` is read from."""

_COLUMNS = (
    *MEMBER_COLUMNS,
    calls.c.conversation_id,
    calls.c.main_call_id,
    calls.c.stage,
    calls.c.version,
)


async def _load(
    db: AsyncConnection, account_id: AccountId, conversation_ids: Sequence[str]
) -> list[list[Row[Any]]]:
    """Return the rows of each conversation, those that count as main first."""
    found: dict[str, list[Row[Any]]] = {}
    for start in range(0, len(conversation_ids), _AT_ONCE):
        parts = [
            part
            for conversation_id in conversation_ids[start : start + _AT_ONCE]
            for part in _parts(account_id, conversation_id)
        ]
        # SQLite takes a LIMIT within a UNION only in a subquery.
        statement = union_all(*(select(part.subquery()) for part in parts))
        for row in await db.execute(statement):
            found.setdefault(row.conversation_id, []).append(row)
    return list(found.values())


def _parts(account_id: AccountId, conversation_id: str) -> tuple[Select[Any], Select[Any]]:
    """Return the queries for the main calls of a conversation, new ones included, and for the others.

    Both walk the same index.
    """
    mine = select(*_COLUMNS).where(
        calls.c.account_id == account_id, calls.c.conversation_id == conversation_id
    )
    order, other = (calls.c.started_at, calls.c.call_id), calls.c.main_call_id
    mains = mine.where(other.is_(None)).order_by(*order).limit(MOST_MEMBERS)
    others = mine.where(other.is_not(None)).order_by(other, *order).limit(MOST_MEMBERS)
    return mains, others
