"""Brings numbers that earlier versions stored as RingCentral wrote them into their normal form, once.

Works in small batches while the service runs, so that no migration holds up the intake. `work` keeps for each
account how far it is, and in which region it reads. When the region of an account changes, it runs again:
what could not be read without a region may be a number in it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import NamedTuple

from pydantic import TypeAdapter
from sqlalchemy import and_, delete, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from app.calls import store
from app.calls.ledger import Ledger, open_ledger
from app.calls.regions import region_of
from app.clock import Clock
from app.db.engine import Database, upsert_into
from app.db.tables import accounts, call_parties, work
from app.ids import AccountId
from app.values.phone_numbers import NumberKind, read_phone_number

EVERY_SECONDS = 600.0
_KIND = "numbers"
_READ = 2000
"""Rows that one step looks at."""

_WRITTEN = 200
"""Rows that one transaction changes."""

_PASSES, _BETWEEN_PASSES = 2, timedelta(hours=1)


class _Number(NamedTuple):
    """A number of a call, as `call_parties` has it."""

    call_id: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far an account is: the region in which numbers are read, and the last row that is done."""

    region: str | None = None
    after: _Number | None = None
    """The last row of this pass; None at its beginning."""

    passes: int = 0
    """Complete passes. The second one finds what replicas of an earlier version wrote during the first."""

    @property
    def done(self) -> bool:
        return self.passes >= _PASSES


_PROGRESS = TypeAdapter(Progress)


async def is_normalized(db: AsyncConnection, account_id: AccountId) -> bool:
    """Whether all numbers of an account's calls have their normal form."""
    mine = (work.c.account_id == account_id) & (work.c.kind == _KIND)
    state = await db.scalar(select(work.c.state).where(mine))
    return state is not None and _PROGRESS.validate_python(state).done


class NumberUpkeep:
    """The background work that brings stored numbers into their normal form."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def step(self) -> float | None:
        """Do one batch of one account; return 0 when there may be more."""
        now = self._clock.now()
        async with self._database.read() as db:
            found = await _find_unfinished(db, now)
            rows = await _read_rows(db, *found) if found is not None else []
        if found is None:
            return None
        account_id, progress = found
        changed, seen = _choose(rows, progress.region)
        if seen == len(rows) < _READ:
            progress = replace(progress, after=None, passes=progress.passes + 1)
        else:
            progress = replace(progress, after=rows[seen - 1])
        async with self._database.write() as db, open_ledger(db, account_id, now) as ledger:
            await _rewrite(ledger, changed, progress.region)
            await _save(db, account_id, progress, due_at=None if progress.after else now + _BETWEEN_PASSES)
        return 0.0


async def _find_unfinished(db: AsyncConnection, now: datetime) -> tuple[AccountId, Progress] | None:
    mine = and_(work.c.account_id == accounts.c.account_id, work.c.kind == _KIND)
    region = region_of(accounts.c.account_id).label("region")
    query = select(accounts.c.account_id, work.c.state, work.c.due_at, region)
    query = query.select_from(accounts.outerjoin(work, mine))
    for row in await db.execute(query.order_by(accounts.c.account_id)):
        progress = _PROGRESS.validate_python(row.state) if row.state is not None else None
        if progress is None or progress.region != row.region:
            return AccountId(row.account_id), Progress(region=row.region)
        if not progress.done and (row.due_at is None or row.due_at <= now):
            return AccountId(row.account_id), progress
    return None


async def _read_rows(db: AsyncConnection, account_id: AccountId, progress: Progress) -> list[_Number]:
    party = call_parties.c
    query = select(party.call_id, party.value).where(party.account_id == account_id, party.kind == "number")
    if progress.after is not None:
        call_id, value = progress.after
        query = query.where(tuple_(party.call_id, party.kind, party.value) > (call_id, "number", value))
    order = (party.call_id, party.kind, party.value)
    return [_Number(*row) for row in await db.execute(query.order_by(*order).limit(_READ))]


def _choose(rows: Sequence[_Number], region: str | None) -> tuple[list[_Number], int]:
    """Return the rows whose values are not in their normal form, and how many rows were looked at."""
    changed: list[_Number] = []
    for seen, row in enumerate(rows):
        if len(changed) == _WRITTEN:
            return changed, seen
        number = read_phone_number(row.value, region)
        if number is not None and (number.normal != row.value or number.extension not in (None, row.value)):
            changed.append(row)
    return changed, len(rows)


async def _rewrite(ledger: Ledger, changed: Sequence[_Number], region: str | None) -> None:
    """Replace rows by those of their normal form; correct the outside numbers of their calls."""
    if not changed:
        return
    found = await store.load_by_ids(ledger.db, ledger.account_id, {row.call_id for row in changed})
    party = call_parties.c
    old = tuple_(party.call_id, party.value).in_([tuple(row) for row in changed])
    mine = (party.account_id == ledger.account_id) & (party.kind == "number")
    await ledger.db.execute(delete(call_parties).where(mine, old))
    for row in changed:
        if row.call_id in found:
            ledger.involve(found[row.call_id], (), [row.value])
    for call in found.values():
        number = read_phone_number(call.external_number, region)
        if number is None or number.kind is not NumberKind.FULL or number.e164 == call.external_number:
            continue
        call.external_number = number.e164
        ledger.change(call, "call.updated", source="upkeep", fields=["external_number"])


async def _save(
    db: AsyncConnection, account_id: AccountId, progress: Progress, *, due_at: datetime | None
) -> None:
    values = {"state": _PROGRESS.dump_python(progress, mode="json"), "due_at": due_at}
    statement = upsert_into(db, work).values(account_id=account_id, kind=_KIND, **values)
    key = ["account_id", "kind"]
    await db.execute(statement.on_conflict_do_update(index_elements=key, set_=values))
