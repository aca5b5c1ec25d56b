"""What the service stands on, as plain values: the inbox and the subscriptions. No I/O."""

from dataclasses import dataclass
from datetime import datetime

MOST_COUNTED = 10_001
"""Backlogs are counted up to here: beyond it the figure no longer matters, and counting would cost."""

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
        """How many wait, as far as they were counted."""
        return str(self.waiting) if self.waiting < MOST_COUNTED else f"{MOST_COUNTED - 1} and more"


def is_backlog(inbox: InboxState, window_seconds: float) -> bool:
    """Whether so much waits that an end may become known too late to look the call up in time."""
    oldest = inbox.oldest_seconds or 0.0
    return inbox.waiting > 0 and (oldest > window_seconds / 2 or inbox.waiting >= MOST_COUNTED)


@dataclass(frozen=True, slots=True)
class SubscriptionState:
    """A webhook subscription as it stands: `status` is ours where we know better than RingCentral's last word.

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


def status_of(
    told: str, expires_at: datetime | None, refused_since: datetime | None, now: datetime
) -> tuple[str, datetime | None]:
    """Return how a subscription stands and, where that follows from a moment, since when it delivers nothing."""
    if refused_since is not None:
        return "Refused", refused_since
    if told.lower() == ACTIVE and expires_at is not None and expires_at <= now:
        return "Expired", expires_at
    return told, None
