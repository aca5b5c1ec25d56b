"""Asks RingCentral whether live calls still go on, where their last events may be lost, until each is settled.

A live call is in doubt when it began before the end of a gap and nothing is known of it since; when a record of it
has an end; when it has been silent for hours. It is settled when it is over, or when an event or an answer from after
the gap shows that it goes on. What is in doubt is worked out from the call and the gaps, so nothing is forgotten by a
restart, and a call whose events come late, after everybody else was asked, is in doubt as well.

One request of the Light kind asks after a session: 404 means that it is over. Where nobody may ask that (no
permission, users who see their own calls alone, a call without a key) the call's records decide.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import structlog
from sqlalchemy import ColumnElement, Select, and_, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.accounts.access import CALL_READING
from app.accounts.connections import Connection, serving
from app.accounts.context import AccountsContext, AccountsWorker
from app.calls import store
from app.calls.ledger import open_ledger
from app.calls.model import NO_SESSION, Call, Stage
from app.db.tables import calls
from app.enrichment.call_log import gaps
from app.enrichment.call_log.gaps import GapEnd
from app.enrichment.records.merging import end_of
from app.errors import CredentialsRefused, PermissionMissing, RateLimited, RequestRefused, RingCentralError
from app.ids import AccountId, SessionId, TelephonySessionId
from app.ringcentral.models import BadRecord, CallRecord, TelephonySession, read_call_record
from app.webhooks.folding.fold import EndRules, end
from app.webhooks.folding.parties import read_parties
from app.webhooks.payloads.facts import TERMINAL, SessionFacts, known_code, known_until
from app.work.backoff import Backoff
from app.work.holds import Holds
from app.work.lanes import Serve
from app.work.leases import leased

BATCH = 50
"""Calls that are asked after in one turn."""

MOST_READ = 2
"""Of these, calls whose records are asked for: that is a request of the Heavy kind, which the polls need as well."""

CALL_CONTROL = "CallControl"
_LONGEST_PAUSE_WINDOWS = 5.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Doubt:
    """When calls are in doubt; made of the rules and of the end of the account's last gap."""

    now: datetime
    gap: GapEnd | None
    rules: EndRules

    def condition(self) -> ColumnElement[bool]:
        """Select the live calls that it is time to ask after."""
        stale_since = self.now - timedelta(seconds=self.rules.stale)
        in_doubt = [and_(_KNOWN.is_(None), calls.c.started_at < stale_since)]
        if self.gap is not None:
            # While a gap lasts, or grows, each call is asked after now and then.
            rest = self.rules.window * (2.5 if self.gap.lasts else 0.5)
            rested = or_(_KNOWN.is_(None), self.now - timedelta(seconds=rest) >= _KNOWN)
            in_doubt.append(and_(unsettled_since(self.gap.at), rested))
        unasked = and_(calls.c.ask_at.is_(None), or_(*in_doubt))
        return and_(_IS_LIVE, or_(calls.c.ask_at <= self.now, unasked))


_KNOWN = calls.c.state_known_at
_IS_LIVE = and_(calls.c.stage == Stage.LIVE, calls.c.end_check_at.is_not(None))
"""Every live call has a time to look whether it is over, and the index of these times is short."""


def unsettled_since(gap_end: datetime) -> ColumnElement[bool]:
    """Select the calls of which nothing is known since the end of a gap that they began before."""
    return and_(
        calls.c.stage == Stage.LIVE, calls.c.started_at < gap_end, or_(_KNOWN.is_(None), gap_end > _KNOWN)
    )


class LiveCalls(AccountsWorker):
    """The part of `EndWatch` that asks."""

    def __init__(self, context: AccountsContext, rules: EndRules) -> None:
        super().__init__(context)
        self._context = context
        self._rules = rules
        backoff = Backoff(first=rules.window / 8, longest=rules.window * _LONGEST_PAUSE_WINDOWS)
        self._holds: Holds[AccountId] = Holds(context.clock, backoff)
        self._ends: Mapping[AccountId, GapEnd] = {}
        self._gaps_again_at = context.clock.now()

    async def find_work(self) -> Mapping[str, Serve]:
        """Return what is to be asked now, by account."""
        now = self._clock.now()
        async with self._database.read() as db:
            found = set(await db.scalars(_accounts_with(Doubt(now, None, self._rules).condition())))
            self._ends = {}
            if now >= self._gaps_again_at:
                self._ends = await gaps.find_ends(db, now)
                self._gaps_again_at = now + timedelta(seconds=self._rules.window / 24)
                for account_id in await self._accounts_with_live_calls(db):
                    mine = Doubt(now, self._ends.get(account_id), self._rules).condition()
                    query = select(calls.c.call_id).where(calls.c.account_id == account_id, mine).limit(1)
                    if await db.scalar(query) is not None:
                        found.add(account_id)
        ready = [one for one in map(AccountId, sorted(found)) if one not in self._holds]
        return {one: partial(self._serve, one) for one in ready}

    async def _accounts_with_live_calls(self, db: AsyncConnection) -> Sequence[AccountId]:
        """Return accounts with gaps and with live calls from before the last of them."""
        if not self._ends:
            return []
        before = max(end.at for end in self._ends.values())
        query = _accounts_with(and_(_IS_LIVE, calls.c.started_at < before))
        return [one for one in map(AccountId, await db.scalars(query)) if one in self._ends]

    async def mark_settled(self) -> None:
        """Note which gaps are over and leave no call in doubt."""
        now = self._clock.now()
        settled: set[str] = set()
        async with self._database.read() as db:
            for account_id, gap in self._ends.items():
                if gap.is_settled or gap.lasts:
                    continue
                mine = (calls.c.account_id == account_id) & unsettled_since(gap.at)
                if await db.scalar(select(calls.c.call_id).where(mine).limit(1)) is None:
                    settled |= gap.holders
        if settled:
            async with self._database.write() as db:
                await gaps.mark_asked(db, settled, now)

    async def _serve(self, account_id: AccountId) -> float | None:
        lease = self._context.lease(account_id, "live-calls")
        async with leased(self._database, self._clock, lease) as is_mine:
            if not is_mine:
                return self._holds.hold_for(account_id, self._rules.window / 24)
            try:
                return await self._ask(account_id)
            except RateLimited as error:
                pause = (error.retry_at - self._clock.now()).total_seconds()
                return self._holds.hold_for(account_id, max(1.0, pause))
            except RingCentralError as error:
                log.warning("live calls could not be asked after", account_id=account_id, why=error.detail)
                return self._holds.fail(account_id)

    async def _ask(self, account_id: AccountId) -> float | None:
        asked, is_all = await self._load(account_id)
        if not asked:
            return self._holds.hold_for(account_id, self._rules.window / 24)
        readers = serving(await self._connections.of(account_id), beside_polls=True)
        if not readers:
            return self._holds.fail(account_id)
        witness = readers[0] if readers[0].is_company_wide else None
        reads = 0
        for call in asked:
            if (
                witness is not None
                and self._may_look_up(witness, call)
                and await self._look_up(witness, call)
            ):
                continue
            if await self._judge_kept(call):
                continue
            if reads < MOST_READ:
                reads += 1
                await self._read(readers, call)
        self._holds.succeed(account_id)
        if reads == MOST_READ:
            return self._holds.hold_for(account_id, self._rules.window / 4)
        if not is_all:
            self._gaps_again_at = self._clock.now()
            return 0.0
        return None

    async def _load(self, account_id: AccountId) -> tuple[list[Call], bool]:
        """Return calls in doubt, and whether these are all.

        Those are left out whose last events are so fresh that the next ones are on their way.
        """
        now = self._clock.now()
        async with self._database.read() as db:
            gap = (await gaps.find_ends(db, now)).get(account_id)
        query = (
            select(calls)
            .where(calls.c.account_id == account_id, Doubt(now, gap, self._rules).condition())
            .order_by(calls.c.ask_at, calls.c.started_at, calls.c.call_id)
            .limit(BATCH)
        )
        async with self._database.read() as db:
            found = [store.read_row(row) for row in await db.execute(query)]
        quiet_since = now - timedelta(seconds=self._rules.quiet + self._rules.handover)
        return [call for call in found if _heard_at(call) <= quiet_since], len(found) < BATCH

    def _may_look_up(self, connection: Connection, call: Call) -> bool:
        has_key = not call.telephony_session_id.startswith(NO_SESSION)
        return has_key and connection.access.may(CALL_CONTROL, self._clock.now())

    async def _look_up(self, connection: Connection, call: Call) -> bool:
        """Ask after one session; False where the answer decides nothing."""
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
        if session is None or _has_nobody(session):
            await self._end(call, asked_at, None, "session-gone")
        else:
            await self._go_on(call, asked_at)
        return True

    async def _judge_kept(self, call: Call) -> bool:
        """End a call by the records that were put aside, if all of them are finished for long enough."""
        async with self._database.read() as db:
            rows = (await store.load_records(db, call.account_id, [call.call_id]))[call.call_id]
        records = [record for row in rows if not isinstance(record := read_call_record(row.raw), BadRecord)]
        seen_at = min((row.fetched_at for row in rows), default=call.started_at)
        return await self._judge_records(call, records, seen_at)

    async def _read(self, readers: Sequence[Connection], call: Call) -> None:
        """Read the records of one call, with the connection that shows it."""
        connection = _reader_of(readers, call)
        if connection is not None and call.session_id is not None:
            asked_at = self._clock.now()
            try:
                page = await connection.client.fetch_call_log_by_session(
                    SessionId(call.session_id), extension_id=connection.extension_id
                )
            except RequestRefused as error:
                log.warning("a live call could not be read", call_id=call.call_id, why=error.detail)
            else:
                if await self._judge_records(call, page.records, asked_at):
                    return
        await self._put_off(call)

    async def _judge_records(self, call: Call, records: Sequence[CallRecord], seen_at: datetime) -> bool:
        """End a call whose records are all finished, and were so for a while when they were seen."""
        ended_at = end_of(records)
        patience = timedelta(seconds=self._rules.quiet + self._rules.handover)
        if ended_at is None or ended_at + patience > seen_at or any(one.is_in_progress for one in records):
            return False
        if ended_at < _last_event_at(call):
            return False  # somebody was heard of after the end that they tell of: more records will come
        await self._end(call, seen_at, ended_at, "record-finished")
        return True

    async def _go_on(self, asked: Call, asked_at: datetime) -> None:
        async with (
            self._database.write() as db,
            open_ledger(db, asked.account_id, self._clock.now()) as ledger,
        ):
            call = (await store.load_by_ids(db, asked.account_id, [asked.call_id])).get(asked.call_id)
            if call is not None and call.stage == Stage.LIVE:
                call.ask_at = None
                known_at = max(asked_at, call.state_known_at or asked_at)
                call.state_known_at = known_until(SessionFacts.from_json(call.facts), known_at)
                ledger.keep(call)

    async def _put_off(self, asked: Call) -> None:
        """Ask after a call later of which nothing could be learnt; others come first meanwhile."""
        async with (
            self._database.write() as db,
            open_ledger(db, asked.account_id, self._clock.now()) as ledger,
        ):
            call = (await store.load_by_ids(db, asked.account_id, [asked.call_id])).get(asked.call_id)
            if call is not None and call.stage == Stage.LIVE:
                call.ask_at = ledger.now + timedelta(seconds=self._rules.window * 2.5)
                ledger.keep(call)

    async def _end(self, asked: Call, asked_at: datetime, ended_at: datetime | None, reason: str) -> None:
        """End a call that was over at `asked_at`, unless an event tells of a later time.

        Whatever else has changed of it meanwhile, a note or an event that came twice, does not matter.
        """
        async with (
            self._database.write() as db,
            open_ledger(db, asked.account_id, self._clock.now()) as ledger,
        ):
            call = (await store.load_by_ids(db, asked.account_id, [asked.call_id])).get(asked.call_id)
            if call is None or call.stage != Stage.LIVE:
                return
            if _last_event_at(call) > asked_at:
                call.ask_at = ledger.now + timedelta(seconds=self._rules.quiet + self._rules.handover)
                ledger.keep(call)
                return
            view = read_parties(SessionFacts.from_json(call.facts))
            call.end_check_at = None
            call.state_known_at = asked_at
            last_at = ended_at or view.last_terminal_at or view.heard_at or ledger.now
            end(ledger, call, view, last_at, reason, self._rules)


def _accounts_with(doubt: ColumnElement[bool]) -> Select[Any]:
    return select(calls.c.account_id).where(doubt).distinct()


def _heard_at(call: Call) -> datetime:
    facts = SessionFacts.from_json(call.facts)
    return max((fact.received_at for fact in facts), default=call.started_at)


def _last_event_at(call: Call) -> datetime:
    facts = SessionFacts.from_json(call.facts)
    return max((fact.event_time for fact in facts), default=call.started_at)


def _has_nobody(session: TelephonySession) -> bool:
    """Whether all parties of a session that RingCentral still shows have left."""
    return bool(session.parties) and all(
        known_code(party.status_code) in TERMINAL for party in session.parties
    )


def _reader_of(readers: Sequence[Connection], call: Call) -> Connection | None:
    """Return the connection that shows a call: one that sees all, or that of somebody who took part."""
    took_part = {fact.extension_id for fact in SessionFacts.from_json(call.facts)}
    return next((one for one in readers if one.is_company_wide or one.extension_id in took_part), None)
