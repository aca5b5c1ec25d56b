"""Checks calls again: those that seemed over, once they have been quiet, and those that have gone silent."""

from datetime import timedelta
from functools import partial

import structlog

from app import metrics
from app.accounts.context import AccountsContext
from app.calls.evidence.parties import read_stored
from app.calls.ledger import open_ledger
from app.calls.model import Stage
from app.db.failures import describe_failure, is_data_fault
from app.errors import StorageUnavailable
from app.ids import AccountId
from app.webhooks.folding.apply import MOST_WORK, Breaks
from app.webhooks.folding.due_calls import find_due_accounts, find_next_due, load_due_calls, postpone
from app.webhooks.folding.live_calls import LiveCalls
from app.webhooks.folding.stages import EndRules, judge
from app.work.context import Worker
from app.work.holds import Holds
from app.work.lanes import Lanes
from app.work.wakeups import ENDS

BATCH = 50
"""Calls judged in one transaction. Other writers wait meanwhile."""

_AT_ONCE = 4
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
        """Judge the calls that are due; return in how many seconds the next one is."""
        async with self._database.read() as db:
            account_ids = await find_due_accounts(db, self._clock.now())
        ready = [one for one in account_ids if one not in self._holds]
        await self._judging.run({one: partial(self._judge_account, one) for one in ready})
        # Requests to RingCentral can take long: they continue beside the judging in the next steps.
        pause = await self._asking.run(await self._live.find_work())
        await self._live.mark_settled()
        async with self._database.read() as db:
            waiting = [one for one in account_ids if one in self._holds or self._judging.has(one)]
            due_at = await find_next_due(db, waiting)
        held = self._holds.next_turn()
        due = None if due_at is None else max(0.0, (due_at - self._clock.now()).total_seconds())
        return min((one for one in (pause, due, held) if one is not None), default=None)

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
        """Judge as many due calls as one transaction may take. Calls silent for hours are to be checked."""
        work, breaks = 0, Breaks(self._clock)
        async with self._database.write() as db, open_ledger(db, account_id, self._clock.now()) as ledger:
            for call in await load_due_calls(db, account_id, ledger.now, BATCH, call_id):
                if work >= MOST_WORK:
                    break
                work += len(call.facts)
                await breaks.before(len(call.facts))
                view = read_stored(call.facts)
                judge(ledger, call, view, self._rules)
                if call.end_check_at is not None and call.end_check_at <= ledger.now:
                    # Silent for too long. Checked again in any case, so that a lost reply leaves no call
                    # behind.
                    call.end_check_at = ledger.now + _CHECK_AGAIN
                    if call.stage == Stage.LIVE and call.ask_at is None:
                        call.ask_at = ledger.now
                ledger.keep(call)
