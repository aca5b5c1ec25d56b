"""The feed: every visible change of an account's calls, once, in the order in which it became true.

Numbers of the timeline are given out under the account's lock, so they are gap-free in commit order: a
change that commits late cannot appear behind a cursor that has already passed. A cursor is the number of
the last change that was read.
"""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any

import structlog
from sqlalchemy import and_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.calls import accounts as account_rows
from app.calls.model import NO_SESSION
from app.calls.views import Json, time_text
from app.db.tables import accounts, calls, timeline
from app.dependencies import Services
from app.errors import BadInput, StorageUnavailable
from app.ids import AccountId
from app.work import wakeups

FROM_NOW = "now"
"""As a cursor: what comes from here on."""

LOOK_SECONDS = 1.0
"""How often whoever waits looks by himself; a wake-up is only a hint."""

_BATCH = 200
_LONGEST_CURSOR = 19

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Feed:
    """A piece of the feed; `after` is the number behind which to go on."""

    changes: list[Json]
    after: int
    has_more: bool


async def read_feed(db: AsyncConnection, account_id: AccountId, after: int, limit: int) -> Feed:
    """Return the next changes behind a number, at most `limit`."""
    query = (
        select(timeline, calls.c.session_id, calls.c.telephony_session_id)
        .join(calls, and_(calls.c.account_id == timeline.c.account_id, calls.c.call_id == timeline.c.call_id))
        .where(timeline.c.account_id == account_id, timeline.c.seq > after)
        .order_by(timeline.c.seq)
        .limit(limit + 1)
    )
    rows = (await db.execute(query)).all()
    shown = [change_json(row) for row in rows[:limit]]
    return Feed(shown, shown[-1]["seq"] if shown else after, len(rows) > limit)


def change_json(row: Any) -> Json:
    """Show one change of the feed."""
    is_nameless = row.telephony_session_id.startswith(NO_SESSION)
    return {
        "cursor": str(row.seq),
        **event_json(row),
        "callId": row.call_id,
        "sessionId": row.session_id,
        "telephonySessionId": None if is_nameless else row.telephony_session_id,
    }


def event_json(row: Any) -> Json:
    """Show a row of `timeline`."""
    return {
        "seq": row.seq,
        "type": row.type,
        "version": row.version,
        "at": time_text(row.at),
        "data": row.data,
    }


async def read_place(db: AsyncConnection, account_id: AccountId, cursor: str | None) -> int:
    """Return the number that a cursor of the feed names: none is the beginning, `now` the present end.

    Raises BadInput for one that is none of ours. That includes one ahead of the feed: it comes from another
    account or from before a database was put back, and waiting for it would skip changes silently.
    """
    if cursor is None:
        return 0
    query = select(accounts.c.timeline_seq).where(accounts.c.account_id == account_id)
    last = int(await db.scalar(query) or 0)
    if cursor == FROM_NOW:
        return last
    if not (cursor.isascii() and cursor.isdecimal() and len(cursor) <= _LONGEST_CURSOR):
        raise BadInput("The cursor is not one of ours; start again without it", parameter="cursor")
    if int(cursor) > last:
        raise BadInput(
            f"The cursor is ahead of this feed, which ends at {last}; it belongs to another account or to an "
            "earlier database. Start again without it",
            parameter="cursor",
        )
    return int(cursor)


async def read_call_events(
    db: AsyncConnection, account_id: AccountId, call_id: str, after: int, limit: int
) -> Feed:
    """Return what happened to one call, behind a number of the account's timeline."""
    query = (
        select(timeline)
        .where(timeline.c.account_id == account_id, timeline.c.call_id == call_id, timeline.c.seq > after)
        .order_by(timeline.c.seq)
        .limit(limit + 1)
    )
    rows = (await db.execute(query)).all()
    shown = [event_json(row) for row in rows[:limit]]
    return Feed(shown, shown[-1]["seq"] if shown else after, len(rows) > limit)


async def wait_for_changes(
    services: Services, owner: AccountId, after: int, *, limit: int, seconds: float
) -> Feed:
    """Return the next changes, at once when there are some, else within `seconds`, then possibly none.

    No transaction is open while it waits. Ends early when the process stops.
    """
    until = services.clock.monotonic() + seconds
    with services.wakeups.listen(wakeups.TIMELINE) as woken:
        while True:
            async with services.database.read() as db:
                account_id = await account_rows.resolve(db, owner)
                feed = await read_feed(db, account_id, after, limit)
            left = until - services.clock.monotonic()
            if feed.changes or left <= 0 or services.stopping.is_set():
                return feed
            await wakeups.wait(woken, min(left, LOOK_SECONDS))


async def follow(services: Services, owner: AccountId, after: int) -> AsyncGenerator[Json]:
    """Yield every change behind a number, in order, as it becomes true; until the process stops.

    `owner` may be `~`: what that is bound to is looked up each time. Reads ahead by no more than one batch,
    whatever the pace of the reader. While the database is away it waits and goes on where it was.
    """
    with services.wakeups.listen(wakeups.TIMELINE) as woken:
        while not services.stopping.is_set():
            feed = await _next_batch(services, owner, after)
            for change in feed.changes:
                yield change
            after = feed.after
            if not feed.has_more:
                await wakeups.wait(woken, LOOK_SECONDS)


async def _next_batch(services: Services, owner: AccountId, after: int) -> Feed:
    try:
        async with services.database.read() as db:
            account_id = await account_rows.resolve(db, owner)
            return await read_feed(db, account_id, after, _BATCH)
    except StorageUnavailable as error:
        log.warning("a reader of the feed waits for the database", error=str(error))
        return Feed([], after, has_more=False)
