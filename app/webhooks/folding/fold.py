"""Turns stored deliveries into facts, and facts into calls and their stages.

Runs after the response, in batches, under the account's lock. Facts are a set, so folding a delivery twice,
late or out of order gives the same call; a crash in the middle leaves the deliveries unfolded and the call as
it was. A delivery that cannot be folded is set aside with the reason (a dead letter) and delays no other.
"""

from dataclasses import dataclass
from functools import partial

import structlog

from app import metrics
from app.calls.insights.store import take
from app.calls.ledger import Ledger, claim_ledger, open_ledger
from app.db.failures import Failure, describe_failure, failure_of, is_data_fault
from app.enrichment.records.settling import finish
from app.errors import StorageUnavailable
from app.ids import AccountId
from app.webhooks.folding.apply import apply_facts
from app.webhooks.folding.batches import MOST_CALLS, Batch, Statement, choose, read_batch
from app.webhooks.folding.erased import delete_erased, leave_out_erased
from app.webhooks.folding.rota import Rota
from app.webhooks.folding.stages import EndRules
from app.webhooks.folding.unfolded import (
    Unfolded,
    days_of,
    find_accounts,
    find_owner,
    load_unfolded,
    load_waiting,
    mark_folded,
    renew_reminded,
)
from app.webhooks.intake.inbox import Inbox
from app.work.context import WorkContext, Worker
from app.work.holds import Holds
from app.work.lanes import Lanes, Serve
from app.work.log_context import about_account
from app.work.wakeups import INBOX


@dataclass(frozen=True, slots=True)
class BatchSize:
    """How many deliveries are looked through for one batch, and of how many calls it takes them."""

    rows: int
    calls: int


USUAL = BatchSize(rows=2000, calls=MOST_CALLS)
"""While a batch is folded, requests run in between. Where commits are slow, more deliveries of the same calls
have come until the next batch, so what waits does not grow without end."""

ON_SQLITE = BatchSize(rows=400, calls=50)
ON_SQLITE_WHILE_BUSY = BatchSize(rows=40, calls=10)
"""SQLite has one lock for folding and for the requests, which wait for their responses."""

CAREFUL = BatchSize(rows=50, calls=50)
"""After a batch could not be folded, until the delivery is found that is to blame."""

_CALLS_OF_A_REST = 5
"""Calls that are loaded at a time from a delivery that the limit has split: they have many facts."""

_AT_ONCE = 4
_IN_A_STEP = 16
"""Accounts of one step. Then it is asked again who waits: other replicas fold as well."""

_HELD_PAUSE_SECONDS = 0.05
"""Until an account that another transaction had is tried again."""

_LONGEST_TURN_SECONDS = 120.0

log = structlog.get_logger(__name__)


class Folder(Worker):
    """The background work that empties the inbox. Accounts are served side by side and fail separately."""

    def __init__(self, context: WorkContext, rules: EndRules, inbox: Inbox | None = None) -> None:
        super().__init__(context)
        self._rules = rules
        self._inbox = inbox
        self._holds: Holds[AccountId] = Holds(context.clock)
        self._rota = Rota(context.replica, _IN_A_STEP)
        self._careful: set[AccountId] = set()
        self._begun: dict[AccountId, set[Statement]] = {}
        """The folded part of deliveries that are not folded completely. After a restart they begin again,
        with the same result."""
        self._lanes: Lanes[AccountId] = context.lanes(
            "fold", INBOX, longest_seconds=_LONGEST_TURN_SECONDS, at_once=_AT_ONCE
        )

    async def step(self) -> float | None:
        """Fold one batch of each of some accounts with deliveries; 0 when there may be more."""
        async with self._database.read() as db:
            account_ids = await find_accounts(db)
        ready = [one for one in account_ids if one not in self._holds]
        turns: dict[AccountId, Serve] = {one: partial(self._serve, one) for one in self._rota.take(ready)}
        pause = await self._lanes.run(turns)
        if len(ready) > len(turns):
            return pause or 0.0  # others wait; if all that remains is held, not at once
        pauses = (pause, self._holds.next_turn())
        return min((one for one in pauses if one is not None), default=None)

    async def close(self) -> None:
        """Stop all turns; what they have not committed is folded later."""
        await self._lanes.close()

    def _size(self) -> BatchSize:
        if not self._database.is_sqlite:
            return USUAL
        return ON_SQLITE_WHILE_BUSY if self._inbox is not None and self._inbox.is_busy else ON_SQLITE

    async def _serve(self, account_id: AccountId) -> float | None:
        """Fold one batch of an account; return the pause until the next, 0 when there may be more.

        A failure holds back this account alone.
        """
        try:
            pause = await self._fold_account(account_id)
        except Exception as error:
            pause = self._holds.fail(account_id)
            metrics.LOOP_FAILURES.labels(loop="fold").inc()
            if isinstance(error, StorageUnavailable):
                # The outage itself is logged once, where the database is used; this would be a line per
                # account.
                log.debug("the deliveries of an account wait for the database", why=str(error), seconds=pause)
            elif failure_of(error) is Failure.SCHEMA:
                why = describe_failure(error)
                log.error(  # noqa: TRY400 - the sentence is what an operator needs
                    "the database does not have the schema of this version; run `aftercall migrate`", why=why
                )
            else:
                log.exception("the deliveries of an account cannot be folded", seconds=pause)
            return None
        self._holds.succeed(account_id)
        return pause

    @about_account
    async def _fold_account(self, account_id: AccountId) -> float | None:
        for size in [CAREFUL] if account_id in self._careful else [self._size(), CAREFUL]:
            try:
                pause = await self._fold(account_id, size)
            except Exception as error:
                if isinstance(error, StorageUnavailable) or not is_data_fault(error):
                    raise
                self._careful.add(account_id)
                log.exception("a batch of deliveries could not be folded; folding fewer, then one by one")
            else:
                if pause is None:
                    self._careful.discard(account_id)
                return pause
        async with self._database.read() as db:
            waiting = await load_waiting(db, account_id, CAREFUL.rows)
        for one in waiting:
            await self._fold_alone(account_id, one.uuid)
        self._careful.discard(account_id)
        return 0.0 if len(waiting) == CAREFUL.rows else None

    async def _fold_alone(self, account_id: AccountId, uuid: str) -> None:
        """Fold exactly this delivery, or set it aside, whatever has arrived or was folded meanwhile."""
        try:
            await self._fold(account_id, CAREFUL, uuid)
        except Exception as error:
            if isinstance(error, StorageUnavailable) or not is_data_fault(error):
                raise
            log.exception("a delivery cannot be folded and is set aside", uuid=uuid)
            async with self._database.write() as db:
                note = f"error: {type(error).__name__}"
                await mark_folded(db, account_id, {uuid: note}, self._clock.now())

    async def _fold(self, account_id: AccountId, size: BatchSize, uuid: str | None = None) -> float | None:
        """Fold what one transaction may take; return the pause until the next, 0 when there may be more.

        An account that another transaction has is left alone for a moment: whoever has it may be folding. For
        a single delivery, `uuid`, it is waited for.
        """
        before = self._begun.get(account_id, set())
        opening = claim_ledger if uuid is None else open_ledger
        async with self._database.write() as db:
            now = self._clock.now()
            # Deliveries are read under the account's lock: no other replica folds the same ones.
            async with opening(db, await find_owner(db, account_id, now), now) as ledger:
                if ledger is None:
                    return _HELD_PAUSE_SECONDS
                waiting = await load_waiting(db, account_id, size.rows) if uuid is None else []
                chosen = choose(waiting, size.calls) if uuid is None else [uuid]
                if not chosen:
                    return None  # folded meanwhile
                days = days_of(waiting)
                rows = await load_unfolded(db, account_id, chosen, days)
                batch, statements, begun = await self._apply(ledger, rows, before)
            await delete_erased(db, account_id, batch)
            await mark_folded(db, account_id, batch.notes, now, days, batch.packed)
            await renew_reminded(db, batch.reminded, now)
        # Only after the commit. A turn that folds one delivery says nothing about the others: their parts are
        # kept.
        self._begun[account_id] = (begun & batch.all_statements) | (before - statements if uuid else set())
        _log_folded(rows, batch)
        return 0.0 if len(waiting) == size.rows or len(batch.notes) < len(waiting) else None

    async def _apply(
        self, ledger: Ledger, rows: list[Unfolded], before: set[Statement]
    ) -> tuple[Batch, set[Statement], set[Statement]]:
        """Apply deliveries to their calls; return the batch that they made, all its statements, and those of
        them that are folded, now or `before`.
        """
        ledger.causes = {row.telephony_session_id: row.uuid for row in rows if row.telephony_session_id}
        batch = await read_batch(rows, ledger.account_id, self._clock)
        await leave_out_erased(ledger, batch)
        statements = batch.all_statements
        begun = before & statements
        rest = batch.facts_without(begun, _CALLS_OF_A_REST if begun else None)
        applied = await apply_facts(ledger, rest, self._rules, self._clock)
        begun |= {(fact.uuid, key) for key in applied.reached for fact in rest[key]}
        batch.note_refused(applied.refused)
        batch.keep_unfinished(begun)
        # Insights may belong to calls of this batch: write those first.
        await ledger.flush()
        for call in await take(ledger, batch.insights.values()):
            finish(ledger, call)
        return batch, statements, begun


def _log_folded(rows: list[Unfolded], batch: Batch) -> None:
    for row in rows:
        if row.uuid not in batch.notes:
            continue
        if left_out := batch.left_out.get(row.uuid):
            log.warning("a delivery is too large; the rest is left out", uuid=row.uuid, left_out=left_out)
        log.debug(
            "delivery folded", uuid=row.uuid, telephony_session_id=row.telephony_session_id,
            note=batch.notes[row.uuid],
        )  # fmt: skip
