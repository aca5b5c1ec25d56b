"""Who may call the API: the presented key, its scopes and its account."""

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
"""What a new key may do unless somebody says otherwise: administration has to be asked for."""


@dataclass(frozen=True, slots=True)
class Key:
    """An API key that was shown to us.

    `owner` is the account that the key was made for, `~` included; `account_id` is what that meant when the
    request came. Whoever waits or writes asks anew with `accounts.resolve(db, key.owner)`, in the transaction
    that matters: `~` may be bound at any moment.
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
    """Return what we store of a key. Keys are 256 random bits, so a fast hash is enough."""
    return hashlib.sha256(plain.encode()).hexdigest()


async def find_key(db: AsyncConnection, plain: str) -> Key | None:
    """Return the key, None when it was never made or is revoked."""
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

    Raises Unauthenticated when there is none that is valid.
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
    raise Unauthenticated("This API key is not known here, or it was revoked")


CurrentKey = Annotated[Key, Depends(current_key)]


async def check_still_valid(services: Services, key: Key | None) -> None:
    """Let an answer that goes on for long end soon after its key was revoked; the key has to be watched.

    Raises Unauthenticated.
    """
    if key is not None and await services.revocations.is_revoked(key.ref):
        raise Unauthenticated("This API key was revoked")


def watch(services: Services, key: Key | None) -> AbstractContextManager[None]:
    """Have a key looked after while an answer to it goes on."""
    return nullcontext() if key is None else services.revocations.watch(key.ref)


def require(scope: Scope) -> Callable[[Key], Awaitable[Key]]:
    """Return a dependency that gives the key of this request if it has `scope`.

    Raises Forbidden when it has not.
    """

    async def check(key: CurrentKey) -> Key:
        if not key.allows(scope):
            raise Forbidden(f"This API key lacks the scope {scope}", requiredScope=scope)
        return key

    return check


CallsReader = Annotated[Key, Depends(require(Scope.CALLS_READ))]


NotesWriter = Annotated[Key, Depends(require(Scope.NOTES_WRITE))]


Administrator = Annotated[Key, Depends(require(Scope.ADMIN))]
