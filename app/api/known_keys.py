"""The API keys of requests: found in the database, and remembered for two seconds.

A revocation sends a wake-up, so it is obeyed at once; where no wake-up arrives (another process on SQLite, a
lost connection), after `REMEMBERED_SECONDS`. Requests that arrive together share a look-up: hundreds of long
polls with one key ask again at the same moment.
"""

import hashlib
from collections.abc import Collection
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from sqlalchemy import Row, and_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.api.lookups import Lookups
from app.api.revocations import CHECK_SECONDS, KeyRef
from app.clock import Clock
from app.db.lists import is_one_of
from app.db.tables import accounts, api_keys
from app.ids import UNBOUND_ACCOUNT, AccountId
from app.work import wakeups
from app.work.wakeups import Wakeups

REMEMBERED_SECONDS = CHECK_SECONDS
_MOST_REMEMBERED = 1000


class Scope(StrEnum):
    """What an API key may do. `admin` may do everything."""

    CALLS_READ = "calls:read"
    NOTES_WRITE = "notes:write"
    WEBHOOKS_WRITE = "webhooks:write"
    ADMIN = "admin"


ALL_SCOPES = tuple(Scope)


CONNECTOR_SCOPES = (Scope.CALLS_READ, Scope.NOTES_WRITE)
"""The scopes of a new key by default; `admin` has to be requested."""


@dataclass(frozen=True, slots=True)
class Key:
    """The API key of a request.

    `owner` is the account that the key was created for, which may be `~`; `account_id` is the account that
    this meant when the request arrived. Code that waits or writes resolves it again by `accounts.resolve(db,
    key.owner)` in its own transaction, because `~` may be bound at any moment.
    """

    key_id: str
    name: str
    owner: AccountId
    account_id: AccountId
    scopes: frozenset[str]
    digest: str = field(default="", repr=False)
    origins: frozenset[str] = frozenset()
    """The web origins from which browsers may use it."""
    requests_per_minute: int | None = None
    """Its own limit. None: that of the settings; 0: none."""

    @property
    def ref(self) -> KeyRef:
        return KeyRef(self.owner, self.key_id, self.digest)

    def allows(self, scope: str) -> bool:
        return scope in self.scopes or Scope.ADMIN in self.scopes


def key_digest(plain: str) -> str:
    """Return the digest that is stored of a key. Keys are 256 random bits, so a fast hash is enough."""
    return hashlib.sha256(plain.encode()).hexdigest()


async def find_key(db: AsyncConnection, plain: str) -> Key | None:
    """Return the key; None if it does not exist or is revoked."""
    digest = key_digest(plain)
    return (await load_keys(db, [digest])).get(digest)


async def load_keys(db: AsyncConnection, digests: Collection[str]) -> dict[str, Key]:
    """Return the keys with these digests, by digest, without those that do not exist or are revoked."""
    own = and_(accounts.c.account_id == api_keys.c.account_id, accounts.c.account_id == UNBOUND_ACCOUNT)
    query = (
        select(api_keys, accounts.c.bound_to)
        .select_from(api_keys.outerjoin(accounts, own))
        .where(is_one_of(api_keys.c.digest, digests), api_keys.c.revoked_at.is_(None))
    )
    return {row.digest: _key(row) for row in await db.execute(query)}


def _key(row: Row[Any]) -> Key:
    return Key(
        key_id=row.key_id,
        name=row.name,
        owner=AccountId(row.account_id),
        account_id=AccountId(row.bound_to or row.account_id),
        scopes=frozenset(row.scopes),
        digest=row.digest,
        origins=frozenset(row.origins or ()),
        requests_per_minute=row.requests_per_minute,
    )


class KnownKeys:
    """The keys that one process remembers, on its event loop. It remembers digests, not the keys."""

    def __init__(self, lookups: Lookups, wakeups_: Wakeups, clock: Clock) -> None:
        self._lookups = lookups
        self._clock = clock
        self._known: dict[str, tuple[Key, float]] = {}
        """Each key by its digest, and until when it may be used."""
        self._revocations = 0
        self._listening = wakeups_.listen(wakeups.KEYS)
        self._woken = self._listening.__enter__()

    def remembered(self, plain: str) -> Key | None:
        """Return the key if it was found a moment ago and is not revoked; None says nothing."""
        if self._woken.is_set():
            return None
        known = self._known.get(key_digest(plain))
        return known[0] if known is not None and self._clock.monotonic() < known[1] else None

    async def find(self, plain: str) -> Key | None:
        """Return the key; None if it does not exist or is revoked."""
        if self._woken.is_set():
            self._woken.clear()
            self._known.clear()
            self._revocations += 1
        before = self._revocations
        digest = key_digest(plain)
        known = self._known.get(digest)
        if known is not None and self._clock.monotonic() < known[1]:
            return known[0]
        key: Key | None = await self._lookups.find(load_keys, digest)
        # What `~` means may change at any moment, until it means an account. What was found before a
        # revocation is not remembered: another request may have cleared the memory since.
        is_current = self._revocations == before
        if key is not None and key.account_id != UNBOUND_ACCOUNT and is_current:
            if len(self._known) >= _MOST_REMEMBERED:
                self._known.clear()
            self._known[digest] = (key, self._clock.monotonic() + REMEMBERED_SECONDS)
        return key
