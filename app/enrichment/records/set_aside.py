"""Calls whose data cannot be stored are set aside alone, so that they do not block their neighbours.

The decoders repair odd values, so this should never happen. When it does, it is logged and counted, and
operators see the latest case of each account: a row of `work`, see `load_set_aside`.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any, TypeVar

import structlog
from pydantic import Field, TypeAdapter
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app import metrics
from app.clock import Clock
from app.db.engine import Database, upsert_into
from app.db.tables import calls, work
from app.errors import LeaseLost, RingCentralError, StorageUnavailable
from app.ids import AccountId

T = TypeVar("T")
R = TypeVar("R")

KIND = "set-aside"
BATCH = 100
"""Calls in one transaction."""

TEMPORARY_FAILURES = (StorageUnavailable, LeaseLost, RingCentralError)
"""Failures that the data did not cause: the same work is tried again."""

_SHOWN_FOR = timedelta(days=1)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class SetAside:
    """What was set aside for an account in the last day; `problem` has `code`, `detail` and `since`."""

    account_id: AccountId
    problem: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stored:
    """What is stored of an account: its latest case, and the number of cases `since` then without a day's
    pause."""

    since: datetime
    last_at: Annotated[datetime, Field(alias="lastAt")]
    count: int
    subject: str
    source: str
    why: str

    def is_recent(self, now: datetime) -> bool:
        return now - self.last_at < _SHOWN_FOR


_STORED: TypeAdapter[_Stored] = TypeAdapter(_Stored)


async def write_in_batches(
    items: Sequence[T],
    write: Callable[[Sequence[T]], Awaitable[R]],
    set_aside: Callable[[T, Exception], Awaitable[None]],
) -> list[R]:
    """Write items in short transactions, so that events do not wait for them; return what `write` returned
    for each.

    `write` opens and commits the transaction. If it fails because of the data of one item, the halves are
    written separately until that item is alone; it is set aside. Temporary failures are raised.
    """
    results: list[R] = []
    for start in range(0, len(items), BATCH):
        results += await _write_or_halve(items[start : start + BATCH], write, set_aside)
    return results


async def _write_or_halve(
    items: Sequence[T],
    write: Callable[[Sequence[T]], Awaitable[R]],
    set_aside: Callable[[T, Exception], Awaitable[None]],
) -> list[R]:
    try:
        return [await write(items)]
    except TEMPORARY_FAILURES:
        raise
    except Exception as error:  # noqa: BLE001 - whatever one item causes, the others are written
        if len(items) == 1:
            await set_aside(items[0], error)
            return []
    middle = len(items) // 2
    first = await _write_or_halve(items[:middle], write, set_aside)
    return first + await _write_or_halve(items[middle:], write, set_aside)


class SetAsideLog:
    """Notes what background work has set aside, and stops the work on it."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def note(self, account_id: AccountId, source: str, subject: str, error: Exception) -> None:
        """Log, count and store that the data of `source` about `subject`, any name of a call, cannot be
        stored."""
        now = self._clock.now()
        metrics.SET_ASIDE.labels(source=source).inc()
        log.error(
            "a record was set aside", account_id=account_id, source=source, call=subject, exc_info=error
        )
        mine = (work.c.account_id == account_id) & (work.c.kind == KIND)
        async with self._database.write() as db:
            stored = await db.scalar(select(work.c.state).where(mine).with_for_update())
            before = _STORED.validate_python(stored) if stored else None
            if before is not None and not before.is_recent(now):
                before = None
            case = _Stored(
                since=before.since if before else now,
                last_at=now,
                count=before.count + 1 if before else 1,
                subject=subject,
                source=source,
                why=_kinds_of(error),
            )
            state = _STORED.dump_python(case, mode="json", by_alias=True)
            insert = upsert_into(db, work).values(account_id=account_id, kind=KIND, state=state)
            await db.execute(
                insert.on_conflict_do_update(index_elements=["account_id", "kind"], set_={"state": state})
            )

    async def close_window(self, account_id: AccountId, call_id: str) -> None:
        """Stop polling for a call; the Call Log is read for it instead."""
        await self._change(account_id, call_id, window_closes_at=self._clock.now())

    async def stop_reading(self, account_id: AccountId, call_id: str) -> None:
        """Stop reading the Call Log for a call that cannot be written at all."""
        await self._change(account_id, call_id, read_at=None)

    async def stop_insights(self, account_id: AccountId, call_id: str) -> None:
        """Stop requesting the insights of a call that cannot be written at all."""
        await self._change(account_id, call_id, insights_at=None)

    async def _change(self, account_id: AccountId, call_id: str, **values: Any) -> None:
        mine = (calls.c.account_id == account_id) & (calls.c.call_id == call_id)
        async with self._database.write() as db:
            await db.execute(update(calls).where(mine).values(values))


async def load_set_aside(db: AsyncConnection, now: datetime) -> list[SetAside]:
    """Return what was set aside in the last day, by account."""
    query = select(work.c.account_id, work.c.state).where(work.c.kind == KIND).order_by(work.c.account_id)
    found = [
        (row.account_id, _STORED.validate_python(row.state)) for row in await db.execute(query) if row.state
    ]
    return [SetAside(AccountId(one), _problem(state)) for one, state in found if state.is_recent(now)]


def _problem(state: _Stored) -> dict[str, Any]:
    return {
        "code": "record-set-aside",
        "detail": f"RingCentral's data about a call could not be stored, {state.count} times in a day. "
        f"The latest was {state.subject} ({state.source}: {state.why}). "
        "Other calls are not affected. Please report it.",
        "since": state.since.isoformat(),
    }


def _kinds_of(error: Exception) -> str:
    """Name the types of the error and of its cause; their texts might repeat the data."""
    cause = getattr(error, "orig", None) or error.__cause__
    return ": ".join(type(one).__name__ for one in (error, cause) if one is not None)
