"""When recordings are requested. Made from the settings."""

from dataclasses import dataclass

from app.enrichment.audio.retry_plan import RetryPlan


@dataclass(frozen=True, slots=True)
class RecordingPlan(RetryPlan):
    """When recordings are requested that their records have not settled."""

    announced_looks: int = 3
    """Attempts for a recording that events announced and no record names: most of them were too short to be
    stored."""
