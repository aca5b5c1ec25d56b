"""One statement looks for the work of many loops.

Work becomes due as time passes, and a wake-up may be lost, so the database has to be asked again and again.
Each loop asks by a condition of its own, and all conditions are columns of one statement: an idle process
runs this statement, and no step of any loop.

A condition may be true although the loop finds nothing to do, for example while an account is held back. It
must be true whenever the loop would find something that it does not know of; what a step has returned as its
pause it knows.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

from sqlalchemy import Column, ColumnElement, bindparam, false, func, select

from app.db.types import UtcDateTime
from app.work.context import WorkContext, Worker
from app.work.loops import Loop, topic_of

LOOKS = 15
"""Looks after which a loop runs its step nevertheless, in case its condition misses something."""

NOW: ColumnElement[Any] = bindparam("now", type_=UtcDateTime())
"""The time of the look, for conditions."""


def is_past(due_at: Column[Any], *conditions: ColumnElement[bool]) -> ColumnElement[bool]:
    """Return the condition that of the rows that meet `conditions` one is due.

    The earliest time is compared, rather than a due row searched: PostgreSQL would read the whole table for
    the latter where it expects to find such a row soon, and the short index of due times for the former.
    """
    earliest = select(func.min(due_at)).where(due_at.is_not(None), *conditions)
    return func.coalesce(earliest.scalar_subquery() <= NOW, false())


class Lookout(Worker):
    """The background work that wakes the loops that have something due. `wake` wakes topics here."""

    def __init__(
        self, context: WorkContext, wake: Callable[[Collection[str]], None], loops: Iterable[Loop]
    ) -> None:
        super().__init__(context)
        asking = [(topic_of(loop.name), loop.is_due) for loop in loops if loop.is_due is not None]
        self._wake = wake
        self._topics: Sequence[str] = [topic for topic, _ in asking]
        self._query = select(*(is_due.label(f"due_{place}") for place, (_, is_due) in enumerate(asking)))

    async def step(self) -> float | None:
        """Look once."""
        async with self._database.read() as db:
            found = (await db.execute(self._query, {"now": self._clock.now()})).one()
        self._wake([topic for topic, is_due in zip(self._topics, found, strict=True) if is_due])
        return None
