"""Waits for changes and follows the feed, without a database connection of its own for each follower."""

import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import Annotated

import structlog
from fastapi import Depends, Request
from sqlalchemy.ext.asyncio import AsyncConnection

from app.api.auth import Key, check_still_valid, watch
from app.calls import accounts
from app.calls.feed.account_feed import AccountFeed
from app.calls.feed.changes import FROM_NOW, ChangeFeed, FeedEntry, read_feed, read_parts, resolve_cursor
from app.calls.feed.feeds import CHECK_SECONDS, Feeds
from app.calls.feed.positions import Position
from app.calls.feed.selection import EVERYTHING, Selection
from app.errors import HistoryChanged, StorageUnavailable
from app.ids import UNBOUND_ACCOUNT, AccountId
from app.work import wakeups

KEEP_ALIVE_SECONDS = 25.0
"""Proxies close connections on which nothing is sent, most of them after 60 s and some after 30 s."""

_BATCH = 200
_MOST_PASSED = 2_000
_UNKNOWN_SECONDS = 5.0
"""How often a request looks again for a call that is not known yet."""

_SPREAD = 0.1
"""Long polls that began together end at different moments of the last tenth of their time, because each of
them asks again."""

log = structlog.get_logger(__name__)


async def current_feeds(request: Request) -> Feeds:
    """The feeds that this process follows."""
    feeds: Feeds = request.app.state.feeds
    return feeds


CurrentFeeds = Annotated[Feeds, Depends(current_feeds)]


async def wait_for_changes(
    feeds: Feeds,
    owner: AccountId,
    cursor: str | None,
    *,
    limit: int,
    seconds: float,
    key: Key | None = None,
    wanted: Selection = EVERYTHING,
) -> ChangeFeed:
    """Return the wanted changes after a cursor: at once if there are any, otherwise within `seconds`, and
    then possibly none.

    What is not wanted is passed, but no more than `_MOST_PASSED` in one request. `owner` may be `~`. It ends
    early when the process stops. Raises BadInput for an invalid cursor, HistoryChanged if it belongs to
    another history or the database was restored meanwhile, Unauthenticated if the key was revoked.
    """
    services = feeds.services
    until = services.clock.monotonic() + seconds * (1 - _SPREAD * random.random())  # noqa: S311
    if cursor in (None, FROM_NOW) or not seconds:
        async with services.database.read() as db:
            account_id = await accounts.resolve(db, owner)
            after = await resolve_cursor(db, account_id, cursor)
            found = await _read_wanted(db, account_id, after, limit, wanted)
        if found.changes or found.has_more or not seconds:
            return found
        after = found.after
    else:
        after = Position.parse(cursor)
    with watch(services, key):
        while True:
            with feeds.follow(await _resolve(feeds, owner)) as feed:
                await feed.open()
                while not feed.is_bound:
                    woken = feed.next_change
                    found = wanted.apply(await _read(feeds, feed, after, limit))
                    after = found.after
                    left = until - services.clock.monotonic()
                    if found.changes or left <= 0 or services.stopping.is_set():
                        return found
                    if not found.has_more:
                        await wakeups.happens(woken, left)
                    await check_still_valid(services, key)


async def follow(
    feeds: Feeds,
    owner: AccountId,
    after: Position,
    key: Key | None = None,
    wanted: Selection = EVERYTHING,
) -> AsyncGenerator[Sequence[FeedEntry]]:
    """Yield every wanted change after a position, in order, as it is committed, until the process stops.

    Yields batches, and an empty one after 25 s without a wanted change. `owner` may be `~`. At most one batch
    is read ahead, however slow the reader is. While the database is not available, it waits and then
    continues.

    Raises HistoryChanged if the database was restored meanwhile, Unauthenticated if the key was revoked.
    """
    services = feeds.services
    sent_at = services.clock.monotonic()
    with watch(services, key):
        while not services.stopping.is_set():
            try:
                with feeds.follow(await _resolve(feeds, owner)) as feed:
                    await feed.open()
                    async for batch in _follow_account(feeds, feed, after, key):
                        shown = [one for one in batch if wanted.keeps(one)]
                        is_quiet = services.clock.monotonic() - sent_at >= KEEP_ALIVE_SECONDS
                        if shown or not batch or is_quiet:
                            yield shown
                            sent_at = services.clock.monotonic()
                        if batch:
                            after = batch[-1].position
            except StorageUnavailable as error:
                log.debug("feed waits for the database", error=str(error))
                await wakeups.happens(services.stopping, CHECK_SECONDS)


async def _follow_account(
    feeds: Feeds, feed: AccountFeed, after: Position, key: Key | None
) -> AsyncGenerator[Sequence[FeedEntry]]:
    """Yield batches until the process stops or `~` is bound. Raises StorageUnavailable as well."""
    services = feeds.services
    while not services.stopping.is_set() and not feed.is_bound:
        await check_still_valid(services, key)
        woken = feed.next_change
        found = await _read(feeds, feed, after, _BATCH)
        if found.changes:
            after = found.after
            yield found.changes
        elif not await wakeups.happens(woken, KEEP_ALIVE_SECONDS):
            yield ()


async def wait_for_call(
    feeds: Feeds,
    key: Key,
    name: str,
    look: Callable[[], Awaitable[tuple[str | None, bool]]],
    seconds: float,
) -> None:
    """Look at a call at each of its changes, until it is as wanted, time is up or the process stops.

    `look` returns the id of the call, None while it does not exist, and whether it is as wanted. It looks
    once more after the time. Raises what it raises, and Unauthenticated if the key was revoked.
    """
    services = feeds.services
    until = services.clock.monotonic() + seconds
    call_id, is_done = await look()
    with watch(services, key):
        while not is_done:
            with (
                feeds.follow(await _resolve(feeds, key.account_id)) as feed,
                feed.listen(call_id or name) as woken,
            ):
                await feed.open()
                listens_to = call_id
                while not (is_done or feed.is_bound) and listens_to == call_id:
                    # It listens already, so that a change before it waits is not missed.
                    call_id, is_done = await look()
                    left = until - services.clock.monotonic()
                    is_done = is_done or left <= 0 or services.stopping.is_set()
                    if not is_done and listens_to == call_id:
                        # A name may become known otherwise than by a change of a call of this name.
                        await wakeups.wait(woken, left if call_id else min(left, _UNKNOWN_SECONDS))
                        await check_still_valid(services, key)


async def _read_wanted(
    db: AsyncConnection, account_id: AccountId, after: Position, limit: int, wanted: Selection
) -> ChangeFeed:
    """Read on until something is wanted, or the end, or enough was passed."""
    passed = 0
    while True:
        read = await read_feed(db, account_id, after, limit)
        found = wanted.apply(read)
        passed += len(read.changes)
        if found.changes or not read.has_more or passed >= _MOST_PASSED:
            return found
        after = read.after


async def _resolve(feeds: Feeds, owner: AccountId) -> AccountId:
    if owner != UNBOUND_ACCOUNT:
        return owner
    async with feeds.services.database.read() as db:
        return await accounts.resolve(db, owner)


async def _read(feeds: Feeds, feed: AccountFeed, after: Position, limit: int) -> ChangeFeed:
    """Return the next changes: from memory if they are there, otherwise from the database."""
    if feeds.is_fresh() and (known := feed.recall(after, limit + 1)) is not None:
        shown = known[:limit]
        return ChangeFeed(shown, shown[-1].position if shown else after, len(known) > limit)
    # Those who come back together from the same position share a read, and all share a connection.
    part = (feed.account_id, after, limit)
    read: ChangeFeed | HistoryChanged = await feeds.services.lookups.find(read_parts, part)
    if isinstance(read, HistoryChanged):
        raise read
    return read
