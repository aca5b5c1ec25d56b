"""Responses of the token endpoint. Pure."""

import re
from dataclasses import dataclass
from typing import Any

from app.ids import ExtensionId, as_text
from app.ringcentral.models.fields import as_object, optional, read_lifetime, read_text

_SENDABLE = re.compile(r"[\x21-\x7e]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A response of the token endpoint. Secrets do not appear in its repr."""

    access_token: str
    expires_in_seconds: float
    scopes: frozenset[str] = frozenset()
    owner_id: ExtensionId | None = None
    refresh_token: str | None = None
    refresh_expires_in_seconds: float | None = None

    def __repr__(self) -> str:
        return f"Token(owner_id={self.owner_id!r}, expires_in_seconds={self.expires_in_seconds})"


def read_token(value: Any) -> Token | None:
    """Read a token; None if no header can carry it, or without a lifetime."""
    fields = as_object(value)
    access_token, lifetime = fields.get("access_token"), read_lifetime(fields.get("expires_in"))
    if not isinstance(access_token, str) or not _SENDABLE.fullmatch(access_token) or not lifetime:
        return None
    refresh_token = fields.get("refresh_token")
    may_refresh = isinstance(refresh_token, str) and _SENDABLE.fullmatch(refresh_token) is not None
    return Token(
        access_token=access_token,
        expires_in_seconds=lifetime,
        scopes=frozenset((read_text(fields.get("scope")) or "").split()),
        owner_id=optional(ExtensionId, as_text(fields.get("owner_id"))),
        refresh_token=refresh_token if may_refresh else None,
        refresh_expires_in_seconds=read_lifetime(fields.get("refresh_token_expires_in")),
    )
