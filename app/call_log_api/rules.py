"""The rules for RingCentral's lists, from the settings."""

from app.call_log_api.lists import ListRules
from app.settings import Settings


def list_rules(settings: Settings) -> ListRules:
    """Return the rules. Active Calls change every second, the Call Log less often."""
    return ListRules(
        active_calls_fresh=settings.active_calls_window_seconds / 20,
        call_log_fresh=settings.active_calls_window_seconds / 8,
        patience=settings.reader_patience_seconds,
    )
