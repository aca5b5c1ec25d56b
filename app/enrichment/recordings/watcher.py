"""Looks for recordings that the Call Log has not settled, until they can be heard or will not be any more.

Most need no look: a record that changes no more and gives the address has settled them (`records.settle`). Left
are those that events announced and no record names, and those of calls that were never reconciled. RingCentral
answers 404 for a recording that is not ready yet and for one that is gone (guide "Call recordings"), so it is asked
with growing gaps and given up in the end. Each look costs one request of the Heavy bucket, where polls and the
Call Log go first.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import Row

from app import metrics
from app.accounts.connections import Connection, Connections
from app.accounts.context import AccountsContext, AccountsWorker
from app.accounts.selection import find_connection
from app.calls import recordings, store
from app.calls.ledger import Ledger, open_ledger
from app.calls.recordings import NOT_THERE, OPEN, PART, State, readiness_of
from app.db.engine import Database
from app.enrichment.records.apply import finish
from app.enrichment.records.set_aside import PASSING, UNSTORABLE, Shelf
from app.errors import (
    AccessReason,
    CredentialsRefused,
    PermissionMissing,
    RateLimited,
    RequestRefused,
    RingCentralError,
)
from app.ids import AccountId
from app.ringcentral.models import Recording
from app.ringcentral.ports import Priority
from app.work.failures import log_failure
from app.work.rounds import Agenda, Rounds

NO_RIGHT = "no right"
READ_RECORDINGS = "ReadCallRecording"
SCOPE_MISSING = "CMN-401"
NEVER_NAMED = "announced, and in no record"
GONE = "gone"
_MOST_AT_ONCE = 20
_SURELY_READY = timedelta(hours=3)
_LONGEST_TURN_SECONDS = 600.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class RecordingPlan:
    """When a recording is looked for, in seconds. `gaps`: `gaps[n]` is the pause after n looks in vain, `gaps[0]`
    that after an outage.

    `lease` is how long one replica may take for one recording before another takes over.
    """

    gaps: tuple[float, ...] = (60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0)
    announced_looks: int = 3
    """For a recording that events announced and no record names: most such were too short to be kept."""

    lease: float = 60.0
    archives: bool = False

    @property
    def longest_outage(self) -> timedelta:
        """How long credentials, RingCentral or the archive may be away before what waits for them is given up: a week
        where the last gap is an hour."""
        return timedelta(seconds=self.gaps[-1] * 24 * 7)

    def next_gap(self, attempts: int) -> float | None:
        """Seconds until the look after `attempts` vain ones; None: it was the last."""
        return self.gaps[attempts] if attempts < len(self.gaps) else None


class RecordingWatcher(AccountsWorker):
    """The background work that looks for recordings."""

    def __init__(self, context: AccountsContext, plan: RecordingPlan) -> None:
        super().__init__(context)
        self._plan = plan
        self._shelf = Shelf(context.database, context.clock)
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
        """Look for what is due, a few of each account; say in how many seconds the next is."""
        return await self._rounds.step()

    async def close(self) -> None:
        """Stop the looks that are under way; they are due again."""
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
            await self._look(account_id, recording_id, rows)
        except PASSING:
            raise
        except Exception as error:  # noqa: BLE001 - whatever this recording causes, the others go on
            await self._set_aside(account_id, recording_id, error)
        return True

    async def _set_aside(self, account_id: AccountId, recording_id: str, error: Exception) -> None:
        """Give up a recording of which RingCentral tells what cannot be stored."""
        await self._shelf.note(account_id, "recordings", recording_id, error)
        try:
            await self._refuse(account_id, recording_id, UNSTORABLE)
        except PASSING:
            raise
        except Exception:  # noqa: BLE001 - noted above
            async with self._database.write() as db:
                await recordings.change(
                    db, account_id, recording_id, states=OPEN, due_at=None, problem=UNSTORABLE
                )

    async def _look(self, account_id: AccountId, recording_id: str, rows: Sequence[Row[Any]]) -> None:
        connection = await self._find_hearer(account_id, rows)
        if connection is None:
            await self._wait_for_credentials(account_id, recording_id, AccessReason.NO_CREDENTIALS)
            return
        now = self._clock.now()
        if not connection.access.may(READ_RECORDINGS, now):
            await self._refuse(account_id, recording_id, connection.access.lacks[READ_RECORDINGS]["code"])
            return
        try:
            # No waiting here: another account may be served meanwhile.
            found = await connection.client.fetch_recording(
                recording_id, priority=Priority.METADATA, deadline=self._clock.now()
            )
        except RateLimited as error:
            await self._put_off(account_id, recording_id, error.retry_at)
            self._rounds.hold_back(account_id, error.retry_at)
        except PermissionMissing as error:
            await note_missing_permission(self._connections, connection, error)
            other = await self._find_hearer(account_id, rows)
            if other is None or other.name == connection.name:
                await self._refuse(account_id, recording_id, error.code)
            else:
                await self._put_off(account_id, recording_id, self._clock.now())
        except CredentialsRefused as error:
            log_failure(log, "credentials for recordings were refused", error)
            await self._wait_for_credentials(
                account_id, recording_id, error.code or AccessReason.NO_CREDENTIALS
            )
        except RequestRefused as error:
            log_failure(log, "a recording was refused", error)
            await self._in_vain(account_id, recording_id, error.code or type(error).__name__)
        except RingCentralError as error:
            log_failure(log, "looking for a recording failed", error)
            await self._put_off(account_id, recording_id, self._clock.now() + self._pause)
        else:
            if found is None:
                await self._in_vain(account_id, recording_id, NOT_THERE)
            else:
                await self._found(account_id, recording_id, found)

    @property
    def _pause(self) -> timedelta:
        return timedelta(seconds=self._plan.gaps[0])

    async def _find_hearer(self, account_id: AccountId, rows: Sequence[Row[Any]]) -> Connection | None:
        now = self._clock.now()
        return await find_recording_connection(
            self._database, self._connections, account_id, _calls_of(rows), now
        )

    async def _put_off(self, account_id: AccountId, recording_id: str, until: datetime) -> None:
        async with self._database.write() as db:
            await recordings.change(db, account_id, recording_id, states=OPEN, due_at=until)

    async def _wait_for_credentials(self, account_id: AccountId, recording_id: str, problem: str) -> None:
        """Put a look off that nobody could take, without counting it; the longer it waits, the longer the pause."""
        now = self._clock.now()
        async with self._database.write() as db, open_ledger(db, account_id, now) as ledger:
            rows = await recordings.load_open(db, account_id, recording_id)
            waited = now - min((row.created_at for row in rows), default=now)
            if waited > self._plan.longest_outage:
                await _settle_rows(ledger, recording_id, rows, State.EXPIRED, problem)
                return
            pause = min(max(self._pause, waited / 4), timedelta(seconds=self._plan.gaps[-1]))
            values: dict[str, Any] = {"due_at": now + pause, "problem": problem[:256], "updated_at": now}
            await recordings.change(db, account_id, recording_id, _calls_of(rows), **values)

    async def _refuse(self, account_id: AccountId, recording_id: str, code: str | None) -> None:
        """Give up what we have no right to: asking again takes a person first (guide "Errors")."""
        now = self._clock.now()
        async with self._database.write() as db, open_ledger(db, account_id, now) as ledger:
            rows = await recordings.load_open(db, account_id, recording_id)
            await _settle_rows(ledger, recording_id, rows, State.EXPIRED, code or NO_RIGHT)

    async def _in_vain(self, account_id: AccountId, recording_id: str, problem: str) -> None:
        """Plan the next look, or give the recording up, unless its records have settled it meanwhile."""
        now = self._clock.now()
        async with self._database.write() as db, open_ledger(db, account_id, now) as ledger:
            rows = await recordings.load_open(db, account_id, recording_id)
            if not rows:
                return
            attempts = max(row.attempts for row in rows) + 1
            gap = self._plan.next_gap(attempts)
            is_announced = all(row.state == State.ANNOUNCED for row in rows)
            if is_announced and problem == NOT_THERE and attempts >= self._plan.announced_looks:
                await _settle_rows(ledger, recording_id, rows, State.NONE, NEVER_NAMED, attempts=attempts)
                return
            if gap is None:
                await _settle_rows(ledger, recording_id, rows, State.EXPIRED, problem, attempts=attempts)
                return
            await recordings.change(
                db,
                account_id,
                recording_id,
                _calls_of(rows),
                attempts=attempts,
                due_at=now + timedelta(seconds=gap),
                problem=problem[:256],
                updated_at=now,
            )

    async def _found(self, account_id: AccountId, recording_id: str, found: Recording) -> None:
        """Say what RingCentral told to every call that names the recording, and that it is ready to those which did
        not know."""
        now = self._clock.now()
        due_at = now if self._plan.archives else None
        ready: dict[str, Any] = {"state": State.READY.value, "attempts": 0, "due_at": due_at, "problem": None}
        async with self._database.write() as db, open_ledger(db, account_id, now) as ledger:
            rows = await recordings.load(db, account_id, recording_id)
            news = _calls_of([row for row in rows if row.state != State.READY])
            await recordings.change(db, account_id, recording_id, **columns_of(found), updated_at=now)
            if not news:
                return
            await recordings.change(db, account_id, recording_id, news, **ready)
            await _tell(ledger, recording_id, news, State.READY, duration=found.duration_seconds)
        metrics.RECORDINGS.labels(outcome=State.READY.value).inc()
        log.info("a recording is ready", recording_id=recording_id)


async def find_recording_connection(
    database: Database,
    connections: Connections,
    account_id: AccountId,
    call_ids: Sequence[str],
    now: datetime,
) -> Connection | None:
    """Return a connection without problems that sees these calls, rather one that may hear recordings; None: there is
    none."""
    async with database.read() as db:
        concerned = await recordings.extensions_of(db, account_id, call_ids)
    return await find_connection(connections, account_id, concerned, READ_RECORDINGS, now)


def columns_of(found: Recording) -> dict[str, Any]:
    """Return what the metadata of a recording say of it, as columns of its rows; what they leave out stays."""
    told = {
        "content_type": found.content_type,
        "duration_seconds": found.duration_seconds,
        "content_uri": found.content_uri,
    }
    return {name: value for name, value in told.items() if value is not None}


def was_refused(row: Row[Any]) -> bool:
    """Whether a recording was given up for want of a right, which somebody may have granted since."""
    return row.problem == NO_RIGHT or str(row.problem or "").startswith("CMN-4")


async def note_missing_permission(
    connections: Connections, connection: Connection, error: PermissionMissing
) -> bool:
    """Remember that a connection hears no recordings, so that operators are told and it is not asked again.

    Return whether that is so: one user without company rights may be refused a colleague's recording and hear his own.
    """
    log.warning("recordings are refused", code=error.code, why=error.detail, name=connection.name)
    hears_none = error.permission == READ_RECORDINGS and (
        error.code == SCOPE_MISSING or connection.is_company_wide
    )
    if hears_none:
        await connections.note(connection, error)
    return hears_none


async def take_not_found(ledger: Ledger, recording_id: str, rows: Sequence[Row[Any]]) -> State:
    """Note that RingCentral has no sound for a recording that was taken to be ready; return what it is now.

    One whose sound or metadata was seen before is gone, and any that is older than hours. Of another only its record
    spoke, too early: it is looked for as if it had not.
    """
    is_old = any(ledger.now - row.created_at > _SURELY_READY for row in rows)
    if is_old or any(row.content_type is not None for row in rows):
        await _settle_rows(ledger, recording_id, rows, State.EXPIRED, GONE)
        return State.EXPIRED
    await _settle_rows(ledger, recording_id, rows, State.PENDING, NOT_THERE, due_at=ledger.now, attempts=0)
    return State.PENDING


def _calls_of(rows: Sequence[Row[Any]]) -> list[str]:
    return [row.call_id for row in rows]


async def _settle_rows(
    ledger: Ledger, recording_id: str, rows: Sequence[Row[Any]], state: State, problem: str, **values: Any
) -> None:
    """Say of a recording, to the calls of `rows`, that it will not be heard, or not yet, and why."""
    if not rows:
        return
    fresh = {"due_at": None, "problem": problem[:256], "updated_at": ledger.now} | values
    call_ids = _calls_of(rows)
    await recordings.change(ledger.db, ledger.account_id, recording_id, call_ids, state=state.value, **fresh)
    await _tell(ledger, recording_id, call_ids, state, reason=problem[:256])
    metrics.RECORDINGS.labels(outcome=state.value).inc()


async def _tell(
    ledger: Ledger, recording_id: str, call_ids: Sequence[str], state: State, **data: Any
) -> None:
    """Show the new state on calls that name the recording, and make final what only waited for it."""
    all_rows = await recordings.load_of_calls(ledger.db, ledger.account_id, call_ids)
    for call_id, call in (await store.load_by_ids(ledger.db, ledger.account_id, call_ids)).items():
        call.ready(PART, readiness_of(row.state for row in all_rows[call_id].values()), ledger.now)
        ledger.change(call, f"recording.{state.value}", recordingId=recording_id, **data)
        finish(ledger, call)
