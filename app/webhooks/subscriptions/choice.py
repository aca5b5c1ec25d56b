"""Which subscription to keep, change or create, and why the known one delivers no more. Pure."""

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from app.enrichment.gaps import Reason
from app.errors import RateLimited, RingCentralError
from app.ringcentral.models import Subscription
from app.ringcentral.protocol.subscriptions import has_same_filters
from app.work.backoff import Backoff

SHORTEST_PAUSE_SECONDS = 1.0
_BACKOFF = Backoff(first=2.0, longest=120.0)
_ASK_REFUSED_AGAIN = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The subscription as it should be."""

    address: str
    filters: tuple[str, ...]
    token: str
    expires_in_seconds: int


@dataclass(frozen=True, slots=True)
class Keep:
    """This one is right. `surplus` are ours too and would deliver everything again."""

    subscription: Subscription
    surplus: tuple[Subscription, ...] = ()


@dataclass(frozen=True, slots=True)
class Update:
    """This one is ours and alive, but has other filters."""

    subscription: Subscription
    surplus: tuple[Subscription, ...] = ()


@dataclass(frozen=True, slots=True)
class Create:
    """No subscription delivers. `surplus` are ours and do not."""

    surplus: tuple[Subscription, ...] = ()


Choice = Keep | Update | Create


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownSubscription:
    """What was stored about a subscription when it was last known to deliver."""

    subscription_id: str
    checked_at: datetime
    expires_at: datetime | None = None
    renew_at: datetime | None = None
    token_digest: str | None = None
    refused_since: datetime | None = None

    def has_other_secret(self, token: str) -> bool:
        """Whether its deliveries carry a secret that is not ours: it was adopted, or ours was changed."""
        return self.refused_since is not None or self.token_digest not in (None, digest_of(token))


def digest_of(token: str) -> str:
    """Return a name for a secret that does not reveal it."""
    return hashlib.sha256(token.encode()).hexdigest()


def choose(
    found: Sequence[Subscription],
    wanted: Wanted,
    now: datetime,
    own_extension_id: str | None,
    useless: Collection[str] = (),
) -> Choice:
    """Decide what to do, given all subscriptions of this user and app.

    Those with other addresses are not ours.

    `useless` are ids of subscriptions that deliver with another secret.
    """
    ours = [item for item in found if _is_ours(item, wanted)]
    alive = [item for item in ours if item.is_active and item.id not in useless and _is_alive(item, now)]
    alive.sort(key=lambda item: (item.expiration_time or now, item.id), reverse=True)
    fitting = [item for item in alive if _has_wanted_filters(item, wanted, own_extension_id)]
    best = next(iter(fitting or alive), None)
    surplus = tuple(item for item in ours if item is not best)
    if best is None:
        return Create(surplus)
    return Keep(best, surplus) if fitting else Update(best, surplus)


def find_outage(
    known: KnownSubscription | None, found: Sequence[Subscription], wanted: Wanted, now: datetime
) -> tuple[Reason, datetime] | None:
    """Return why the known subscription delivers no more and since when; None when it does, or none is known.

    RingCentral may list a subscription that was not known before. It may have begun to deliver at any time.
    """
    if known is None:
        return None
    if known.has_other_secret(wanted.token):
        return Reason.REFUSED, known.refused_since or known.checked_at
    ours = (item for item in found if _is_ours(item, wanted))
    same = next((item for item in ours if item.id == known.subscription_id), None)
    if same is not None and not same.is_active:
        return Reason.SUSPENDED, known.checked_at
    if same is not None and _is_alive(same, now):
        return None
    if known.expires_at is not None and known.expires_at <= now:
        return Reason.EXPIRED, max(known.checked_at, known.expires_at)
    return Reason.MISSING, known.checked_at


def of_extension(filters: Sequence[str]) -> tuple[str, ...]:
    """Return the filters for a user without account-wide rights: those of the user's own extension."""
    return tuple(
        item
        if "/extension/" in item
        else item.replace("/account/~/telephony/", "/account/~/extension/~/telephony/").replace(
            "/account/~/presence", "/account/~/extension/~/presence"
        )
        for item in filters
    )


def _is_ours(item: Subscription, wanted: Wanted) -> bool:
    return item.is_webhook and (item.address or "").rstrip("/") == wanted.address


def _is_alive(item: Subscription, now: datetime) -> bool:
    return item.expiration_time is None or item.expiration_time > now


def _has_wanted_filters(item: Subscription, wanted: Wanted, own_extension_id: str | None) -> bool:
    refused = {refused.filter for refused in item.disabled_filters}
    return has_same_filters(wanted.filters, {*item.event_filters, *refused}, own_extension_id)


def is_due(subscription: Subscription, known: KnownSubscription | None, now: datetime) -> bool:
    """Whether it is time to renew a subscription."""
    if known is not None and known.subscription_id == subscription.id and known.renew_at is not None:
        return known.renew_at <= now
    # Adopted: its full lifetime is not known. Renew it once, then it is.
    return subscription.expiration_time is not None


def renew_at(subscription: Subscription, now: datetime) -> datetime | None:
    """Return the middle of the remaining lifetime; None when no end is given.

    Sooner where RingCentral refused some of the filters: the permission may have been granted since.
    """
    half_way = subscription.expiration_time and now + (subscription.expiration_time - now) / 2
    if not subscription.disabled_filters:
        return half_way
    return min(half_way or now + _ASK_REFUSED_AGAIN, now + _ASK_REFUSED_AGAIN)


def pause_after(failures: int, error: RingCentralError, now: datetime) -> float:
    """Return in how many seconds to try again after `failures` in a row, the last one being `error`."""
    if isinstance(error, RateLimited):
        return max(SHORTEST_PAUSE_SECONDS, (error.retry_at - now).total_seconds())
    return _BACKOFF.pause(failures)


def describe_disabled(subscription: Subscription) -> dict[str, str | None] | None:
    """Return {code, detail} when RingCentral has left filters out of a subscription."""
    if not subscription.disabled_filters:
        return None
    words = "; ".join(
        f"{item.filter}: {item.message or item.reason}" for item in subscription.disabled_filters
    )
    return {"code": "disabled-filters", "detail": f"RingCentral refuses some event filters: {words}"}
