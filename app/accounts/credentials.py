"""Whose credentials are stored: written encrypted, listed without secrets, encrypted anew with another key."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from cryptography.fernet import InvalidToken
from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.calls import accounts
from app.db.engine import upsert_into, wake
from app.db.tables import credentials
from app.errors import Unprocessable
from app.ids import AccountId
from app.ringcentral.stored_tokens import StoredToken, load_token
from app.vault import Vault
from app.work.wakeups import POLLS, READINGS, SUBSCRIPTIONS

OWN = "own"
"""Name and kind of the credentials in the environment; their holder is `~`."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


class CredentialKind(StrEnum):
    """How a user proves who he is."""

    JWT = "jwt"
    OAUTH = "oauth"


@dataclass(frozen=True, slots=True)
class Secret:
    """What is stored of credentials beside the token; it never shows.

    Without `client_secret` the app is that of the environment. `sign_in` names one sign-in, whose refresh token
    lies with the token.
    """

    client_id: str
    client_secret: str | None = None
    jwt: str | None = None
    sign_in: str = ""

    def __repr__(self) -> str:
        return f"Secret(client_id={self.client_id!r})"

    def dump(self) -> bytes:
        """Return what `load` reads: encrypt it."""
        fields = {
            "clientId": self.client_id,
            "clientSecret": self.client_secret,
            "jwt": self.jwt,
            "signIn": self.sign_in,
        }
        return json.dumps({name: value for name, value in fields.items() if value}).encode()

    @classmethod
    def load(cls, dumped: bytes) -> "Secret":
        fields = json.loads(dumped)
        return cls(
            client_id=fields["clientId"],
            client_secret=fields.get("clientSecret"),
            jwt=fields.get("jwt"),
            sign_in=fields.get("signIn", ""),
        )


@dataclass(frozen=True, slots=True)
class Stored:
    """Credentials as they can be shown: without secrets. `access` is what `connections.Access` writes."""

    account_id: AccountId
    name: str
    kind: str
    access: dict[str, Any] | None
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Rotation:
    """How many secrets were encrypted anew, were so already, and can be read with none of the keys."""

    renewed: int
    kept: int
    unreadable: int


def check_name(name: str) -> str:
    """Return a name that a person gave credentials. Raises Unprocessable for one that cannot be."""
    if name == OWN or _NAME.fullmatch(name) is None:
        raise Unprocessable(
            f"Credentials need a name of 1 to 63 letters, digits, dots and dashes, other than {OWN!r}"
        )
    return name


def default_name(owner_id: str | None) -> str:
    """Return the name of the credentials of this user: signing in again replaces them."""
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
    """Keep credentials with their first token, in place of those of the same name; say whether there were none.

    Whoever waits to ask for this account is woken.
    """
    await accounts.add(db, account_id, now)
    mine = (credentials.c.account_id == account_id) & (credentials.c.name == name)
    is_new = await db.scalar(select(credentials.c.name).where(mine)) is None
    values = {
        "kind": kind.value,
        "secret": vault.encrypt(secret.dump()),
        "access": access,
        "token": vault.encrypt(token.dump()),
        "refused": None,
        # A replica that is asking for a token with the former credentials must not save it over this one.
        "lease_owner": None,
        "lease_until": None,
        "updated_at": now,
    }
    insert = upsert_into(db, credentials).values(account_id=account_id, name=name, **values)
    await db.execute(insert.on_conflict_do_update(index_elements=["account_id", "name"], set_=values))
    _wake_all(db)
    return is_new


async def remove(db: AsyncConnection, account_id: AccountId, name: str) -> bool:
    """Forget credentials; say whether there were any. Whoever can take over their part is woken."""
    mine = (credentials.c.account_id == account_id) & (credentials.c.name == name)
    removed = await db.execute(delete(credentials).where(mine, credentials.c.kind != OWN))
    _wake_all(db)
    return removed.rowcount == 1


def _wake_all(db: AsyncConnection) -> None:
    for topic in (POLLS, READINGS, SUBSCRIPTIONS):
        wake(db, topic)


async def list_stored(db: AsyncConnection, account_id: AccountId | None = None) -> Sequence[Stored]:
    """Return the credentials of one account, or of all; what was kept of the environment's own is among them."""
    query = select(
        credentials.c.account_id,
        credentials.c.name,
        credentials.c.kind,
        credentials.c.access,
        credentials.c.updated_at,
    ).order_by(credentials.c.account_id, credentials.c.name)
    if account_id is not None:
        query = query.where(credentials.c.account_id == account_id)
    return [
        Stored(AccountId(row.account_id), row.name, row.kind, row.access, row.updated_at)
        for row in await db.execute(query)
    ]


async def load_secrets(
    db: AsyncConnection, vault: Vault, account_id: AccountId, name: str
) -> tuple[Secret, StoredToken | None] | None:
    """Return secret and token, None where there are none or no key of ours reads them."""
    mine = (credentials.c.account_id == account_id) & (credentials.c.name == name)
    row = (await db.execute(select(credentials.c.secret, credentials.c.token).where(mine))).first()
    if row is None or row.secret is None:
        return None
    try:
        secret = Secret.load(vault.decrypt(row.secret))
        return secret, load_token(vault.decrypt(row.token)) if row.token is not None else None
    except InvalidToken:
        return None


async def rotate(db: AsyncConnection, vault: Vault) -> Rotation:
    """Encrypt with the first key what another one has encrypted.

    May run beside the service: a secret that changes meanwhile was encrypted with the first key anyhow.
    """
    counts = {"renewed": 0, "kept": 0, "unreadable": 0}
    rows = await db.execute(
        select(
            credentials.c.account_id, credentials.c.name, credentials.c.secret, credentials.c.token
        ).with_for_update()
    )
    for row in rows.all():
        changed: dict[str, bytes] = {}
        for column in ("secret", "token"):
            outcome = _renew(vault, getattr(row, column))
            if isinstance(outcome, bytes):
                changed[column] = outcome
                counts["renewed"] += 1
            elif outcome:
                counts[outcome] += 1
        if changed:
            mine = (credentials.c.account_id == row.account_id) & (credentials.c.name == row.name)
            await db.execute(update(credentials).where(mine).values(changed))
    return Rotation(**counts)


def _renew(vault: Vault, encrypted: bytes | None) -> bytes | str:
    """Return the new form, or what became of the old one; empty when there is nothing."""
    if encrypted is None:
        return ""
    try:
        return vault.renewed(encrypted) or "kept"
    except InvalidToken:
        return "unreadable"
