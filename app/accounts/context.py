"""What workers that ask RingCentral are given."""

from dataclasses import dataclass

from app.accounts.connections import Connections
from app.work.context import WorkContext, Worker


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountsContext(WorkContext):
    """The surroundings of background work that uses the connections of accounts."""

    connections: Connections


class AccountsWorker(Worker):
    """Base of background workers that use the connections of accounts."""

    def __init__(self, context: AccountsContext) -> None:
        super().__init__(context)
        self._connections = context.connections
