"""The accounts, the credentials that serve them, and what a person has to do about them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from cryptography.fernet import InvalidToken
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.accounts.access import CALL_READING, Access, Level
from app.accounts.config import auth_config, own_auth
from app.accounts.credentials import OWN, CredentialKind, CredentialRow, Secret, load_rows
from app.db.tables import accounts
from app.errors import AccessReason
from app.ids import UNBOUND_ACCOUNT, AccountId
from app.ringcentral.auth import AuthConfig
from app.settings import Settings
from app.vault import Vault

NEEDED_SCOPES = {
    "ReadCallLog": "read calls",
    "CallControl": "receive the events of calls",
    "SubscriptionWebhook": "receive the events of calls",
}
"""App scopes without which calls are not enriched, and what each is for."""


@dataclass(frozen=True, slots=True)
class CredentialStatus:
    """One user's credentials. `problems` are JSON objects with code, detail and since, the most severe first.

    `is_blocked`: one of them prevents all reading.
    """

    holder: AccountId
    name: str
    kind: str
    access: Access
    problems: tuple[dict[str, Any], ...]
    updated_at: datetime | None
    is_blocked: bool = False

    @property
    def sees_all(self) -> bool:
        return not self.is_blocked and self.access.level is Level.ACCOUNT


@dataclass(frozen=True, slots=True)
class AccountOverview:
    """An account that is or was served. `~` appears only while the account is still unknown."""

    account_id: AccountId
    is_own: bool
    added_at: datetime | None
    members: tuple[CredentialStatus, ...]

    @property
    def problem(self) -> dict[str, Any] | None:
        """Why nobody can read the calls of this account; None while somebody can, or nobody has tried yet."""
        if any(not member.is_blocked for member in self.members):
            return None
        return next((member.problems[0] for member in self.members), None)


async def load_overview(
    db: AsyncConnection,
    settings: Settings,
    vault: Vault,
    now: datetime,
    account_id: AccountId | None = None,
) -> Sequence[AccountOverview]:
    """Return all accounts, or one, with the credentials that serve them."""
    rows = {row.account_id: row for row in await db.execute(select(accounts))}
    own = rows.get(UNBOUND_ACCOUNT)
    own_id = (own.bound_to if own else None) or UNBOUND_ACCOUNT
    members = await _load_statuses(db, settings, vault, now)
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
            shown.append(AccountOverview(AccountId(row.account_id), is_own, row.added_at, _needed(of_this)))
    return sorted(shown, key=lambda one: one.account_id)


async def _load_statuses(
    db: AsyncConnection, settings: Settings, vault: Vault, now: datetime
) -> list[CredentialStatus]:
    members = [
        _status(row, settings, vault, now)
        for row in await load_rows(db)
        if row.kind != OWN or settings.has_credentials
    ]
    if settings.has_credentials and not any(member.kind == OWN for member in members):
        members.insert(0, CredentialStatus(UNBOUND_ACCOUNT, OWN, OWN, Access(), (), None))
    return members


def _status(row: CredentialRow, settings: Settings, vault: Vault, now: datetime) -> CredentialStatus:
    auth, unusable = (own_auth(settings), None) if row.kind == OWN else _auth_of(row, settings, vault)
    access = Access.known(row.access, auth.fingerprint) if auth else Access.from_json(row.access)
    blocking = [problem for problem in (unusable, access.problem) if problem is not None]
    return CredentialStatus(
        holder=row.account_id,
        name=row.name,
        kind=row.kind,
        access=access,
        problems=(*blocking, *_missing_scopes(access), *missing_beside(access, now, is_own=row.kind == OWN)),
        updated_at=row.updated_at,
        is_blocked=bool(blocking),
    )


def _needed(members: tuple[CredentialStatus, ...]) -> tuple[CredentialStatus, ...]:
    """Leave out requests for the permission to read all calls while another user has it."""
    if not any(member.sees_all for member in members):
        return members
    whole_account = {
        id(refused)
        for member in members
        for name, refused in member.access.lacks.items()
        if name in CALL_READING
    }
    return tuple(
        replace(
            member, problems=tuple(problem for problem in member.problems if id(problem) not in whole_account)
        )
        for member in members
    )


def _missing_scopes(access: Access) -> list[dict[str, Any]]:
    """Return the app scopes that the token lacks, unless a refusal has reported them already."""
    reported = [str(problem.get("detail")) for problem in (access.problem, *access.lacks.values()) if problem]
    return [
        {
            "code": "CMN-401",
            "detail": f"The app lacks the scope {scope}, needed to {NEEDED_SCOPES[scope]}: "
            "grant it in the developer console.",
            "since": None,
        }
        for scope in missing_scopes(access.scopes)
        if not any(scope in detail for detail in reported)
    ]


def missing_beside(access: Access, now: datetime, *, is_own: bool) -> list[dict[str, Any]]:
    """Return what was refused without stopping the work, as {code, detail, since}.

    Added users may be meant for their own extension only; the service's own user is not. A refusal that
    nobody has met for an hour may be over.
    """
    return [
        refused
        for name, refused in access.lacks.items()
        if (is_own if name in CALL_READING else _is_fresh(refused, now))
    ]


def _is_fresh(refused: Mapping[str, Any], now: datetime) -> bool:
    until = refused.get("until")
    return until is None or datetime.fromisoformat(until) > now


def _auth_of(
    row: CredentialRow, settings: Settings, vault: Vault
) -> tuple[AuthConfig | None, dict[str, Any] | None]:
    """Return how to sign in with stored credentials, and why that is not possible here."""
    try:
        auth = auth_config(settings, Secret.load(vault.decrypt(row.secret or b"")))
        if row.kind == CredentialKind.OAUTH and row.token is not None:
            vault.decrypt(row.token)  # without its refresh token a sign-in is lost
    except InvalidToken:
        detail = (
            "These credentials were encrypted with a key that AFTERCALL_SECRET_KEY no longer holds: put "
            "that key back, "
            "after the new one, or add the credentials again."
        )
        return None, {"code": AccessReason.UNREADABLE, "detail": detail, "since": None}
    if auth is None:
        detail = (
            "These credentials were issued to another app than RC_CLIENT_ID names: set that app again, "
            "or add the "
            "credentials again."
        )
        return None, {"code": AccessReason.OTHER_APP, "detail": detail, "since": None}
    return auth, None


def missing_scopes(scopes: Iterable[str]) -> list[str]:
    """Return the app scopes that have to be granted; none if the token stated no scopes."""
    had = set(scopes)
    return [scope for scope in NEEDED_SCOPES if scope not in had] if had else []
