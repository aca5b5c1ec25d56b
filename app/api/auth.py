"""Authentication by API key: its scopes and its account."""

import hashlib
import hmac
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated

from fastapi import Depends
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from sqlalchemy import and_, select
from sqlalchemy.ext.asyncio import AsyncConnection
from structlog.contextvars import bind_contextvars

from app.api.dependencies import CurrentServices, Services
from app.api.revocations import KeyRef
from app.db.tables import accounts, api_keys
from app.errors import Forbidden, Unauthenticated
from app.ids import UNBOUND_ACCOUNT, AccountId

_LONGEST_KEY = 512


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


_bearer = HTTPBearer(auto_error=False, scheme_name="apiKey", description="An API key, `ak_…`.")


async def current_key(
    services: CurrentServices,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
) -> Key:
    """The API key of this request.

    Raises Unauthenticated if it is missing or not valid.
    """
    if credentials is None or not credentials.credentials:
        raise Unauthenticated("Send `Authorization: Bearer <API key>`")
    plain = credentials.credentials
    if len(plain) <= _LONGEST_KEY:
        async with services.database.read() as db:
            key = await find_key(db, plain)
        if key is not None:
            bind_contextvars(key_id=key.key_id, account_id=key.account_id)
            return key
    raise Unauthenticated("This API key does not exist or was revoked")


CurrentKey = Annotated[Key, Depends(current_key)]


async def check_still_valid(services: Services, key: Key | None) -> None:
    """Raises Unauthenticated if a watched key was revoked; for streams and other long responses."""
    if key is not None and await services.revocations.is_revoked(key.ref):
        raise Unauthenticated("This API key was revoked")


def watch(services: Services, key: Key | None) -> AbstractContextManager[None]:
    """Watch for the revocation of a key while a response to it is being sent."""
    return nullcontext() if key is None else services.revocations.watch(key.ref)


def require(scope: Scope) -> Callable[[Key], Awaitable[Key]]:
    """Return a dependency that provides the key of this request; it raises Forbidden without `scope`."""

    async def check(key: CurrentKey) -> Key:
        if not key.allows(scope):
            raise Forbidden(f"This API key does not have the scope {scope}", requiredScope=scope)
        return key

    return check


CallsReader = Annotated[Key, Depends(require(Scope.CALLS_READ))]


NotesWriter = Annotated[Key, Depends(require(Scope.NOTES_WRITE))]


Administrator = Annotated[Key, Depends(require(Scope.ADMIN))]
