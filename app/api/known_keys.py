"""The API keys of requests: found in the database, and remembered for two seconds.

A revocation sends a wake-up, so it is obeyed at once; where no wake-up arrives (another process on SQLite, a
lost connection), after `REMEMBERED_SECONDS`.
"""

import hashlib
import hmac
from dataclasses import dataclass, field
from enum import StrEnum

from sqlalchemy import and_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.api.revocations import CHECK_SECONDS, KeyRef
from app.clock import Clock
from app.db.engine import Database
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
    own = and_(accounts.c.account_id == api_keys.c.account_id, accounts.c.account_id == UNBOUND_ACCOUNT)
    query = (
        select(api_keys, accounts.c.bound_to)
        .select_from(api_keys.outerjoin(accounts, own))
        .where(api_keys.c.digest == digest, api_keys.c.revoked_at.is_(None))
        .limit(1)
    )
    row = (await db.execute(query)).first()
    if row is None or not hmac.compare_digest(row.digest, digest):
        return None
    return Key(
        key_id=row.key_id,
        name=row.name,
        owner=AccountId(row.account_id),
        account_id=AccountId(row.bound_to or row.account_id),
        scopes=frozenset(row.scopes),
        digest=digest,
    )


class KnownKeys:
    """The keys that one process remembers, on its event loop. It remembers digests, not the keys."""

    def __init__(self, database: Database, wakeups_: Wakeups, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._known: dict[str, tuple[Key, float]] = {}
        """Each key by its digest, and until when it may be used."""
        self._revocations = 0
        self._listening = wakeups_.listen(wakeups.KEYS)
        self._woken = self._listening.__enter__()

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
        async with self._database.read() as db:
            key = await find_key(db, plain)
        # What `~` means may change at any moment, until it means an account. What was found before a
        # revocation is not remembered: another request may have cleared the memory since.
        is_current = self._revocations == before
        if key is not None and key.account_id != UNBOUND_ACCOUNT and is_current:
            if len(self._known) >= _MOST_REMEMBERED:
                self._known.clear()
            self._known[digest] = (key, self._clock.monotonic() + REMEMBERED_SECONDS)
        return key
