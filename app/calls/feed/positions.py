"""Places in the feed, and whether they belong to this history of the database.

A database that was restored from a backup gives the numbers of the changes that it lost to other changes. So a place
names, beside the number of a change, that change's *mark*: random, made when the change was written, and therefore
another one if the number was given out again. The operator who restores need not do anything: a dump, a base backup and a copied
SQLite file are all recognised, by each cursor by itself.

A place whose change is gone, because its call was deleted, is behind others that are there: numbers have no gaps, so this
history has had it. Places without a mark, which earlier versions gave out, are checked by their number alone.
"""

import hashlib
import json
from dataclasses import dataclass
from typing import Any, Self

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.tables import accounts, timeline
from app.errors import BadInput, HistoryChanged
from app.ids import AccountId

LONGEST = 32
_LONGEST_NUMBER = 19
_MARK_CHARACTERS = frozenset("0123456789abcdef")
_LONGEST_MARK = 12


@dataclass(frozen=True, slots=True)
class Place:
    """The place behind a change of an account's timeline; 0 is the beginning."""

    seq: int
    mark: str | None = None

    def __str__(self) -> str:
        return str(self.seq) if self.mark is None else f"{self.seq}-{self.mark}"

    @classmethod
    def parse(cls, cursor: str) -> Self:
        """Raises BadInput for what is no cursor of ours."""
        number, dash, mark = cursor.partition("-")
        is_number = number.isascii() and number.isdecimal() and len(number) <= _LONGEST_NUMBER
        is_mark = 0 < len(mark) <= _LONGEST_MARK and _MARK_CHARACTERS.issuperset(mark)
        if not is_number or bool(dash) != is_mark:
            raise BadInput("The cursor is not one of ours; start again without it", parameter="cursor")
        return cls(int(number), mark or None)

    @classmethod
    def behind(cls, row: Any) -> Self:
        """Return the place behind a row of `timeline`."""
        return cls(row.seq, mark_of(row))


BEGINNING = Place(0)


def mark_of(row: Any) -> str:
    """Return the mark of a row of `timeline`; of one that was written without, a digest of what it says."""
    if row.mark is not None:
        return str(row.mark)
    said = [row.call_id, row.version, row.type, row.at.isoformat(), row.data]
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:_LONGEST_MARK]


async def load_end(db: AsyncConnection, account_id: AccountId) -> Place:
    """Return the place behind the last change of an account."""
    query = select(timeline).where(timeline.c.account_id == account_id)
    row = (await db.execute(query.order_by(timeline.c.seq.desc()).limit(1))).first()
    last = await load_last_number(db, account_id)
    if row is None or row.seq != last:
        return Place(last)
    return Place.behind(row)


async def load_last_number(db: AsyncConnection, account_id: AccountId) -> int:
    """Return the number that an account's timeline has come to."""
    query = select(accounts.c.timeline_seq).where(accounts.c.account_id == account_id)
    return int(await db.scalar(query) or 0)


async def check(db: AsyncConnection, account_id: AccountId, place: Place) -> None:
    """Raises HistoryChanged for a place that is not of this history."""
    if place.seq > await load_last_number(db, account_id):
        raise HistoryChanged.ahead()
    if place.mark is None:
        return
    query = select(timeline).where(timeline.c.account_id == account_id, timeline.c.seq == place.seq)
    row = (await db.execute(query)).first()
    if row is not None:
        check_row(place, row)


def check_row(place: Place, row: Any) -> None:
    """Raises HistoryChanged if the change at the number of `place` is another one than the one it names."""
    if place.mark is not None and place.mark != mark_of(row):
        raise HistoryChanged.replaced()
