"""Writes what became of attempts. Results that come together share one transaction, whatever their endpoint.

A result is written after the response came and before the next message of the call is sent. A crash in
between leaves the message due, so it is sent again: at least once, never skipped.
"""

import asyncio
import random
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, Update, bindparam, case, delete, exists, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app import metrics
from app.clock import Clock
from app.db.engine import Database, after_commit, wake
from app.db.lists import insert_rows, is_one_of, update_rows
from app.db.tables import webhook_attempts, webhook_endpoints, webhook_messages
from app.ids import AccountId, new_id
from app.push.endpoints import store
from app.push.endpoints.model import Condition, EndpointKey
from app.push.sending.disabling import tell_disabled
from app.push.sending.retry_plan import Answer, Outcome, condition_after, ends_failure, soonest_attempt
from app.push.sending.turns import Message
from app.push.sending.waiting import bring_forward
from app.work import wakeups

_MOST = 500
_E = webhook_endpoints.c
_M = webhook_messages.c
_OWN = (_M.account_id == bindparam("of_account")) & (_M.endpoint_id == bindparam("of_endpoint"))
_SINGLE = _OWN & (_M.seq == bindparam("of_seq")) & (_M.kind == bindparam("of_kind"))


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a message. `answer`: None if it is not sent, because its change is not stored any more.

    `next_at`: when it is tried again; None: not.
    """

    message: Message
    answer: Answer | None
    started_at: datetime
    seconds: float = 0.0
    next_at: datetime | None = None

    @property
    def key(self) -> EndpointKey:
        return self.message.key


@dataclass(frozen=True, slots=True)
class Release:
    """The end of a turn: the endpoint is free for any replica."""

    key: EndpointKey


class Outcomes:
    """Collects results and writes them in groups. Belongs to one event loop.

    `luck` returns random numbers from 0 to 1, for the jitter of pauses.
    """

    def __init__(
        self, database: Database, clock: Clock, replica: str, luck: Callable[[], float] = random.random
    ) -> None:
        self._database = database
        self._clock = clock
        self._replica = replica
        self._luck = luck
        self._waiting: list[tuple[Result | Release, asyncio.Future[bool]]] = []
        self._writer: asyncio.Task[None] | None = None

    async def record(self, outcome: Result | Release) -> bool:
        """Return once the outcome is committed: of a release, whether messages of the endpoint are left.

        Raises StorageUnavailable.
        """
        written: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append((outcome, written))
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write_waiting(), name="webhook outcomes")
        return await written

    async def _write_waiting(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[:_MOST], self._waiting[_MOST:]
            error: Exception | None = None
            left: Collection[EndpointKey] = ()
            try:
                async with self._database.write() as db:
                    outcomes = [outcome for outcome, _ in batch]
                    left = await write_outcomes(db, self._replica, outcomes, self._clock.now(), self._luck())
            except Exception as raised:  # noqa: BLE001 - those who wait raise it
                error = raised
            for outcome, written in batch:
                if written.done():
                    continue
                if error is None:
                    written.set_result(outcome.key in left)
                else:
                    written.set_exception(error)


async def write_outcomes(
    db: AsyncConnection,
    replica: str,
    outcomes: Sequence[Result | Release],
    now: datetime,
    luck: float = 0.0,
) -> set[EndpointKey]:
    """Write results in their order, then give endpoints back; return those that have messages left.

    Of an endpoint that another replica has taken meanwhile, only what was delivered counts.
    """
    results: dict[EndpointKey, list[Result]] = defaultdict(list)
    released = set()
    for outcome in outcomes:
        if isinstance(outcome, Result):
            results[outcome.key].append(outcome)
        else:
            released.add(outcome.key)
    known = await _lock(db, {*results, *released})
    held = {key for key, (_, owner) in known.items() if owner == replica}
    counted = [one for key in results if key in known for one in results[key]]
    await insert_rows(
        db, webhook_attempts, [attempt_row(one, now) for one in counted if one.answer is not None]
    )
    changes = {
        key: _changes_of(known[key][0], [one for one in results.get(key, ()) if one.answer], now, luck)
        for key in held
    }
    soonest = {id(result): at for change in changes.values() for result, at in change.soonest}
    await _settle_messages(db, [one for one in counted if one.key in held or _is_over(one)], soonest)
    await _write_conditions(db, changes, released & held, now)
    left = await _find_left(db, released & held)
    if left:
        # Another replica may have looked while this one held the endpoints.
        wake(db, wakeups.PUSH)
    after_commit(db, lambda: _count(counted, now))
    return left


@dataclass(frozen=True, slots=True)
class _Change:
    """What results change about an endpoint.

    `soonest`: how early each of its failed messages may be due; `ends_failure`: whether they become so.
    """

    before: Condition
    after: Condition
    is_tried: bool
    ends_failure: bool
    soonest: list[tuple[Result, datetime]]


def _changes_of(before: Condition, results: Sequence[Result], now: datetime, luck: float) -> _Change:
    condition, soonest = before, []
    for result in results:
        assert result.answer is not None  # noqa: S101 - the caller has chosen them
        condition = condition_after(condition, [result.answer], now, luck)
        if result.next_at is not None and condition.failing_since is not None:
            made = result.message.attempts + 1
            at = soonest_attempt(result.answer, made, now, result.next_at, condition.failing_since)
            soonest.append((result, at))
    answers = [one.answer for one in results if one.answer is not None]
    return _Change(before, condition, bool(answers), ends_failure(before, answers), soonest)


def _is_over(result: Result) -> bool:
    return result.answer is None or result.answer.is_success


async def _lock(
    db: AsyncConnection, keys: set[EndpointKey]
) -> dict[EndpointKey, tuple[Condition, str | None]]:
    """Lock these endpoints in the order in which spreading locks them; return how they are doing."""
    query = (
        select(*store.COLUMNS)
        .where(
            is_one_of(_E.account_id, {key.account_id for key in keys}),
            is_one_of(_E.endpoint_id, {key.endpoint_id for key in keys}),
        )
        .order_by(_E.account_id, _E.endpoint_id)
        .with_for_update(key_share=True)
    )
    return {
        EndpointKey(AccountId(row.account_id), row.endpoint_id): (store.read_condition(row), row.lease_owner)
        for row in await db.execute(query)
    }


async def _find_left(db: AsyncConnection, freed: set[EndpointKey]) -> set[EndpointKey]:
    """Return those of the endpoints that have messages, due or not: the clocks of replicas differ.

    Spreading stores the messages of changes under the lock that is held here, so it is none of those that
    commits between this look and the release.
    """
    if not freed:
        return set()
    query = select(_E.account_id, _E.endpoint_id).where(
        is_one_of(_E.account_id, {key.account_id for key in freed}),
        is_one_of(_E.endpoint_id, {key.endpoint_id for key in freed}),
        exists().where(_M.account_id == _E.account_id, _M.endpoint_id == _E.endpoint_id),
    )
    return {EndpointKey(AccountId(row.account_id), row.endpoint_id) for row in await db.execute(query)}


def attempt_row(result: Result, now: datetime) -> dict[str, Any]:
    """Return the row of an attempt that was made."""
    message, answer = result.message, result.answer
    assert answer is not None  # noqa: S101 - only attempts that were made are stored
    return {
        "account_id": message.key.account_id,
        "attempt_id": new_id("att", now),
        "endpoint_id": message.key.endpoint_id,
        "seq": message.seq,
        "kind": message.kind.value,
        "message_id": message.message_id,
        "call_id": message.call_id,
        "type": message.type,
        "number": message.attempts + 1,
        "outcome": (Outcome.DELIVERED if answer.is_success else Outcome.FAILED).value,
        "status": answer.status,
        "error": answer.error,
        "seconds": round(result.seconds, 3),
        "started_at": result.started_at,
        "next_at": result.next_at,
    }


async def _settle_messages(
    db: AsyncConnection, results: Iterable[Result], soonest: dict[int, datetime]
) -> None:
    """Delete the messages that need no further attempt, and date the others."""
    over, again, later = [], [], []
    for result in results:
        message = result.message
        row = {
            "of_account": message.key.account_id,
            "of_endpoint": message.key.endpoint_id,
            "of_seq": message.seq,
            "of_kind": message.kind.value,
        }
        if result.next_at is None:
            over.append(row)
            continue
        again.append({**row, "made": message.attempts + 1})
        where = {name: row[name] for name in ("of_account", "of_endpoint")}
        dates = {"next_at": result.next_at, "early_at": soonest[id(result)]}
        later.append({**where, **dates, "of_call": message.call_id, "from_seq": message.seq})
    if over:
        await db.execute(delete(webhook_messages).where(_SINGLE), over)
    if again:
        await db.execute(update(webhook_messages).where(_SINGLE).values(attempts=bindparam("made")), again)
        await db.execute(_postponed(), later)


def _postponed() -> Update:
    """The statement that dates a message and the later changes of its call, which wait for it."""
    next_at, early_at = (bindparam(name, type_=_M.due_at.type) for name in ("next_at", "early_at"))
    of_call = _OWN & (_M.call_id == bindparam("of_call")) & (_M.seq >= bindparam("from_seq"))
    known_early_at = func.coalesce(_M.soonest_at, _M.due_at)
    return (
        update(webhook_messages)
        .where(of_call, or_(_M.due_at < next_at, known_early_at < early_at))
        .values(
            due_at=case((_M.due_at < next_at, next_at), else_=_M.due_at),
            soonest_at=case((known_early_at < early_at, early_at), else_=known_early_at),
        )
    )


async def _write_conditions(
    db: AsyncConnection, changes: dict[EndpointKey, _Change], released: set[EndpointKey], now: datetime
) -> None:
    changed, freed = [], []
    for key, change in changes.items():
        after = change.after
        row = {"account_id": key.account_id, "endpoint_id": key.endpoint_id, **store.condition_row(after)}
        if key in released:
            freed.append({**row, "lease_owner": None, "lease_until": None})
        elif change.is_tried:
            changed.append(row)
        if change.ends_failure:
            await bring_forward(db, key, now)
        if after.disabled_at != change.before.disabled_at:
            await tell_disabled(db, key, after, now)
    for rows in (changed, freed):
        await update_rows(db, webhook_endpoints, ("account_id", "endpoint_id"), rows)


async def record_test(db: AsyncConnection, result: Result, now: datetime) -> Row[Any]:
    """Store what became of a test message; return its row. A success ends a failure of the endpoint.

    Raises NotFound if the endpoint was deleted meanwhile.
    """
    # Locked, so that the row exists when the attempt is stored.
    endpoint = await store.load_endpoint(db, result.key, lock=True)
    if result.answer is not None and result.answer.is_success:
        after = condition_after(endpoint.condition, [result.answer], now)
        await store.change_endpoint(db, result.key, **store.condition_row(after))
        await bring_forward(db, result.key, now)
    stored = insert(webhook_attempts).values(attempt_row(result, now)).returning(webhook_attempts)
    row: Row[Any] = (await db.execute(stored)).one()
    return row


def _count(results: Iterable[Result], now: datetime) -> None:
    for result in results:
        message, answer = result.message, result.answer
        if answer is None:
            metrics.WEBHOOK_ATTEMPTS.labels(outcome="dropped").inc()
            continue
        outcome = "delivered" if answer.is_success else "failed" if result.next_at else "given-up"
        metrics.WEBHOOK_ATTEMPTS.labels(outcome=outcome).inc()
        if answer.is_success and not message.attempts:
            metrics.WEBHOOK_SECONDS.observe(max(0.0, (now - message.created_at).total_seconds()))
