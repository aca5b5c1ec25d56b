"""How fresh RingCentral's lists are for readers."""

from app.call_log_api.lists import ListRules
from app.settings import Settings


def list_rules(settings: Settings) -> ListRules:
    """Return how fresh RingCentral's lists are for readers: Active Calls change by the second, the Call Log less."""
    return ListRules(
        active_calls_fresh=settings.active_calls_window_seconds / 20,
        call_log_fresh=settings.active_calls_window_seconds / 8,
        patience=settings.reader_patience_seconds,
    )
