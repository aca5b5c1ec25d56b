"""The background work of operations: comparing clocks, and checking that RingCentral can be reached."""

from collections.abc import Iterator

from app.accounts.context import AccountsContext
from app.ops.problems import clock_skew, reachability
from app.settings import Settings
from app.work.loops import Loop


def ops_loops(context: AccountsContext, settings: Settings) -> Iterator[Loop]:
    """Yield the loops of a worker."""
    database, clock, connections = context.database, context.clock, context.connections
    clocks = clock_skew.ClockWatch(database, clock, connections.meter, replica=context.replica)
    yield Loop("clock", clocks.step, (), clock_skew.CHECK_SECONDS)
    reach = reachability.ReachWatch(
        database, clock, connections.reach, settings.rc_server_url, replica=context.replica
    )
    yield Loop("reach", reach.step, (), reachability.CHECK_SECONDS)
