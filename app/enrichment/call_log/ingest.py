"""Brings calls that a look over many of them found into the ledger: known ones are read, unknown ones opened.

In short transactions, so that no event waits for them to be folded. Can be repeated at will.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection

from app.calls import accounts, store
from app.calls.attachments.parking import bind_account
from app.calls.ledger import Ledger, open_ledger
from app.calls.model import NO_SESSION, Call, Source, Stage
from app.clock import Clock
from app.db.engine import Database
from app.enrichment.call_log.slices import is_over
from app.enrichment.records.apply import CallLogPlan, apply_records, open_unknown_call, store_versions
from app.enrichment.records.matching import answers
from app.enrichment.records.set_aside import Shelf, write_apart
from app.ids import UNBOUND_ACCOUNT, AccountId
from app.ringcentral.models import CallRecord

BATCH = 100
"""Calls in one transaction."""

T = TypeVar("T")

CallNames = tuple[str | None, str | None]
"""`telephonySessionId` and `sessionId`, one of them at least."""


@dataclass(frozen=True, slots=True)
class Ingested:
    """What came of it: ids of known calls that were read, and of calls that nobody had told of."""

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
    """Write what the Call Log says of calls; open those that are unknown and were over `grace` ago (None: none).

    It was asked for at `fetched_at`.

    A call whose records cannot be stored is set aside alone.

    Records of a call that goes on are only put aside: they are provisional in every field, and whether it is
    over is for its events to say.
    """
    shelf = Shelf(database, clock)

    async def write(names: Sequence[CallNames]) -> Ingested:
        now = clock.now()
        over_before = None if grace is None else now - grace
        batch = {name: calls[name] for name in names}
        async with database.write() as db, open_ledger(db, account_id, now) as ledger:
            return await _ingest_batch(ledger, plan, batch, fetched_at, over_before)

    async def set_aside(names: CallNames, error: Exception) -> None:
        await shelf.note(account_id, Source.CALL_LOG.value, str(names[0] or names[1]), error)

    brought = Ingested()
    for names in batches(list(calls)):
        for some in await write_apart(names, write, set_aside):
            brought |= some
    return brought


def batches(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """Cut what is to be written into what one transaction takes."""
    return (items[start : start + BATCH] for start in range(0, len(items), BATCH))


async def _ingest_batch(
    ledger: Ledger,
    plan: CallLogPlan,
    batch: Mapping[CallNames, Sequence[CallRecord]],
    fetched_at: datetime,
    over_before: datetime | None,
) -> Ingested:
    known = await _load_known(ledger, batch)
    loaded: dict[str, Call] = {}
    found: dict[str, list[CallRecord]] = {}
    going: dict[str, list[CallRecord]] = {}
    opened: set[str] = set()
    for names, records in batch.items():
        call = known.get(names)
        if call is None and over_before is not None and is_over(records, over_before):
            key = names[0] or f"{NO_SESSION}{names[1]}"
            call = open_unknown_call(ledger, key, records, Source.SWEEP)
            opened.add(call.call_id)
        final = answers(records)
        if call is not None and final:
            loaded[call.call_id] = call
            (going if call.stage == Stage.LIVE else found).setdefault(call.call_id, []).extend(final)
    await ledger.flush()
    await store_versions(ledger, loaded, going, Source.CALL_LOG, fetched_at)
    await apply_records(ledger, loaded, found, Source.CALL_LOG, fetched_at, plan)
    return Ingested(frozenset(found) - opened, frozenset(opened))


async def _load_known(ledger: Ledger, batch: Mapping[CallNames, object]) -> dict[CallNames, Call]:
    """Return the calls that are there already: by their key, or by a `sessionId` that means this one call."""
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
    return known


async def learn_owner(
    db: AsyncConnection, holder: AccountId, told: AccountId | None, now: datetime
) -> AccountId | None:
    """Return whose calls the credentials of `holder` show; None while nobody can tell.

    The Call Log's answers name the account, so `~` is bound by them even if no event ever comes.
    """
    owner = await accounts.resolve(db, holder)
    if owner == UNBOUND_ACCOUNT and told is not None:
        await bind_account(db, told, now)
        return await accounts.resolve(db, holder)
    return None if owner == UNBOUND_ACCOUNT else owner
