"""Rounds over the accounts that have something due: the accounts side by side, each one's items one by one.

The caller decides what is due and how it is claimed; see `Agenda`.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from sqlalchemy.ext.asyncio import AsyncConnection

from app.ids import AccountId
from app.work.context import WorkContext
from app.work.holds import Holds
from app.work.lanes import Lanes


@dataclass(frozen=True, slots=True, kw_only=True)
class Agenda:
    """What is due.

    `serve` claims one item of an account and does it; it returns False if there was none. `find_next` returns
    when the next item of any account is due after `now`.
    """

    find_accounts: Callable[[AsyncConnection, datetime], Awaitable[Sequence[AccountId]]]
    find_next: Callable[[AsyncConnection, datetime], Awaitable[datetime | None]]
    serve: Callable[[AccountId], Awaitable[bool]]


class Rounds:
    """The rounds of one loop. In each, at most `most_at_once` items of an account are done.

    An account that takes longer than the context's patience continues beside the others, up to
    `longest_seconds`.
    """

    def __init__(
        self,
        name: str,
        context: WorkContext,
        agenda: Agenda,
        *,
        most_at_once: int,
        longest_seconds: float,
    ) -> None:
        self._database = context.database
        self._clock = context.clock
        self._agenda = agenda
        self._most_at_once = most_at_once
        self._holds: Holds[AccountId] = Holds(context.clock)
        self._lanes: Lanes[AccountId] = context.lanes(name, None, longest_seconds=longest_seconds)

    def hold_back(self, account_id: AccountId, until: datetime) -> None:
        """Skip an account until its budget allows more; each replica learns that for itself."""
        self._holds.hold(account_id, until)

    async def step(self) -> float | None:
        """Make one round; return in how many seconds the next item is due."""
        now = self._clock.now()
        async with self._database.read() as db:
            account_ids = await self._agenda.find_accounts(db, now)
        soonest = await self._lanes.run({one: partial(self._serve, one) for one in account_ids})
        async with self._database.read() as db:
            due_at = await self._agenda.find_next(db, now)
        pauses = [] if soonest is None else [soonest]
        if due_at is not None:
            pauses.append(max(0.0, (due_at - self._clock.now()).total_seconds()))
        return min(pauses, default=None)

    async def close(self) -> None:
        """Stop what is under way; it is due again when its claim expires."""
        await self._lanes.close()

    async def _serve(self, account_id: AccountId) -> float | None:
        for _ in range(self._most_at_once):
            if account_id in self._holds:
                return self._holds.remaining(account_id)
            if not await self._agenda.serve(account_id):
                return None
        return 0.0
