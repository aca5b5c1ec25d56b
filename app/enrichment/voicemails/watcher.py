"""Requests voicemails that records name, until they are ready or given up, and their transcripts.

A voicemail is there seconds to minutes after the call, its transcript later, and RingCentral answers 404
until then as it does after a deletion. So both are requested after growing gaps and finally given up. A
mailbox that nobody may read is not requested again: the voicemail says what is missing. The message takes a
request of the Light bucket, the transcript one of the Medium bucket.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog

from app.accounts.context import AccountsContext, AccountsWorker
from app.calls.ledger import Ledger, open_ledger
from app.calls.media import voicemails
from app.calls.media.rows import LONGEST_PROBLEM
from app.calls.media.voicemails import OPEN, VoicemailRow, VoicemailState
from app.enrichment.audio.retry_plan import RetryPlan
from app.enrichment.records.reasons import MissingReason
from app.enrichment.records.set_aside import TEMPORARY_FAILURES, SetAsideLog
from app.enrichment.voicemails.requests import (
    BudgetUsedUp,
    MailboxRefused,
    VoicemailFound,
    VoicemailMissing,
    VoicemailOutage,
    VoicemailRequests,
    VoicemailResult,
    first_of,
)
from app.enrichment.voicemails.voicemail_changes import change_state, make_ready, show_pending
from app.ids import AccountId
from app.work.rounds import Agenda, Rounds

_MOST_AT_ONCE = 20
_LONGEST_TURN_SECONDS = 600.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class VoicemailPlan(RetryPlan):
    """When voicemails are requested."""

    transcript_gaps: tuple[float, ...] = (30.0, 60.0, 120.0, 300.0, 600.0)
    """Pauses in seconds between requests for a transcript that is in progress; it is given up after the last.
    """

    def next_transcript_gap(self, attempts: int) -> float | None:
        """Return the seconds to the request after so many without a transcript; None: there is none."""
        return self.transcript_gaps[attempts] if attempts < len(self.transcript_gaps) else None


class VoicemailWatcher(AccountsWorker):
    """The background work that requests voicemails."""

    any_due = voicemails.TABLE.any_due(OPEN)

    def __init__(self, context: AccountsContext, plan: VoicemailPlan) -> None:
        super().__init__(context)
        self._plan = plan
        self._requests = VoicemailRequests(context)
        self._set_aside_log = SetAsideLog(context.database, context.clock)
        self._rounds = Rounds(
            "voicemails",
            context,
            Agenda(
                find_accounts=lambda db, now: voicemails.find_due_accounts(db, OPEN, now),
                find_next=lambda db, now: voicemails.find_next_due(db, OPEN, now),
                serve=self._serve,
            ),
            most_at_once=_MOST_AT_ONCE,
            longest_seconds=_LONGEST_TURN_SECONDS,
        )

    async def step(self) -> float | None:
        """Request what is due, a few of each account; return in how many seconds the next is due."""
        return await self._rounds.step()

    async def close(self) -> None:
        """Stop the requests that are under way; they are due again."""
        await self._rounds.close()

    async def _serve(self, account_id: AccountId) -> bool:
        now = self._clock.now()
        lease = now + timedelta(seconds=self._plan.lease)
        async with self._database.write() as db:
            voicemail_id = await voicemails.claim_due(db, account_id, OPEN, now, lease)
            rows = await voicemails.load_open(db, account_id, voicemail_id) if voicemail_id else []
        if voicemail_id is None:
            return False
        try:
            if rows:
                result = await self._requests.request(account_id, first_of(rows))
                await self._write(account_id, voicemail_id, result)
        except TEMPORARY_FAILURES:
            raise
        except Exception as error:  # noqa: BLE001 - whatever this voicemail causes, the others go on
            await self._set_aside(account_id, voicemail_id, error)
        return True

    async def _set_aside(self, account_id: AccountId, voicemail_id: str, error: Exception) -> None:
        """Give up a voicemail whose data cannot be stored."""
        await self._set_aside_log.note(account_id, "voicemails", voicemail_id, error)
        problem = MissingReason.UNSTORABLE
        now = self._clock.now()
        try:
            async with self._database.write() as db, open_ledger(db, account_id, now) as ledger:
                rows = await voicemails.load_open(db, account_id, voicemail_id)
                await change_state(ledger, voicemail_id, rows, VoicemailState.EXPIRED, problem)
        except TEMPORARY_FAILURES:
            raise
        except Exception:  # noqa: BLE001 - its call cannot be written either; noted above
            async with self._database.write() as db:
                await voicemails.change(
                    db, account_id, voicemail_id, states=OPEN, due_at=None, problem=problem.value
                )

    async def _write(self, account_id: AccountId, voicemail_id: str, result: VoicemailResult) -> None:
        """Write the result, unless the voicemail was settled meanwhile."""
        now = self._clock.now()
        async with self._database.write() as db, open_ledger(db, account_id, now) as ledger:
            rows = await voicemails.load_open(db, account_id, voicemail_id)
            if not rows:
                return
            match result:
                case VoicemailFound():
                    await self._found(ledger, voicemail_id, rows, result)
                case VoicemailMissing(problem=problem):
                    await self._count_failure(ledger, voicemail_id, rows, problem)
                case MailboxRefused(problem=problem):
                    # A retry needs a person's action first (guide "Errors").
                    await change_state(ledger, voicemail_id, rows, VoicemailState.NO_PERMISSION, problem)
                case VoicemailOutage(problem=problem):
                    await self._wait(ledger, voicemail_id, rows, problem)
                case BudgetUsedUp(until=until):
                    await self._put_off(ledger, voicemail_id, rows, until)
        if isinstance(result, BudgetUsedUp):
            self._rounds.hold_back(account_id, result.until)

    async def _found(
        self, ledger: Ledger, voicemail_id: str, rows: Sequence[VoicemailRow], found: VoicemailFound
    ) -> None:
        is_first = all(row.content_uri is None for row in rows)
        attempts = 0 if is_first else max(row.attempts for row in rows) + 1
        gap = self._plan.next_transcript_gap(attempts)
        if found.is_settled or gap is None:
            problem = found.problem if found.is_settled else MissingReason.TRANSCRIPT_LATE.value
            archives = self._plan.archives
            await make_ready(ledger, voicemail_id, rows, found.columns, archives=archives, problem=problem)
            log.info("a voicemail is ready", voicemail_id=voicemail_id)
            return
        until = ledger.now + timedelta(seconds=gap)
        columns = found.columns | {"attempts": attempts, "due_at": until, "problem": None}
        if is_first:
            await show_pending(ledger, voicemail_id, rows, columns)
        else:
            await self._change(ledger, voicemail_id, rows, attempts=attempts, due_at=until, problem=None)

    async def _count_failure(
        self, ledger: Ledger, voicemail_id: str, rows: Sequence[VoicemailRow], problem: str
    ) -> None:
        """Plan the next request, or give the voicemail up after the last gap."""
        attempts = max(row.attempts for row in rows) + 1
        gap = self._plan.next_gap(attempts)
        if gap is None:
            await change_state(ledger, voicemail_id, rows, VoicemailState.EXPIRED, problem, attempts=attempts)
            return
        due_at = ledger.now + timedelta(seconds=gap)
        await self._change(ledger, voicemail_id, rows, attempts=attempts, due_at=due_at, problem=problem)

    async def _wait(
        self, ledger: Ledger, voicemail_id: str, rows: Sequence[VoicemailRow], problem: str
    ) -> None:
        """Put off a request that could not be answered, without counting it; the pause grows."""
        waited = ledger.now - min(row.created_at for row in rows)
        if waited > self._plan.longest_outage:
            await change_state(ledger, voicemail_id, rows, VoicemailState.EXPIRED, problem)
            return
        pause = min(max(self._plan.first_gap, waited / 4), timedelta(seconds=self._plan.gaps[-1]))
        await self._change(ledger, voicemail_id, rows, due_at=ledger.now + pause, problem=problem)

    async def _put_off(
        self, ledger: Ledger, voicemail_id: str, rows: Sequence[VoicemailRow], until: datetime
    ) -> None:
        await self._change(ledger, voicemail_id, rows, due_at=until)

    async def _change(
        self, ledger: Ledger, voicemail_id: str, rows: Sequence[VoicemailRow], **columns: Any
    ) -> None:
        problem = columns.get("problem")
        if isinstance(problem, str):
            columns["problem"] = problem[:LONGEST_PROBLEM]
        call_ids = [row.call_id for row in rows]
        await voicemails.change(
            ledger.db, ledger.account_id, voicemail_id, call_ids, **columns, updated_at=ledger.now
        )
