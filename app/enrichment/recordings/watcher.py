"""Requests recordings that the Call Log has not settled, until they are ready or given up.

Most need no request: a stable record that has the address settles them
(`named_recordings.settle_recordings`). The rest are those that events announced and no record names, and
those of calls that were never reconciled. RingCentral answers 404 for a recording that is not ready yet and
for one that is gone (guide "Call recordings"), so it is requested after growing gaps and finally given up.
Each request is one of the Heavy bucket, where polls and the Call Log go first.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

import structlog

from app.accounts.context import AccountsContext, AccountsWorker
from app.calls.ledger import open_ledger
from app.calls.media import recordings
from app.calls.media.recordings import NOT_THERE, OPEN, RecordingRow, State
from app.calls.media.rows import LONGEST_PROBLEM
from app.enrichment.recordings.recording_access import (
    READ_RECORDINGS,
    find_recording_connection,
    note_missing_permission,
)
from app.enrichment.recordings.recording_changes import change_state, make_ready
from app.enrichment.recordings.recording_plan import RecordingPlan
from app.enrichment.records.reasons import MissingReason
from app.enrichment.records.set_aside import TEMPORARY_FAILURES, SetAsideLog
from app.errors import CredentialsRefused, PermissionMissing, RateLimited, RequestRefused, RingCentralError
from app.ids import AccountId
from app.ringcentral.models import Recording
from app.ringcentral.ports import Priority
from app.work.failures import log_failure
from app.work.rounds import Agenda, Rounds

_MOST_AT_ONCE = 20
_LONGEST_TURN_SECONDS = 600.0

log = structlog.get_logger(__name__)


class RecordingWatcher(AccountsWorker):
    """The background work that requests recordings."""

    any_due = recordings.TABLE.any_due(OPEN)

    def __init__(self, context: AccountsContext, plan: RecordingPlan) -> None:
        super().__init__(context)
        self._plan = plan
        self._set_aside_log = SetAsideLog(context.database, context.clock)
        self._rounds = Rounds(
            "recordings",
            context,
            Agenda(
                find_accounts=lambda db, now: recordings.find_due_accounts(db, OPEN, now),
                find_next=lambda db, now: recordings.find_next_due(db, OPEN, now),
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
            recording_id = await recordings.claim_due(db, account_id, OPEN, now, lease)
            rows = await recordings.load(db, account_id, recording_id) if recording_id else []
        if recording_id is None:
            return False
        try:
            await self._check(account_id, recording_id, rows)
        except TEMPORARY_FAILURES:
            raise
        except Exception as error:  # noqa: BLE001 - whatever this recording causes, the others go on
            await self._set_aside(account_id, recording_id, error)
        return True

    async def _set_aside(self, account_id: AccountId, recording_id: str, error: Exception) -> None:
        """Give up a recording whose data cannot be stored."""
        await self._set_aside_log.note(account_id, "recordings", recording_id, error)
        problem = MissingReason.UNSTORABLE
        try:
            await self._refuse(account_id, recording_id, problem)
        except TEMPORARY_FAILURES:
            raise
        except Exception:  # noqa: BLE001 - its call cannot be written either; noted above
            async with self._database.write() as db:
                await recordings.change(
                    db, account_id, recording_id, states=OPEN, due_at=None, problem=problem.value
                )

    async def _check(self, account_id: AccountId, recording_id: str, rows: Sequence[RecordingRow]) -> None:
        now = self._clock.now()
        connection = await find_recording_connection(self._database, self._connections, account_id, rows, now)
        if connection is None:
            await self._wait_for_credentials(account_id, recording_id, MissingReason.NO_CREDENTIALS)
            return
        if not connection.access.may(READ_RECORDINGS, now):
            await self._refuse(account_id, recording_id, connection.access.lacks[READ_RECORDINGS]["code"])
            return
        try:
            # The deadline is now, so that this does not wait for the rate limit: another account may be
            # served.
            found = await connection.client.fetch_recording(
                recording_id, priority=Priority.METADATA, deadline=self._clock.now()
            )
        except RateLimited as error:
            await self._put_off(account_id, recording_id, error.retry_at)
            self._rounds.hold_back(account_id, error.retry_at)
        except PermissionMissing as error:
            await note_missing_permission(self._connections, connection, error)
            now = self._clock.now()
            other = await find_recording_connection(self._database, self._connections, account_id, rows, now)
            if other is None or other.name == connection.name:
                await self._refuse(account_id, recording_id, error.code)
            else:
                await self._put_off(account_id, recording_id, now)
        except CredentialsRefused as error:
            log_failure(log, "credentials for recordings were refused", error)
            problem = error.code or MissingReason.NO_CREDENTIALS
            await self._wait_for_credentials(account_id, recording_id, problem)
        except RequestRefused as error:
            log_failure(log, "a recording was refused", error)
            await self._count_failure(account_id, recording_id, error.code or type(error).__name__)
        except RingCentralError as error:
            log_failure(log, "requesting a recording failed", error)
            await self._put_off(account_id, recording_id, self._clock.now() + self._plan.first_gap)
        else:
            if found is None:
                await self._count_failure(account_id, recording_id, NOT_THERE)
            else:
                await self._found(account_id, recording_id, found)

    async def _put_off(self, account_id: AccountId, recording_id: str, until: datetime) -> None:
        async with self._database.write() as db:
            await recordings.change(db, account_id, recording_id, states=OPEN, due_at=until)

    async def _wait_for_credentials(self, account_id: AccountId, recording_id: str, problem: str) -> None:
        """Put off a request that no connection can send, without counting it; the pause grows."""
        now = self._clock.now()
        async with self._database.write() as db, open_ledger(db, account_id, now) as ledger:
            rows = await recordings.load_open(db, account_id, recording_id)
            waited = now - min((row.created_at for row in rows), default=now)
            if waited > self._plan.longest_outage:
                await change_state(ledger, recording_id, rows, State.EXPIRED, problem)
                return
            pause = min(max(self._plan.first_gap, waited / 4), timedelta(seconds=self._plan.gaps[-1]))
            await recordings.change(
                db,
                account_id,
                recording_id,
                [row.call_id for row in rows],
                due_at=now + pause,
                problem=problem[:LONGEST_PROBLEM],
                updated_at=now,
            )

    async def _refuse(self, account_id: AccountId, recording_id: str, code: str | None) -> None:
        """Give up a recording without permission: a retry needs a person's action first (guide "Errors")."""
        now = self._clock.now()
        async with self._database.write() as db, open_ledger(db, account_id, now) as ledger:
            rows = await recordings.load_open(db, account_id, recording_id)
            problem = code or MissingReason.NO_PERMISSION
            await change_state(ledger, recording_id, rows, State.EXPIRED, problem)

    async def _count_failure(self, account_id: AccountId, recording_id: str, problem: str) -> None:
        """Plan the next request or give the recording up, unless its records have settled it meanwhile."""
        now = self._clock.now()
        async with self._database.write() as db, open_ledger(db, account_id, now) as ledger:
            rows = await recordings.load_open(db, account_id, recording_id)
            if not rows:
                return
            attempts = max(row.attempts for row in rows) + 1
            gap = self._plan.next_gap(attempts)
            is_announced = all(row.state is State.ANNOUNCED for row in rows)
            if is_announced and problem == NOT_THERE and attempts >= self._plan.announced_looks:
                reason = MissingReason.NOT_NAMED
                await change_state(ledger, recording_id, rows, State.NONE, reason, attempts=attempts)
            elif gap is None:
                await change_state(ledger, recording_id, rows, State.EXPIRED, problem, attempts=attempts)
            else:
                await recordings.change(
                    db,
                    account_id,
                    recording_id,
                    [row.call_id for row in rows],
                    attempts=attempts,
                    due_at=now + timedelta(seconds=gap),
                    problem=problem[:LONGEST_PROBLEM],
                    updated_at=now,
                )

    async def _found(self, account_id: AccountId, recording_id: str, found: Recording) -> None:
        now = self._clock.now()
        async with self._database.write() as db, open_ledger(db, account_id, now) as ledger:
            rows = await recordings.load(db, account_id, recording_id)
            is_news = await make_ready(ledger, recording_id, rows, found, archives=self._plan.archives)
        if is_news:
            log.info("a recording is ready", recording_id=recording_id)
