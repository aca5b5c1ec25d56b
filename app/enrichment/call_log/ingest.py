"""Ingests records of many calls: updates known calls, opens unknown ones. Can be repeated at will."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from app.calls import accounts, store
from app.calls.attachments.parking import bind_account
from app.calls.evidence.matching import START_TOLERANCE_SECONDS, finished_records, match_records
from app.calls.evidence.versions import end_of
from app.calls.ledger import Ledger, open_ledger
from app.calls.lifetime.tombstones import find_erased, session_names
from app.calls.model import NO_SESSION, Call, Source, Stage
from app.clock import Clock
from app.db.engine import Database
from app.enrichment.call_log.slices import is_over
from app.enrichment.records.apply import update_calls
from app.enrichment.records.call_names import keys_of_call
from app.enrichment.records.call_update import open_unknown_call
from app.enrichment.records.plan import CallLogPlan
from app.enrichment.records.set_aside import SetAsideLog, write_in_batches
from app.ids import UNBOUND_ACCOUNT, AccountId
from app.ringcentral.models import CallRecord
from app.values.phone_numbers import read_phone_number

CallNames = tuple[str | None, str | None]
"""`telephonySessionId` and `sessionId`, at least one of them."""


@dataclass(frozen=True, slots=True)
class Ingested:
    """The ids of the known calls that were read, and of the calls that were opened."""

    read: frozenset[str] = frozenset()
    opened: frozenset[str] = frozenset()

    def __or__(self, other: "Ingested") -> "Ingested":
        return Ingested(self.read | other.read, self.opened | other.opened)


async def ingest(
    database: Database,
    clock: Clock,
    plan: CallLogPlan,
    account_id: AccountId,
    calls: Mapping[CallNames, Sequence[CallRecord]],
    fetched_at: datetime,
    *,
    grace: timedelta | None,
) -> Ingested:
    """Write records of the Call Log that were requested at `fetched_at`.

    Unknown calls that ended `grace` ago or earlier are opened (None: none are). Records of live calls are
    only stored, since events decide whether such a call is over. A call whose records cannot be stored is set
    aside alone.
    """
    set_aside_log = SetAsideLog(database, clock)

    async def write(names: Sequence[CallNames]) -> Ingested:
        now = clock.now()
        over_before = None if grace is None else now - grace
        batch = {name: calls[name] for name in names}
        async with database.write() as db, open_ledger(db, account_id, now) as ledger:
            return await _ingest_batch(ledger, plan, batch, fetched_at, over_before)

    async def set_aside(names: CallNames, error: Exception) -> None:
        await set_aside_log.note(account_id, Source.CALL_LOG.value, str(names[0] or names[1]), error)

    ingested = Ingested()
    for one in await write_in_batches(list(calls), write, set_aside):
        ingested |= one
    return ingested


async def _ingest_batch(
    ledger: Ledger,
    plan: CallLogPlan,
    batch: Mapping[CallNames, Sequence[CallRecord]],
    fetched_at: datetime,
    over_before: datetime | None,
) -> Ingested:
    known = await _load_known(ledger, batch)
    asked = {name for names in batch if names not in known for name in session_names(*names)}
    erased = await find_erased(ledger.db, ledger.account_id, asked)
    loaded: dict[str, Call] = {}
    found: dict[str, list[CallRecord]] = {}
    opened: set[str] = set()
    for names, records in batch.items():
        call = known.get(names)
        is_new = call is None and over_before is not None and is_over(records, over_before)
        is_new = is_new and erased.isdisjoint(session_names(*names))
        # A backfill over a time whose calls were removed must not bring them back.
        if is_new and plan.may_open(records) and plan.is_kept(end_of(records), ledger.now):
            key = names[0] or f"{NO_SESSION}{names[1]}"
            call = open_unknown_call(ledger, key, records, Source.SWEEP)
            opened.add(call.call_id)
        finished = finished_records(records)
        if call is not None and finished:
            # Two names can mean one call, so its records are collected.
            loaded[call.call_id] = call
            found.setdefault(call.call_id, []).extend(finished)
    await ledger.flush()
    over = {call_id for call_id, call in loaded.items() if call.stage != Stage.LIVE}
    await update_calls(ledger, loaded, found, Source.CALL_LOG, fetched_at, plan)
    return Ingested(frozenset(over - opened), frozenset(opened))


async def _load_known(
    ledger: Ledger, batch: Mapping[CallNames, Sequence[CallRecord]]
) -> dict[CallNames, Call]:
    """Return the calls that exist: by key, by a `sessionId` that means only this call, or by numbers."""
    db, account_id = ledger.db, ledger.account_id
    by_key = await store.load_by_sessions(db, account_id, [key for key, _ in batch if key])
    unmatched = {names for names in batch if names[0] not in by_key and names[1] is not None}
    nameless = await store.find_nameless(db, account_id, [str(session_id) for _, session_id in unmatched])
    known: dict[CallNames, Call] = {}
    for names in batch:
        key, session_id = names
        call = by_key.get(key or "") or nameless.get(session_id or "")
        if call is None and key is None:
            ids = await store.find_ids(db, account_id, str(session_id))
            call = (await store.load_by_ids(db, account_id, ids)).get(ids[0]) if len(ids) == 1 else None
        if call is not None:
            known[names] = call
    left = {names: records for names, records in batch.items() if names[0] is None and names not in known}
    return known | await _find_alike(ledger, left)


async def _find_alike(
    ledger: Ledger, batch: Mapping[CallNames, Sequence[CallRecord]]
) -> dict[CallNames, Call]:
    """Return the calls that records without a usable name mean by their numbers and start."""
    starts = [one.start_time for records in batch.values() for one in records if one.start_time]
    if not starts:
        return {}
    shown = {
        side.phone_number
        for records in batch.values()
        for one in records
        for side in (one.from_party, one.to_party)
    }
    numbers = [number for raw in shown if (number := read_phone_number(raw, ledger.company.region))]
    tolerance = timedelta(seconds=START_TOLERANCE_SECONDS)
    candidates = await store.find_by_numbers(
        ledger.db,
        ledger.account_id,
        # As they are stored, and as earlier versions stored them.
        {form for number in numbers for form in (number.normal, number.raw)},
        min(starts) - tolerance,
        max(starts) + tolerance,
    )
    keys = [keys_of_call(call, ledger.company.region) for call in candidates.values()]
    return {
        names: candidates[call_id]
        for names, records in batch.items()
        for call_id in list(match_records(records, keys).found)[:1]
    }


async def learn_owner(
    db: AsyncConnection, holder: AccountId, answered: AccountId | None, now: datetime
) -> AccountId | None:
    """Return whose calls the credentials of `holder` show; None while that is unknown.

    `answered` is the account that a response of the Call Log names. It binds `~` even if no event ever
    arrives.
    """
    owner = await accounts.resolve(db, holder)
    if owner == UNBOUND_ACCOUNT and answered is not None:
        await bind_account(db, answered, now)
        return await accounts.resolve(db, holder)
    return None if owner == UNBOUND_ACCOUNT else owner
