"""Positions in the feed, and whether they belong to this history of the database.

A database that was restored from a backup assigns the numbers of lost changes to other changes. So a cursor
names the number of a change and the change's *mark*, which is random and generated when the change is
written. If the number is assigned again, the mark differs. Each cursor thus detects any restore, from a dump,
a base backup or a copied SQLite file, and the operator has nothing to do.

A position whose change was deleted with its call is valid if later changes exist: numbers have no gaps, so
this history had the change. Changes that were removed after their retention are those up to the *floor* of
the account; a position below it is refused, since the changes between the two would be missed. The beginning
is not below it: from there, all changes that are kept are read.

Positions without a mark, from earlier versions, are checked by their number alone.
"""

import hashlib
import json
from dataclasses import dataclass
from typing import Any, Self

from sqlalchemy import ScalarSelect, and_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.tables import accounts, timeline
from app.errors import BadInput, CursorExpired, HistoryChanged
from app.ids import AccountId

_LONGEST_NUMBER = 19
_MARK_CHARACTERS = frozenset("0123456789abcdef")
_LONGEST_MARK = 12


@dataclass(frozen=True, slots=True)
class Position:
    """The position after a change of an account's timeline; 0 is the start."""

    seq: int
    mark: str | None = None

    def __str__(self) -> str:
        return str(self.seq) if self.mark is None else f"{self.seq}-{self.mark}"

    @classmethod
    def parse(cls, cursor: str) -> Self:
        """Raises BadInput for a cursor that we did not issue."""
        number, dash, mark = cursor.partition("-")
        is_number = number.isascii() and number.isdecimal() and len(number) <= _LONGEST_NUMBER
        is_mark = 0 < len(mark) <= _LONGEST_MARK and _MARK_CHARACTERS.issuperset(mark)
        if not is_number or bool(dash) != is_mark:
            raise BadInput("The cursor is invalid. Start again without it.", parameter="cursor")
        return cls(int(number), mark or None)

    @classmethod
    def after(cls, row: Any) -> Self:
        """Return the position after a row of `timeline`."""
        return cls(row.seq, mark_of(row))


BEGINNING = Position(0)


def mark_of(row: Any) -> str:
    """Return the mark of a row of `timeline`; for a row without one, from an earlier version, a digest."""
    if row.mark is not None:
        return str(row.mark)
    content = [row.call_id, row.version, row.type, row.at.isoformat(), row.data]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:_LONGEST_MARK]


async def load_end(db: AsyncConnection, account_id: AccountId) -> Position:
    """Return the position after the last change of an account."""
    own, last = accounts.c.account_id == account_id, timeline.c.seq == accounts.c.timeline_seq
    both = accounts.outerjoin(timeline, and_(timeline.c.account_id == accounts.c.account_id, last))
    query = select(accounts.c.timeline_seq, timeline).select_from(both).where(own)
    row = (await db.execute(query)).first()
    if row is None:
        return BEGINNING
    # The last change may have been deleted with its call, but its number stays assigned.
    return Position(row.timeline_seq) if row.seq is None else Position.after(row)


async def load_last_number(db: AsyncConnection, account_id: AccountId) -> int:
    """Return the last number of an account's timeline."""
    query = select(accounts.c.timeline_seq).where(accounts.c.account_id == account_id)
    return int(await db.scalar(query) or 0)


def floor_of(account_id: AccountId) -> ScalarSelect[Any]:
    """Return the query for the last number that was removed after its retention."""
    return select(accounts.c.timeline_floor).where(accounts.c.account_id == account_id).scalar_subquery()


def check_floor(position: Position, floor: int | None) -> None:
    """Raises CursorExpired for a position after which changes were removed."""
    if position != BEGINNING and position.seq < (floor or 0):
        raise CursorExpired.before(floor or 0)


async def check_kept(db: AsyncConnection, account_id: AccountId, position: Position) -> None:
    """Raises HistoryChanged as `check` does, and CursorExpired as `check_floor` does."""
    await check(db, account_id, position)
    check_floor(position, await db.scalar(select(floor_of(account_id))))


async def check(db: AsyncConnection, account_id: AccountId, position: Position) -> None:
    """Raises HistoryChanged for a position that is not in this history."""
    if position.seq > await load_last_number(db, account_id):
        raise HistoryChanged.ahead()
    if position.mark is None:
        return
    query = select(timeline).where(timeline.c.account_id == account_id, timeline.c.seq == position.seq)
    row = (await db.execute(query)).first()
    # No row: the change was deleted with its call, and its number was not assigned again.
    if row is not None:
        check_row(position, row)


def check_row(position: Position, row: Any) -> None:
    """Raises HistoryChanged if the change in `row` is not the one that the position names."""
    if position.mark is not None and position.mark != mark_of(row):
        raise HistoryChanged.replaced()
