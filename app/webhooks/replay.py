"""Rebuilds calls from stored raw deliveries and records, and reports where the result differs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from app.calls import accounts, store, stored_records
from app.calls.derivation.fields import derive_fields, extension_ids, phone_numbers
from app.calls.evidence import parties
from app.calls.evidence.facts import Fact, SessionFacts
from app.calls.ledger import Ledger, open_ledger
from app.calls.model import Call
from app.calls.related.links import Link
from app.calls.related.store import find_unknown, link_calls
from app.clock import Clock
from app.db.engine import Database
from app.enrichment.records import linked_sessions
from app.ids import AccountId, CallId
from app.webhooks.folding.apply import links_of_events
from app.webhooks.folding.stored_facts import read_stored_facts

BATCH = 500
ALL_BATCH = 200
"""Calls that one transaction of `replay_all` rebuilds. Other writers of the account wait meanwhile."""

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

    def note(self, call: Call, changed: list[str]) -> None:
        self.calls += 1
        if changed:
            self.different[call.call_id] = changed
        else:
            self.same += 1


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
        report.deliveries, facts = await read_stored_facts(db, account_id, session=session, since=since)
    keys = sorted(facts)
    for start in range(0, len(keys), BATCH):
        chunk = {key: facts[key] for key in keys[start : start + BATCH]}
        async with database.write() as db, open_ledger(db, account_id, clock.now()) as ledger:
            found = await store.load_by_sessions(db, account_id, chunk)
            of_calls = {call.call_id: chunk[key] for key, call in found.items()}
            await _replay_chunk(ledger, list(found.values()), of_calls, report, write=write)
    return report


async def replay_all(
    database: Database, clock: Clock, account_id: AccountId | None = None, *, write: bool = True
) -> Report:
    """Rebuild every call of an account, or of all accounts, from all that is stored of it.

    Reads and writes a batch at a time, so it may run beside the service.
    """
    report = Report()
    async with database.read() as db:
        every = (
            await accounts.list_ids(db) if account_id is None else [await accounts.resolve(db, account_id)]
        )
    for one in every:
        after = ""
        while True:
            async with database.write() as db, open_ledger(db, one, clock.now()) as ledger:
                found = await store.load_after(db, one, after, ALL_BATCH)
                keys = [call.telephony_session_id for call in found]
                read, facts = await read_stored_facts(db, one, keys=keys)
                report.deliveries += read
                of_calls = {call.call_id: facts.get(call.telephony_session_id, []) for call in found}
                await _replay_chunk(ledger, found, of_calls, report, write=write)
            if len(found) < ALL_BATCH:
                break
            after = found[-1].call_id
    return report


async def _replay_chunk(
    ledger: Ledger,
    found: Sequence[Call],
    facts: Mapping[CallId, Sequence[Fact]],
    report: Report,
    *,
    write: bool,
) -> None:
    """Rebuild calls from their records and their `facts`, which are by call id."""
    db, account_id = ledger.db, ledger.account_id
    records = await store.load_records(db, account_id, [call.call_id for call in found])
    links: dict[str, list[Link]] = {}
    changes: dict[str, list[str]] = {}
    # A call whose raw records were removed cannot be derived again, so it is the same by definition.
    removed = [call for call in found if stored_records.are_removed(call, records[call.call_id])]
    for call in removed:
        report.note(call, [])
    gone = {call.call_id for call in removed}
    found = [call for call in found if call.call_id not in gone]
    for call in found:
        image = _image(call)
        links[call.call_id] = _rebuild(ledger, call, facts[call.call_id], records[call.call_id], write=write)
        changes[call.call_id] = [name for name in _COMPARED if image[name] != getattr(call, name)]
    unlinked = await find_unknown(db, account_id, links)
    for call in found:
        changed = changes[call.call_id] + (["related"] if call.call_id in unlinked else [])
        report.note(call, changed)
        if write:
            ledger.regroup(call.conversation_id)
        if write and "started_at" in changed:
            ledger.redate(call)
        if write and changed == ["facts"]:
            ledger.keep(call)  # nothing of it is visible
        elif write and changed:
            ledger.change(call, "call.updated", source="replay", fields=changed)
    if write and unlinked:
        await ledger.flush()
        await link_calls(ledger, unlinked, {call.call_id: call for call in found}, {})


def _rebuild(
    ledger: Ledger, call: Call, from_deliveries: Sequence[Fact], records: Sequence[Any], *, write: bool
) -> list[Link]:
    """Rebuild a call from its facts and records, as if it were new; return its links to other sessions."""
    had_record = call.primary_record_id is not None
    # What is read from a delivery now may say more than what a former version read from it.
    anew = {fact.key for fact in from_deliveries}
    kept = [fact for fact in SessionFacts.from_json(call.facts) if fact.key not in anew]
    facts = SessionFacts.of([*from_deliveries, *kept])
    call.facts = facts.to_json()
    view = parties.read_parties(facts)
    # The records of a call that goes on are set aside and decide nothing yet.
    versions = list(stored_records.read_versions(call, records)) if had_record else []
    derived = derive_fields(call, view, versions, ledger.company)
    if write:
        ledger.involve(call, extension_ids(view, versions), phone_numbers(derived, view, versions))
    return links_of_events(call, view) + linked_sessions.links_of_rows(call, records)


def _image(call: Call) -> dict[str, object]:
    return {name: getattr(call, name) for name in _COMPARED}
