"""Finds calls by any of their names and by what is due, and stores their records."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Row, Select, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.calls.lifetime.tombstones import no_call
from app.calls.model import NO_SESSION, Call, Stage
from app.calls.regions import region_of
from app.db.engine import upsert_into
from app.db.lists import is_one_of
from app.db.tables import call_aliases, call_parties, call_records, calls
from app.errors import AmbiguousCall
from app.ids import AccountId, is_alias
from app.work.lookout import is_past


def read_row(row: Row[Any]) -> Call:
    """Return the call of a row that has all columns."""
    columns = row._asdict()
    call = Call(**columns)
    call.stored = columns
    return call


async def load_by_sessions(
    db: AsyncConnection, account_id: AccountId, telephony_session_ids: Collection[str]
) -> dict[str, Call]:
    """Return the calls with these keys, by key."""
    if not telephony_session_ids:
        return {}
    query = select(calls).where(
        calls.c.account_id == account_id, is_one_of(calls.c.telephony_session_id, telephony_session_ids)
    )
    return {row.telephony_session_id: read_row(row) for row in await db.execute(query)}


async def load_by_ids(
    db: AsyncConnection, account_id: AccountId, call_ids: Collection[str]
) -> dict[str, Call]:
    """Return the calls with these ids of ours, by id."""
    if not call_ids:
        return {}
    query = select(calls).where(calls.c.account_id == account_id, is_one_of(calls.c.call_id, call_ids))
    return {row.call_id: read_row(row) for row in await db.execute(query)}


def is_own_name(name: str) -> ColumnElement[bool]:
    """Match the one call that has this name alone: our id, or its `telephonySessionId`."""
    return calls.c.call_id == name if name.startswith("call_") else calls.c.telephony_session_id == name


async def find_ids(db: AsyncConnection, account_id: AccountId, name: str) -> list[str]:
    """Return the ids of all calls with this name: our id, a `telephonySessionId` or a `sessionId`."""
    query = select(calls.c.call_id).where(calls.c.account_id == account_id)
    # An id of ours and a `telephonySessionId` are unique; only an alias can match several calls.
    return list(await db.scalars(query.where(is_own_name(name)))) or await _find_aliased(db, account_id, name)


async def _find_aliased(db: AsyncConnection, account_id: AccountId, name: str) -> list[str]:
    if not is_alias(name):
        return []
    aliased = select(call_aliases.c.call_id).where(
        call_aliases.c.account_id == account_id, call_aliases.c.alias == name
    )
    return sorted(await db.scalars(aliased))


async def find_id(db: AsyncConnection, account_id: AccountId, name: str) -> str | None:
    """Return the id of the one call with this name, None if there is none.

    Raises AmbiguousCall if there are several (calls to one's own number, RingOut).
    """
    return _single(name, await find_ids(db, account_id, name))


async def find_alias(db: AsyncConnection, account_id: AccountId, name: str) -> str | None:
    """Return the id of the one call that has this alias, as `find_id` does."""
    return _single(name, await _find_aliased(db, account_id, name))


def _single(name: str, found: list[str]) -> str | None:
    if len(found) > 1:
        raise several_calls(name, found)
    return found[0] if found else None


def several_calls(name: str, candidates: Sequence[str]) -> AmbiguousCall:
    """Return why a name that matches several calls is refused."""
    return AmbiguousCall(
        f"{name} matches {len(candidates)} calls; use the id of one of the candidates", candidates
    )


async def find_call(db: AsyncConnection, account_id: AccountId, name: str) -> Call | None:
    """Return the one call with this name, None if there is none. Raises AmbiguousCall."""
    call_id = await find_id(db, account_id, name)
    if call_id is None:
        return None
    return (await load_by_ids(db, account_id, [call_id])).get(call_id)


async def load_call(db: AsyncConnection, account_id: AccountId, call_id: str) -> Call:
    """Return the call with this id of ours. Raises KeyError if it does not exist."""
    return (await load_by_ids(db, account_id, [call_id]))[call_id]


async def load_after(db: AsyncConnection, account_id: AccountId, call_id: str, limit: int) -> list[Call]:
    """Return the calls of an account after this one, in the order of our ids."""
    query = select(calls).where(calls.c.account_id == account_id, calls.c.call_id > call_id)
    return [read_row(row) for row in await db.execute(query.order_by(calls.c.call_id).limit(limit))]


async def find_nameless(
    db: AsyncConnection, account_id: AccountId, session_ids: Collection[str]
) -> dict[str, Call]:
    """Return the calls that are known by their `sessionId` alone so far, by `sessionId`."""
    return {
        call.telephony_session_id.removeprefix(NO_SESSION): call
        for call in (
            await load_by_sessions(db, account_id, [NO_SESSION + session_id for session_id in session_ids])
        ).values()
    }


async def find_by_aliases(
    db: AsyncConnection, account_id: AccountId, names: Collection[str]
) -> dict[str, Call]:
    """Return the call of each name that matches exactly one, by name: `find_ids` for many names."""
    found: dict[str, set[str]] = {}
    # The order of `find_ids`: a name that matches a call's own id is not looked up as an alias.
    for column in (calls.c.call_id, calls.c.telephony_session_id, call_aliases.c.alias):
        left = [name for name in names if name not in found and is_alias(name)]
        if left:
            table = column.table
            query = select(column.label("name"), table.c.call_id).where(
                table.c.account_id == account_id, is_one_of(column, left)
            )
            for row in await db.execute(query):
                found.setdefault(row.name, set()).add(row.call_id)
    single = {name: next(iter(ids)) for name, ids in found.items() if len(ids) == 1}
    loaded = await load_by_ids(db, account_id, set(single.values()))
    return {name: loaded[call_id] for name, call_id in single.items() if call_id in loaded}


async def find_ambiguous(
    db: AsyncConnection, account_id: AccountId, names: Collection[str]
) -> dict[str, list[str]]:
    """Return the ids of the calls of each alias that matches several, by alias."""
    wanted = [name for name in names if is_alias(name)]
    if not wanted:
        return {}
    query = select(call_aliases.c.alias, call_aliases.c.call_id).where(
        call_aliases.c.account_id == account_id, is_one_of(call_aliases.c.alias, wanted)
    )
    found: dict[str, list[str]] = {}
    for row in await db.execute(query.order_by(call_aliases.c.call_id)):
        found.setdefault(row.alias, []).append(row.call_id)
    return {name: ids for name, ids in found.items() if len(ids) > 1}


async def find_by_numbers(
    db: AsyncConnection, account_id: AccountId, numbers: Collection[str], begin: datetime, end: datetime
) -> dict[str, Call]:
    """Return the calls in which one of these numbers took part, of those that began in this time, by id."""
    party = call_parties.c
    query = select(party.call_id).where(
        party.account_id == account_id,
        party.kind == "number",
        is_one_of(party.value, numbers),
        party.started_at.between(begin, end),
    )
    return await load_by_ids(db, account_id, set(await db.scalars(query)))


@dataclass(frozen=True, slots=True)
class Recent:
    """The fields of an ended call, which Active Calls may still show, that planning and matching need."""

    call_id: str
    telephony_session_id: str
    session_id: str | None
    stage: str
    numbers: frozenset[str]
    started_at: datetime
    ended_at: datetime
    end_known_at: datetime
    bootstrapped_at: datetime | None
    last_missed_at: datetime | None
    region: str | None

    @property
    def is_waiting(self) -> bool:
        return self.stage == Stage.ENDED


async def find_recent(
    db: AsyncConnection, account_id: AccountId, now: datetime, extension_id: str | None = None
) -> list[Recent]:
    """Return the ended calls whose window is open, of one extension or of all, with or without a record."""
    query = _select_fields(Recent).where(calls.c.account_id == account_id, calls.c.window_closes_at > now)
    if extension_id is not None:
        query = query.where(calls.c.call_id.in_(_ids_of_extension(account_id, extension_id)))
    return [recent for _, recent in _read_recent(await db.execute(query))]


async def find_recent_of_all(
    db: AsyncConnection, account_ids: Collection[AccountId], now: datetime
) -> dict[AccountId, list[Recent]]:
    """Return the same of several accounts; every given account has a list."""
    found: dict[AccountId, list[Recent]] = {account_id: [] for account_id in account_ids}
    mine = is_one_of(calls.c.account_id, account_ids)
    query = _select_fields(Recent).where(mine, calls.c.window_closes_at > now)
    for account_id, recent in _read_recent(await db.execute(query)):
        found[account_id].append(recent)
    return found


def _read_recent(rows: Iterable[Row[Any]]) -> Iterator[tuple[AccountId, Recent]]:
    for row in rows:
        if row.ended_at is not None:
            known_at = row.end_known_at or row.ended_at
            yield AccountId(row.account_id), _read_fields(Recent, row, end_known_at=known_at)


async def mark_missed(
    db: AsyncConnection, account_id: AccountId, call_ids: Collection[str], at: datetime
) -> None:
    """Record that a complete poll, sent at `at`, did not show these calls. This is not a visible change."""
    if call_ids:
        mine = (calls.c.account_id == account_id) & is_one_of(calls.c.call_id, call_ids)
        await db.execute(update(calls).where(mine).values(last_missed_at=at, looks=calls.c.looks + 1))


def numbers_of(*sides: dict[str, Any] | None) -> frozenset[str]:
    """Return the known phone numbers of both sides."""
    return frozenset(side["phoneNumber"] for side in sides if side and side.get("phoneNumber"))


@dataclass(frozen=True, slots=True)
class DueCall:
    """The fields of a call that is due for a Call Log read that planning and matching need."""

    call_id: str
    telephony_session_id: str
    session_id: str | None
    stage: str
    reads: int
    read_at: datetime
    numbers: frozenset[str]
    started_at: datetime
    region: str | None


_Fields = TypeVar("_Fields", Recent, DueCall)


ANY_READING_DUE = is_past(calls.c.read_at)
"""The condition, for the lookout, that a call is due for a Call Log read."""


async def find_due_readings(
    db: AsyncConnection,
    account_id: AccountId,
    now: datetime,
    limit: int,
    *,
    extension_id: str | None = None,
    unseen_by: Collection[str] = (),
) -> list[DueCall]:
    """Return the calls that are due for a Call Log read, longest due first.

    `extension_id`: only calls of this extension. `unseen_by`: only calls in which none of these took part.
    """
    query = _select_fields(DueCall).where(calls.c.account_id == account_id, calls.c.read_at <= now)
    if extension_id is not None:
        query = query.where(calls.c.call_id.in_(_ids_of_extension(account_id, extension_id)))
    for other in unseen_by:
        query = query.where(calls.c.call_id.not_in(_ids_of_extension(account_id, other)))
    rows = await db.execute(query.order_by(calls.c.read_at).limit(limit))
    return [_read_fields(DueCall, row) for row in rows]


def _select_fields(kind: type[Recent | DueCall]) -> Select[Any]:
    """Select the account, and the columns of a class's fields with those from which `numbers` and `region`
    follow.
    """
    names = (item.name for item in fields(kind) if item.name not in ("numbers", "region"))
    region = region_of(calls.c.account_id).label("region")
    own = calls.c.account_id, calls.c.caller, calls.c.callee
    return select(*own, *(calls.c[name] for name in names), region)


def _read_fields(kind: type[_Fields], row: Row[Any], **others: Any) -> _Fields:
    """Return an object from a row of `_select_fields`, with `others` in place of its values."""
    values = {**row._mapping, **others}  # noqa: SLF001 - the documented way from a row to keywords
    del values["account_id"]
    return kind(numbers=numbers_of(values.pop("caller"), values.pop("callee")), **values)


def _ids_of_extension(account_id: AccountId, extension_id: str) -> Select[tuple[str]]:
    return select(call_parties.c.call_id).where(
        call_parties.c.account_id == account_id,
        call_parties.c.kind == "extension",
        call_parties.c.value == extension_id,
    )


async def extensions_of(
    db: AsyncConnection, account_id: AccountId, call_ids: Collection[str]
) -> frozenset[str]:
    """Return the ids of the extensions that took part in these calls."""
    query = select(call_parties.c.value).where(
        call_parties.c.account_id == account_id,
        is_one_of(call_parties.c.call_id, call_ids),
        call_parties.c.kind == "extension",
    )
    return frozenset(await db.scalars(query))


async def load_id(db: AsyncConnection, account_id: AccountId, name: str) -> str:
    """Return the id of the one call with this name.

    Raises NotFound, CallErased and AmbiguousCall.
    """
    call_id = await find_id(db, account_id, name)
    if call_id is None:
        raise await no_call(db, account_id, name)
    return call_id


async def load_records(
    db: AsyncConnection, account_id: AccountId, call_ids: Collection[str]
) -> dict[str, list[Row[Any]]]:
    """Return the rows of `call_records` by call id; every given id has a list."""
    found: dict[str, list[Row[Any]]] = {call_id: [] for call_id in call_ids}
    if call_ids:
        query = (
            select(call_records)
            .where(call_records.c.account_id == account_id, is_one_of(call_records.c.call_id, call_ids))
            .order_by(call_records.c.call_id, call_records.c.record_id)
        )
        for row in await db.execute(query):
            found[row.call_id].append(row)
    return found


async def find_record_ids(
    db: AsyncConnection, account_id: AccountId, call_ids: Collection[str]
) -> dict[str, list[str]]:
    """Return the ids of the stored records of calls, by call id."""
    found: dict[str, list[str]] = {}
    if call_ids:
        mine = (call_records.c.account_id == account_id) & is_one_of(call_records.c.call_id, call_ids)
        query = select(call_records.c.call_id, call_records.c.record_id).where(mine)
        for row in await db.execute(query.order_by(call_records.c.record_id)):
            found.setdefault(row.call_id, []).append(row.record_id)
    return found


async def save_records(db: AsyncConnection, rows: Sequence[dict[str, Any]]) -> None:
    """Insert or replace rows of `call_records`: whole records, never field by field."""
    if not rows:
        return
    statement = upsert_into(db, call_records)
    replaced = ("source", "detailed", "fetched_at", "last_modified_at", "raw")
    statement = statement.on_conflict_do_update(
        index_elements=["account_id", "call_id", "record_id"],
        set_={name: statement.excluded[name] for name in replaced},
    )
    await db.execute(statement, list(rows))
