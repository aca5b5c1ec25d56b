"""What one connection can access, and what its errors change about that. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from app.accounts.remedies import describe
from app.errors import AccessReason, CredentialsRefused, PermissionMissing, RingCentralError
from app.ids import ExtensionId

COMPANY_PERMISSION = "CMN-408"


COMPANY_CODES = frozenset({COMPANY_PERMISSION, "CMN-419"})
"""What RingCentral says to a user who may not read the calls of the whole account."""


COMPANY_CALLS = "ReadCompanyCallLog"


CALL_READING = frozenset({"ReadCallLog", "ReadCompanyCallLog", "FullCompanyCallLog", None})
"""Permissions without which a connection cannot do its work; a refusal that names none counts as one of them."""


_PROBE_AGAIN = timedelta(hours=1)


class Level(StrEnum):
    """How far credentials reach."""

    ACCOUNT = "account"
    EXTENSION = "extension"


@dataclass(frozen=True, slots=True)
class Access:
    """What is known of a connection's rights. `problem` is what a person has to do, None when calls can be read.

    `lacks` has by permission what is missing and does not stop that, as {code, detail, since, until}: nobody need
    try before `until`. The company's calls are among it where the level is the extension's, and `wrong-account`.
    `owner_id` and `scopes` are what the sign-in told. `fingerprint` names the credentials with which all this was
    learnt: with others it does not hold.
    """

    level: Level = Level.ACCOUNT
    extension_id: ExtensionId | None = None
    problem: dict[str, Any] | None = None
    probe_at: datetime | None = None
    owner_id: ExtensionId | None = None
    scopes: tuple[str, ...] = ()
    lacks: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    fingerprint: str | None = None

    def may(self, permission: str, now: datetime) -> bool:
        """Whether it makes sense to ask for something that takes this permission."""
        refused = self.lacks.get(permission)
        return refused is None or datetime.fromisoformat(refused["until"]) <= now

    def to_json(self) -> dict[str, Any]:
        return {
            "level": self.level.value,
            "extensionId": self.extension_id,
            "problem": self.problem,
            "probeAt": self.probe_at.isoformat() if self.probe_at else None,
            "ownerId": self.owner_id,
            "scopes": list(self.scopes),
            "lacks": dict(self.lacks),
            "fingerprint": self.fingerprint,
        }

    @classmethod
    def from_json(cls, stored: dict[str, Any] | None) -> "Access":
        stored = stored or {}
        probe_at = stored.get("probeAt")
        return cls(
            level=Level(stored.get("level", Level.ACCOUNT)),
            extension_id=stored.get("extensionId"),
            problem=stored.get("problem"),
            probe_at=datetime.fromisoformat(probe_at) if probe_at else None,
            owner_id=stored.get("ownerId"),
            scopes=tuple(stored.get("scopes") or ()),
            lacks=stored.get("lacks") or {},
            fingerprint=stored.get("fingerprint"),
        )

    @classmethod
    def known(cls, stored: dict[str, Any] | None, fingerprint: str | None) -> "Access":
        """Return what is known of these credentials: nothing, when it was learnt with others."""
        access = cls.from_json(stored)
        if access.fingerprint not in (None, fingerprint):
            access = cls()
        return replace(access, fingerprint=fingerprint)


def probe_again_at(now: datetime) -> datetime:
    """Say when to try the whole account again with credentials that reach their own extension."""
    return now + _PROBE_AGAIN


def _lacks_company(asked: Access, error: RingCentralError | None) -> bool:
    is_reading = isinstance(error, PermissionMissing) and error.permission in CALL_READING
    return is_reading and error is not None and error.code in COMPANY_CODES and asked.level is Level.ACCOUNT


def _after(
    before: Access,
    asked: Access,
    error: PermissionMissing | CredentialsRefused | None,
    owner: str | None,
    kind: str,
    now: datetime,
) -> Access:
    """Return what is known after an answer to whoever asked with the rights `asked`; `before` is what is stored."""
    if error is None:
        return _healed(before, asked)
    problem = {**(describe(error, kind) or {}), "since": now.isoformat()}
    refused = {**problem, "until": probe_again_at(now).isoformat()}
    if isinstance(error, PermissionMissing) and error.permission not in CALL_READING:
        after = replace(before, lacks={**before.lacks, str(error.permission): refused})
    elif isinstance(error, PermissionMissing) and _lacks_company(asked, error):
        after = replace(
            before,
            level=Level.EXTENSION,
            extension_id=ExtensionId(owner) if owner else None,
            problem=None,
            probe_at=probe_again_at(now),
            lacks={**before.lacks, error.permission or COMPANY_CALLS: refused},
        )
    else:
        after = replace(before, problem=problem, probe_at=now + _PROBE_AGAIN / 12)
    return _since_when(after, before)


def _healed(before: Access, asked: Access) -> Access:
    """Forget what cannot be any more, now that calls were read with the rights `asked`."""
    over = CALL_READING if asked.level is Level.ACCOUNT else frozenset()
    return replace(
        before,
        level=asked.level,
        extension_id=None if asked.level is Level.ACCOUNT else asked.extension_id,
        problem=None,
        probe_at=None if asked.level is Level.ACCOUNT else before.probe_at,
        lacks={name: refused for name, refused in before.lacks.items() if name not in over},
    )


def _of_account(before: Access, error: RingCentralError | None, now: datetime) -> Access:
    lacks = {name: refused for name, refused in before.lacks.items() if name != AccessReason.WRONG_ACCOUNT}
    if error is not None:
        lacks[AccessReason.WRONG_ACCOUNT] = {**(describe(error) or {}), "since": now.isoformat()}
    return _since_when(replace(before, lacks=lacks), before)


def _since_when(access: Access, before: Access) -> Access:
    """Let what goes on keep the moment at which it began."""
    lacks = {name: _as_of(refused, before.lacks.get(name)) for name, refused in access.lacks.items()}
    return replace(access, problem=access.problem and _as_of(access.problem, before.problem), lacks=lacks)


def _visible(access: Access) -> tuple[object, ...]:
    """Return what people are told of rights; when they are tried again is not among it."""
    return access.level, access.extension_id, access.problem, sorted(access.lacks)


def _as_of(new: dict[str, Any], old: Mapping[str, Any] | None) -> dict[str, Any]:
    goes_on = old is not None and old.get("code") == new.get("code") and old.get("since")
    return {**new, "since": old["since"]} if old is not None and goes_on else new
