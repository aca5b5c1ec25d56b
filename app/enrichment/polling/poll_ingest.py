"""Writes what a poll showed: updates known calls and opens those that no event announced."""

from collections.abc import Sequence
from dataclasses import dataclass

from app.calls import store
from app.calls.ledger import Ledger, open_ledger
from app.calls.lifetime.tombstones import find_erased, session_names
from app.calls.model import Source, Stage
from app.clock import Clock
from app.db.engine import Database
from app.enrichment.polling.poll_response import PollResponse, PollResult
from app.enrichment.polling.targets import Target
from app.enrichment.records.apply import update_calls
from app.enrichment.records.call_update import open_unknown_call
from app.enrichment.records.plan import CallLogPlan
from app.enrichment.records.set_aside import SetAsideLog, write_in_batches
from app.ringcentral.models import CallRecord


@dataclass(frozen=True, slots=True)
class _Item:
    """The records of one call: of a known one by its id, or of an unknown one by its `telephonySessionId`."""

    call_id: str | None
    key: str
    records: Sequence[CallRecord]


async def ingest_poll(
    database: Database,
    clock: Clock,
    plan: CallLogPlan,
    target: Target,
    response: PollResponse,
    result: PollResult,
) -> int:
    """Write what a poll showed; return how many calls got their first record.

    A call whose records cannot be stored is set aside alone and not polled for again. Raises LeaseLost.
    """

    set_aside_log = SetAsideLog(database, clock)

    async def write(items: Sequence[_Item]) -> int:
        async with database.write() as db:
            async with open_ledger(db, target.account_id, clock.now()) as ledger:
                first = await _update(ledger, plan, items, response)
            # Without the lease nothing may be written: another replica has polled since.
            await target.lease.confirm(db)
            return first

    async def set_aside(item: _Item, error: Exception) -> None:
        subject = item.call_id or item.key
        await set_aside_log.note(target.account_id, Source.ACTIVE_CALLS.value, subject, error)
        if item.call_id:
            await set_aside_log.close_window(target.account_id, item.call_id)

    items = [_Item(call_id, call_id, records) for call_id, records in result.found.items()]
    items += [_Item(None, key, records) for key, records in result.unknown.items() if plan.may_open(records)]
    return sum(await write_in_batches(items, write, set_aside))


async def _update(ledger: Ledger, plan: CallLogPlan, items: Sequence[_Item], response: PollResponse) -> int:
    found = {item.call_id: item.records for item in items if item.call_id is not None}
    calls = await store.load_by_ids(ledger.db, ledger.account_id, found)
    records = {call_id: found[call_id] for call_id in calls}
    unknown = {item.key: item.records for item in items if item.call_id is None}
    known = await store.load_by_sessions(ledger.db, ledger.account_id, unknown)
    names = {key: _names_of(key, unknown[key]) for key in unknown if key not in known}
    erased = await find_erased(ledger.db, ledger.account_id, set().union(*names.values()))
    for key, its_records in unknown.items():
        call = known.get(key)
        if not erased.isdisjoint(names.get(key, ())):
            continue
        if call is None:
            call = open_unknown_call(ledger, key, its_records, Source.ACTIVE_CALLS)
        elif call.stage != Stage.LIVE:
            # Its window is closed: the Call Log is read for it.
            continue
        calls[call.call_id], records[call.call_id] = call, its_records
    await ledger.flush()
    return len(await update_calls(ledger, calls, records, Source.ACTIVE_CALLS, response.sent_at, plan))


def _names_of(key: str, records: Sequence[CallRecord]) -> set[str]:
    """Return the names under which the call of these records may have been erased."""
    return {name for record in records for name in session_names(key, record.session_id)}
