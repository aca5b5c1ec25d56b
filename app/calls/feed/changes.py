"""The feed: every visible change of an account's calls, once, in the order in which it became true.

Numbers of the timeline are given out under the account's lock, so they are gap-free in commit order: a
change that commits late cannot appear behind a cursor that has already passed. A cursor names the last change that was
read, by its number and its mark (`positions`).
"""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any

import structlog
from sqlalchemy import and_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.api.auth import Key, check_still_valid, watch
from app.api.dependencies import Services
from app.calls import accounts as account_rows
from app.calls.feed.positions import BEGINNING, Place, check, check_row, load_end
from app.calls.model import NO_SESSION
from app.calls.views import Json, time_text
from app.db.tables import calls, timeline
from app.errors import StorageUnavailable
from app.ids import AccountId
from app.work import wakeups

FROM_NOW = "now"
"""As a cursor: what comes from here on."""

LOOK_SECONDS = 1.0
"""How often whoever waits looks by himself; a wake-up is only a hint."""

_BATCH = 200

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ChangeFeed:
    """A piece of the feed; `after` is the place behind which to go on."""

    changes: list[Json]
    after: Place
    has_more: bool


async def read_feed(db: AsyncConnection, account_id: AccountId, after: Place | int, limit: int) -> ChangeFeed:
    """Return the next changes behind a place, at most `limit`. A bare number is a place without a mark.

    Raises HistoryChanged if the place is not of this history.
    """
    place = after if isinstance(after, Place) else Place(after)
    query = (
        select(timeline, calls.c.session_id, calls.c.telephony_session_id)
        .join(calls, and_(calls.c.account_id == timeline.c.account_id, calls.c.call_id == timeline.c.call_id))
        .where(timeline.c.account_id == account_id, timeline.c.seq >= place.seq)
        .order_by(timeline.c.seq)
        .limit(limit + 2)
    )
    # The change at the place itself comes along: one statement tells whether the place is right and what follows.
    rows = list(await db.execute(query))
    if rows and rows[0].seq == place.seq:
        check_row(place, rows.pop(0))
    elif not rows and place.seq:
        await check(db, account_id, place)
    shown = [change_json(row) for row in rows[:limit]]
    return ChangeFeed(shown, Place.behind(rows[len(shown) - 1]) if shown else place, len(rows) > limit)


def change_json(row: Any) -> Json:
    """Show one change of the feed."""
    is_nameless = row.telephony_session_id.startswith(NO_SESSION)
    return {
        "cursor": str(Place.behind(row)),
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


async def read_place(db: AsyncConnection, account_id: AccountId, cursor: str | None) -> Place:
    """Return the place that a cursor of the feed names: none is the beginning, `now` the present end.

    Raises BadInput for one that is none of ours, and HistoryChanged for one of another account, or from before a
    database was put back: to go on from there would skip changes silently.
    """
    if cursor is None:
        return BEGINNING
    if cursor == FROM_NOW:
        return await load_end(db, account_id)
    place = Place.parse(cursor)
    await check(db, account_id, place)
    return place


async def read_call_events(
    db: AsyncConnection, account_id: AccountId, call_id: str, after: Place, limit: int
) -> ChangeFeed:
    """Return what happened to one call, behind a place of the account's timeline."""
    query = (
        select(timeline)
        .where(timeline.c.account_id == account_id, timeline.c.call_id == call_id, timeline.c.seq > after.seq)
        .order_by(timeline.c.seq)
        .limit(limit + 1)
    )
    rows = (await db.execute(query)).all()
    shown = [event_json(row) for row in rows[:limit]]
    return ChangeFeed(shown, Place.behind(rows[len(shown) - 1]) if shown else after, len(rows) > limit)


async def wait_for_changes(
    services: Services,
    owner: AccountId,
    after: Place,
    *,
    limit: int,
    seconds: float,
    key: Key | None = None,
) -> ChangeFeed:
    """Return the next changes, at once when there are some, else within `seconds`, then possibly none.

    No transaction is open while it waits. Ends early when the process stops.

    Raises HistoryChanged when the database was put back, Unauthenticated when the key was revoked, meanwhile.
    """
    until = services.clock.monotonic() + seconds
    with services.wakeups.listen(wakeups.TIMELINE, wakeups.KEYS) as woken, watch(services, key):
        while True:
            async with services.database.read() as db:
                account_id = await account_rows.resolve(db, owner)
                feed = await read_feed(db, account_id, after, limit)
            left = until - services.clock.monotonic()
            if feed.changes or left <= 0 or services.stopping.is_set():
                return feed
            await wakeups.wait(woken, min(left, LOOK_SECONDS))
            await check_still_valid(services, key)


async def follow(
    services: Services, owner: AccountId, after: Place | int, key: Key | None = None
) -> AsyncGenerator[Json]:
    """Yield every change behind a place, in order, as it becomes true; until the process stops.

    `owner` may be `~`: what that is bound to is looked up each time. Reads ahead by no more than one batch,
    whatever the pace of the reader. While the database is away it waits and goes on where it was.

    Raises HistoryChanged when the database was put back, Unauthenticated when the key was revoked, meanwhile.
    """
    place = after if isinstance(after, Place) else Place(after)
    with services.wakeups.listen(wakeups.TIMELINE, wakeups.KEYS) as woken, watch(services, key):
        while not services.stopping.is_set():
            await check_still_valid(services, key)
            feed = await _next_batch(services, owner, place)
            for change in feed.changes:
                yield change
            place = feed.after
            if not feed.has_more:
                await wakeups.wait(woken, LOOK_SECONDS)


async def _next_batch(services: Services, owner: AccountId, after: Place) -> ChangeFeed:
    try:
        async with services.database.read() as db:
            account_id = await account_rows.resolve(db, owner)
            return await read_feed(db, account_id, after, _BATCH)
    except StorageUnavailable as error:
        log.debug("a reader of the feed waits for the database", error=str(error))
        return ChangeFeed([], after, has_more=False)
