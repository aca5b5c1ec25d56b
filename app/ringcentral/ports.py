"""What the client needs from the rest of the service, as interfaces.

The client knows no database: its maker passes in a rate budget and a token store.
"""

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum, StrEnum
from typing import Protocol

from app.ringcentral.stored_tokens import Refusal, StoredToken
from app.ringcentral.wire import RateHeaders


class Priority(IntEnum):
    """Who goes first when the budget is short: smaller numbers before larger ones."""

    POLL = 0
    """Active Calls, which forgets a call after two minutes."""

    RECONCILE = 1
    """The Call Log, its change feed, bulk reads."""

    METADATA = 2
    """Whether a recording or insights are ready."""

    CONTENT = 3
    """The audio of a recording that somebody plays."""

    READER = 4
    """Lists and records that a reader of our API requested. They share what is left with CONTENT."""

    GLANCE = 5
    """Like READER, but the request can be skipped: nobody comes back for it, so nothing is reserved for it.
    """


class Silence(StrEnum):
    """How far a 429 reaches (guide "Rate limits")."""

    BUCKET = "bucket"
    """Every request of this group by this user and app."""

    EVERYTHING = "everything"
    """The global limit (CMN-310): every request from this IP address, in any group."""

    REQUEST = "request"
    """An identical request is running (CMN-304): only this request, without a penalty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Penalty:
    """Nothing within `reach` may be sent before `until` (aware UTC): a request until then restarts the
    penalty.
    """

    reach: Silence
    until: datetime


@dataclass(frozen=True, slots=True)
class RateSlot:
    """Permission to send one request of `group`; `token` identifies it in its bucket."""

    group: str
    token: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one slot.

    `was_sent` is False only if no byte can have reached RingCentral, so the slot may be given back. `status`
    is None if no response came (timeout, broken connection, cancellation): RingCentral may have counted such
    a request, so we do. `at` (aware UTC) is when this was known.
    """

    was_sent: bool
    at: datetime
    status: int | None = None
    rates: RateHeaders = field(default_factory=RateHeaders)
    penalty: Penalty | None = None


class RateBudget(Protocol):
    """The rate buckets, shared by all replicas."""

    async def acquire(self, group: str, priority: Priority, deadline: datetime | None) -> RateSlot:
        """Wait until one request of `group` may be sent; return a slot for `settle`.

        Raises RateLimited, with `retry_at`, if none will be free before `deadline` (aware UTC). None leaves
        the longest wait to the budget.
        """
        ...

    async def settle(self, slot: RateSlot, outcome: Outcome) -> None:
        """Report the outcome of a slot. Called exactly once for each, also on errors and cancellation."""
        ...


class TokenStore(Protocol):
    """Where all replicas keep the one token."""

    async def load(self) -> StoredToken | None:
        """Return the newest token that was saved. Raises TokenUnreadable if another key encrypted it."""
        ...

    async def save(self, token: StoredToken) -> None:
        """Save the token for all replicas, and clear the refusal.

        Raises LeaseLost within `lock` if another replica has taken the lock over: nothing was saved.
        """
        ...

    async def load_refusal(self) -> Refusal | None:
        """Return the last refusal, unless a token was saved since."""
        ...

    async def save_refusal(self, refusal: Refusal) -> None:
        """Save the refusal for all replicas. Raises LeaseLost as `save` does."""
        ...

    def lock(self) -> AbstractAsyncContextManager[None]:
        """Prevent every other replica from requesting a token.

        It is held across network calls, up to `AuthConfig.longest_grant_seconds`: a lease, not a transaction.
        """
        ...
