"""Calls as JSON for responses, alone or in pages: those that were shown a moment ago are not built again."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.api.answers import Answers
from app.api.lookups import Lookups
from app.calls import views
from app.calls.listing.filters import ListQuery
from app.calls.listing.query import list_calls
from app.db.lists import is_one_of_bound
from app.db.tables import calls
from app.ids import AccountId
from app.values.exact_json import write_json


@dataclass(frozen=True, slots=True)
class ShownCall:
    """A call as JSON, and what a response says of it elsewhere."""

    account_id: AccountId
    call_id: str
    stage: str
    version: int
    body: bytes


@dataclass(frozen=True, slots=True)
class ShownPage:
    """A page of calls as JSON."""

    bodies: list[bytes]
    next_cursor: str | None


_VERSION = (
    calls.c.account_id,
    calls.c.call_id,
    calls.c.stage,
    calls.c.version,
    calls.c.updated_at,
    views.MARK,
)


def _versions_by(name: ColumnElement[str]) -> Select[Any]:
    mine = is_one_of_bound(calls.c.account_id, "accounts"), is_one_of_bound(name, "names")
    return select(name.label("name"), *_VERSION).where(*mine)


_BY_ID = _versions_by(calls.c.call_id)
_BY_SESSION = _versions_by(calls.c.telephony_session_id)

Name = tuple[AccountId, str]
"""An account, and our id or the `telephonySessionId` of a call of its own."""


async def load_versions(db: AsyncConnection, names: Collection[Name]) -> dict[Name, Row[Any]]:
    """Return which version of calls is current, by their names; those that do not exist are left out."""
    found: dict[Name, Row[Any]] = {}
    ids = {name for name in names if name[1].startswith("call_")}
    for statement, some in ((_BY_ID, ids), (_BY_SESSION, set(names) - ids)):
        if some:
            asked = {"accounts": sorted({one[0] for one in some}), "names": sorted({one[1] for one in some})}
            rows = await db.execute(statement, asked)
            found |= {(AccountId(row.account_id), row.name): row for row in rows}
    return found


async def find_unchanged(
    lookups: Lookups, account_id: AccountId, name: str, answers: Answers
) -> ShownCall | None:
    """Return a call that was shown a moment ago and has not changed since; None if it has to be read.

    The database is asked for its version, together with those of other calls that are asked for now.
    """
    key = (account_id, name)
    if not answers.has(key):
        return None
    row = await lookups.find(load_versions, key)
    body = None if row is None else answers.find(key, _version_of(row))
    if row is None or body is None:
        return None
    return ShownCall(account_id, row.call_id, row.stage, row.version, body)


def _version_of(row: Row[Any]) -> tuple[Any, ...]:
    """Return what tells two versions of a call apart. The mark of its last change is part of it: after a
    restore of the database the same number can stand for another change."""
    return row.version, row.updated_at, row.mark


async def find_call(
    db: AsyncConnection, account_id: AccountId, name: str, answers: Answers
) -> ShownCall | None:
    """Return the one call with this name; None if there is none. Raises AmbiguousCall."""
    row = await views.load_row_by_name(db, account_id, name)
    if row is None:
        return None
    (body,) = await _load_bodies(db, account_id, [row], answers)
    if name == row.telephony_session_id:
        answers.keep((account_id, name), _version_of(row), body)
    return ShownCall(AccountId(row.account_id), row.call_id, row.stage, row.version, body)


async def load_page(
    db: AsyncConnection, account_id: AccountId, query: ListQuery, answers: Answers | None
) -> ShownPage:
    """Return the calls that a query finds. Raises BadInput for an invalid cursor.

    `answers` is None for whoever reads all calls once: they would push out what others read again.
    """
    page = await list_calls(db, account_id, query)
    if answers is None:
        built = await views.load_views(db, account_id, page.rows)
        return ShownPage([write_json(call) for call in built], page.next_cursor)
    return ShownPage(await _load_bodies(db, account_id, page.rows, answers), page.next_cursor)


async def _load_bodies(
    db: AsyncConnection, account_id: AccountId, rows: Sequence[Row[Any]], answers: Answers
) -> list[bytes]:
    """Return whole calls, in the order of `rows`, which have `views.COLUMNS`.

    Those that `answers` does not have are built together and kept there.
    """
    versions = [_version_of(row) for row in rows]
    keys = [(account_id, row.call_id) for row in rows]
    known = [answers.find(key, version) for key, version in zip(keys, versions, strict=True)]
    unknown = [row for row, body in zip(rows, known, strict=True) if body is None]
    built = iter(await views.load_views(db, account_id, unknown) if unknown else ())
    bodies = []
    for key, version, body in zip(keys, versions, known, strict=True):
        if body is None:
            body = write_json(next(built))
            answers.keep(key, version, body)
        bodies.append(body)
    return bodies
