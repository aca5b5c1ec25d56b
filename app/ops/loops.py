"""The background work of operations: the clocks of both sides, and whether RingCentral can be reached."""

from collections.abc import Iterator

from app.accounts.context import AccountsContext
from app.ops.problems.clock_skew import LOOK_SECONDS, ClockWatch
from app.ops.problems.reachability import LOOK_SECONDS as REACH_SECONDS
from app.ops.problems.reachability import ReachWatch
from app.settings import Settings
from app.work.loops import Loop


def ops_loops(context: AccountsContext, settings: Settings) -> Iterator[Loop]:
    """Yield the loops of a worker."""
    database, clock, connections = context.database, context.clock, context.connections
    clocks = ClockWatch(database, clock, connections.meter, replica=context.replica)
    yield Loop("clock", clocks.step, (), LOOK_SECONDS)
    reach = ReachWatch(database, clock, connections.reach, settings.rc_server_url, replica=context.replica)
    yield Loop("reach", reach.step, (), REACH_SECONDS)
