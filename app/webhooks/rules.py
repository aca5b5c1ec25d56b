"""Makes the rules of the end decision from the settings."""

from app.settings import Settings
from app.webhooks.folding.stages import EndRules


def end_rules(settings: Settings) -> EndRules:
    """Return how long the end decision waits for what."""
    return EndRules(
        quiet=settings.call_end_quiet_seconds,
        handover=settings.handover_seconds,
        stale=settings.call_stale_seconds,
        window=settings.active_calls_window_seconds,
        first_reading=settings.first_reading_seconds,
        kept=settings.kept_seconds,
    )
