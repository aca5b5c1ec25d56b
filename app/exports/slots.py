"""How many exports run at a time in one process, so that they leave connections and time to others."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

from fastapi import Depends, Request

from app.errors import TooManyExports
from app.ids import AccountId

MOST_PER_ACCOUNT = 2
RETRY_SECONDS = 30
_MOST_READING = 1
"""Pages that are read at the same time by all exports together: no request of others waits for more than one.
Between its pages an export has no connection."""


class ExportSlots:
    """The exports that one process sends."""

    def __init__(self) -> None:
        self._running: Counter[AccountId] = Counter()
        self.reading = asyncio.Semaphore(_MOST_READING)

    @contextmanager
    def take(self, account_id: AccountId) -> Iterator[None]:
        """Hold a place for an export of this account. Raises TooManyExports if it has none left."""
        if self._running[account_id] >= MOST_PER_ACCOUNT:
            raise TooManyExports(
                f"This account already has {MOST_PER_ACCOUNT} exports running; wait until one has ended",
                retrySeconds=RETRY_SECONDS,
            )
        self._running[account_id] += 1
        try:
            yield
        finally:
            self._running[account_id] -= 1
            if not self._running[account_id]:
                del self._running[account_id]


async def current_slots(request: Request) -> ExportSlots:
    """Return the slots of this process."""
    state = request.app.state
    if not hasattr(state, "export_slots"):
        state.export_slots = ExportSlots()
    slots: ExportSlots = state.export_slots
    return slots


CurrentSlots = Annotated[ExportSlots, Depends(current_slots)]
