"""Answers of RingCentral's that several readers share for some seconds, through the database of all replicas.

While one reader's request is on its way, the same request of another waits for its answer, in this process or
in another: RingCentral refuses identical requests that run at once (CMN-304), and each costs a share of the limit.
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

_LOOK_SECONDS = 0.1
_KEPT_STALE = timedelta(seconds=60)

Ask = Callable[[], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Shared:
    """An answer and when RingCentral gave it."""

    body: Any
    fetched_at: datetime


def key_of(question: Any) -> str:
    """Name a question, which is anything that becomes JSON."""
    return hashlib.sha256(to_json(question)).hexdigest()


class ResponseCache:
    """Asks at most once at a time, and not again while the last answer is fresh. `lease`: seconds that one
    request may take before another replica no longer waits for it."""

    def __init__(self, database: Database, clock: Clock, *, lease: float) -> None:
        self._database = database
        self._clock = clock
        self._lease = timedelta(seconds=lease)
        self._flights: dict[tuple[AccountId, str], asyncio.Task[Shared]] = {}

    async def get(self, account_id: AccountId, question: Any, fresh_seconds: float, ask: Ask) -> Shared:
        """Return an answer that is at most `fresh_seconds` old. Raises what `ask` raises, to everybody who waits."""
        key = key_of(question)
        flight = self._flights.get((account_id, key))
        if flight is None:
            flight = asyncio.create_task(self._find_or_ask(account_id, key, fresh_seconds, ask))
            self._flights[account_id, key] = flight
            flight.add_done_callback(lambda done: self._land(account_id, key, done))
        else:
            metrics.READER_REQUESTS.labels(source="shared").inc()
        # Who leaves must not take the answer away from the others.
        return await asyncio.shield(flight)

    async def close(self) -> None:
        """Give up what is on its way."""
        flights = list(self._flights.values())
        for flight in flights:
            flight.cancel()
        await asyncio.gather(*flights, return_exceptions=True)

    def _land(self, account_id: AccountId, key: str, flight: asyncio.Task[Shared]) -> None:
        self._flights.pop((account_id, key), None)
        if not flight.cancelled():
            flight.exception()

    async def find(self, account_id: AccountId, questions: Mapping[str, Any]) -> dict[str, Shared]:
        """Return the fresh answers among these questions, by the names that they were given."""
        keys = {key_of(question): name for name, question in questions.items()}
        query = select(rc_cache.c.key, rc_cache.c.body, rc_cache.c.fetched_at).where(
            rc_cache.c.account_id == account_id,
            rc_cache.c.key.in_(sorted(keys)),
            rc_cache.c.expires_at > self._clock.now(),
        )
        async with self._database.read() as db:
            rows = (await db.execute(query)).all()
        return {keys[row.key]: Shared(_unpack(row.body), row.fetched_at) for row in rows if row.body}

    async def keep(
        self, account_id: AccountId, answers: Sequence[tuple[Any, Any]], fetched_at: datetime, seconds: float
    ) -> None:
        """Keep (question, answer) pairs for so long, and forget what has been stale for a while."""
        rows = [(key_of(question), await asyncio.to_thread(_pack, body)) for question, body in answers]
        await self._store(account_id, rows, fetched_at, seconds)

    async def _find_or_ask(self, account_id: AccountId, key: str, fresh_seconds: float, ask: Ask) -> Shared:
        while True:
            found = await self._find_or_claim(account_id, key)
            if isinstance(found, Shared):
                metrics.READER_REQUESTS.labels(source="cache").inc()
                return found
            if found:
                break
            await self._clock.sleep(_LOOK_SECONDS)
        metrics.READER_REQUESTS.labels(source="ringcentral").inc()
        try:
            body = await ask()
            fetched_at = self._clock.now()
            packed = await asyncio.to_thread(_pack, body)
            await self._store(account_id, [(key, packed)], fetched_at, fresh_seconds)
        except BaseException:
            await asyncio.shield(self._give_back(account_id, key))
            raise
        return Shared(body, fetched_at)

    async def _find_or_claim(self, account_id: AccountId, key: str) -> Shared | bool:
        """Return the fresh answer; else whether this replica is the one to ask."""
        now = self._clock.now()
        mine = (rc_cache.c.account_id == account_id) & (rc_cache.c.key == key)
        async with self._database.read() as db:
            row = (await db.execute(select(rc_cache).where(mine))).first()
        if row is not None and row.body is not None and row.expires_at > now:
            return Shared(await asyncio.to_thread(_unpack, row.body), row.fetched_at)
        if row is not None and row.lease_until is not None and row.lease_until > now:
            return False
        async with self._database.write() as db:
            await db.execute(
                upsert_into(db, rc_cache)
                .values(account_id=account_id, key=key, expires_at=now)
                .on_conflict_do_nothing()
            )
            is_free = rc_cache.c.lease_until.is_(None) | (rc_cache.c.lease_until <= now)
            claim = update(rc_cache).where(mine, is_free, rc_cache.c.expires_at <= now)
            return bool((await db.execute(claim.values(lease_until=now + self._lease))).rowcount)

    async def _give_back(self, account_id: AccountId, key: str) -> None:
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
            await _forget(db, account_id, fetched_at - _KEPT_STALE)


async def _forget(db: AsyncConnection, account_id: AccountId, before: datetime) -> None:
    old = (rc_cache.c.account_id == account_id) & (rc_cache.c.expires_at < before)
    is_free = rc_cache.c.lease_until.is_(None) | (rc_cache.c.lease_until < before)
    await db.execute(delete(rc_cache).where(old, is_free))


def _pack(body: Any) -> bytes:
    return zlib.compress(to_json(body), 1)


def _unpack(packed: bytes) -> Any:
    return from_json(zlib.decompress(packed))
