"""What replicas share about one user's credentials: the token, and the last refusal."""

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from pydantic import AwareDatetime, TypeAdapter, ValidationError

from app.errors import RingCentralUnreachable
from app.ringcentral.models import Token

FOREVER = timedelta(days=3650)
"""Longer than any credentials last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredToken:
    """A token as replicas share it. Times are aware UTC; `issued_at` is when its request was sent.

    `fingerprint` identifies the credentials that it was bought with: other credentials do not use it. Only a
    sign-in has a `refresh_token`, which buys the next pair, once.
    """

    access_token: str
    issued_at: AwareDatetime
    expires_at: AwareDatetime
    fingerprint: str
    owner_id: str | None = None
    scopes: tuple[str, ...] = ()
    refresh_token: str | None = None
    refresh_expires_at: AwareDatetime | None = None

    def __repr__(self) -> str:
        return f"StoredToken(owner_id={self.owner_id!r}, expires_at={self.expires_at.isoformat()})"

    def dump(self) -> bytes:
        """Return what `load_token` reads. It contains the secret: encrypt it."""
        return _TOKEN.dump_json(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """The token endpoint refused the credentials with this fingerprint; nobody retries before `until`.

    `since` is the time of the first refusal in a row, `at` that of the last.
    """

    detail: str
    until: AwareDatetime
    fingerprint: str
    status: int | None = None
    code: str | None = None
    since: AwareDatetime | None = None
    at: AwareDatetime | None = None

    def dump(self) -> dict[str, Any]:
        """Return what `load_refusal` reads: a JSON object without secrets."""
        fields: dict[str, Any] = _REFUSAL.dump_python(self, mode="json")
        return fields


class TokenUnreadable(RingCentralUnreachable):
    """There is a token, but this process does not have the key to it. Another one may."""


_TOKEN = TypeAdapter(StoredToken)
_REFUSAL = TypeAdapter(Refusal)


def load_token(dumped: bytes) -> StoredToken | None:
    """Read what `StoredToken.dump` wrote; None for anything else."""
    try:
        return _TOKEN.validate_json(dumped)
    except ValidationError:
        return None


def load_refusal(fields: Any) -> Refusal | None:
    """Read what `Refusal.dump` wrote; None for anything else."""
    try:
        return _REFUSAL.validate_python(fields)
    except ValidationError:
        return None


def stored_token(token: Token, fingerprint: str, sent_at: datetime) -> StoredToken:
    """Return what is kept of a token response; `sent_at` is when its request was sent."""
    refresh_seconds = token.refresh_expires_in_seconds
    return StoredToken(
        access_token=token.access_token,
        issued_at=sent_at,
        expires_at=sent_at + timedelta(seconds=min(token.expires_in_seconds, 86_400.0)),
        fingerprint=fingerprint,
        owner_id=token.owner_id,
        scopes=tuple(sorted(token.scopes)),
        refresh_token=token.refresh_token,
        refresh_expires_at=(
            sent_at + min(timedelta(seconds=min(refresh_seconds, 1e9)), FOREVER)
            if token.refresh_token and refresh_seconds
            else None
        ),
    )


def fingerprint_of(*credentials: str) -> str:
    """Return a digest that identifies credentials without revealing them."""
    return hashlib.sha256("\0".join(credentials).encode()).hexdigest()[:24]
