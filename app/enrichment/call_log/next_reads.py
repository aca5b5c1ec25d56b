"""Plans when a call is read again, and closes calls whose horizon has passed."""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from app.accounts.connections import Connection
from app.calls import store
from app.calls.ledger import Ledger, open_ledger
from app.calls.model import Call, Source, Stage
from app.enrichment.call_log.reading_plan import next_read
from app.enrichment.records.plan import CallLogPlan
from app.enrichment.records.reasons import MissingReason
from app.enrichment.records.set_aside import SetAsideLog, write_in_batches
from app.enrichment.records.settling import finish, settle_calls
from app.ids import AccountId
from app.ringcentral.protocol.errors import PERMISSION_CODES
from app.work.context import WorkContext, Worker


def why_unseen(connections: Sequence[Connection], readers: Sequence[Connection]) -> MissingReason:
    """Return why no connection could read a call: none has permission, or credentials are refused."""
    left_out = [item for item in connections if item not in readers and item.access.problem is not None]
    refused = [item for item in left_out if not _lacks_permission(item.access.problem or {})]
    if not connections or any(item.is_company_wide for item in refused) or (refused and not readers):
        return MissingReason.NO_CREDENTIALS
    return MissingReason.NO_PERMISSION


def _lacks_permission(problem: Mapping[str, Any]) -> bool:
    return problem.get("code") in {*PERMISSION_CODES, "permission-missing"}


class NextReads(Worker):
    """What becomes of calls after a read; in short transactions. A call that cannot be written is not read
    again."""

    def __init__(self, context: WorkContext, plan: CallLogPlan) -> None:
        super().__init__(context)
        self._plan = plan
        self._set_aside_log = SetAsideLog(context.database, context.clock)

    def after_read(
        self,
        ledger: Ledger,
        call: Call,
        seen_at: datetime,
        reason: MissingReason = MissingReason.NEVER_LOGGED,
    ) -> None:
        """Plan the next read of a call that is known as of `seen_at`, or close it with the reason."""
        call.reads += 1
        if call.stage in (Stage.ABSENT, Stage.LIVE):
            call.read_at = None
        else:
            call.read_at = next_read(call, self._plan, ledger.now, seen_at)
            if call.read_at is None:
                _close(ledger, call, reason)
        ledger.keep(call)

    async def not_found(
        self, account_id: AccountId, call_ids: Sequence[str], *, is_refused: bool = False
    ) -> None:
        """Plan the next read of calls that a read did not show, or that RingCentral refused to read."""
        reason = MissingReason.REFUSED if is_refused else MissingReason.NEVER_LOGGED
        await self._plan_next(account_id, call_ids, reason)

    async def unstorable(self, account_id: AccountId, call_id: str, error: Exception) -> None:
        """Note that the records of a call cannot be stored, and plan its next read."""
        await self._set_aside_log.note(account_id, Source.CALL_LOG.value, call_id, error)
        await self._plan_next(account_id, [call_id], MissingReason.UNSTORABLE)

    async def _plan_next(self, account_id: AccountId, call_ids: Sequence[str], reason: MissingReason) -> None:
        await self._change(
            account_id, call_ids, lambda ledger, call: self.after_read(ledger, call, ledger.now, reason)
        )

    async def unchanged(
        self, account_id: AccountId, call_ids: Sequence[str], changed: Collection[str], seen_at: datetime
    ) -> None:
        """Plan the next read of calls after a read of the change feed, which ingested those in `changed`."""

        async def write(some: Sequence[str]) -> None:
            async with self._database.write() as db, open_ledger(db, account_id, self._clock.now()) as ledger:
                loaded = await store.load_by_ids(db, account_id, some)
                same = [call for call in loaded.values() if call.call_id not in changed]
                await settle_calls(ledger, same, self._plan, seen_at)
                for call in loaded.values():
                    self.after_read(ledger, call, seen_at)

        await self._write(account_id, call_ids, write)

    async def put_off(self, account_id: AccountId, call_ids: Sequence[str], reason: MissingReason) -> None:
        """Delay calls that no connection can read, without counting a read; close those whose horizon has
        passed."""
        await self._change(account_id, call_ids, lambda ledger, call: self._put_off(ledger, call, reason))

    def _put_off(self, ledger: Ledger, call: Call, reason: MissingReason) -> None:
        horizon = (call.ended_at or call.started_at) + timedelta(seconds=self._plan.horizon)
        if call.stage in (Stage.FINAL, Stage.ABSENT, Stage.LIVE) or ledger.now >= horizon:
            call.read_at = None
            _close(ledger, call, reason)
        else:
            call.read_at = min(horizon, ledger.now + timedelta(seconds=self._plan.settled_after))
        ledger.keep(call)

    async def _change(
        self, account_id: AccountId, call_ids: Sequence[str], change: Callable[[Ledger, Call], None]
    ) -> None:
        async def write(some: Sequence[str]) -> None:
            async with self._database.write() as db, open_ledger(db, account_id, self._clock.now()) as ledger:
                for call in (await store.load_by_ids(db, account_id, some)).values():
                    change(ledger, call)

        await self._write(account_id, call_ids, write)

    async def _write(
        self,
        account_id: AccountId,
        call_ids: Sequence[str],
        write: Callable[[Sequence[str]], Awaitable[None]],
    ) -> None:
        async def set_aside(call_id: str, error: Exception) -> None:
            await self._set_aside_log.note(account_id, Source.CALL_LOG.value, call_id, error)
            await self._set_aside_log.stop_reading(account_id, call_id)

        await write_in_batches(call_ids, write, set_aside)


def _close(ledger: Ledger, call: Call, reason: MissingReason) -> None:
    """Stop looking: a call without a record becomes absent, one that only Active Calls showed final with
    that."""
    if call.stage == Stage.ENDED:
        call.absent_reason = reason.value
        call.window_closes_at = None
        call.ready("record", "none", ledger.now)
        ledger.move(call, Stage.ABSENT, "call.absent", reason=reason.value)
    elif call.stage == Stage.BOOTSTRAPPED:
        call.ready("legs", "none", ledger.now)
        finish(ledger, call, reason=reason.value)
    elif call.stage == Stage.RECONCILED:
        finish(ledger, call, reason=MissingReason.HORIZON.value)
