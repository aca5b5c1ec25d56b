"""From stored deliveries to calls: what the inbox holds becomes facts, facts become calls and their stages.

Runs after the answer, in batches, under the account's lock. Facts are a set, so folding a delivery twice, late
or out of order gives the same call; a crash in the middle leaves the deliveries unfolded and the call as it
was. A delivery that cannot be folded is set aside with the reason (a dead letter) and holds up nobody.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import structlog
from sqlalchemy import and_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app import metrics
from app.calls import accounts, store
from app.calls.attachments.store import bind_account, join_parked
from app.calls.insights.store import join, take
from app.calls.ledger import Ledger, open_ledger
from app.calls.model import NO_SESSION, Call, Stage, time_text
from app.calls.related.links import Link, key_of
from app.calls.related.store import link_calls
from app.clock import Clock
from app.db.engine import wake
from app.db.failures import Failure, describe_failure, failure_of, is_data_fault
from app.db.lists import is_one_of
from app.db.tables import deliveries, subscriptions
from app.enrichment.records.apply import RECORDS_END, finish, later_end, reapply_records
from app.errors import StorageUnavailable
from app.ids import UNBOUND_ACCOUNT, AccountId, CallId, new_id
from app.webhooks.folding.batches import Telling, read_batch
from app.webhooks.folding.call_view import CallView, endpoint_json
from app.webhooks.folding.ending import EndingAt, Live, NotACall, Over, judge_end
from app.webhooks.folding.parties import read_parties
from app.webhooks.intake.inbox import Inbox
from app.webhooks.payloads.facts import Fact, SessionFacts, known_until
from app.webhooks.payloads.notification import CallKey
from app.work.context import WorkContext, Worker
from app.work.holds import Holds
from app.work.lanes import Lanes, Serve
from app.work.log_context import about_account
from app.work.wakeups import ENDS, INBOX, POLLS, SUBSCRIPTIONS

BATCH = 50
BUSY_BATCH = 20
RUSH_BATCH = 10
RUSH_PAUSE_SECONDS = 0.25
"""Folding costs some twenty times as much as accepting, in the same process and, on SQLite, under the same
lock. Whoever waits for an answer waits for a small batch at most; and in a rush, when more arrives meanwhile than
was folded, folding only trickles and catches up afterwards."""

FACTS_AT_A_STRETCH = 200
"""Facts that are computed before others of the process have a turn."""

MOST_WORK = 5000
"""Facts, known and new, that one transaction computes with. The call that reaches it is still part of it: one call alone
is bounded as well, see `SessionFacts`. What is left of a batch is folded in the next transactions."""

_CALLS_OF_A_REST = 5
"""Calls that are loaded at a time for what the limit has left: they are heavy ones."""

_AT_ONCE = 4
_LONGEST_TURN_SECONDS = 120.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class EndRules:
    """What the end decision waits for, in seconds; see `Settings`."""

    quiet: float
    handover: float
    stale: float
    window: float
    first_reading: float = 60.0
    """From an end that has moved to the reading that tells of it."""


class Folder(Worker):
    """The background work that empties the inbox, account by account, several side by side.

    An account that fails waits for its next turn; the others do not. `patience_seconds` is how long a step waits for
    the slow ones (None: until all are through).
    """

    def __init__(self, context: WorkContext, rules: EndRules, inbox: Inbox | None = None) -> None:
        super().__init__(context)
        self._rules = rules
        self._inbox = inbox
        self._is_rushed = False
        self._holds: Holds[AccountId] = Holds(context.clock)
        self._begun: dict[AccountId, set[Telling]] = {}
        """What is folded of deliveries that are not folded as a whole. A restart begins them anew, which changes nothing."""
        self._lanes: Lanes[AccountId] = context.lanes(
            "fold", INBOX, longest_seconds=_LONGEST_TURN_SECONDS, at_once=_AT_ONCE
        )

    async def step(self) -> float | None:
        """Fold one batch of each account that has something waiting; 0 when there may be more."""
        if self._is_rushed:
            await self._clock.sleep(RUSH_PAUSE_SECONDS)
        limit, arrived = self._batch_size(), self._arrived()
        async with self._database.read() as db:
            waiting = select(deliveries.c.account_id).where(deliveries.c.folded_at.is_(None)).distinct()
            account_ids = [AccountId(account_id) for account_id in sorted(await db.scalars(waiting))]
        turns: dict[AccountId, Serve] = {
            account_id: partial(self._serve, account_id, limit)
            for account_id in account_ids
            if account_id not in self._holds
        }
        pause = await self._lanes.run(turns)
        self._is_rushed = pause == 0.0 and self._arrived() - arrived > limit * len(turns)
        return pause if pause == 0.0 else self._holds.next_turn()

    async def close(self) -> None:
        """Stop all turns; what they have not committed is folded later."""
        await self._lanes.close()

    def _batch_size(self) -> int:
        if self._is_rushed:
            return RUSH_BATCH
        return BUSY_BATCH if self._inbox is not None and self._inbox.is_busy else BATCH

    def _arrived(self) -> int:
        return self._inbox.accepted if self._inbox is not None else 0

    async def _serve(self, account_id: AccountId, limit: int) -> float | None:
        """Fold one batch of an account; 0 when there may be more. A failure holds up this account alone."""
        try:
            has_more = await self._fold_account(account_id, limit)
        except Exception as error:
            pause = self._holds.fail(account_id)
            metrics.LOOP_FAILURES.labels(loop="fold").inc()
            if isinstance(error, StorageUnavailable):
                # The outage itself is logged once, where the database is used; this would be a line per account.
                log.debug("the deliveries of an account wait for the database", why=str(error), seconds=pause)
            elif failure_of(error) is Failure.SCHEMA:
                why = describe_failure(error)
                log.error(  # noqa: TRY400 - the sentence is what an operator needs
                    "the database does not have the schema of this version; run `aftercall migrate`", why=why
                )
            else:
                log.exception("the deliveries of an account cannot be folded", seconds=pause)
            return None
        self._holds.succeed(account_id)
        return 0.0 if has_more else None

    @about_account
    async def _fold_account(self, account_id: AccountId, limit: int) -> bool:
        try:
            return await self._fold(account_id, limit)
        except Exception as error:
            if isinstance(error, StorageUnavailable) or not is_data_fault(error):
                raise
            log.exception("a batch of deliveries could not be folded; taking them one by one")
        async with self._database.read() as db:
            uuids = [row.uuid for row in await _unfolded(db, account_id, limit)]
        for uuid in uuids:
            await self._fold_alone(account_id, uuid)
        return len(uuids) == limit

    async def _fold_alone(self, account_id: AccountId, uuid: str) -> None:
        """Fold this one delivery, or set it aside: this one, whatever has come in or was folded meanwhile."""
        try:
            await self._fold(account_id, 1, uuid)
        except Exception as error:
            if isinstance(error, StorageUnavailable) or not is_data_fault(error):
                raise
            log.exception("a delivery cannot be folded and is set aside", uuid=uuid)
            async with self._database.write() as db:
                note = f"error: {type(error).__name__}"
                await _mark_folded(db, account_id, {uuid: note}, self._clock.now())

    async def _fold(self, account_id: AccountId, limit: int, uuid: str | None = None) -> bool:
        """Fold what one transaction may take; say whether there may be more."""
        async with self._database.write() as db:
            now = self._clock.now()
            owner = await _owner(db, account_id, now)
            async with open_ledger(db, owner, now) as ledger:
                rows = await _unfolded(db, account_id, limit, uuid)
                ledger.causes = {row.telephony_session_id: row.uuid for row in rows}
                batch = read_batch(rows, owner)
                before, told = self._begun.get(account_id, set()), batch.tellings
                begun = before & told
                left = batch.without(begun, _CALLS_OF_A_REST if begun else None)
                folded = await fold_facts(ledger, left, self._rules, self._clock, MOST_WORK)
                begun |= {(fact.uuid, key) for key in folded for fact in left[key]}
                batch.put_off(begun)
                await ledger.flush()
                for call in await take(ledger, batch.insights):
                    finish(ledger, call)
            await _mark_folded(db, account_id, batch.notes, now)
            await _heed_reminders(db, batch.reminded, now)
        # Of deliveries that were not looked at this time nothing is forgotten, unless all that wait were.
        self._begun[account_id] = (begun & batch.tellings) | (before - told if uuid is not None else set())
        for row in rows:
            if row.uuid not in batch.notes:
                continue
            if left_out := batch.left_out.get(row.uuid):
                log.warning(
                    "a delivery tells too much; the rest is left out", uuid=row.uuid, left_out=left_out
                )
            log.debug(
                "delivery folded", uuid=row.uuid, telephony_session_id=row.telephony_session_id,
                note=batch.notes[row.uuid],
            )  # fmt: skip
        return len(rows) == limit or len(batch.notes) < len(rows)


async def _owner(db: AsyncConnection, account_id: AccountId, now: datetime) -> AccountId:
    """Return the account that deliveries of `account_id` belong to.

    The first one seen is our own, unless somebody gave credentials for it: then it is one of the others.
    """
    own = await accounts.resolve(db, UNBOUND_ACCOUNT)
    if account_id == UNBOUND_ACCOUNT:
        return own
    if own == UNBOUND_ACCOUNT and not await accounts.was_added(db, account_id):
        await bind_account(db, account_id, now)
    return account_id


async def _unfolded(
    db: AsyncConnection, account_id: AccountId, limit: int, uuid: str | None = None
) -> Sequence[Any]:
    """Return deliveries that wait, oldest first; with `uuid` that one alone, if it still waits."""
    query = (
        select(
            deliveries.c.uuid,
            deliveries.c.received_at,
            deliveries.c.raw,
            deliveries.c.telephony_session_id,
        )
        .where(deliveries.c.account_id == account_id, deliveries.c.folded_at.is_(None))
        .order_by(deliveries.c.received_at, deliveries.c.uuid)
        .limit(limit)
    )
    if uuid is not None:
        query = query.where(deliveries.c.uuid == uuid)
    return (await db.execute(query)).all()


async def _mark_folded(
    db: AsyncConnection, account_id: AccountId, notes: dict[str, str | None], now: datetime
) -> None:
    by_note: dict[str | None, list[str]] = {}
    for uuid, note in notes.items():
        by_note.setdefault(note, []).append(uuid)
    for note, uuids in by_note.items():
        mine = and_(
            deliveries.c.account_id == account_id,
            is_one_of(deliveries.c.uuid, uuids),
            deliveries.c.folded_at.is_(None),
        )
        await db.execute(update(deliveries).where(mine).values(folded_at=now, fold_note=note))
        metrics.DELIVERIES_FOLDED.labels(outcome=(note or "call").partition(":")[0]).inc(len(uuids))


async def _heed_reminders(db: AsyncConnection, subscription_ids: set[str], now: datetime) -> None:
    """Let subscriptions that RingCentral reminds of be renewed at once."""
    mine = is_one_of(subscriptions.c.subscription_id, subscription_ids)
    if (
        subscription_ids
        and (await db.execute(update(subscriptions).where(mine).values(renew_at=now))).rowcount
    ):
        wake(db, SUBSCRIPTIONS)


async def fold_facts(
    ledger: Ledger,
    facts: Mapping[CallKey, list[Fact]],
    rules: EndRules,
    clock: Clock,
    most: int | None = None,
) -> set[CallKey]:
    """Bring facts into the calls that they are about, opening those that are not there yet.

    Stops at the call that makes `most` facts, known and new; returns the keys of those that were reached.
    """
    calls = await _load_calls(ledger, facts)
    joins: dict[str, Call] = {}
    links: dict[str, list[Link]] = {}
    touched: dict[str, tuple[Call, list[Fact], bool]] = {}
    keys: dict[str, list[CallKey]] = {}
    for key, told in facts.items():
        call, is_new = calls.find(key), False
        if call is None:
            call, is_new = _new_call(ledger, key, told), True
            calls.add(call, key)
        known, earlier, was_new = touched.get(call.call_id, (call, [], False))
        earlier.extend(told)
        touched[call.call_id] = (known, earlier, was_new or is_new)
        keys.setdefault(call.call_id, []).append(key)
    if most is not None:
        touched = _first_of(touched, most)
    told_of = [call_id for call_id, (call, _, _) in touched.items() if call.primary_record_id is not None]
    records = await store.load_records(ledger.db, ledger.account_id, told_of)
    work = 0
    for call, told, is_new in touched.values():
        work += len(call.facts) + len(told)
        if work > FACTS_AT_A_STRETCH:
            await clock.sleep(0)  # others of this process may answer meanwhile
            work = 0
        view, names = _fold_call(ledger, call, told, records.get(call.call_id, ()), rules, is_new=is_new)
        links[call.call_id] = links_of_events(call, view)
        joins |= dict.fromkeys(sorted(names), call)
    await ledger.flush()
    await link_calls(ledger, links, {one: call for one, (call, _, _) in touched.items()}, joins)
    await join_parked(ledger, joins)
    await join(ledger, joins, {})
    return {key for call_id in touched for key in keys[call_id]}


def _first_of(
    touched: dict[str, tuple[Call, list[Fact], bool]], most: int
) -> dict[str, tuple[Call, list[Fact], bool]]:
    """Return as many calls as have `most` facts together, the last one included."""
    first: dict[str, tuple[Call, list[Fact], bool]] = {}
    work = 0
    for call_id, (call, told, is_new) in touched.items():
        if work >= most:
            break
        first[call_id] = (call, told, is_new)
        work += len(call.facts) + len(told)
    return first


@dataclass(slots=True)
class _Known:
    """The calls that a batch is about, by the ids that its events use."""

    by_key: dict[str, Call]
    by_session: dict[str, Call]

    def find(self, key: CallKey) -> Call | None:
        if key.telephony_session_id is None:
            return self.by_session.get(key.session_id or "")
        call = self.by_key.get(key.telephony_session_id)
        if call is None and key.session_id is not None:
            call = self.by_session.get(key.session_id)
            if call is None or not call.telephony_session_id.startswith(NO_SESSION):
                return None
            # Presence told of this call by its sessionId alone; now its key has come.
            call.telephony_session_id = key.telephony_session_id
            self.by_key[key.telephony_session_id] = call
        return call

    def add(self, call: Call, key: CallKey) -> None:
        self.by_key[call.telephony_session_id] = call
        if key.session_id is not None:
            self.by_session.setdefault(key.session_id, call)


async def _load_calls(ledger: Ledger, facts: Iterable[CallKey]) -> _Known:
    keys = {key.telephony_session_id for key in facts if key.telephony_session_id}
    by_key = await store.load_by_sessions(ledger.db, ledger.account_id, keys)
    unmatched = {key.session_id for key in facts if key.session_id and key.telephony_session_id not in by_key}
    by_session: dict[str, Call] = await store.find_nameless(ledger.db, ledger.account_id, unmatched)
    alone = {key.session_id for key in facts if key.session_id and key.telephony_session_id is None}
    by_session |= await store.find_by_aliases(
        ledger.db, ledger.account_id, alone & (unmatched - by_session.keys())
    )
    return _Known(by_key, by_session)


def _new_call(ledger: Ledger, key: CallKey, told: Sequence[Fact]) -> Call:
    return Call(
        account_id=ledger.account_id,
        call_id=CallId(new_id("call", ledger.now)),
        telephony_session_id=key.telephony_session_id or f"{NO_SESSION}{key.session_id}",
        session_id=key.session_id,
        started_at=min((fact.event_time for fact in told), default=ledger.now),
        created_at=ledger.now,
        updated_at=ledger.now,
    )


def _fold_call(
    ledger: Ledger, call: Call, told: Sequence[Fact], records: Sequence[Any], rules: EndRules, *, is_new: bool
) -> tuple[CallView, set[str]]:
    """Bring new facts into one call; return what they show together, and the names that it has got by them.

    `records` has the rows of a call's records once it is told of by them: what they say of it depends on facts too.
    """
    before = _visible(call)
    kept = SessionFacts.from_json(call.facts)
    old_names = set() if is_new else {call.session_id, *(fact.telephony_session_id for fact in kept)}
    facts = kept.union(told)
    call.facts = facts.to_json()
    view = read_parties(facts)
    copy_view(call, view)
    if is_new:
        call.ready("record", "pending", ledger.now)
        ledger.open(call, "call.live", direction=call.direction)
    elif not records:
        _tell_change(ledger, call, before)
    judge(ledger, call, view, rules)
    call.state_known_at = known_until(facts, call.state_known_at)
    if records:
        # After the end is known: which of the records are provisional depends on it.
        reapply_records(call, records)
        _tell_change(ledger, call, before)
    ledger.keep(call)
    names = {name for name in (*view.session_ids, call.telephony_session_id) if name not in old_names}
    ledger.name(call, view.session_ids)
    ledger.involve(call, view.extension_ids, _numbers(view))
    return view, names


def links_of_events(call: Call, view: CallView) -> list[Link]:
    """Return what a call's events say of other sessions that belong with it."""
    named = [(key_of(link.telephony_session_id, link.session_id), link) for link in view.related]
    return [Link(call.telephony_session_id, key, link.kind, link.session_id) for key, link in named if key]


def copy_view(call: Call, view: CallView) -> None:
    """Copy what events tell. Once a record is there, who called whom and how it went is the record's to say."""
    call.session_id = view.session_id or call.session_id
    call.parties = [party.to_json() for party in view.parties]
    call.answered_at = view.answered_at
    call.queue_name = view.queue_name
    call.internal = view.internal
    kept = {name: said for name, said in call.details.items() if name == RECORDS_END}
    call.details = {
        "ringSeconds": view.ring_seconds,
        "talkSeconds": view.talk_seconds,
        "holdSeconds": view.hold_seconds,
        "answeredBy": view.answered_by,
        "answeredByHuman": view.answered_by_human,
        "recordingIds": list(view.recording_ids),
        "origin": view.origin,
        "from": endpoint_json(view.from_),
        "to": endpoint_json(view.to),
        **kept,
    }
    if call.primary_record_id is None:
        call.direction = view.direction or call.direction
        call.caller = endpoint_json(view.from_) or call.caller
        call.callee = endpoint_json(view.to) or call.callee
        call.external_number = view.external_number or call.external_number
        call.started_at = view.started_at or call.started_at
        is_over = call.stage != Stage.LIVE
        call.outcome = (view.outcome_if_over if is_over else view.outcome).value
        call.has_recording = bool(view.recording_ids)


def judge(ledger: Ledger, call: Call, view: CallView, rules: EndRules) -> None:
    """Bring the stage of a call into line with what events say of its end."""
    verdict = judge_end(view, ledger.now, rules.quiet, rules.handover, rules.stale)
    match verdict:
        case NotACall(reason=reason):
            call.end_check_at = None
            if call.stage in (Stage.LIVE, Stage.ENDED):
                close_absent(ledger, call, reason)
        case Live(recheck_at=recheck_at, why=why):
            is_gone = call.stage == Stage.ENDED and not is_news(call, view)
            may_go_on = call.stage in (Stage.LIVE, Stage.ENDED) and not is_gone
            call.end_check_at = recheck_at if may_go_on else None
            if call.stage == Stage.ENDED and may_go_on:
                _revive(ledger, call, why)
        case EndingAt(check_at=check_at):
            call.end_check_at = check_at
            wake(ledger.db, ENDS)
        case Over(ended_at=ended_at, reason=reason):
            call.end_check_at = None
            end(ledger, call, view, ended_at, reason, rules)


def is_news(call: Call, view: CallView) -> bool:
    """Whether events tell of a time after the moment for which RingCentral said that the call was over, if it did."""
    known_at = call.state_known_at
    return known_at is None or any(party.last_at > known_at for party in view.parties)


def end(ledger: Ledger, call: Call, view: CallView, ended_at: datetime, reason: str, rules: EndRules) -> None:
    """Note that a call is over. Repeating it changes nothing; a later end moves the window."""
    # An end in our future would be the clocks' difference; the window cannot open before it is known.
    ended_at = later_end(call, min(ended_at, ledger.now))
    if call.ended_at == ended_at and call.stage != Stage.LIVE:
        return
    is_later = call.ended_at is None or ended_at > call.ended_at
    call.ended_at = ended_at
    call.window_closes_at = ended_at + timedelta(seconds=rules.window)
    if call.stage in (Stage.LIVE, Stage.ENDED):
        call.read_at = call.window_closes_at
    elif is_later:
        _read_anew(ledger, call, ended_at + timedelta(seconds=rules.first_reading))
    wake(ledger.db, POLLS)
    call.ask_at = None
    if call.stage != Stage.LIVE:
        ledger.change(call, "call.updated", source="webhook", endedAt=time_text(ended_at))
        return
    call.outcome = view.outcome_if_over.value
    call.end_known_at = ledger.now
    call.reads = call.looks = 0
    call.last_missed_at = None
    ledger.move(
        call, Stage.ENDED, "call.ended", reason=reason, endedAt=time_text(ended_at), outcome=call.outcome
    )


def _read_anew(ledger: Ledger, call: Call, at: datetime) -> None:
    """Let the records of a call stand from a reading on that is still to come: what they said before its true end does
    not count, nor does what they still say right after it. A feed may have nothing more to show of it by then."""
    call.record_digest = None
    call.reads = 0
    call.read_at = call.record_unchanged_since = max(ledger.now, at)


def _revive(ledger: Ledger, call: Call, why: str) -> None:
    call.ended_at = call.end_known_at = call.window_closes_at = call.read_at = None
    ledger.move(call, Stage.LIVE, "call.revived", reason=why)


def close_absent(ledger: Ledger, call: Call, reason: str) -> None:
    """Close a call for which no record will come, saying why."""
    call.absent_reason = reason
    call.read_at = call.end_check_at = call.window_closes_at = None
    call.ready("record", "none", ledger.now)
    ledger.move(call, Stage.ABSENT, "call.absent", reason=reason)


def _numbers(view: CallView) -> list[str | None]:
    numbers = [view.from_.phone_number, view.to.phone_number, view.external_number]
    return [number for number in numbers if number]


def _tell_change(ledger: Ledger, call: Call, before: tuple[Any, ...]) -> None:
    if _visible(call) != before:
        ledger.change(call, "call.updated", source="webhook")


def _visible(call: Call) -> tuple[Any, ...]:
    return (
        call.session_id, call.direction, call.internal, call.outcome, call.caller, call.callee, call.external_number,
        call.queue_name, call.started_at, call.answered_at, call.parties, call.details, call.has_recording,
        call.primary_record_id, call.result, call.action, call.duration_seconds,
    )  # fmt: skip
