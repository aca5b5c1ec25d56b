"""Checks calls again: those that seemed over, once they have been quiet, and those that have gone silent."""

from collections.abc import Collection, Iterable, Mapping
from datetime import timedelta
from functools import partial
from itertools import chain

import structlog

from app import metrics
from app.accounts.context import AccountsContext
from app.calls.evidence.parties import read_stored
from app.calls.ledger import Ledger, claim_ledgers, open_ledger
from app.calls.model import Call, Stage
from app.db.failures import describe_failure, is_data_fault
from app.errors import StorageUnavailable
from app.ids import AccountId
from app.webhooks.folding.apply import MOST_WORK, Breaks
from app.webhooks.folding.due_calls import (
    find_due_calls,
    find_next_due,
    load_due_calls,
    load_free,
    postpone,
)
from app.webhooks.folding.live_calls import LiveCalls
from app.webhooks.folding.stages import EndRules, judge
from app.work.context import Worker
from app.work.holds import Holds
from app.work.lanes import Lanes, Serve
from app.work.loops import stop_if_cancelled
from app.work.wakeups import ENDS

BATCH = 50
"""Calls of one account that are judged in one transaction. Other writers wait meanwhile."""

TOGETHER = 200
"""Calls of all accounts that are judged in one transaction on PostgreSQL, where others write beside it."""

_AT_ONCE = 4
_HELD_SECONDS = 0.05
"""Until an account that another transaction had is tried again."""

_LONGEST_TURN_SECONDS = 120.0
_CHECK_AGAIN = timedelta(minutes=15)

log = structlog.get_logger(__name__)


class EndWatch(Worker):
    """The background work that ends calls."""

    def __init__(self, context: AccountsContext, rules: EndRules) -> None:
        super().__init__(context)
        self._rules = rules
        self._live = LiveCalls(context, rules)
        self._holds: Holds[AccountId] = Holds(context.clock)
        self._judging: Lanes[AccountId] = context.lanes(
            "ends: judge", ENDS, loop="ends", longest_seconds=_LONGEST_TURN_SECONDS, at_once=_AT_ONCE
        )
        self._asking: Lanes[str] = context.lanes(
            "ends: ask RingCentral", ENDS, loop="ends", longest_seconds=_CHECK_AGAIN.total_seconds()
        )

    async def step(self) -> float | None:
        """Judge calls that are due; return in how many seconds the next one is, 0 when there may be more."""
        most = BATCH if self._database.is_sqlite else TOGETHER
        async with self._database.read() as db:
            due = await find_due_calls(db, self._clock.now(), most, self._held_back())
        await self._judging.run(await self._judge_together(due))
        # Requests to RingCentral can take long: they continue beside the judging in the next steps.
        pause = await self._asking.run(await self._live.find_work())
        await self._live.mark_settled()
        async with self._database.read() as db:
            due_at = await find_next_due(db, self._held_back())
        next_due = None if due_at is None else max(0.0, (due_at - self._clock.now()).total_seconds())
        pauses = (pause, next_due, self._holds.next_turn())
        return min((one for one in pauses if one is not None), default=None)

    def _held_back(self) -> list[AccountId]:
        return [*self._holds.held(), *self._judging.keys()]

    async def _judge_together(self, due: Mapping[AccountId, Collection[str]]) -> dict[AccountId, Serve]:
        """Judge calls of many accounts in one transaction; return the accounts to judge one by one instead.

        What another transaction has, an account or a call, is left out and has its turn a moment later: none
        waits for another.
        """
        if not due:
            return {}
        try:
            judged = await self._judge_free(due)
        except Exception as error:  # noqa: BLE001 - whatever it is, the other accounts have their turn
            stop_if_cancelled()
            write = log.debug if isinstance(error, StorageUnavailable) else log.warning
            write("calls of several accounts could not be judged together", why=describe_failure(error))
            return {one: partial(self._judge_account, one) for one in due}
        for account_id in due:
            if account_id in judged:
                self._holds.succeed(account_id)
            else:
                self._holds.hold_for(account_id, _HELD_SECONDS)
        return {}

    async def _judge_free(self, due: Mapping[AccountId, Collection[str]]) -> set[AccountId]:
        """Judge those of the calls that no other transaction has; return their accounts."""
        call_ids = set(chain.from_iterable(due.values()))
        async with (
            self._database.write() as db,
            claim_ledgers(db, due.keys(), self._clock.now()) as ledgers,
        ):
            found = await load_free(db, ledgers.keys(), call_ids, self._clock.now())
            await self._judge([(ledgers[AccountId(call.account_id)], call) for call in found])
        return {AccountId(call.account_id) for call in found}

    async def close(self) -> None:
        """Stop what is under way; the calls are judged and checked again later."""
        await self._judging.close()
        await self._asking.close()

    async def _judge_account(self, account_id: AccountId) -> None:
        """Judge the due calls of an account. A failure delays no other account, and a call no other call."""
        try:
            await self._judge_apart(account_id)
        except Exception as error:  # noqa: BLE001 - whatever it is, the other accounts have their turn
            pause = self._holds.fail(account_id)
            metrics.LOOP_FAILURES.labels(loop="ends").inc()
            # An outage is logged once, where the database is used; here it would be a line per account.
            write = log.debug if isinstance(error, StorageUnavailable) else log.warning
            write("the ends of an account wait", why=describe_failure(error), seconds=pause)
        else:
            self._holds.succeed(account_id)

    async def _judge_apart(self, account_id: AccountId) -> None:
        try:
            await self._judge_due(account_id)
        except Exception as error:
            if isinstance(error, StorageUnavailable) or not is_data_fault(error):
                raise
            log.exception("a batch of calls could not be judged; judging them one by one")
        else:
            return
        async with self._database.read() as db:
            call_ids = [
                call.call_id for call in await load_due_calls(db, account_id, self._clock.now(), BATCH)
            ]
        for call_id in call_ids:
            try:
                await self._judge_due(account_id, call_id)
            except Exception as error:
                if isinstance(error, StorageUnavailable) or not is_data_fault(error):
                    raise
                log.exception("a call cannot be judged and is postponed", call_id=call_id)
                async with self._database.write() as db:
                    await postpone(db, account_id, call_id, self._clock.now() + _CHECK_AGAIN)

    async def _judge_due(self, account_id: AccountId, call_id: str | None = None) -> None:
        """Judge due calls of one account, as many as one transaction may take."""
        async with self._database.write() as db, open_ledger(db, account_id, self._clock.now()) as ledger:
            found = await load_due_calls(db, account_id, ledger.now, BATCH, call_id)
            await self._judge([(ledger, call) for call in found])

    async def _judge(self, due: Iterable[tuple[Ledger, Call]]) -> None:
        """Judge as many calls as one transaction may take."""
        work, breaks = 0, Breaks(self._clock)
        for ledger, call in due:
            if work >= MOST_WORK:
                break
            work += len(call.facts)
            await breaks.before(len(call.facts))
            judge(ledger, call, read_stored(call.facts), self._rules)
            if call.end_check_at is not None and call.end_check_at <= ledger.now:
                # Silent for too long. Checked again in any case, so that a lost reply leaves no call behind.
                call.end_check_at = ledger.now + _CHECK_AGAIN
                if call.stage == Stage.LIVE and call.ask_at is None:
                    call.ask_at = ledger.now
            ledger.keep(call)
