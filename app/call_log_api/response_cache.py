"""Shares RingCentral's responses between requests for some seconds, through the database of all replicas.

While a request to RingCentral is running, identical requests wait for its response, in this process or in
another: RingCentral refuses identical concurrent requests (CMN-304), and each uses a part of the rate limit.
"""

import asyncio
import hashlib
import zlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from pydantic_core import from_json, to_json
from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app import metrics
from app.clock import Clock
from app.db.engine import Database, upsert_into
from app.db.tables import rc_cache
from app.ids import AccountId

_POLL_SECONDS = 0.1
_STALE_RETENTION = timedelta(seconds=60)

Fetch = Callable[[], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class SharedResponse:
    """A response of RingCentral's and when it arrived."""

    body: Any
    fetched_at: datetime


def cache_key(parts: Any) -> str:
    """Return the key of a query: a digest of its parts, which are anything that becomes JSON."""
    return hashlib.sha256(to_json(parts)).hexdigest()


class ResponseCache:
    """Runs each query at most once at a time, and not again while its last response is fresh.

    `lease`: the seconds after which another replica stops waiting for a running request.
    """

    def __init__(self, database: Database, clock: Clock, *, lease: float) -> None:
        self._database = database
        self._clock = clock
        self._lease = timedelta(seconds=lease)
        self._flights: dict[tuple[AccountId, str], asyncio.Task[SharedResponse]] = {}

    async def get(
        self, account_id: AccountId, parts: Any, fresh_seconds: float, fetch: Fetch
    ) -> SharedResponse:
        """Return a response that is at most `fresh_seconds` old. Raises what `fetch` raises."""
        key = cache_key(parts)
        # Within the process, one task per query; between processes, the lease in the database.
        flight = self._flights.get((account_id, key))
        if flight is None:
            flight = asyncio.create_task(self._find_or_fetch(account_id, key, fresh_seconds, fetch))
            self._flights[account_id, key] = flight
            flight.add_done_callback(lambda done: self._land(account_id, key, done))
        else:
            metrics.READER_REQUESTS.labels(source="shared").inc()
        # Shielded: a client that disconnects must not cancel the request for the others.
        return await asyncio.shield(flight)

    async def close(self) -> None:
        """Cancel the running requests."""
        flights = list(self._flights.values())
        for flight in flights:
            flight.cancel()
        await asyncio.gather(*flights, return_exceptions=True)

    def _land(self, account_id: AccountId, key: str, flight: asyncio.Task[SharedResponse]) -> None:
        self._flights.pop((account_id, key), None)
        if not flight.cancelled():
            flight.exception()  # retrieved, so that asyncio does not log it if all waiting clients have left

    async def find(self, account_id: AccountId, queries: Mapping[str, Any]) -> dict[str, SharedResponse]:
        """Return the fresh responses to these queries, by the names that the queries were given."""
        keys = {cache_key(parts): name for name, parts in queries.items()}
        query = select(rc_cache.c.key, rc_cache.c.body, rc_cache.c.fetched_at).where(
            rc_cache.c.account_id == account_id,
            rc_cache.c.key.in_(sorted(keys)),
            rc_cache.c.expires_at > self._clock.now(),
        )
        async with self._database.read() as db:
            rows = (await db.execute(query)).all()
        return {keys[row.key]: SharedResponse(_unpack(row.body), row.fetched_at) for row in rows if row.body}

    async def store(
        self,
        account_id: AccountId,
        responses: Sequence[tuple[Any, Any]],
        fetched_at: datetime,
        seconds: float,
    ) -> None:
        """Store pairs of query and body for `seconds`, and delete what has been stale for a while."""
        rows = [(cache_key(parts), await asyncio.to_thread(_pack, body)) for parts, body in responses]
        await self._store(account_id, rows, fetched_at, seconds)

    async def _find_or_fetch(
        self, account_id: AccountId, key: str, fresh_seconds: float, fetch: Fetch
    ) -> SharedResponse:
        while True:
            found = await self._find_or_claim(account_id, key)
            if isinstance(found, SharedResponse):
                metrics.READER_REQUESTS.labels(source="cache").inc()
                return found
            if found:
                break
            await self._clock.sleep(_POLL_SECONDS)
        metrics.READER_REQUESTS.labels(source="ringcentral").inc()
        try:
            body = await fetch()
            fetched_at = self._clock.now()
            packed = await asyncio.to_thread(_pack, body)
            await self._store(account_id, [(key, packed)], fetched_at, fresh_seconds)
        except BaseException:
            # Shielded: the lease must be released even while this task is being cancelled.
            await asyncio.shield(self._release(account_id, key))
            raise
        return SharedResponse(body, fetched_at)

    async def _find_or_claim(self, account_id: AccountId, key: str) -> SharedResponse | bool:
        """Return the fresh response; otherwise whether this replica has claimed the request."""
        now = self._clock.now()
        mine = (rc_cache.c.account_id == account_id) & (rc_cache.c.key == key)
        async with self._database.read() as db:
            row = (await db.execute(select(rc_cache).where(mine))).first()
        if row is not None and row.body is not None and row.expires_at > now:
            return SharedResponse(await asyncio.to_thread(_unpack, row.body), row.fetched_at)
        if row is not None and row.lease_until is not None and row.lease_until > now:
            return False
        async with self._database.write() as db:
            await db.execute(
                upsert_into(db, rc_cache)
                .values(account_id=account_id, key=key, expires_at=now)
                .on_conflict_do_nothing()
            )
            # The conditions repeat the checks above: another replica may have claimed the row since.
            is_free = rc_cache.c.lease_until.is_(None) | (rc_cache.c.lease_until <= now)
            claim = update(rc_cache).where(mine, is_free, rc_cache.c.expires_at <= now)
            return bool((await db.execute(claim.values(lease_until=now + self._lease))).rowcount)

    async def _release(self, account_id: AccountId, key: str) -> None:
        mine = (rc_cache.c.account_id == account_id) & (rc_cache.c.key == key)
        async with self._database.write() as db:
            await db.execute(update(rc_cache).where(mine).values(lease_until=None))

    async def _store(
        self, account_id: AccountId, rows: Sequence[tuple[str, bytes]], fetched_at: datetime, seconds: float
    ) -> None:
        values = [
            {
                "account_id": account_id,
                "key": key,
                "body": body,
                "fetched_at": fetched_at,
                "expires_at": fetched_at + timedelta(seconds=seconds),
                "lease_until": None,
            }
            for key, body in rows
        ]
        if not values:
            return
        async with self._database.write() as db:
            statement = upsert_into(db, rc_cache)
            fields = ("body", "fetched_at", "expires_at", "lease_until")
            statement = statement.on_conflict_do_update(
                index_elements=["account_id", "key"],
                set_={name: statement.excluded[name] for name in fields},
            )
            await db.execute(statement, values)
            await _delete_stale(db, account_id, fetched_at - _STALE_RETENTION)


async def _delete_stale(db: AsyncConnection, account_id: AccountId, before: datetime) -> None:
    old = (rc_cache.c.account_id == account_id) & (rc_cache.c.expires_at < before)
    is_free = rc_cache.c.lease_until.is_(None) | (rc_cache.c.lease_until < before)
    await db.execute(delete(rc_cache).where(old, is_free))


def _pack(body: Any) -> bytes:
    return zlib.compress(to_json(body), 1)


def _unpack(packed: bytes) -> Any:
    return from_json(zlib.decompress(packed))
