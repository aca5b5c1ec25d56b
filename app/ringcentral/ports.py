"""What the client needs from the rest of the house, as interfaces.

The client knows no database: whoever builds it passes a budget and a token store in.
"""

import hashlib
import json
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict, dataclass, field
from datetime import datetime
from enum import IntEnum, StrEnum
from typing import Any, Protocol

from app.errors import RingCentralUnreachable
from app.ringcentral.models import read_text, read_time
from app.ringcentral.wire import RateHeaders


class Priority(IntEnum):
    """Who goes first when the budget is short; the smaller number does."""

    POLL = 0
    RECONCILE = 1
    METADATA = 2
    CONTENT = 3
    READER = 4
    """Lists and records that somebody asked us for; they share what is left with CONTENT."""

    GLANCE = 5
    """What can be done without: like READER, but nobody comes back for it, so nothing is kept free for it."""


class Silence(StrEnum):
    """How far a 429 reaches (guide "Rate limits")."""

    BUCKET = "bucket"
    """Every request of this group by this user and app."""

    EVERYTHING = "everything"
    """The global limit (CMN-310): everything from this address, whatever its group."""

    REQUEST = "request"
    """An identical request is running (CMN-304): this one alone, no penalty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Penalty:
    """Nothing within `reach` may be sent before `until` (aware UTC): a request meanwhile starts the penalty anew."""

    reach: Silence
    until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one slot.

    `was_sent` is False only if no byte can have reached RingCentral, so that the slot may be given back.
    `status` is None when no answer came: timeout, broken connection, cancellation; such a request has to be
    counted, it may have been seen. `at` (aware UTC) is when this was known.
    """

    was_sent: bool
    at: datetime
    status: int | None = None
    rates: RateHeaders = field(default_factory=RateHeaders)
    penalty: Penalty | None = None


class RateBudget(Protocol):
    """The rate buckets, shared by all replicas."""

    async def acquire(self, group: str, priority: Priority, deadline: datetime | None) -> Any:
        """Wait for permission to send one request of `group` now; return a slot for `settle`.

        Raises errors.RateLimited, with `retry_at`, when there will be none before `deadline` (aware UTC; None:
        decide yourself how long is too long).
        """
        ...

    async def settle(self, slot: Any, outcome: Outcome) -> None:
        """Say what became of the slot. Called exactly once for each, also on errors and cancellation."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredToken:
    """A token as replicas share it. Times are aware UTC; `issued_at` is when it was asked for.

    `fingerprint` names the credentials that bought it: a token of other credentials is not used. `refresh_token`
    buys the next pair, once; only whoever signed in has one.
    """

    access_token: str
    issued_at: datetime
    expires_at: datetime
    fingerprint: str
    owner_id: str | None = None
    scopes: Sequence[str] = ()
    refresh_token: str | None = None
    refresh_expires_at: datetime | None = None

    def __repr__(self) -> str:
        return f"StoredToken(owner_id={self.owner_id!r}, expires_at={self.expires_at.isoformat()})"

    def dump(self) -> bytes:
        """Return what `load_token` reads. It holds the secret: encrypt it."""
        fields = asdict(self) | {
            "issued_at": self.issued_at.isoformat(),
            "expires_at": self.expires_at.isoformat(),
            "scopes": list(self.scopes),
            "refresh_expires_at": self.refresh_expires_at and self.refresh_expires_at.isoformat(),
        }
        return json.dumps(fields).encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """The token endpoint said no to the credentials with this fingerprint; nobody asks again before `until`.

    `since` is when it did so first, of all times without another answer between, `at` when it did so last.
    """

    detail: str
    until: datetime
    fingerprint: str
    status: int | None = None
    code: str | None = None
    since: datetime | None = None
    at: datetime | None = None

    def dump(self) -> dict[str, Any]:
        """Return what `load_refusal` reads, as a JSON object without secrets."""
        times = {
            "until": self.until.isoformat(),
            "since": self.since and self.since.isoformat(),
            "at": self.at and self.at.isoformat(),
        }
        return asdict(self) | times


class TokenUnreadable(RingCentralUnreachable):
    """There is a token, and this process has not the key to it; another one may."""


class TokenStore(Protocol):
    """Where all replicas keep the one token."""

    async def load(self) -> StoredToken | None:
        """Return the newest token that was saved. Raises TokenUnreadable for one that another key encrypted."""
        ...

    async def save(self, token: StoredToken) -> None:
        """Keep the token for all replicas; a refusal is forgotten.

        Raises LeaseLost within `lock` when another replica has taken the lock over: nothing was kept.
        """
        ...

    async def load_refusal(self) -> Refusal | None:
        """Return the last refusal, unless a token was saved since."""
        ...

    async def save_refusal(self, refusal: Refusal) -> None:
        """Keep the refusal for all replicas. Raises LeaseLost as `save` does."""
        ...

    def lock(self) -> AbstractAsyncContextManager[None]:
        """Keep every other replica from asking for a token.

        It is held across network calls, up to `AuthConfig.longest_grant_seconds`: a lease, not a transaction.
        """
        ...


def load_token(dumped: bytes) -> StoredToken | None:
    """Read what `StoredToken.dump` wrote; anything else is None."""
    try:
        fields = json.loads(dumped)
    except ValueError:
        return None
    if not isinstance(fields, dict):
        return None
    issued_at, expires_at = read_time(fields.get("issued_at")), read_time(fields.get("expires_at"))
    access_token, fingerprint = fields.get("access_token"), read_text(fields.get("fingerprint"))
    if not isinstance(access_token, str) or fingerprint is None or issued_at is None or expires_at is None:
        return None
    scopes, refresh_token = fields.get("scopes"), fields.get("refresh_token")
    return StoredToken(
        access_token=access_token,
        issued_at=issued_at,
        expires_at=expires_at,
        fingerprint=fingerprint,
        owner_id=read_text(fields.get("owner_id")),
        scopes=tuple(map(str, scopes)) if isinstance(scopes, list) else (),
        refresh_token=refresh_token if isinstance(refresh_token, str) else None,
        refresh_expires_at=read_time(fields.get("refresh_expires_at")),
    )


def load_refusal(fields: Any) -> Refusal | None:
    """Read what `Refusal.dump` wrote; anything else is None."""
    if not isinstance(fields, dict):
        return None
    detail, fingerprint = read_text(fields.get("detail")), read_text(fields.get("fingerprint"))
    until, status = read_time(fields.get("until")), fields.get("status")
    if detail is None or fingerprint is None or until is None:
        return None
    return Refusal(
        detail=detail,
        until=until,
        fingerprint=fingerprint,
        status=status if isinstance(status, int) else None,
        code=read_text(fields.get("code")),
        since=read_time(fields.get("since")),
        at=read_time(fields.get("at")),
    )


def fingerprint_of(*credentials: str) -> str:
    """Name credentials without telling them."""
    return hashlib.sha256("\0".join(credentials).encode()).hexdigest()[:24]
