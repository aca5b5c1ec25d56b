"""Reads the feed: every visible change of an account's calls, once, in commit order.

The numbers of the timeline are assigned under the account's lock, so they have no gaps and follow the order
of commits: a change that commits late cannot appear before a cursor that has passed. A cursor names the last
change that was read, by its number and its mark (`positions`).
"""

from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from sqlalchemy import and_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.api.auth import Key, check_still_valid, watch
from app.api.dependencies import Services
from app.calls import accounts as account_rows
from app.calls.feed.positions import BEGINNING, Position, check, check_row, load_end
from app.calls.model import NO_SESSION
from app.db.tables import calls, timeline
from app.errors import StorageUnavailable
from app.ids import AccountId
from app.values.times import time_text
from app.work import wakeups

FROM_NOW = "now"
"""The cursor of the current end of the feed."""

POLL_SECONDS = 1.0
"""How often a waiting request queries without a wake-up, which is only a hint."""

_BATCH = 200

Json = dict[str, Any]

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ChangeFeed:
    """A part of the feed. `after`: the position to continue from."""

    changes: list[Json]
    after: Position
    has_more: bool


async def read_feed(db: AsyncConnection, account_id: AccountId, after: Position, limit: int) -> ChangeFeed:
    """Return the next changes after a position, at most `limit`.

    Raises HistoryChanged if the position is not in this history.
    """
    query = (
        select(timeline, calls.c.session_id, calls.c.telephony_session_id)
        .join(calls, and_(calls.c.account_id == timeline.c.account_id, calls.c.call_id == timeline.c.call_id))
        .where(timeline.c.account_id == account_id, timeline.c.seq >= after.seq)
        .order_by(timeline.c.seq)
        .limit(limit + 2)
    )
    # The change at the position itself is read too: one statement checks the position and returns what
    # follows.
    rows = list(await db.execute(query))
    if rows and rows[0].seq == after.seq:
        check_row(after, rows.pop(0))
    elif not rows and after.seq:
        await check(db, account_id, after)
    return _part(rows, change_json, after, limit)


def _part(rows: Sequence[Any], show: Callable[[Any], Json], after: Position, limit: int) -> ChangeFeed:
    """Return the first `limit` rows; one more row than that shows that there are more."""
    shown = rows[:limit]
    end = Position.after(shown[-1]) if shown else after
    return ChangeFeed([show(row) for row in shown], end, has_more=len(rows) > limit)


def change_json(row: Any) -> Json:
    """Return one change as the feed shows it."""
    is_nameless = row.telephony_session_id.startswith(NO_SESSION)
    return {
        "cursor": str(Position.after(row)),
        **event_json(row),
        "callId": row.call_id,
        "sessionId": row.session_id,
        "telephonySessionId": None if is_nameless else row.telephony_session_id,
    }


def event_json(row: Any) -> Json:
    """Return a row of `timeline` as the API shows it."""
    return {
        "seq": row.seq,
        "type": row.type,
        "version": row.version,
        "at": time_text(row.at),
        "data": row.data,
    }


async def resolve_cursor(db: AsyncConnection, account_id: AccountId, cursor: str | None) -> Position:
    """Return the position that a cursor of the feed names; None is the start, `now` the current end.

    Raises BadInput for an invalid cursor, and HistoryChanged for one of another account or of a database
    before its restore, which would silently skip changes.
    """
    if cursor is None:
        return BEGINNING
    if cursor == FROM_NOW:
        return await load_end(db, account_id)
    position = Position.parse(cursor)
    await check(db, account_id, position)
    return position


async def read_call_events(
    db: AsyncConnection, account_id: AccountId, call_id: str, after: Position, limit: int
) -> ChangeFeed:
    """Return the changes of one call after a position of the account's timeline."""
    query = (
        select(timeline)
        .where(timeline.c.account_id == account_id, timeline.c.call_id == call_id, timeline.c.seq > after.seq)
        .order_by(timeline.c.seq)
        .limit(limit + 1)
    )
    rows = (await db.execute(query)).all()
    return _part(rows, event_json, after, limit)


async def wait_for_changes(
    services: Services,
    owner: AccountId,
    after: Position,
    *,
    limit: int,
    seconds: float,
    key: Key | None = None,
) -> ChangeFeed:
    """Return the next changes: at once if there are any, otherwise within `seconds`, and then possibly none.

    No transaction is open while it waits. It ends early when the process stops.

    Raises HistoryChanged if the database was restored meanwhile, Unauthenticated if the key was revoked.
    """
    until = services.clock.monotonic() + seconds
    # Listens before it queries, so that a change in between is not missed.
    with services.wakeups.listen(wakeups.TIMELINE, wakeups.KEYS) as woken, watch(services, key):
        while True:
            async with services.database.read() as db:
                account_id = await account_rows.resolve(db, owner)
                feed = await read_feed(db, account_id, after, limit)
            left = until - services.clock.monotonic()
            if feed.changes or left <= 0 or services.stopping.is_set():
                return feed
            await wakeups.wait(woken, min(left, POLL_SECONDS))
            await check_still_valid(services, key)


async def follow(
    services: Services, owner: AccountId, after: Position, key: Key | None = None
) -> AsyncGenerator[Json]:
    """Yield every change after a position, in order, as it is committed, until the process stops.

    `owner` may be `~`, which is resolved for each batch. At most one batch is read ahead, however slow the
    reader is. While the database is not available, it waits and then continues.

    Raises HistoryChanged if the database was restored meanwhile, Unauthenticated if the key was revoked.
    """
    with services.wakeups.listen(wakeups.TIMELINE, wakeups.KEYS) as woken, watch(services, key):
        while not services.stopping.is_set():
            await check_still_valid(services, key)
            feed = await _next_batch(services, owner, after)
            # Outside of the transaction: a slow client may take as long as it likes for each change.
            for change in feed.changes:
                yield change
            after = feed.after
            if not feed.has_more:
                await wakeups.wait(woken, POLL_SECONDS)


async def _next_batch(services: Services, owner: AccountId, after: Position) -> ChangeFeed:
    try:
        async with services.database.read() as db:
            account_id = await account_rows.resolve(db, owner)
            return await read_feed(db, account_id, after, _BATCH)
    except StorageUnavailable as error:
        log.debug("feed waits for the database", error=str(error))
        return ChangeFeed([], after, has_more=False)
