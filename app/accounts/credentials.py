"""Stored credentials: written encrypted, listed without secrets, re-encrypted with another key."""

import re
from collections.abc import Collection
from dataclasses import dataclass, field, fields
from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar

from cryptography.fernet import InvalidToken
from pydantic import ConfigDict, TypeAdapter
from pydantic.alias_generators import to_camel
from sqlalchemy import ColumnElement, delete, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.calls import accounts
from app.db.engine import upsert_into, wake
from app.db.lists import is_one_of
from app.db.tables import credentials
from app.errors import Unprocessable
from app.ids import AccountId
from app.ringcentral.stored_tokens import StoredToken, load_token
from app.vault import Vault
from app.work.wakeups import CREDENTIALS, POLLS, READINGS, SUBSCRIPTIONS

OWN = "own"
"""Name and kind of the credentials in the environment; their holder is `~`."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


class CredentialKind(StrEnum):
    """How a user proves their identity."""

    JWT = "jwt"
    OAUTH = "oauth"


@dataclass(frozen=True, slots=True)
class Secret:
    """The secret part of credentials besides the token; it never appears in a repr.

    Without `client_secret` the app is that of the environment. `sign_in` identifies one sign-in, whose
    refresh token is stored with the token.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(
        alias_generator=to_camel, hide_input_in_errors=True
    )

    client_id: str
    client_secret: str | None = None
    jwt: str | None = None
    sign_in: str = ""

    def __repr__(self) -> str:
        return f"Secret(client_id={self.client_id!r})"

    def dump(self) -> bytes:
        """Return what `load` reads: encrypt it."""
        return _SECRET.dump_json(self, by_alias=True, exclude_defaults=True)

    @classmethod
    def load(cls, dumped: bytes) -> "Secret":
        """Raises ValueError for anything that `dump` did not write."""
        return _SECRET.validate_json(dumped)


_SECRET = TypeAdapter(Secret)


@dataclass(frozen=True, slots=True)
class CredentialRow:
    """A row of `credentials`, still encrypted. `access` is what `Access.to_json` writes."""

    account_id: AccountId
    name: str
    kind: str
    secret: bytes | None = field(default=None, repr=False)
    token: bytes | None = field(default=None, repr=False)
    access: dict[str, Any] | None = None
    updated_at: datetime | None = None


def check_name(name: str) -> str:
    """Return a name for credentials. Raises Unprocessable if it is not allowed."""
    if name == OWN or _NAME.fullmatch(name) is None:
        raise Unprocessable(
            "The name of credentials must have 1 to 63 letters, digits, dots and dashes, and must not "
            f"be {OWN!r}"
        )
    return name


def default_name(owner_id: str | None) -> str:
    """Return the name of this user's credentials: signing in again replaces them."""
    return f"ext-{owner_id}" if owner_id and _NAME.fullmatch(f"ext-{owner_id}") else "user"


async def save(
    db: AsyncConnection,
    vault: Vault,
    account_id: AccountId,
    name: str,
    kind: CredentialKind,
    secret: Secret,
    token: StoredToken,
    access: dict[str, Any],
    now: datetime,
) -> bool:
    """Store credentials with their first token, replacing those of the same name; return whether there were
    none.

    Wakes the loops that can now read this account.
    """
    await accounts.add(db, account_id, now)
    mine = _row(account_id, name)
    is_new = await db.scalar(select(credentials.c.name).where(mine)) is None
    values = {
        "kind": kind.value,
        "secret": vault.encrypt(secret.dump()),
        "access": access,
        "token": vault.encrypt(token.dump()),
        "refused": None,
        # A replica that is requesting a token with the old credentials must not save it over this one.
        "lease_owner": None,
        "lease_until": None,
        "updated_at": now,
    }
    insert = upsert_into(db, credentials).values(account_id=account_id, name=name, **values)
    await db.execute(insert.on_conflict_do_update(index_elements=["account_id", "name"], set_=values))
    wake(db, CREDENTIALS, POLLS, READINGS, SUBSCRIPTIONS)
    return is_new


async def remove(db: AsyncConnection, account_id: AccountId, name: str) -> bool:
    """Delete credentials; return whether there were any. Wakes the loops, so that other connections take
    over.
    """
    mine = _row(account_id, name)
    removed = await db.execute(delete(credentials).where(mine, credentials.c.kind != OWN))
    wake(db, CREDENTIALS, POLLS, READINGS, SUBSCRIPTIONS)
    return removed.rowcount == 1


async def load_rows(db: AsyncConnection, holders: Collection[AccountId] | None = None) -> list[CredentialRow]:
    """Return the rows of these holders (None: of all), that of the environment's credentials included."""
    columns = [credentials.c[column.name] for column in fields(CredentialRow)]
    query = select(*columns).order_by(credentials.c.account_id, credentials.c.name)
    if holders is not None:
        query = query.where(is_one_of(credentials.c.account_id, holders))
    return [CredentialRow(*row) for row in await db.execute(query)]


Version = tuple[int, datetime | None]
"""How many credentials there are, and when one of them was written last."""


async def load_version(db: AsyncConnection) -> Version:
    """Return what differs once credentials were added, removed or written, whatever their number."""
    query = select(func.count(), func.max(credentials.c.updated_at)).select_from(credentials)
    count, written_at = (await db.execute(query)).one()
    return count, written_at


async def load_secrets(
    db: AsyncConnection, vault: Vault, account_id: AccountId, name: str
) -> tuple[Secret, StoredToken | None] | None:
    """Return secret and token; None if there are none, or none of our keys can read them."""
    mine = _row(account_id, name)
    row = (await db.execute(select(credentials.c.secret, credentials.c.token).where(mine))).first()
    if row is None or row.secret is None:
        return None
    try:
        secret = Secret.load(vault.decrypt(row.secret))
        return secret, load_token(vault.decrypt(row.token)) if row.token is not None else None
    except InvalidToken:
        return None


def _row(account_id: str, name: str) -> ColumnElement[bool]:
    return (credentials.c.account_id == account_id) & (credentials.c.name == name)
