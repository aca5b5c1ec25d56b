"""Which accounts there are, whose credentials serve them, and what a person has to do about them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cryptography.fernet import InvalidToken
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.tables import accounts, credentials
from app.enrichment.connections import Access, auth_config
from app.enrichment.credentials import OWN, Secret
from app.ids import UNBOUND_ACCOUNT, AccountId
from app.settings import Settings
from app.vault import Vault

NEEDED_SCOPES = {
    "ReadCallLog": "read calls",
    "CallControl": "be told of calls",
    "SubscriptionWebhook": "be told of calls",
}
"""App scopes without which calls are not enriched, and what for."""

USEFUL_SCOPES = {"ReadCallRecording": "hear recordings", "RingSense": "read insights"}

OTHER_APP = "other-app"
UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True)
class Member:
    """One user's credentials. `problems` are JSON objects with code, detail and since, the gravest first."""

    holder: AccountId
    name: str
    kind: str
    access: Access
    problems: tuple[dict[str, Any], ...]
    updated_at: datetime | None


@dataclass(frozen=True, slots=True)
class Account:
    """An account that we serve or served. `~` stands only for one that is still unknown."""

    account_id: AccountId
    is_own: bool
    added_at: datetime | None
    problem: dict[str, Any] | None
    members: tuple[Member, ...]


async def load_roster(
    db: AsyncConnection, settings: Settings, vault: Vault, account_id: AccountId | None = None
) -> Sequence[Account]:
    """Return all accounts, or the one, with the credentials that serve them."""
    rows = {row.account_id: row for row in await db.execute(select(accounts))}
    own = rows.get(UNBOUND_ACCOUNT)
    own_id = (own.bound_to if own else None) or UNBOUND_ACCOUNT
    members = await _load_members(db, settings, vault)
    shown = []
    for row in rows.values():
        is_own = row.account_id == own_id
        of_this = tuple(
            member
            for member in members
            if member.holder == row.account_id or (is_own and member.holder == UNBOUND_ACCOUNT)
        )
        if row.account_id == UNBOUND_ACCOUNT and not (is_own and of_this):
            continue
        if account_id in (None, row.account_id):
            shown.append(Account(AccountId(row.account_id), is_own, row.added_at, row.problem, of_this))
    return sorted(shown, key=lambda one: one.account_id)


async def _load_members(db: AsyncConnection, settings: Settings, vault: Vault) -> list[Member]:
    query = select(
        credentials.c.account_id,
        credentials.c.name,
        credentials.c.kind,
        credentials.c.secret,
        credentials.c.access,
        credentials.c.updated_at,
    ).order_by(credentials.c.account_id, credentials.c.name)
    members = [
        _member(row, settings, vault)
        for row in await db.execute(query)
        if row.kind != OWN or settings.has_credentials
    ]
    if settings.has_credentials and not any(member.kind == OWN for member in members):
        members.insert(0, Member(UNBOUND_ACCOUNT, OWN, OWN, Access(), (), None))
    return members


def _member(row: Any, settings: Settings, vault: Vault) -> Member:
    access = Access.from_json(row.access)
    unusable = None if row.kind == OWN else _why_unusable(row.secret, settings, vault)
    found = (unusable, access.problem, *access.lacks.values())
    return Member(
        holder=AccountId(row.account_id),
        name=row.name,
        kind=row.kind,
        access=access,
        problems=tuple(problem for problem in found if problem is not None),
        updated_at=row.updated_at,
    )


def _why_unusable(secret: bytes | None, settings: Settings, vault: Vault) -> dict[str, Any] | None:
    try:
        auth = auth_config(settings, Secret.load(vault.decrypt(secret or b"")))
    except InvalidToken:
        detail = (
            "These credentials were encrypted with a key that AFTERCALL_SECRET_KEY no longer holds: put that key back, "
            "behind the new one, or give the credentials anew."
        )
        return {"code": UNREADABLE, "detail": detail, "since": None}
    if auth is None:
        detail = "These credentials were given to another app than RC_CLIENT_ID names: set that app again, or give them anew."
        return {"code": OTHER_APP, "detail": detail, "since": None}
    return None


def missing_scopes(scopes: Iterable[str]) -> list[str]:
    """Name the app scopes that have to be granted; nothing when the token named no scopes at all."""
    had = set(scopes)
    return [scope for scope in NEEDED_SCOPES if scope not in had] if had else []
