"""Creates, lists and revokes API keys. A key is shown once and stored as its SHA-256 digest.

`app.api.known_keys.find_key` looks up the key of a request.
"""

import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.api.known_keys import ALL_SCOPES, Scope, key_digest
from app.api.usage import origins as web_origins
from app.db.engine import upsert_into, wake
from app.db.tables import api_keys
from app.errors import Unprocessable
from app.ids import UNBOUND_ACCOUNT, AccountId, new_id
from app.work import wakeups

FIRST_KEY = "key_first"
"""The id of the key in AFTERCALL_API_KEY, whatever its value."""

MOST_ORIGINS = web_origins.MOST_ORIGINS

_RANDOM_BYTES = 32
_LONGEST_NAME = 128


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """A key as it is listed, without the key itself."""

    key_id: str
    account_id: AccountId
    name: str
    scopes: tuple[str, ...]
    created_at: datetime
    revoked_at: datetime | None
    origins: tuple[str, ...] = ()
    requests_per_minute: int | None = None

    def rights(self) -> dict[str, Any]:
        """Return what the key may do, as the audit names it."""
        return {
            "scopes": list(self.scopes),
            "origins": list(self.origins),
            "requestsPerMinute": self.requests_per_minute,
        }


@dataclass(frozen=True, slots=True)
class KeyChanges:
    """What is to change of a key; None: nothing. `requests_per_minute`: `DEFAULT_LIMIT` for the settings'."""

    origins: Collection[str] | None = None
    requests_per_minute: int | None = None


DEFAULT_LIMIT = -1


@dataclass(frozen=True, slots=True)
class NewKey:
    """A new key. `plain` is the key itself, which is not stored."""

    plain: str
    info: KeyInfo


async def create_key(
    db: AsyncConnection,
    account_id: AccountId,
    name: str,
    now: datetime,
    scopes: Collection[str] = ALL_SCOPES,
) -> NewKey:
    """Create a key of an account; `~` is the account of the service's own credentials.

    Raises Unprocessable for an unknown scope, no scope at all, or a name that is empty or too long.
    """
    unknown = sorted(set(scopes) - set(ALL_SCOPES))
    if unknown or not scopes:
        raise Unprocessable(
            f"A key must have at least one scope of {', '.join(ALL_SCOPES)}, and no others",
            unknownScopes=unknown,
        )
    if not 0 < len(name) <= _LONGEST_NAME or not name.isprintable():
        raise Unprocessable(f"The name of a key must have 1 to {_LONGEST_NAME} printable characters")
    if not account_id.isprintable():
        raise Unprocessable(
            "The account of a key must be its id in digits, or ~ for the service's own account"
        )
    plain = "ak_" + secrets.token_urlsafe(_RANDOM_BYTES)
    info = KeyInfo(
        key_id=new_id("key", now),
        account_id=account_id,
        name=name,
        scopes=tuple(sorted(str(Scope(scope)) for scope in set(scopes))),
        created_at=now,
        revoked_at=None,
    )
    await db.execute(
        api_keys.insert().values(
            account_id=account_id,
            key_id=info.key_id,
            name=name,
            digest=key_digest(plain),
            scopes=list(info.scopes),
            created_at=now,
        )
    )
    return NewKey(plain, info)


async def ensure_first_key(db: AsyncConnection, plain: str, now: datetime) -> bool:
    """Make the key in AFTERCALL_API_KEY valid for the service's own account, with every scope; return whether
    that changed anything.

    Repeating it changes nothing, so a revoked key stays revoked. A new value replaces the former one, which
    is refused from then on.
    """
    insert = upsert_into(db, api_keys).values(
        account_id=UNBOUND_ACCOUNT,
        key_id=FIRST_KEY,
        name="first key (AFTERCALL_API_KEY)",
        digest=key_digest(plain),
        scopes=sorted(str(scope) for scope in ALL_SCOPES),
        created_at=now,
    )
    statement = insert.on_conflict_do_update(
        index_elements=["account_id", "key_id"],
        set_={
            "digest": insert.excluded.digest,
            "created_at": insert.excluded.created_at,
            "revoked_at": None,
        },
        where=api_keys.c.digest != insert.excluded.digest,
    )
    written = await db.scalar(statement.returning(api_keys.c.key_id))
    wake(db, wakeups.KEYS)
    return written is not None


async def revoke_key(db: AsyncConnection, account_id: AccountId, key_id: str, now: datetime) -> bool:
    """Revoke a key; return whether it exists. Revoking it again keeps the first `revoked_at`."""
    await db.execute(
        update(api_keys)
        .where(*_one(account_id, key_id), api_keys.c.revoked_at.is_(None))
        .values(revoked_at=now)
    )
    wake(db, wakeups.KEYS)
    return await db.scalar(select(api_keys.c.key_id).where(*_one(account_id, key_id))) is not None


async def change_key(
    db: AsyncConnection, account_id: AccountId, key_id: str, changes: KeyChanges
) -> KeyInfo | None:
    """Change a key; return it, or None if it does not exist. It is obeyed at once, as a revocation is.

    Raises Unprocessable, see `check_origins`.
    """
    values: dict[str, Any] = {}
    if changes.origins is not None:
        values["origins"] = list(web_origins.check_origins(changes.origins)) or None
    if (limit := changes.requests_per_minute) is not None:
        values["requests_per_minute"] = None if limit == DEFAULT_LIMIT else limit
    if values:
        await db.execute(update(api_keys).where(*_one(account_id, key_id)).values(values))
        wake(db, wakeups.KEYS)
    return await load_key(db, account_id, key_id)


async def load_key(
    db: AsyncConnection, account_id: AccountId, key_id: str, *, lock: bool = False
) -> KeyInfo | None:
    """Return a key; None if it does not exist."""
    query = select(api_keys).where(*_one(account_id, key_id))
    row = (await db.execute(query.with_for_update() if lock else query)).first()
    return None if row is None else _info(row)


async def list_keys(db: AsyncConnection, account_id: AccountId) -> Sequence[KeyInfo]:
    """Return all keys of an account, including revoked ones, oldest first."""
    query = select(api_keys).where(api_keys.c.account_id == account_id)
    rows = await db.execute(query.order_by(api_keys.c.created_at, api_keys.c.key_id))
    return [_info(row) for row in rows]


def _one(account_id: AccountId, key_id: str) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return api_keys.c.account_id == account_id, api_keys.c.key_id == key_id


def _info(row: Row[Any]) -> KeyInfo:
    return KeyInfo(
        key_id=row.key_id,
        account_id=AccountId(row.account_id),
        name=row.name,
        scopes=tuple(row.scopes),
        created_at=row.created_at,
        revoked_at=row.revoked_at,
        origins=tuple(row.origins or ()),
        requests_per_minute=row.requests_per_minute,
    )
