"""What RingCentral told of a call and cannot be stored: set aside alone, so that its neighbours are not held up.

Readers repair odd values, so nothing should end here. What does is logged and counted, and operators are told: the
latest of each account stands in a row of `work`, see `load_set_aside`.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar

import structlog
from sqlalchemy import select, update

from app import metrics
from app.clock import Clock
from app.db.engine import Database, upsert_into
from app.db.tables import calls, work
from app.errors import LeaseLost, RingCentralError, StorageUnavailable
from app.ids import AccountId

T = TypeVar("T")
R = TypeVar("R")

KIND = "set-aside"
UNSTORABLE = "unstorable"
"""Reason of a call whose record cannot be stored."""

_SHOWN_FOR = timedelta(days=1)
PASSING = (StorageUnavailable, LeaseLost, RingCentralError)
"""What is no fault of the data: it passes, and the same is tried again."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class SetAside:
    """What was set aside for an account lately."""

    account_id: AccountId
    problem: dict[str, Any]


async def write_apart(
    items: Sequence[T],
    write: Callable[[Sequence[T]], Awaitable[R]],
    set_aside: Callable[[T, Exception], Awaitable[None]],
) -> list[R]:
    """Write items in one transaction; where the data of one make that fail, write the halves, and set that one aside.

    `write` opens the transaction. An outage is raised: it is no fault of the items. Returns what `write` returned.
    """
    if not items:
        return []
    try:
        return [await write(items)]
    except PASSING:
        raise
    except Exception as error:  # noqa: BLE001 - whatever the item causes, its neighbours are written
        if len(items) == 1:
            await set_aside(items[0], error)
            return []
    middle = len(items) // 2
    first = await write_apart(items[:middle], write, set_aside)
    return first + await write_apart(items[middle:], write, set_aside)


class Shelf:
    """Where the background work notes what it has set aside."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def note(self, account_id: AccountId, source: str, subject: str, error: Exception) -> None:
        """Log, count and keep that what `source` told of `subject` (a call, by whatever name) cannot be stored."""
        now = self._clock.now()
        metrics.SET_ASIDE.labels(source=source).inc()
        log.error(
            "a record was set aside", account_id=account_id, source=source, call=subject, exc_info=error
        )
        mine = (work.c.account_id == account_id) & (work.c.kind == KIND)
        async with self._database.write() as db:
            before = await db.scalar(select(work.c.state).where(mine).with_for_update()) or {}
            is_recent = before.get("lastAt") and now - datetime.fromisoformat(before["lastAt"]) < _SHOWN_FOR
            state = {
                "since": before["since"] if is_recent else now.isoformat(),
                "lastAt": now.isoformat(),
                "count": (before["count"] if is_recent else 0) + 1,
                "subject": subject,
                "source": source,
                "why": _in_short(error),
            }
            insert = upsert_into(db, work).values(account_id=account_id, kind=KIND, state=state)
            await db.execute(
                insert.on_conflict_do_update(index_elements=["account_id", "kind"], set_={"state": state})
            )

    async def close_window(self, account_id: AccountId, call_id: str) -> None:
        """Poll no more for a call: the Call Log is read for it instead."""
        await self._change(account_id, call_id, window_closes_at=self._clock.now())

    async def stop_reading(self, account_id: AccountId, call_id: str) -> None:
        """Read no more for a call that cannot be written at all."""
        await self._change(account_id, call_id, read_at=None)

    async def stop_insights(self, account_id: AccountId, call_id: str) -> None:
        """Look no more for the insights of a call that cannot be written at all."""
        await self._change(account_id, call_id, insights_at=None)

    async def _change(self, account_id: AccountId, call_id: str, **values: Any) -> None:
        mine = (calls.c.account_id == account_id) & (calls.c.call_id == call_id)
        async with self._database.write() as db:
            await db.execute(update(calls).where(mine).values(values))


async def load_set_aside(db: Any, now: datetime) -> list[SetAside]:
    """Return, by account, what was set aside in the last day, as {code, detail, since}."""
    query = select(work.c.account_id, work.c.state).where(work.c.kind == KIND).order_by(work.c.account_id)
    return [
        SetAside(AccountId(row.account_id), _problem(row.state))
        for row in await db.execute(query)
        if row.state and now - datetime.fromisoformat(row.state["lastAt"]) < _SHOWN_FOR
    ]


def _problem(state: dict[str, Any]) -> dict[str, Any]:
    return {
        "code": "record-set-aside",
        "detail": f"{state['count']} times in a day, what RingCentral told of a call could not be stored, lately of "
        f"{state['subject']} ({state['source']}: {state['why']}). Other calls are not affected; please report it.",
        "since": state["since"],
    }


def _in_short(error: Exception) -> str:
    """Say what was wrong without repeating the data: the kind of the error, and of what it came from."""
    cause = getattr(error, "orig", None) or error.__cause__
    names = [type(error).__name__, *([type(cause).__name__] if cause is not None else [])]
    return ": ".join(names)
