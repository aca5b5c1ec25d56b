"""Rebuilds calls from stored raw deliveries and records, and reports where the result differs."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.calls import accounts, store, stored_records
from app.calls.derivation.fields import derive_fields
from app.calls.evidence import parties
from app.calls.evidence.facts import Fact, SessionFacts
from app.calls.ledger import Ledger, open_ledger
from app.calls.model import Call
from app.calls.related.links import Link
from app.calls.related.store import find_unknown, link_calls
from app.clock import Clock
from app.db.engine import Database
from app.db.tables import deliveries
from app.enrichment.records import linked_sessions
from app.ids import AccountId
from app.webhooks.folding.apply import links_of_events
from app.webhooks.folding.batches import read_delivery
from app.webhooks.payloads.notification import PresenceEvent, TelephonyEvent

BATCH = 500
_COMPARED = (
    "session_id", "direction", "internal", "outcome", "result", "action", "caller", "callee",
    "external_number", "queue_name", "started_at", "answered_at", "duration_seconds", "has_recording",
    "parties", "details", "facts", "primary_record_id", "agent_extension_id",
)  # fmt: skip


@dataclass(slots=True)
class Report:
    """What a replay found. `different` names the fields that differed, by call id."""

    deliveries: int = 0
    calls: int = 0
    same: int = 0
    different: dict[str, list[str]] = field(default_factory=dict)


async def replay_calls(
    database: Database,
    clock: Clock,
    account_id: AccountId,
    *,
    session: str | None = None,
    since: datetime | None = None,
    write: bool = True,
) -> Report:
    """Rebuild the calls that stored deliveries are about and compare them with the stored calls.

    With `write`, differences are corrected, as a visible change of the call. Deliveries past their retention
    are gone; the facts that came from them are kept.
    """
    report = Report()
    async with database.read() as db:
        account_id = await accounts.resolve(db, account_id)
        facts = await _read_facts(db, account_id, session, since, report)
    keys = sorted(facts)
    for start in range(0, len(keys), BATCH):
        chunk = {key: facts[key] for key in keys[start : start + BATCH]}
        async with database.write() as db, open_ledger(db, account_id, clock.now()) as ledger:
            await _replay_chunk(ledger, chunk, report, write=write)
    return report


async def _replay_chunk(
    ledger: Ledger, facts: Mapping[str, list[Fact]], report: Report, *, write: bool
) -> None:
    db, account_id = ledger.db, ledger.account_id
    found = await store.load_by_sessions(db, account_id, facts)
    records = await store.load_records(db, account_id, [call.call_id for call in found.values()])
    before = {call.call_id: _image(call) for call in found.values()}
    links: dict[str, list[Link]] = {
        call.call_id: _rebuild(ledger, call, facts[key], records[call.call_id]) for key, call in found.items()
    }
    unlinked = await find_unknown(db, account_id, links)
    for call in found.values():
        image = before[call.call_id]
        changed = [name for name in _COMPARED if image[name] != getattr(call, name)]
        changed += ["related"] if call.call_id in unlinked else []
        report.calls += 1
        if not changed:
            report.same += 1
            continue
        report.different[call.call_id] = changed
        if write and "started_at" in changed:
            ledger.redate(call)
        if write:
            ledger.change(call, "call.updated", source="replay", fields=changed)
    if write and unlinked:
        await ledger.flush()
        await link_calls(ledger, unlinked, {call.call_id: call for call in found.values()}, {})


async def _read_facts(
    db: AsyncConnection, account_id: AccountId, session: str | None, since: datetime | None, report: Report
) -> dict[str, list[Fact]]:
    """Read the facts of folded deliveries, by `telephonySessionId`."""
    query = select(deliveries.c.raw, deliveries.c.received_at).where(
        deliveries.c.account_id == account_id, deliveries.c.folded_at.is_not(None)
    )
    if session is not None:
        query = query.where(deliveries.c.telephony_session_id == session)
    if since is not None:
        query = query.where(deliveries.c.received_at >= since)
    facts: dict[str, list[Fact]] = {}
    for row in await db.execute(query):
        event = read_delivery(row.raw, row.received_at)
        if isinstance(event, TelephonyEvent | PresenceEvent):
            report.deliveries += 1
            for call in event.calls:
                if call.key.telephony_session_id is not None:
                    facts.setdefault(call.key.telephony_session_id, []).extend(call.facts)
    return facts


def _rebuild(
    ledger: Ledger, call: Call, from_deliveries: Iterable[Fact], records: Sequence[Any]
) -> list[Link]:
    """Rebuild a call from its facts and records, as if it were new; return its links to other sessions."""
    had_record = call.primary_record_id is not None
    facts = SessionFacts.of(from_deliveries).union(SessionFacts.from_json(call.facts))
    call.facts = facts.to_json()
    view = parties.read_parties(facts)
    # The records of a call that goes on are set aside and decide nothing yet.
    versions = list(stored_records.read_versions(call, records)) if had_record else []
    derive_fields(call, view, versions, ledger.company)
    return links_of_events(call, view) + linked_sessions.links_of_rows(call, records)


def _image(call: Call) -> dict[str, object]:
    return {name: getattr(call, name) for name in _COMPARED}
