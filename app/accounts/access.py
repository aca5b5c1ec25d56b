"""What one connection can access, and what its errors change about that. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, ClassVar

from pydantic import ConfigDict, TypeAdapter
from pydantic.alias_generators import to_camel

from app.accounts.remedies import describe
from app.errors import AccessReason, CredentialsRefused, PermissionMissing, RingCentralError
from app.ids import ExtensionId

COMPANY_PERMISSION = "CMN-408"

COMPANY_CODES = frozenset({COMPANY_PERMISSION, "CMN-419"})
"""How RingCentral refuses the calls of the whole account."""

COMPANY_CALLS = "ReadCompanyCallLog"

CALL_READING = frozenset({"ReadCallLog", "ReadCompanyCallLog", "FullCompanyCallLog", None})
"""Permissions without which a connection cannot do its work; a refusal that names none counts as one of them.
"""

_PROBE_AGAIN = timedelta(hours=1)


class Level(StrEnum):
    """How far credentials reach."""

    ACCOUNT = "account"
    EXTENSION = "extension"


@dataclass(frozen=True, slots=True)
class Access:
    """What is known of a connection's permissions. `problem` is what a person has to do; None if calls can be
    read.

    `lacks` has, by permission, what is missing without stopping that, as {code, detail, since, until}: nobody
    needs to try before `until`. It includes the company's calls at level `extension`, and `wrong-account`.
    `owner_id` and `scopes` come from the sign-in. `fingerprint` identifies the credentials with which all
    this was learnt: it does not hold for others.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(alias_generator=to_camel)

    level: Level = Level.ACCOUNT
    extension_id: ExtensionId | None = None
    problem: dict[str, Any] | None = None
    probe_at: datetime | None = None
    owner_id: ExtensionId | None = None
    scopes: tuple[str, ...] = ()
    lacks: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    fingerprint: str | None = None

    def may(self, permission: str, now: datetime) -> bool:
        """Whether a request that needs this permission makes sense."""
        refused = self.lacks.get(permission)
        return refused is None or datetime.fromisoformat(refused["until"]) <= now

    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` reads."""
        stored: dict[str, Any] = _STORED.dump_python(self, mode="json", by_alias=True)
        return stored

    @classmethod
    def from_json(cls, stored: dict[str, Any] | None) -> "Access":
        """Read the stored form; None is an access of which nothing is known. Raises ValueError for anything
        else.
        """
        return _STORED.validate_python(stored or {})

    @classmethod
    def known(cls, stored: dict[str, Any] | None, fingerprint: str | None) -> "Access":
        """Return what is known of these credentials: nothing, if it was learnt with others."""
        access = cls.from_json(stored)
        if access.fingerprint not in (None, fingerprint):
            access = cls()
        return replace(access, fingerprint=fingerprint)


_STORED = TypeAdapter(Access)


def probe_again_at(now: datetime) -> datetime:
    """Return when to try the whole account again with credentials that reach only their own extension."""
    return now + _PROBE_AGAIN


def lacks_company(used: Access, error: RingCentralError | None) -> bool:
    """Whether the error says that these credentials cannot read the whole account."""
    is_reading = isinstance(error, PermissionMissing) and error.permission in CALL_READING
    return is_reading and error is not None and error.code in COMPANY_CODES and used.level is Level.ACCOUNT


def after_response(
    before: Access,
    used: Access,
    error: PermissionMissing | CredentialsRefused | None,
    owner: str | None,
    kind: str,
    now: datetime,
) -> Access:
    """Return the access after a response to a request made with the access `used`; `before` is what is
    stored.
    """
    if error is None:
        return _healed(before, used)
    problem = {**(describe(error, kind) or {}), "since": now.isoformat()}
    refused = {**problem, "until": probe_again_at(now).isoformat()}
    if isinstance(error, PermissionMissing) and error.permission not in CALL_READING:
        after = replace(before, lacks={**before.lacks, str(error.permission): refused})
    elif isinstance(error, PermissionMissing) and lacks_company(used, error):
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


def _healed(before: Access, used: Access) -> Access:
    """Forget what cannot be true any more, now that calls were read with the access `used`."""
    over = CALL_READING if used.level is Level.ACCOUNT else frozenset()
    return replace(
        before,
        level=used.level,
        extension_id=None if used.level is Level.ACCOUNT else used.extension_id,
        problem=None,
        probe_at=None if used.level is Level.ACCOUNT else before.probe_at,
        lacks={name: refused for name, refused in before.lacks.items() if name not in over},
    )


def for_account(before: Access, error: RingCentralError | None, now: datetime) -> Access:
    """Return the access after a response that shows the account of the credentials; `error`: it is another
    one.
    """
    lacks = {name: refused for name, refused in before.lacks.items() if name != AccessReason.WRONG_ACCOUNT}
    if error is not None:
        lacks[AccessReason.WRONG_ACCOUNT] = {**(describe(error) or {}), "since": now.isoformat()}
    return _since_when(replace(before, lacks=lacks), before)


def without_problem(access: Access) -> Access:
    is_whole = access.level is Level.ACCOUNT
    return replace(access, problem=None, probe_at=None if is_whole else access.probe_at)


def _since_when(access: Access, before: Access) -> Access:
    """Keep the time at which a continuing problem began."""
    lacks = {name: _as_of(refused, before.lacks.get(name)) for name, refused in access.lacks.items()}
    return replace(access, problem=access.problem and _as_of(access.problem, before.problem), lacks=lacks)


def visible(access: Access) -> tuple[object, ...]:
    """Return what operators see of an access. When it is tried again does not count."""
    return access.level, access.extension_id, access.problem, sorted(access.lacks)


def _as_of(new: dict[str, Any], old: Mapping[str, Any] | None) -> dict[str, Any]:
    goes_on = old is not None and old.get("code") == new.get("code") and old.get("since")
    return {**new, "since": old["since"]} if old is not None and goes_on else new
