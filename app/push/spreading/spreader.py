"""The loop that turns timelines into messages, accounts side by side."""

from functools import partial

from app.ids import AccountId
from app.push.spreading.spread import find_behind, spread
from app.work import wakeups
from app.work.context import WorkContext, Worker
from app.work.lanes import Lanes

_LONGEST_SECONDS = 60.0
_PATIENCE_SECONDS = 0.02
_AT_ONCE = 4


class Spreader(Worker):
    """Makes the messages of all accounts whose endpoints are behind."""

    def __init__(self, context: WorkContext) -> None:
        super().__init__(context)
        self._lanes: Lanes[AccountId] = context.lanes(
            "push",
            wakeups.TIMELINE,
            longest_seconds=_LONGEST_SECONDS,
            at_once=_AT_ONCE,
            patience_seconds=_PATIENCE_SECONDS,
        )

    async def step(self) -> float | None:
        """Make one batch of messages for each account; return the pause until the next, if there is more."""
        async with self._database.read() as db:
            behind = await find_behind(db, self._clock.now())
        return await self._lanes.run({one: partial(self._serve, one) for one in behind})

    async def close(self) -> None:
        """Stop; what is left is done later."""
        await self._lanes.close()

    async def _serve(self, account_id: AccountId) -> float | None:
        async with self._database.write() as db:
            has_more = await spread(db, account_id, self._clock.now())
        return 0.0 if has_more else None
