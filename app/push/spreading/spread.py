"""Turns the timeline of an account into messages for its endpoints.

One transaction locks the endpoints that are behind, reads the next changes once for all of them, stores the
messages and moves the positions. So whatever commits late or crashes, no change is skipped, and any number of
replicas may do this at the same time: they wait for each other's locks and continue after what was done.

The numbers of the timeline are assigned under the account's lock, so all changes up to the account's last
number are committed and visible here.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, exists, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.calls.feed.changes import FeedEntry, load_changes, read_feed
from app.calls.feed.positions import Position, load_last_number
from app.db.engine import wake
from app.db.lists import update_rows
from app.db.tables import accounts, calls, webhook_endpoints, webhook_waits
from app.ids import AccountId
from app.push.endpoints import store
from app.push.endpoints.matching import CallTraits
from app.push.endpoints.model import Deliver, Endpoint
from app.push.payloads.rendering import COMPLETE
from app.push.spreading import rows
from app.push.spreading.plan import (
    Due,
    Kind,
    ReadChange,
    Wait,
    choose_changes,
    choose_groups,
    due_of,
    judge_wait,
    last_of_calls,
    next_position,
    undelivered,
)
from app.work import wakeups
from app.work.lookout import is_past

BATCH = 200
"""Changes that are read at a time."""

MOST_PENDING = 2_000
"""Messages that wait for one endpoint. Further changes wait in the timeline."""

_E = webhook_endpoints.c
_W = webhook_waits.c
_IS_ENABLED = _E.disabled_at.is_(None)
_BEHIND = or_(_E.position_seq < accounts.c.timeline_seq, _E.recover_until.is_not(None))

ANY_BEHIND: ColumnElement[bool] = or_(
    exists().where(accounts.c.account_id == _E.account_id, _IS_ENABLED, _BEHIND), is_past(_W.due_at)
)
"""The condition that an endpoint has changes to receive, or a call that is to be sent, for the lookout."""


async def find_behind(db: AsyncConnection, now: datetime) -> list[AccountId]:
    """Return the accounts with an endpoint that has changes to receive, or a call that is to be sent."""
    mine = and_(accounts.c.account_id == _E.account_id, _IS_ENABLED)
    query = select(_E.account_id).join(accounts, mine).where(_BEHIND).distinct()
    own = and_(_W.account_id == _E.account_id, _W.endpoint_id == _E.endpoint_id, _IS_ENABLED)
    waiting = select(_W.account_id).join(webhook_endpoints, own).where(_W.due_at <= now).distinct()
    found = {*await db.scalars(query), *await db.scalars(waiting)}
    return [AccountId(one) for one in sorted(found)]


async def spread(db: AsyncConnection, account_id: AccountId, now: datetime) -> bool:
    """Make the messages of the next changes of an account; return whether there may be more."""
    query = select(accounts.c.timeline_floor).where(accounts.c.account_id == account_id)
    floor = int(await db.scalar(query) or 0)
    end = await load_last_number(db, account_id)
    behind = or_(_E.position_seq < end, _E.recover_until.is_not(None))
    locked = (
        select(*store.COLUMNS)
        .where(_E.account_id == account_id, _IS_ENABLED, behind)
        .order_by(_E.endpoint_id)
        .with_for_update(key_share=True)
    )
    endpoints = [store.read_row(row) for row in await db.execute(locked)]
    full = await _find_full(db, account_id, endpoints)
    free = [one for one in endpoints if one.key.endpoint_id not in full]
    spreading = _Spreading(db, account_id, now, floor, end)
    has_more = False
    for group in choose_groups([one for one in free if one.position < end], BATCH):
        has_more |= await spreading.advance(group)
    for endpoint in free:
        if endpoint.recovery is not None:
            has_more |= await spreading.recover(endpoint)
    await spreading.send_overdue()
    await spreading.save()
    return has_more


async def _find_full(db: AsyncConnection, account_id: AccountId, endpoints: Sequence[Endpoint]) -> set[str]:
    counts = await rows.count_pending(db, account_id, [one.key.endpoint_id for one in endpoints])
    return {endpoint_id for endpoint_id, number in counts.items() if number >= MOST_PENDING}


class _Spreading:
    """One transaction of `spread`, and what it is going to write."""

    def __init__(
        self, db: AsyncConnection, account_id: AccountId, now: datetime, floor: int, end: int
    ) -> None:
        self._db = db
        self._account_id = account_id
        self._now = now
        self._floor = floor
        self._end = end
        self._messages: list[dict[str, Any]] = []
        self._latest: list[dict[str, Any]] = []
        self._positions: list[dict[str, Any]] = []

    async def advance(self, group: Sequence[Endpoint]) -> bool:
        """Make the messages of the next changes for endpoints whose positions are close together."""
        start = max(self._floor, min(one.position for one in group))
        read, read_to, has_more = await self._read(start)
        call_ids = {one.call_id for one in read}
        traits = await rows.load_traits(self._db, self._account_id, call_ids)
        pending = await rows.load_pending(self._db, self._account_id, call_ids)
        for endpoint in group:
            fresh = [one for one in read if one.seq > endpoint.position]
            if endpoint.rules.deliver is Deliver.ONCE:
                await self._wait_for_calls(endpoint, fresh, traits)
            else:
                chosen = choose_changes(endpoint.rules, fresh, traits, endpoint.created_by)
                self._add_changes(endpoint, chosen, pending)
        self._positions += [
            {
                "account_id": self._account_id,
                "endpoint_id": one.key.endpoint_id,
                "position_seq": next_position(one, read_to),
            }
            for one in group
        ]
        return has_more

    async def recover(self, endpoint: Endpoint) -> bool:
        """Make messages of the next changes in the range that an endpoint receives again."""
        assert endpoint.recovery is not None  # noqa: S101 - the caller has looked
        start, until, sends_all = endpoint.recovery
        start = max(self._floor, start)
        read, read_to, has_more = await self._read(start)
        read = [one for one in read if one.seq <= until]
        if not sends_all and read:
            key = endpoint.key
            done = await rows.load_delivered(self._db, key.account_id, key.endpoint_id, start, until)
            read = undelivered(read, done)
        if endpoint.rules.deliver is Deliver.ONCE:
            await self._repeat_calls(endpoint, read)
        else:
            traits = await rows.load_traits(self._db, self._account_id, {one.call_id for one in read})
            chosen = choose_changes(endpoint.rules, read, traits, endpoint.created_by)
            self._add_changes(endpoint, chosen, {})
        is_done = read_to >= until or not has_more
        left = {"recover_seq": None, "recover_until": None} if is_done else {"recover_seq": read_to}
        await store.change_endpoint(self._db, endpoint.key, **left)
        return not is_done

    async def send_overdue(self) -> None:
        """Send the calls whose longest wait is over, though they are not complete."""
        own = and_(_W.account_id == _E.account_id, _W.endpoint_id == _E.endpoint_id, _IS_ENABLED)
        of_call = and_(calls.c.account_id == _W.account_id, calls.c.call_id == _W.call_id)
        query = (
            select(_W.endpoint_id, _E.rules, _W.due_at, _W.seq, *rows.TRAITS)
            .join(webhook_endpoints, own)
            .join(calls, of_call)
            .where(_W.account_id == self._account_id, _W.due_at <= self._now)
            .order_by(_W.due_at)
            .limit(BATCH)
        )
        overdue = (await self._db.execute(query)).all()
        last = await load_changes(self._db, self._account_id, [row.changed_seq for row in overdue])
        waits = []
        for row in overdue:
            rules = store.read_rules(row.rules)
            judged = judge_wait(rules, rows.read_traits(row), Wait(row.due_at), self._now)
            entry = last.get(row.changed_seq)
            change = None if entry is None else _change_of(entry)
            if judged is None or change is None:
                # Its last change is not kept any more.
                judged = Wait()
            waits.append(self._settle(row.endpoint_id, row.call_id, judged, change))
        await rows.save_waits(self._db, self._account_id, waits)

    async def save(self) -> None:
        """Write everything that was made, and wake the senders."""
        await rows.supersede(self._db, self._latest)
        await rows.save_messages(self._db, self._messages)
        await update_rows(self._db, webhook_endpoints, ("account_id", "endpoint_id"), self._positions)
        if self._messages:
            wake(self._db, wakeups.PUSH)

    async def _read(self, start: int) -> tuple[list[ReadChange], int, bool]:
        """Return the next changes, the number of the last one that was passed, and whether there are more."""
        feed = await read_feed(self._db, self._account_id, Position(start), BATCH)
        # The last changes may have been deleted with their calls: their numbers are passed as well.
        read_to = feed.after.seq if feed.has_more else max(feed.after.seq, self._end)
        return [_change_of(entry) for entry in feed.changes], read_to, feed.has_more

    def _add_changes(
        self, endpoint: Endpoint, chosen: Sequence[ReadChange], pending: dict[tuple[str, str], Due]
    ) -> None:
        replaces = endpoint.rules.deliver is Deliver.LATEST
        for change in chosen:
            # A change waits for the earlier ones of its call, unless it replaces them.
            earlier = None if replaces else pending.get((endpoint.key.endpoint_id, change.call_id))
            self._add(endpoint.key.endpoint_id, change, Kind.CHANGE, due_of(earlier, self._now))
            if replaces:
                self._latest.append(self._messages[-1])

    def _add(self, endpoint_id: str, change: ReadChange, kind: Kind, due: Due) -> None:
        type_ = COMPLETE if kind is Kind.COMPLETE else change.type
        row = rows.message_row(self._account_id, endpoint_id, change, kind, type_, due)
        self._messages.append(row)

    async def _wait_for_calls(
        self, endpoint: Endpoint, fresh: Sequence[ReadChange], traits: dict[str, CallTraits]
    ) -> None:
        last = last_of_calls(fresh)
        known = await rows.load_waits(self._db, self._account_id, last.keys())
        endpoint_id, waits = endpoint.key.endpoint_id, []
        for call_id, change in last.items():
            if call_id not in traits:
                continue
            before = known.get((endpoint_id, call_id))
            judged = judge_wait(endpoint.rules, traits[call_id], before, self._now)
            if judged is not None:
                waits.append(self._settle(endpoint_id, call_id, judged, change))
        await rows.save_waits(self._db, self._account_id, waits)

    def _settle(
        self, endpoint_id: str, call_id: str, judged: Wait, change: ReadChange | None
    ) -> tuple[str, str, Wait]:
        """Send a call whose wait is over; return what to store."""
        if change is None or judged.due_at is None or judged.due_at > self._now:
            return endpoint_id, call_id, judged
        self._add(endpoint_id, change, Kind.COMPLETE, Due(self._now))
        return endpoint_id, call_id, replace(judged, due_at=None, seq=change.seq)

    async def _repeat_calls(self, endpoint: Endpoint, read: Sequence[ReadChange]) -> None:
        """Send calls again that were sent with one of these changes."""
        last = last_of_calls(read)
        known = await rows.load_waits(self._db, self._account_id, last.keys())
        for change in read:
            wait = known.get((endpoint.key.endpoint_id, change.call_id))
            if wait is not None and wait.seq == change.seq:
                self._add(endpoint.key.endpoint_id, change, Kind.COMPLETE, Due(self._now))


def _change_of(entry: FeedEntry) -> ReadChange:
    return ReadChange(entry.seq, str(entry.position), entry.shown)
