"""The state of the inbox and of the subscriptions, as plain values. No I/O."""

from dataclasses import dataclass
from datetime import datetime

MOST_COUNTED = 10_001
"""Backlogs are counted up to here: beyond it the exact figure does not matter, and counting would be slow."""

ACTIVE = "active"


@dataclass(frozen=True, slots=True)
class InboxState:
    """Deliveries that are stored and not folded into calls yet (`waiting` counts up to MOST_COUNTED).

    `ever` says whether any delivery is stored at all.
    """

    waiting: int = 0
    oldest_seconds: float | None = None
    ever: bool = False

    @property
    def number(self) -> str:
        """How many are waiting, as far as they were counted."""
        return str(self.waiting) if self.waiting < MOST_COUNTED else f"{MOST_COUNTED - 1} or more"


def is_backlog(inbox: InboxState, window_seconds: float) -> bool:
    """Whether the end of a call may become known too late to look the call up within its window."""
    oldest = inbox.oldest_seconds or 0.0
    return inbox.waiting > 0 and (oldest > window_seconds / 2 or inbox.waiting >= MOST_COUNTED)


@dataclass(frozen=True, slots=True)
class SubscriptionState:
    """A webhook subscription. `status` is ours where we know better than RingCentral's last response.

    `lost_at` is since when it is known to deliver nothing, None while it delivers.
    """

    account_id: str
    status: str
    expires_at: datetime | None
    checked_at: datetime
    disabled_filters: tuple[str, ...] = ()
    name: str = "own"
    lost_at: datetime | None = None

    @property
    def is_active(self) -> bool:
        return self.status.lower() == ACTIVE


def current_status(
    reported: str, expires_at: datetime | None, refused_since: datetime | None, now: datetime
) -> tuple[str, datetime | None]:
    """Return the status of a subscription and, if known, since when it delivers nothing."""
    if refused_since is not None:
        return "Refused", refused_since
    if reported.lower() == ACTIVE and expires_at is not None and expires_at <= now:
        return "Expired", expires_at
    return reported, None
