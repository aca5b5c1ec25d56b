"""Loads what is known of an account beside its calls: its people, their numbers, its country.

The directory's worker stores it (`app.accounts.directory`). Whoever reads many calls asks for it each time:
one small query shows whether the version that this process has is still the current one.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import ColumnElement, Row, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.calls.evidence.people import UNKNOWN_COMPANY, Company, Person
from app.calls.regions import region_of
from app.db.tables import directories, extensions
from app.ids import AccountId
from app.values.phone_numbers import NumberKind, read_phone_number

OWN_USAGES = frozenset({"DirectNumber"})
"""Numbers of the company that lead to one extension (RingCentral's `usageType`)."""

PRIVATE_USAGES = frozenset({"MobileNumber", "ContactNumber", "ForwardedNumber", "ExternalMobileNumber"})
"""Numbers outside the company at which a person is reached."""

_MOST_KEPT = 256
_MOST_AT_ONCE = 50
"""Extensions that are read on the event loop: numbers take some ten microseconds each."""

_kept: OrderedDict[tuple[str, str, str | None], Company] = OrderedDict()
"""By account, version and region, the latest used last. Versions are random, so that no other database of
this process can have the same.
"""


async def load_company(db: AsyncConnection, account_id: AccountId) -> Company:
    """Return the company of an account; one of which only the region may be known if its directory was never
    read."""
    return await read_company(db, account_id, (await db.execute(select(*version_of(account_id)))).one())


def forget_companies() -> None:
    """Forget the companies that this process remembers; they are read again at need."""
    _kept.clear()


def version_of(account_id: AccountId | ColumnElement[str]) -> Sequence[ColumnElement[Any]]:
    """Return the columns that show which version of a company is the current one.

    `account_id` may be a column of the query that they become part of.
    """
    mine = directories.c.account_id == account_id
    return (
        region_of(account_id).label("region"),
        *(
            select(column).where(mine).scalar_subquery().label(column.name)
            for column in (directories.c.version, directories.c.main_number)
        ),
    )


async def read_company(db: AsyncConnection, account_id: AccountId, state: Row[Any]) -> Company:
    """Return the company of an account, in the version that the columns of `version_of` show."""
    region = state.region
    if state.version is None:
        return replace(UNKNOWN_COMPANY, region=region) if region else UNKNOWN_COMPANY
    key = (account_id, state.version, region)
    known = _kept.get(key)
    if known is not None:
        _kept.move_to_end(key)
        return known
    rows = (await db.execute(select(extensions).where(extensions.c.account_id == account_id))).all()
    if len(rows) <= _MOST_AT_ONCE:
        company = make_company(rows, state.main_number, region)
    else:
        company = await asyncio.to_thread(make_company, rows, state.main_number, region)
    _keep(key, company)
    return company


def _keep(key: tuple[str, str, str | None], company: Company) -> None:
    _kept[key] = company
    while len(_kept) > _MOST_KEPT:
        _kept.popitem(last=False)


def make_company(rows: Sequence[Row[Any]], main_number: str | None, region: str | None) -> Company:
    """Make a company of rows of `extensions`.

    A number is the extension's own or a private one by its usage. The main number is nobody's, and what is
    some extension's own number is nobody's private one.
    """
    main = set(_e164([main_number], region))
    own = {row.extension_id: _of_usage(row, OWN_USAGES, region, main) for row in rows if row.left_at is None}
    company_numbers = main.union(*own.values())
    present = [
        _person(row, own[row.extension_id], _of_usage(row, PRIVATE_USAGES, region, company_numbers))
        for row in rows
        if row.left_at is None
    ]
    former = [_person(row, (), ()) for row in rows if row.left_at is not None]
    return Company.of(present, region=region, main_numbers=main, former=former)


def _person(row: Row[Any], numbers: Iterable[str], private: Iterable[str]) -> Person:
    return Person(
        extension_id=row.extension_id,
        extension_number=row.number,
        name=row.name,
        email=row.email,
        kind=row.kind,
        status=row.status,
        time_zone=row.time_zone,
        numbers=tuple(numbers),
        private_numbers=tuple(private),
    )


def _of_usage(row: Row[Any], usages: frozenset[str], region: str | None, but: set[str]) -> tuple[str, ...]:
    listed: Sequence[Mapping[str, Any]] = row.phone_numbers or ()
    raw = [number.get("phoneNumber") for number in listed if number.get("usageType") in usages]
    return tuple(dict.fromkeys(number for number in _e164(raw, region) if number not in but))


def _e164(raw: Iterable[str | None], region: str | None) -> Iterable[str]:
    for text in raw:
        number = read_phone_number(text, region)
        if number is not None and number.kind is NumberKind.FULL and number.e164 and not number.extension:
            yield number.e164
