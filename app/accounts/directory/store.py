"""The stored directory of an account: its state, and its extensions. Functions take `db` and never commit."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import and_, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.accounts.directory.comparing import KnownExtension, compare
from app.accounts.directory.reading import DirectoryRead
from app.db.engine import upsert_into
from app.db.lists import is_one_of
from app.db.tables import accounts, directories, extensions, work
from app.ids import UNBOUND_ACCOUNT, AccountId, new_id

KIND = "directory"
"""Of the row in `work` that has the lease and the due time of an account's directory."""


@dataclass(frozen=True, slots=True)
class StoredDirectory:
    """What is stored beside the extensions. `problem` is why the last attempt to read failed: an object with
    code, detail, permission and since; None after a success.
    """

    version: str | None = None
    source: str | None = None
    main_number: str | None = None
    home_country: str | None = None
    calling_code: str | None = None
    time_zone: str | None = None
    etags: Sequence[str] = ()
    read_at: datetime | None = None
    problem: Mapping[str, Any] | None = None


async def find_due(db: AsyncConnection, now: datetime) -> list[AccountId]:
    """Return the accounts whose directory is due. `~` has none until it is bound to an account."""
    own = and_(work.c.account_id == accounts.c.account_id, work.c.kind == KIND)
    query = (
        select(accounts.c.account_id)
        .select_from(accounts.outerjoin(work, own))
        .where(accounts.c.account_id != UNBOUND_ACCOUNT, or_(work.c.due_at.is_(None), work.c.due_at <= now))
        .order_by(accounts.c.account_id)
    )
    return [AccountId(account_id) for account_id in await db.scalars(query)]


async def make_due(db: AsyncConnection, now: datetime) -> None:
    """Make the directories due that could not be read the last time."""
    unread = select(directories.c.account_id).where(directories.c.problem.is_not(None))
    mine = and_(work.c.kind == KIND, work.c.account_id.in_(unread))
    await db.execute(update(work).where(mine).values(due_at=now))


async def count_failure(db: AsyncConnection, account_id: AccountId) -> int:
    """Return the number of failures in a row, this one included."""
    mine = and_(work.c.account_id == account_id, work.c.kind == KIND)
    return int(await db.scalar(select(work.c.failures).where(mine)) or 0) + 1


async def load(db: AsyncConnection, account_id: AccountId) -> StoredDirectory:
    """Return what is stored of an account; an empty state if nothing is."""
    query = select(directories).where(directories.c.account_id == account_id)
    row = (await db.execute(query)).mappings().first()
    if row is None:
        return StoredDirectory()
    stored = {name: value for name, value in row.items() if name != "account_id"}
    return StoredDirectory(**stored | {"etags": tuple(stored["etags"] or ())})


async def load_known(db: AsyncConnection, account_id: AccountId) -> list[KnownExtension]:
    """Return all extensions of an account, those that have left included."""
    query = select(extensions).where(extensions.c.account_id == account_id)
    return [
        KnownExtension(
            extension_id=row.extension_id,
            number=row.number,
            name=row.name,
            email=row.email,
            kind=row.kind,
            status=row.status,
            phone_numbers=tuple(row.phone_numbers or ()),
            left_at=row.left_at,
        )
        for row in await db.execute(query)
    ]


async def find_time_zone(db: AsyncConnection, account_id: AccountId, extension_id: str | None) -> str | None:
    """Return the IANA name of a person's time zone, or else of the account's; None if neither is known."""
    own = select(extensions.c.time_zone).where(
        extensions.c.account_id == account_id, extensions.c.extension_id == extension_id
    )
    common = select(directories.c.time_zone).where(directories.c.account_id == account_id)
    either = func.coalesce(own.scalar_subquery(), common.scalar_subquery())
    found: str | None = await db.scalar(select(either))
    return found


async def find_time_zones(
    db: AsyncConnection, account_id: AccountId, extension_ids: Collection[str]
) -> dict[str | None, str | None]:
    """Return what `find_time_zone` returns for each person, and by None for nobody."""
    common = select(directories.c.time_zone).where(directories.c.account_id == account_id)
    default: str | None = await db.scalar(common)
    found: dict[str | None, str | None] = dict.fromkeys([None, *extension_ids], default)
    if extension_ids:
        own = select(extensions.c.extension_id, extensions.c.time_zone).where(
            extensions.c.account_id == account_id,
            is_one_of(extensions.c.extension_id, extension_ids),
            extensions.c.time_zone.is_not(None),
        )
        found |= {row.extension_id: row.time_zone for row in await db.execute(own)}
    return found


async def save_read(db: AsyncConnection, account_id: AccountId, read: DirectoryRead, now: datetime) -> int:
    """Store what was read, in one transaction with its due time; return how many extensions have changed.

    The version changes only if something visible did.
    """
    before = await load(db, account_id)
    values: dict[str, Any] = {"read_at": now, "problem": None}
    if read.account is not None:
        values |= {
            "main_number": read.account.main_number,
            "home_country": read.account.home_country,
            "calling_code": read.account.calling_code,
            "time_zone": read.account.time_zone,
        }
    changed: Sequence[KnownExtension] = ()
    if read.people is not None:
        changed = compare(await load_known(db, account_id), read.people.entries, read.people.source, now)
        await _write(db, account_id, changed, now)
        values |= {"source": read.people.source.value, "etags": list(read.people.etags)}
    visible = ("source", "main_number", "home_country", "calling_code", "time_zone")
    if (
        changed
        or before.version is None
        or any(values.get(name, getattr(before, name)) != getattr(before, name) for name in visible)
    ):
        values["version"] = new_id("dir", now)
    await _save(db, account_id, before, values, now)
    return len(changed)


async def save_problem(
    db: AsyncConnection, account_id: AccountId, problem: Mapping[str, Any], now: datetime
) -> None:
    """Store why the directory cannot be read. What was read before stays; since when is kept."""
    before = await load(db, account_id)
    goes_on = before.problem is not None and before.problem.get("code") == problem.get("code")
    since = before.problem["since"] if before.problem is not None and goes_on else now.isoformat()
    await _save(db, account_id, before, {"problem": {**problem, "since": since}}, now)


async def _save(
    db: AsyncConnection,
    account_id: AccountId,
    before: StoredDirectory,
    values: Mapping[str, Any],
    now: datetime,
) -> None:
    if before.version is not None:
        mine = directories.c.account_id == account_id
        await db.execute(update(directories).where(mine).values(**values))
        return
    row = {"account_id": account_id, "version": new_id("dir", now), **values}
    insert = upsert_into(db, directories).values(row)
    await db.execute(insert.on_conflict_do_update(index_elements=["account_id"], set_=row))


async def _write(
    db: AsyncConnection, account_id: AccountId, changed: Iterable[KnownExtension], now: datetime
) -> None:
    rows = [
        {
            "account_id": account_id,
            "extension_id": one.extension_id,
            "number": one.number,
            "name": one.name,
            "email": one.email,
            "kind": one.kind,
            "status": one.status,
            "phone_numbers": [dict(number) for number in one.phone_numbers],
            "left_at": one.left_at,
            "updated_at": now,
        }
        for one in changed
    ]
    if not rows:
        return
    insert = upsert_into(db, extensions)
    keys = ("account_id", "extension_id")
    new = {name: insert.excluded[name] for name in rows[0] if name not in keys}
    await db.execute(insert.on_conflict_do_update(index_elements=list(keys), set_=new), rows)
