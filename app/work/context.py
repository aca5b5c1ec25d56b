"""What every background worker of a process is given."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import TypeVar

from app.clock import Clock
from app.db.engine import Database
from app.ids import AccountId
from app.work.lanes import AT_ONCE, Lanes
from app.work.leases import Lease, work_lease
from app.work.log_context import account_of_key

K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkContext:
    """The surroundings of background work.

    `replica` names this process among all that share the database. `lease_seconds` is how long a lease lasts
    without renewal. `patience_seconds` is how long a step waits for slow accounts before it continues without
    them (None: until all are done).
    """

    database: Database
    clock: Clock
    replica: str
    lease_seconds: float = 15.0
    patience_seconds: float | None = None

    def lease(self, account_id: AccountId, kind: str) -> Lease:
        """Return this replica's lease of one kind of work of one account."""
        return work_lease(account_id, kind, self.replica, self.lease_seconds)

    def lanes(
        self,
        name: str,
        topic: str | None,
        *,
        longest_seconds: float,
        at_once: int = AT_ONCE,
        patience_seconds: float | None = None,
        account_of: Callable[[K], str | None] = account_of_key,
        loop: str | None = None,
    ) -> Lanes[K]:
        """Return lanes for a loop that `topic` wakes; None if the loop's own interval is enough.

        `patience_seconds` is at most the context's own.
        """

        def wake() -> None:
            if topic is not None and self.database.waker is not None:
                self.database.waker((topic,))

        return Lanes(
            name,
            wake=wake,
            longest_seconds=longest_seconds,
            patience_seconds=self.patience_seconds and (patience_seconds or self.patience_seconds),
            at_once=at_once,
            account_of=account_of,
            loop=loop,
        )


class Worker:
    """Base of background workers; has the parts of the context that steps use."""

    def __init__(self, context: WorkContext) -> None:
        self._database = context.database
        self._clock = context.clock
        self._replica = context.replica
