"""Chooses main calls that are not chosen yet: those of calls that an earlier version has linked."""

from app.calls.ledger import open_ledger
from app.calls.main_calls.members import find_unsettled
from app.clock import Clock
from app.db.engine import Database

EVERY_SECONDS = 600.0
_BATCH = 50


class MainCallUpkeep:
    """The background work that chooses, in small batches so that no other writer waits for long."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def step(self) -> float | None:
        """Choose for one batch of conversations; return 0 when there may be more."""
        async with self._database.read() as db:
            found = await find_unsettled(db, _BATCH)
        for account_id, conversation_ids in found.items():
            async with (
                self._database.write() as db,
                open_ledger(db, account_id, self._clock.now()) as ledger,
            ):
                ledger.regroup(*conversation_ids)
        return 0.0 if found else None
