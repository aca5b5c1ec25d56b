"""How long each kind is kept. Made from the settings."""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from app.settings import Settings


class Kind(StrEnum):
    """What is kept for a time of its own."""

    DELIVERIES = "deliveries"
    RECORDS = "records"
    TIMELINE = "timeline"
    CALLS = "calls"
    NOTES = "notes"
    RECORDINGS = "recordings"
    REQUESTS = "requests"
    ATTEMPTS = "attempts"
    AUDIT = "audit"


@dataclass(frozen=True, slots=True)
class RetentionRules:
    """How long each kind is kept; None: without limit, or as long as the call that it belongs to."""

    deliveries: timedelta
    records: timedelta | None
    timeline: timedelta
    calls: timedelta | None
    notes: timedelta | None
    recordings: timedelta | None
    requests: timedelta
    attempts: timedelta
    audit: timedelta

    def of(self, kind: Kind) -> timedelta | None:
        """Return how long a kind is kept."""
        kept: timedelta | None = getattr(self, kind.value)
        return kept


def retention_rules(settings: Settings) -> RetentionRules:
    """Return how long each kind is kept. A raw delivery is never kept for longer than its call."""
    calls = _days(settings.retention_calls_days)
    deliveries = timedelta(days=settings.retention_deliveries_days)
    return RetentionRules(
        deliveries=deliveries if calls is None else min(deliveries, calls),
        records=_days(settings.retention_records_days),
        timeline=timedelta(days=settings.retention_timeline_days),
        calls=calls,
        notes=_days(settings.retention_notes_days),
        recordings=_days(settings.retention_recordings_days),
        requests=timedelta(days=settings.retention_requests_days),
        attempts=timedelta(days=settings.retention_attempts_days),
        audit=timedelta(days=settings.retention_audit_days),
    )


def _days(setting: float | None) -> timedelta | None:
    return None if setting is None else timedelta(days=setting)
