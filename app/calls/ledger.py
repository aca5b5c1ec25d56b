"""The only way to change calls: under the account's lock, with a version and a timeline event for each
change.

    async with database.write() as db, open_ledger(db, account_id, now) as ledger:
        ledger.change(call, "call.ended", endedAt=...)

The end of the block writes the calls, their names, their parties and the events in the same transaction.
"""

import secrets
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
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
from app.calls.main_calls.members import find_new_mains
from app.calls.model import KEYS, Call, Stage, columns_to_write, row_of
from app.calls.party_rows import PartyKey, party_values, write_parties
from app.db.engine import after_commit, wake
from app.db.lists import insert_rows, update_rows
from app.db.tables import accounts, call_aliases, call_parties, calls, timeline
from app.ids import AccountId, is_alias
from app.work import wakeups

log = structlog.get_logger(__name__)


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
    _written: dict[str, tuple[Call, dict[str, Any]]] = field(default_factory=dict)
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
        call.changed_seq = self._announce(call.call_id, call.version, event, {"stage": call.stage, **data})
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
        # Calls first: all other rows refer to them.
        await self._write_calls()
        await self._write_names()
        await self._write_parties()
        await self._write_events()
        moved, self._moved = self._moved, []
        if moved:
            # After the commit: a transaction that is rolled back has moved nothing.
            after_commit(self.db, lambda: _report_moves(moved))

    async def _write_calls(self) -> None:
        await insert_rows(self.db, calls, [row_of(call) for call in self._new.values()])
        by_columns: dict[tuple[str, ...], list[dict[str, Any]]] = {}
        for call in self._changed.values():
            if columns := columns_to_write(call, self._stored_of(call)):
                names = (*KEYS, *columns)
                by_columns.setdefault(columns, []).append({name: getattr(call, name) for name in names})
        for rows in by_columns.values():
            await update_rows(self.db, calls, KEYS, rows)
        written = [*self._new.values(), *self._changed.values()]
        if written:
            self._written |= {call.call_id: (call, row_of(call)) for call in written}
            after_commit(self.db, self._remember)
        self._new.clear()
        self._changed.clear()

    def _stored_of(self, call: Call) -> Mapping[str, Any] | None:
        """Return the columns of a call as this transaction sees them; None if they are unknown."""
        writer, columns = self._written.get(call.call_id, (None, None))
        return columns if writer is call else call.stored

    def _remember(self) -> None:
        # After the commit: a transaction that is rolled back has stored nothing.
        for call, columns in self._written.values():
            call.stored = columns
        self._written.clear()

    async def _write_names(self) -> None:
        rows = [
            {"account_id": self.account_id, "call_id": call_id, "alias": alias}
            for call_id, alias in self._aliases
        ]
        await insert_rows(self.db, call_aliases, rows, or_ignore=True)
        self._aliases.clear()

    async def _write_parties(self) -> None:
        await write_parties(self.db, self.account_id, self._parties)
        self._parties.clear()
        # After the insert, so that new parties are dated as well.
        for call_id, started_at in self._redated.items():
            mine = (call_parties.c.account_id == self.account_id) & (call_parties.c.call_id == call_id)
            await self.db.execute(update(call_parties).where(mine).values(started_at=started_at))
        self._redated.clear()

    async def _write_events(self) -> None:
        if self._events:
            await insert_rows(self.db, timeline, self._events)
            # The counter is safe to overwrite: this transaction holds the account's row.
            own = accounts.c.account_id == self.account_id
            await self.db.execute(update(accounts).where(own).values(timeline_seq=self.seq))
            wake(self.db, wakeups.TIMELINE, *{wakeups.of_call(event["call_id"]) for event in self._events})
            self._events.clear()

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
        rows = []
        for new in await find_new_mains(self.db, self.account_id, self._conversations):
            main_call_id = new.main_call_id or new.call_id
            data = {"stage": new.stage, "conversationId": new.conversation_id, "mainCallId": main_call_id}
            seq = self._announce(new.call_id, new.version + 1, "call.updated", data)
            rows.append({"key": new.call_id, "main": new.main_call_id, "seq": seq})
        self._conversations.clear()
        if rows:
            mine = (calls.c.account_id == self.account_id) & (calls.c.call_id == bindparam("key"))
            statement = (
                update(calls)
                .where(mine)
                .values(
                    main_call_id=bindparam("main"),
                    version=calls.c.version + 1,
                    changed_seq=bindparam("seq"),
                    updated_at=self.now,
                )
            )
            await self.db.execute(statement, rows)
            await self._write_events()


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
