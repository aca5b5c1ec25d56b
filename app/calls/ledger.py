"""The only way to change calls: under the account's lock, with a version and a timeline event for each
change.

    async with database.write() as db, open_ledger(db, account_id, now) as ledger:
        ledger.change(call, "call.ended", endedAt=...)

The end of the block writes the calls, their names, their parties and the events in the same transaction.
"""

import secrets
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import structlog
from sqlalchemy import bindparam, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app import metrics
from app.calls import accounts as account_rows
from app.calls.company import load_company, read_company, version_of
from app.calls.evidence.people import UNKNOWN_COMPANY, Company
from app.calls.main_calls.members import find_mains_of, find_new_mains
from app.calls.model import KEYS, Call, Stage, columns_to_write, row_of
from app.calls.party_rows import PartyKey, party_values, redate_parties, write_parties
from app.db.engine import after_commit, wake
from app.db.lists import insert_rows, update_rows
from app.db.tables import accounts, call_aliases, calls, timeline
from app.ids import AccountId, is_alias
from app.work import wakeups

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Rows:
    """What ledgers of one transaction write, by table: rows of several accounts share a statement."""

    new: list[dict[str, Any]] = field(default_factory=list)
    updates: dict[tuple[str, ...], list[dict[str, Any]]] = field(default_factory=dict)
    names: list[dict[str, Any]] = field(default_factory=list)
    parties: list[tuple[AccountId, dict[PartyKey, datetime]]] = field(default_factory=list)
    redated: list[tuple[AccountId, str, datetime]] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    moved: list[dict[str, str]] = field(default_factory=list)

    async def write(self, db: AsyncConnection) -> None:
        """Write them; they become visible when the transaction commits."""
        # Calls first: all other rows refer to them.
        await insert_rows(db, calls, self.new)
        for rows in self.updates.values():
            await update_rows(db, calls, KEYS, rows)
        await insert_rows(db, call_aliases, self.names, or_ignore=True)
        for account_id, parties in self.parties:
            await write_parties(db, account_id, parties)
        # After the insert, so that new parties are dated as well.
        await redate_parties(db, self.redated)
        await self._write_events(db)
        moved = self.moved
        if moved:
            # After the commit: a transaction that is rolled back has moved nothing.
            after_commit(db, lambda: _report_moves(moved))

    async def _write_events(self, db: AsyncConnection) -> None:
        if not self.events:
            return
        await insert_rows(db, timeline, self.events)
        last = {event["account_id"]: event["seq"] for event in self.events}
        # The counters are safe to overwrite: this transaction holds the rows of the accounts.
        seqs = [{"account_id": account_id, "timeline_seq": seq} for account_id, seq in last.items()]
        await update_rows(db, accounts, ("account_id",), seqs)
        wake(db, *map(wakeups.of_timeline, last))


@dataclass(slots=True)
class Ledger:
    """An account locked for writing. Assigns the next numbers of its timeline, without gaps."""

    db: AsyncConnection
    account_id: AccountId
    now: datetime
    seq: int
    company: Company = UNKNOWN_COMPANY
    mark: str = field(default_factory=lambda: secrets.token_hex(6))
    """The mark of all changes of this transaction: random, so no other history of the database has it."""
    _new: dict[str, Call] = field(default_factory=dict)
    _changed: dict[str, Call] = field(default_factory=dict)
    _events: list[dict[str, Any]] = field(default_factory=list)
    _aliases: dict[tuple[str, str], None] = field(default_factory=dict)
    _parties: dict[PartyKey, datetime] = field(default_factory=dict)
    _redated: dict[str, datetime] = field(default_factory=dict)
    _moved: list[dict[str, str]] = field(default_factory=list)
    _conversations: set[str] = field(default_factory=set)
    _passed_on: set[str] = field(default_factory=set)
    _written: dict[str, tuple[Call, dict[str, Any]]] = field(default_factory=dict)
    made_by: str | None = None
    """The id of the API key that makes these changes, if one does."""
    causes: Mapping[str, str] = field(default_factory=dict)
    """By session: the `uuid` of the delivery that is being folded, for the log."""

    def open(self, call: Call, event: str, **data: Any) -> None:
        """Add a new call."""
        self._new[call.call_id] = call
        self._record_move(call)
        self.change(call, event, **data)

    def change(self, call: Call, event: str, **data: Any) -> None:
        """Record one visible change: the next version of the call and the next event of the timeline."""
        call.version += 1
        maker = {"keyId": self.made_by} if self.made_by else {}
        data = {"stage": call.stage, **data, **maker}
        call.changed_seq = self._announce(call.call_id, call.version, event, data)
        call.updated_at = self.now
        self.keep(call)

    def _announce(self, call_id: str, version: int, event: str, data: Mapping[str, Any]) -> int:
        """Add an event to the timeline; return its number."""
        self.seq += 1
        self._events.append(
            {
                "account_id": self.account_id,
                "seq": self.seq,
                "call_id": call_id,
                "version": version,
                "type": event,
                "at": self.now,
                "data": data,
                "mark": self.mark,
            }
        )
        return self.seq

    def announce_erased(self, call: Call) -> None:
        """Tell followers that a call is erased in this transaction. Its row is deleted, not written."""
        self._announce(call.call_id, call.version + 1, "call.erased", {"stage": call.stage})
        self.regroup(call.conversation_id)

    def move(self, call: Call, stage: Stage, event: str, **data: Any) -> None:
        """Move a call to another stage, which is a visible change."""
        call.stage = stage
        self._record_move(call)
        self.change(call, event, **data)

    def _record_move(self, call: Call) -> None:
        cause = self.causes.get(call.telephony_session_id)
        self._moved.append(_facts(call) | ({"uuid": cause} if cause else {}))

    def keep(self, call: Call) -> None:
        """Write a call with a change that is not visible, such as a due time or a counter."""
        # A new call is inserted with all its columns at the flush.
        if call.call_id not in self._new:
            self._changed[call.call_id] = call
        self.regroup(call.conversation_id)

    def regroup(self, *conversation_ids: str | None) -> None:
        """Have the main call of these conversations chosen again. Every changed call does so for its own."""
        self._conversations.update(one for one in conversation_ids if one is not None)

    def pass_on(self, call: Call) -> None:
        """Make a change of what is attached to a call a change of its main call, too, if that is another one.

        What a CRM is told of a conversation is told of its main call.
        """
        if call.conversation_id is not None:
            self._passed_on.add(call.call_id)

    def name(self, call: Call, aliases: Iterable[str | None]) -> None:
        """Give a call further names; "0" and empty values are ignored."""
        for alias in aliases:
            if alias and is_alias(alias):
                self._aliases[(call.call_id, alias)] = None

    def involve(self, call: Call, extensions: Iterable[str | None], numbers: Iterable[str | None]) -> None:
        """Record who took part in a call, so that it is found by extension and by number.

        Numbers may have any spelling: they are stored in their normal form.
        """
        for kind, value in party_values(extensions, numbers, self.company.region):
            self._parties[(call.call_id, kind, value)] = call.started_at

    def redate(self, call: Call) -> None:
        """Record that the start of a call has changed, by which lists by extension and number are ordered."""
        self._redated[call.call_id] = call.started_at

    async def flush(self) -> None:
        """Write everything that was recorded; it becomes visible when the transaction commits."""
        await flush_all([self])

    def move_into(self, rows: _Rows) -> None:
        """Pass on everything that was recorded, to be written."""
        rows.new += [row_of(call) for call in self._new.values()]
        for call in self._changed.values():
            if columns := columns_to_write(call, self._stored_of(call)):
                names = (*KEYS, *columns)
                rows.updates.setdefault(columns, []).append({name: getattr(call, name) for name in names})
        written = [*self._new.values(), *self._changed.values()]
        if written:
            self._written |= {call.call_id: (call, row_of(call)) for call in written}
            after_commit(self.db, self._remember)
        rows.names += [
            {"account_id": self.account_id, "call_id": call_id, "alias": alias}
            for call_id, alias in self._aliases
        ]
        if self._parties:
            rows.parties.append((self.account_id, dict(self._parties)))
        rows.redated += [(self.account_id, call_id, at) for call_id, at in self._redated.items()]
        rows.events += self._events
        rows.moved += self._moved
        for taken in (self._new, self._changed, self._aliases, self._parties, self._redated):
            taken.clear()
        self._events, self._moved = [], []

    def _stored_of(self, call: Call) -> Mapping[str, Any] | None:
        """Return the columns of a call as this transaction sees them; None if they are unknown."""
        writer, columns = self._written.get(call.call_id, (None, None))
        return columns if writer is call else call.stored

    def _remember(self) -> None:
        # After the commit: a transaction that is rolled back has stored nothing.
        for call, columns in self._written.values():
            call.stored = columns
        self._written.clear()

    async def close(self) -> None:
        """Write what is left at the end of a transaction."""
        await self.flush()
        await self.choose_mains()

    async def choose_mains(self) -> None:
        """Choose the main call of the conversations in which something changed, after the last flush.

        The choice depends on all calls of a conversation, so it is a change of calls that this transaction
        may not have loaded: only their changed columns are written.
        """
        if not self._conversations:
            return
        rows: list[dict[str, Any]] = []
        for new in await find_new_mains(self.db, self.account_id, self._conversations):
            main_call_id = new.main_call_id or new.call_id
            data = {"stage": new.stage, "conversationId": new.conversation_id, "mainCallId": main_call_id}
            seq = self._announce(new.call_id, new.version + 1, "call.updated", data)
            rows.append({"key": new.call_id, "main": new.main_call_id, "seq": seq})
        self._conversations.clear()
        await self._write_changes(rows, main_call_id=bindparam("main"))
        await self._tell_mains({row["key"] for row in rows})

    async def _tell_mains(self, told: Collection[str]) -> None:
        """Record the changes that calls pass on to their main calls, after those were chosen.

        `told`: the calls of which this transaction has just announced a change.
        """
        if not self._passed_on:
            return
        maker = {"keyId": self.made_by} if self.made_by else {}
        rows = []
        for main in await find_mains_of(self.db, self.account_id, self._passed_on):
            if main.call_id in told:
                continue
            data = {
                "stage": main.stage,
                "source": "linked-call",
                "conversationId": main.conversation_id,
                **maker,
            }
            seq = self._announce(main.call_id, main.version + 1, "call.updated", data)
            rows.append({"key": main.call_id, "seq": seq})
        self._passed_on.clear()
        await self._write_changes(rows)

    async def _write_changes(self, rows: Sequence[Mapping[str, Any]], **columns: Any) -> None:
        """Write the announced changes of calls that this transaction need not have loaded."""
        if not rows:
            return
        mine = (calls.c.account_id == self.account_id) & (calls.c.call_id == bindparam("key"))
        statement = (
            update(calls)
            .where(mine)
            .values(version=calls.c.version + 1, changed_seq=bindparam("seq"), updated_at=self.now, **columns)
        )
        await self.db.execute(statement, rows)
        await self.flush()


@asynccontextmanager
async def open_ledger(db: AsyncConnection, account_id: AccountId, now: datetime) -> AsyncIterator[Ledger]:
    """Lock the account for writing until the transaction of `db` ends."""
    ledger = await _try_to_open(db, account_id, now)
    if ledger is None:
        # What was read while waiting for the lock may be old, so the company is read after that.
        seq = await account_rows.lock(db, account_id, now)
        ledger = Ledger(db, account_id, now, seq, await load_company(db, account_id))
    yield ledger
    await ledger.close()


@asynccontextmanager
async def claim_ledger(
    db: AsyncConnection, account_id: AccountId, now: datetime
) -> AsyncIterator[Ledger | None]:
    """Open the ledger unless another transaction has it; yield None in that case.

    For work that can be done later, or that whoever has the ledger may be doing.
    """
    ledger = await _try_to_open(db, account_id, now)
    if ledger is None:
        # It may not exist yet. If it does, this does not wait for its lock.
        await account_rows.create(db, account_id, now)
        ledger = await _try_to_open(db, account_id, now)
    yield ledger
    if ledger is not None:
        await ledger.close()


@asynccontextmanager
async def claim_ledgers(
    db: AsyncConnection, account_ids: Collection[AccountId], now: datetime
) -> AsyncIterator[dict[AccountId, Ledger]]:
    """Open the ledgers of those accounts that exist and that no other transaction has, in one statement.

    The end of the block writes what they have recorded, each table in one go.
    """
    states = await account_rows.try_lock_all(db, account_ids, *version_of(accounts.c.account_id))
    ledgers = {}
    for state in states:
        account_id = AccountId(state.account_id)
        company = await read_company(db, account_id, state)
        ledgers[account_id] = Ledger(db, account_id, now, state.timeline_seq, company)
    yield ledgers
    await flush_all(list(ledgers.values()))
    for ledger in ledgers.values():
        await ledger.choose_mains()


async def flush_all(ledgers: Sequence[Ledger]) -> None:
    """Write everything that ledgers of one transaction have recorded."""
    if not ledgers:
        return
    rows = _Rows()
    for ledger in ledgers:
        ledger.move_into(rows)
    await rows.write(ledgers[0].db)


async def _try_to_open(db: AsyncConnection, account_id: AccountId, now: datetime) -> Ledger | None:
    state = await account_rows.try_lock(db, account_id, *version_of(account_id))
    if state is None:
        return None
    return Ledger(db, account_id, now, state.timeline_seq, await read_company(db, account_id, state))


def _facts(call: Call) -> dict[str, str]:
    facts = {
        "stage": str(call.stage),
        "account_id": str(call.account_id),
        "call_id": str(call.call_id),
        "telephony_session_id": call.telephony_session_id,
    }
    return facts | ({"reason": call.absent_reason or ""} if call.stage == Stage.ABSENT else {})


def _report_moves(moved: Sequence[dict[str, str]]) -> None:
    for facts in moved:
        metrics.CALLS_STAGE.labels(stage=facts["stage"]).inc()
        if facts["stage"] == Stage.ABSENT:
            metrics.CALLS_ABSENT.labels(reason=facts["reason"]).inc()
        log.info("call", **facts)
