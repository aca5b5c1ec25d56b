"""The surroundings of background work, as tests need them."""

from app.accounts.connections import Connections
from app.accounts.context import AccountsContext
from app.clock import Clock
from app.db.engine import Database
from app.work.context import WorkContext


def work_context(
    database: Database,
    clock: Clock,
    *,
    replica: str = "one",
    lease_seconds: float = 15.0,
    patience_seconds: float | None = None,
) -> WorkContext:
    return WorkContext(
        database=database,
        clock=clock,
        replica=replica,
        lease_seconds=lease_seconds,
        patience_seconds=patience_seconds,
    )


def accounts_context(
    database: Database,
    clock: Clock,
    connections: Connections,
    *,
    replica: str = "one",
    lease_seconds: float = 15.0,
    patience_seconds: float | None = None,
) -> AccountsContext:
    return AccountsContext(
        database=database,
        clock=clock,
        connections=connections,
        replica=replica,
        lease_seconds=lease_seconds,
        patience_seconds=patience_seconds,
    )
