"""Makes the plans and rules of enrichment from the settings."""

from app.enrichment.insights.reader import InsightsPlan
from app.enrichment.polling.limits import PlannerLimits
from app.enrichment.recordings.recording_plan import RecordingPlan
from app.enrichment.records.plan import CallLogPlan
from app.enrichment.sweeps.state import SweepRules
from app.enrichment.voicemails.watcher import VoicemailPlan
from app.settings import Settings


def call_log_plan(settings: Settings) -> CallLogPlan:
    """Return when calls are read in the Call Log."""
    return CallLogPlan(
        first_after=settings.first_reading_seconds,
        gap=settings.reading_gap_seconds,
        horizon=settings.horizon_seconds,
        settled_after=settings.active_calls_window_seconds / 2,
        recording_after=settings.horizon_seconds,
        archives=bool(settings.archive_url),
        call_types=tuple(settings.call_types.split(",")),
        page_size=settings.active_calls_page_size,
        insights_after=settings.insights_seconds,
        kept=settings.kept_seconds,
    )


def insights_plan(settings: Settings) -> InsightsPlan:
    """Return when insights are requested; a refusal is remembered for 180 windows: six hours."""
    return InsightsPlan(
        after=settings.insights_seconds,
        forget=settings.active_calls_window_seconds * 180,
        lease=settings.lease_seconds * 2,
    )


def recording_plan(settings: Settings) -> RecordingPlan:
    """Return when unsettled recordings are requested: after 2, 5, 10, 30, 60 minutes if the window is two."""
    minute = settings.active_calls_window_seconds / 2
    return RecordingPlan(
        gaps=tuple(minutes * minute for minutes in (1.0, 2.0, 5.0, 10.0, 30.0, 60.0)),
        lease=settings.lease_seconds,
        archives=bool(settings.archive_url),
    )


def voicemail_plan(settings: Settings) -> VoicemailPlan:
    """Return when voicemails and their transcripts are requested; the gaps grow with the window."""
    minute = settings.active_calls_window_seconds / 2
    return VoicemailPlan(
        gaps=tuple(minutes * minute for minutes in (0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)),
        transcript_gaps=tuple(minutes * minute for minutes in (0.5, 1.0, 2.0, 5.0, 10.0)),
        lease=settings.lease_seconds,
        archives=bool(settings.archive_url),
    )


def sweep_rules(settings: Settings) -> SweepRules:
    """Return when and how ranges of time are swept."""
    window = settings.active_calls_window_seconds
    return SweepRules(
        interval=settings.sweep_interval_seconds,
        lookback=settings.sweep_lookback_seconds,
        overlap=window * 10,
        grace=window / 2,
        margin=window / 2,
        first_after=settings.first_reading_seconds,
        second_after=window * 5,
        spacing=settings.rate_limit_window_seconds / 5,
        lease=settings.short_lease_seconds,
        longest=max(settings.lease_seconds, settings.rate_limit_window_seconds * 4),
    )


def planner_limits(settings: Settings) -> PlannerLimits:
    """Return the durations that polling depends on."""
    return PlannerLimits(
        window_seconds=settings.active_calls_window_seconds,
        lag_min_seconds=settings.active_calls_lag_min_seconds,
        lag_max_seconds=settings.active_calls_lag_max_seconds,
        quiet_seconds=settings.call_end_quiet_seconds,
    )
