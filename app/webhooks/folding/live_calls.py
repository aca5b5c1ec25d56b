"""Asks RingCentral whether live calls in doubt still go on, until each is settled.

Which calls are in doubt is decided in `app.webhooks.folding.due_calls`. A call is settled when it is over, or
when an event or a response from after the gap shows that it goes on.

One request of the Light kind checks a session: 404 means that it is over. Where that request is not possible
(no permission, users who see their own calls alone, a call without a key) the call's records decide.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from functools import partial

import structlog

from app.accounts.access import CALL_READING
from app.accounts.connections import Connection, serving
from app.accounts.context import AccountsContext, AccountsWorker
from app.calls import store
from app.calls.evidence import parties, versions
from app.calls.evidence.facts import TERMINAL, SessionFacts, known_code, known_until
from app.calls.ledger import Ledger, open_ledger
from app.calls.model import NO_SESSION, Call, Stage
from app.enrichment import gaps
from app.errors import CredentialsRefused, PermissionMissing, RateLimited, RequestRefused, RingCentralError
from app.ids import AccountId, SessionId, TelephonySessionId
from app.ringcentral.models import BadRecord, CallRecord, TelephonySession, read_call_record
from app.webhooks.folding import due_calls, stages
from app.work.backoff import Backoff
from app.work.holds import Holds
from app.work.lanes import Serve
from app.work.leases import leased

BATCH = 50
"""Calls that are checked in one turn."""

MOST_READ = 2
"""Calls of one turn whose records are read. These requests are of the Heavy kind, which the polls need as
well."""

CALL_CONTROL = "CallControl"
_LONGEST_PAUSE_WINDOWS = 5.0

log = structlog.get_logger(__name__)


class LiveCalls(AccountsWorker):
    """The part of `EndWatch` that asks RingCentral."""

    def __init__(self, context: AccountsContext, rules: stages.EndRules) -> None:
        super().__init__(context)
        self._context = context
        self._rules = rules
        backoff = Backoff(first=rules.window / 8, longest=rules.window * _LONGEST_PAUSE_WINDOWS)
        self._holds: Holds[AccountId] = Holds(context.clock, backoff)
        self._ends: Mapping[AccountId, gaps.GapEnd] = {}
        self._gaps_due_at = context.clock.now()

    async def find_work(self) -> Mapping[str, Serve]:
        """Return what to check now, by account."""
        now = self._clock.now()
        async with self._database.read() as db:
            found = await due_calls.find_silent(db, now, self._rules)
            self._ends = {}
            if now >= self._gaps_due_at:
                self._ends = await gaps.find_ends(db, now)
                self._gaps_due_at = now + timedelta(seconds=self._rules.window / 24)
                found |= await due_calls.find_after_gaps(db, now, self._ends, self._rules)
        return {one: partial(self._serve, one) for one in sorted(found) if one not in self._holds}

    async def mark_settled(self) -> None:
        """Mark the gaps that are over and leave no call in doubt."""
        if not self._ends:
            return
        async with self._database.read() as db:
            settled = await due_calls.find_settled_holders(db, self._ends)
        if settled:
            async with self._database.write() as db:
                await gaps.mark_asked(db, settled, self._clock.now())

    async def _serve(self, account_id: AccountId) -> float | None:
        lease = self._context.lease(account_id, "live-calls")
        async with leased(self._database, self._clock, lease) as is_mine:
            if not is_mine:
                return self._holds.hold_for(account_id, self._rules.window / 24)
            try:
                return await self._check_account(account_id)
            except RateLimited as error:
                pause = (error.retry_at - self._clock.now()).total_seconds()
                return self._holds.hold_for(account_id, max(1.0, pause))
            except RingCentralError as error:
                log.warning("live calls could not be checked", account_id=account_id, why=error.detail)
                return self._holds.fail(account_id)

    async def _check_account(self, account_id: AccountId) -> float | None:
        doubtful, is_all = await self._load(account_id)
        if not doubtful:
            return self._holds.hold_for(account_id, self._rules.window / 24)
        connections = serving(await self._connections.of(account_id), beside_polls=True)
        if not connections:
            return self._holds.fail(account_id)
        witness = connections[0] if connections[0].is_company_wide else None
        reads = 0
        for call in doubtful:
            # The cheapest source first: the session, then the stored records, then the Call Log.
            is_settled = (
                witness is not None
                and self._may_look_up(witness, call)
                and await self._look_up(witness, call)
            )
            if not is_settled and not await self._judge_stored(call) and reads < MOST_READ:
                reads += 1
                await self._read(connections, call)
        self._holds.succeed(account_id)
        if reads == MOST_READ:
            return self._holds.hold_for(account_id, self._rules.window / 4)
        if not is_all:
            self._gaps_due_at = self._clock.now()
            return 0.0
        return None

    async def _load(self, account_id: AccountId) -> tuple[list[Call], bool]:
        """Return calls in doubt, and whether these are all.

        Calls whose last events are very recent are left out: their next events are probably on the way.
        """
        now = self._clock.now()
        async with self._database.read() as db:
            gap = (await gaps.find_ends(db, now)).get(account_id)
            found = await due_calls.load_doubtful(
                db, account_id, due_calls.Doubt(now, gap, self._rules), BATCH
            )
        quiet_since = now - self._settling_time
        return [call for call in found if _last_received_at(call) <= quiet_since], len(found) < BATCH

    @property
    def _settling_time(self) -> timedelta:
        """How long after an event others may still follow it."""
        return timedelta(seconds=self._rules.quiet + self._rules.handover)

    def _may_look_up(self, connection: Connection, call: Call) -> bool:
        has_key = not call.telephony_session_id.startswith(NO_SESSION)
        return has_key and connection.access.may(CALL_CONTROL, self._clock.now())

    async def _look_up(self, connection: Connection, call: Call) -> bool:
        """Look up one session; return False where the response decides nothing."""
        asked_at = self._clock.now()
        try:
            session = await connection.client.fetch_session(TelephonySessionId(call.telephony_session_id))
        except PermissionMissing as error:
            if error.permission is None or error.permission in CALL_READING:
                raise
            await self._connections.note(connection, error)
            return False
        except CredentialsRefused as error:
            await self._connections.note(connection, error)
            raise
        except RequestRefused as error:
            log.warning("a live call could not be looked up", call_id=call.call_id, why=error.detail)
            return False
        if session is None or _is_empty(session):
            await self._end(call, asked_at, None, "session-gone")
        else:
            await self._go_on(call, asked_at)
        return True

    async def _judge_stored(self, call: Call) -> bool:
        """End a call by its stored records, if all of them have been finished for long enough."""
        async with self._database.read() as db:
            rows = (await store.load_records(db, call.account_id, [call.call_id]))[call.call_id]
        records = [record for row in rows if not isinstance(record := read_call_record(row.raw), BadRecord)]
        seen_at = min((row.fetched_at for row in rows), default=call.started_at)
        return await self._judge_records(call, records, seen_at)

    async def _read(self, connections: Sequence[Connection], call: Call) -> None:
        """Read the records of one call with a connection that can see it.

        A call that is known by its `sessionId` alone cannot be looked up: without a record it ends once it
        has been silent for too long.
        """
        connection = _connection_for(connections, call)
        asked_at = self._clock.now()
        if connection is not None and call.session_id is not None:
            try:
                page = await connection.client.fetch_call_log_by_session(
                    SessionId(call.session_id), extension_id=connection.extension_id
                )
            except RequestRefused as error:
                log.warning("a live call could not be read", call_id=call.call_id, why=error.detail)
            else:
                if await self._judge_records(call, page.records, asked_at):
                    return
        is_nameless = call.telephony_session_id.startswith(NO_SESSION)
        if is_nameless and _last_event_at(call) + timedelta(seconds=self._rules.stale) <= asked_at:
            await self._end(call, asked_at, None, "silent-too-long")
        else:
            await self._postpone(call)

    async def _judge_records(self, call: Call, records: Sequence[CallRecord], seen_at: datetime) -> bool:
        """End a call whose records were all finished, and had been for a while, at `seen_at`."""
        ended_at = versions.end_of(records)
        if ended_at is None or ended_at + self._settling_time > seen_at:
            return False
        if any(one.is_in_progress for one in records):
            return False
        if ended_at < _last_event_at(call):
            return False  # an event came after the end that they show: more records will follow
        await self._end(call, seen_at, ended_at, "record-finished")
        return True

    @asynccontextmanager
    async def _reopen(self, found: Call) -> AsyncIterator[tuple[Ledger, Call | None]]:
        """Open the ledger of a call found earlier; yield the call as it is now, None if it is not live."""
        async with (
            self._database.write() as db,
            open_ledger(db, found.account_id, self._clock.now()) as ledger,
        ):
            call = (await store.load_by_ids(db, found.account_id, [found.call_id])).get(found.call_id)
            yield ledger, call if call is not None and call.stage == Stage.LIVE else None

    async def _go_on(self, found: Call, asked_at: datetime) -> None:
        async with self._reopen(found) as (ledger, call):
            if call is not None:
                call.ask_at = None
                known_at = max(asked_at, call.state_known_at or asked_at)
                call.state_known_at = known_until(SessionFacts.from_json(call.facts), known_at)
                ledger.keep(call)

    async def _postpone(self, found: Call) -> None:
        """Check a call later about which nothing could be learned, so that others come first."""
        async with self._reopen(found) as (ledger, call):
            if call is not None:
                call.ask_at = ledger.now + timedelta(seconds=self._rules.window * 2.5)
                ledger.keep(call)

    async def _end(self, found: Call, asked_at: datetime, ended_at: datetime | None, reason: str) -> None:
        """End a call that was over at `asked_at`, unless an event is later than that.

        Other changes since it was found, such as a note or a repeated event, do not matter.
        """
        async with self._reopen(found) as (ledger, call):
            if call is None:
                return
            if _last_event_at(call) > asked_at:
                call.ask_at = ledger.now + self._settling_time
                ledger.keep(call)
                return
            view = parties.read_stored(call.facts)
            call.end_check_at = None
            call.state_known_at = asked_at
            last_at = ended_at or view.last_terminal_at or view.last_news_at or ledger.now
            stages.end(ledger, call, view, last_at, reason, self._rules)


def _last_received_at(call: Call) -> datetime:
    facts = SessionFacts.from_json(call.facts)
    return max((fact.received_at for fact in facts), default=call.started_at)


def _last_event_at(call: Call) -> datetime:
    facts = SessionFacts.from_json(call.facts)
    return max((fact.event_time for fact in facts), default=call.started_at)


def _is_empty(session: TelephonySession) -> bool:
    """Whether all parties of a session that RingCentral still shows have left."""
    return bool(session.parties) and all(
        known_code(party.status_code) in TERMINAL for party in session.parties
    )


def _connection_for(connections: Sequence[Connection], call: Call) -> Connection | None:
    """Return the connection that can see a call: a company-wide one, or that of a user who took part."""
    took_part = {fact.extension_id for fact in SessionFacts.from_json(call.facts)}
    return next((one for one in connections if one.is_company_wide or one.extension_id in took_part), None)
