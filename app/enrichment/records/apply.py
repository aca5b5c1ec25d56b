"""Stores records and updates their calls: versions are merged, recordings and links follow. Runs under the
ledger."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from app.calls import store, stored_records
from app.calls.attachments.parking import join_parked
from app.calls.evidence.records import primary_of
from app.calls.evidence.versions import RecordVersion, brings_news, merge_versions
from app.calls.insights import store as insights_store
from app.calls.insights.availability import Availability, expect_insights, load_availability
from app.calls.ledger import Ledger
from app.calls.media import recordings, voicemails
from app.calls.model import Call, Source, Stage
from app.calls.related.links import Link
from app.calls.related.store import link_calls
from app.enrichment.records import named_recordings, named_voicemails
from app.enrichment.records.call_names import find_taken_keys, name_call
from app.enrichment.records.call_update import ask_if_over, update_call
from app.enrichment.records.linked_sessions import links_of_records
from app.enrichment.records.plan import CallLogPlan
from app.enrichment.records.settling import settle_calls
from app.ringcentral.models import CallRecord

Versions = dict[str, RecordVersion]
"""The current version of each record of a call, by record id."""


async def update_calls(
    ledger: Ledger,
    calls: Mapping[str, Call],
    found: Mapping[str, Sequence[CallRecord]],
    source: Source,
    fetched_at: datetime,
    plan: CallLogPlan,
) -> list[Call]:
    """Apply records to the calls that are over; records of live calls are only stored.

    `calls` and `found` are by call id. Returns the calls that got their first record.
    """
    live = {call_id: records for call_id, records in found.items() if calls[call_id].stage == Stage.LIVE}
    over = {call_id: records for call_id, records in found.items() if call_id not in live}
    await store_versions(ledger, calls, live, source, fetched_at)
    return await apply_records(ledger, calls, over, source, fetched_at, plan)


@dataclass(slots=True, kw_only=True)
class _Update:
    """One application of records: what is stored of the calls, by call id, and what changes with them."""

    ledger: Ledger
    source: Source
    fetched_at: datetime
    plan: CallLogPlan
    stored_versions: Mapping[str, Versions]
    stored_recordings: Mapping[str, Mapping[str, recordings.RecordingRow]]
    availability: Availability | None
    taken_keys: set[str]
    versions: list[dict[str, Any]] = field(default_factory=list)
    recording_rows: list[recordings.RecordingRow] = field(default_factory=list)
    links: dict[str, list[Link]] = field(default_factory=dict)
    names: dict[str, Call] = field(default_factory=dict)
    current: dict[str, Sequence[CallRecord]] = field(default_factory=dict)
    """All records of each updated call, by call id."""

    recorded: dict[str, Call] = field(default_factory=dict)
    """The call of each recording, by recording id."""

    def apply(self, call: Call, records: Sequence[CallRecord]) -> bool:
        """Update one call; return whether it got its first record."""
        ledger, stored = self.ledger, self.stored_versions[call.call_id]
        early = stored_records.is_early(call, self.fetched_at)
        read = [RecordVersion(record, self.source, self.fetched_at, early) for record in records]
        fresh = merge_versions(stored, read)
        self.versions += [_row(call, version) for version in fresh.values()]
        versions = {**stored, **fresh}
        if primary_of(versions.values()) is None:
            return False
        current = self.current[call.call_id] = [version.record for version in versions.values()]
        # A final call is not read again, so the first request for its recording is due at once.
        first_after = timedelta(seconds=0.0 if call.stage == Stage.FINAL else self.plan.recording_after)
        known = self.stored_recordings[call.call_id]
        named = named_recordings.take_named_recordings(call, current, known, ledger.now, first_after)
        self.recording_rows += named
        self.recorded |= {one.id: call for record in records for one in record.recordings}
        insights_after = self.plan.insights_after
        if (
            insights_after is not None
            and self.availability is not None
            and any(one.recordings for one in current)
        ):
            expect_insights(call, self.availability, insights_after, ledger.now)
        has_news = bool(named) or brings_news(fresh, stored)
        is_first = update_call(ledger, call, versions, self.source, has_news=has_news, plan=self.plan)
        self.names |= name_call(ledger, call, current, records, self.taken_keys)
        self.links[call.call_id] = links_of_records(call, current)
        return is_first


async def apply_records(
    ledger: Ledger,
    calls: Mapping[str, Call],
    found: Mapping[str, Sequence[CallRecord]],
    source: Source,
    fetched_at: datetime,
    plan: CallLogPlan,
) -> list[Call]:
    """Update calls from records; return the calls that got their first record.

    `found` has records by call id as they were at `fetched_at` or later: the time of the request, because the
    response may take long. Calls whose records say nothing new stay as they are.
    """
    db, account_id = ledger.db, ledger.account_id
    update = _Update(
        ledger=ledger,
        source=source,
        fetched_at=fetched_at,
        plan=plan,
        stored_versions=await _load_versions(ledger, calls, found),
        stored_recordings=await recordings.load_of_calls(db, account_id, list(found)),
        availability=None if plan.insights_after is None else await load_availability(db, account_id),
        taken_keys=await find_taken_keys(ledger, calls, found),
    )
    first = [calls[call_id] for call_id, records in found.items() if update.apply(calls[call_id], records)]
    # Before the flush: otherwise it would write each call, and the readiness of its voicemail a second time.
    voicemail_rows = await named_voicemails.take_named_voicemails(ledger, calls, update.current)
    # The rows of calls come first: all others refer to them.
    await ledger.flush()
    await store.save_records(db, update.versions)
    await recordings.save(db, update.recording_rows)
    await voicemails.save(db, voicemail_rows)
    await link_calls(ledger, update.links, calls, update.names)
    await join_parked(ledger, update.names)
    await insights_store.join(ledger, update.names, update.recorded)
    # Settling reads the recordings that were just saved.
    await settle_calls(ledger, [calls[call_id] for call_id in found], plan, fetched_at)
    return first


async def store_versions(
    ledger: Ledger,
    calls: Mapping[str, Call],
    found: Mapping[str, Sequence[CallRecord]],
    source: Source,
    fetched_at: datetime,
) -> None:
    """Store records of live calls until these are over: a change feed does not show them twice.

    A record that ends after the call was last known to be live makes the service ask RingCentral whether it
    is over.
    """
    for call_id, records in found.items():
        ask_if_over(ledger, calls[call_id], records)
    kept = await _load_versions(ledger, calls, found)
    rows = [
        _row(calls[call_id], version)
        for call_id, records in found.items()
        for version in merge_versions(
            kept[call_id],
            [RecordVersion(record, source, fetched_at, is_provisional=True) for record in records],
        ).values()
    ]
    await store.save_records(ledger.db, rows)


async def _load_versions(
    ledger: Ledger, calls: Mapping[str, Call], found: Mapping[str, object]
) -> dict[str, Versions]:
    rows = await store.load_records(ledger.db, ledger.account_id, list(found))
    return {
        call_id: {one.record.id: one for one in stored_records.read_versions(calls[call_id], of_call)}
        for call_id, of_call in rows.items()
    }


def _row(call: Call, version: RecordVersion) -> dict[str, Any]:
    return {
        "account_id": call.account_id,
        "call_id": call.call_id,
        "record_id": version.record.id,
        "source": version.source.value,
        "detailed": version.record.is_detailed,
        "fetched_at": version.fetched_at,
        "last_modified_at": version.record.last_modified_time,
        "raw": dict(version.record.raw),
    }
