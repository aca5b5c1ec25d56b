"""RingCentral's lists for a process, with rules from the settings."""

from app.accounts.connections import Connections
from app.call_log_api.lists import CallLogLists, ListRules
from app.call_log_api.response_cache import ResponseCache
from app.clock import Clock
from app.db.engine import Database
from app.settings import Settings


def make_lists(
    settings: Settings, database: Database, clock: Clock, connections: Connections
) -> CallLogLists:
    """Return the lists of one process, whose responses all replicas share."""
    cache = ResponseCache(database, clock, lease=settings.lease_seconds)
    return CallLogLists(clock, connections, cache, list_rules(settings))


def list_rules(settings: Settings) -> ListRules:
    """Return the rules. Active Calls change every second, the Call Log less often."""
    return ListRules(
        active_calls_fresh=settings.active_calls_window_seconds / 20,
        call_log_fresh=settings.active_calls_window_seconds / 8,
        patience=settings.reader_patience_seconds,
    )
