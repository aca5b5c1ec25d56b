"""The background work of enrichment: polls, Call Log reads, sweeps, recordings, and insights."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from app.accounts.context import AccountsContext
from app.enrichment.audio.archive_store import Archive
from app.enrichment.call_log.extract_sync import CallLogFeed
from app.enrichment.call_log.reader import CallLogReader
from app.enrichment.insights.reader import InsightsReader
from app.enrichment.polling.poller import Poller
from app.enrichment.recordings.archiver import Archiver
from app.enrichment.recordings.watcher import RecordingWatcher
from app.enrichment.rules import (
    call_log_plan,
    insights_plan,
    planner_limits,
    recording_plan,
    sweep_rules,
    voicemail_plan,
)
from app.enrichment.sweeps.sweeper import Sweeper
from app.enrichment.voicemails.archiver import VoicemailArchiver
from app.enrichment.voicemails.watcher import VoicemailWatcher
from app.settings import Settings
from app.work import wakeups
from app.work.lookout import LOOKS
from app.work.loops import Loop


def enrichment_loops(context: AccountsContext, settings: Settings, archive: Archive | None) -> Iterator[Loop]:
    """Yield the loops of a worker."""
    plan, step = call_log_plan(settings), settings.step_seconds
    idle = step * LOOKS
    poller = Poller(context, planner_limits(settings), plan)
    yield Loop(
        "polls", poller.step, (wakeups.POLLS,), idle, poller.close, gather=step / 20,
        is_due=poller.any_due,
    )  # fmt: skip
    reader = CallLogReader(context, plan, _feed(context, settings, "readings"))
    yield Loop("readings", reader.step, (wakeups.READINGS,), idle, reader.close, is_due=reader.any_due)
    sweeper = Sweeper(context, plan, sweep_rules(settings), _feed(context, settings, "sweeps"))
    woken = (wakeups.SWEEPS, wakeups.CREDENTIALS)
    yield Loop("sweeps", sweeper.step, woken, idle, sweeper.close, is_due=sweeper.any_due)
    recordings = recording_plan(settings)
    watcher = RecordingWatcher(context, recordings)
    yield Loop("recordings", watcher.step, (), idle, watcher.close, is_due=watcher.any_due)
    voicemails = voicemail_plan(settings)
    mailboxes = VoicemailWatcher(context, voicemails)
    yield Loop("voicemails", mailboxes.step, (), idle, mailboxes.close, is_due=mailboxes.any_due)
    if archive is not None:
        spool = Path(settings.archive_spool_folder) if settings.archive_spool_folder else None
        archiver = Archiver(context, archive, recordings, spool=spool)
        yield Loop("archive", archiver.step, (), idle, archiver.close, is_due=archiver.any_due)
        mail = VoicemailArchiver(context, archive, voicemails, spool=spool)
        yield Loop("voicemail archive", mail.step, (), idle, mail.close, is_due=mail.any_due)
    insights = InsightsReader(context, insights_plan(settings))
    yield Loop("insights", insights.step, (), idle, insights.close, is_due=insights.any_due)


def _feed(context: AccountsContext, settings: Settings, reader: str) -> CallLogFeed:
    # Each reader of the feed owns its own lease: two in one process must not share a turn.
    own = replace(context, replica=f"{context.replica}-{reader}")
    patience = max(settings.lease_seconds / 2, settings.rate_limit_window_seconds)
    return CallLogFeed(own, call_log_plan(settings), patience_seconds=patience)
