"""Webhook subscriptions as RingCentral describes them. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from app.ids import as_text
from app.ringcentral.models.fields import as_object, as_objects, as_texts, read_seconds, read_text, read_time
from app.values import widths


@dataclass(frozen=True, slots=True, kw_only=True)
class DisabledFilter:
    """An event filter that the user may not have; the subscription works without it."""

    filter: str
    reason: str | None = None
    message: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """A subscription in its current state. RingCentral returns `event_filters` with `~` expanded to ids.

    `expiration_time` is authoritative, whatever lifetime was requested. The verification token is never
    returned.
    """

    id: str
    status: str | None = None
    event_filters: tuple[str, ...] = ()
    disabled_filters: tuple[DisabledFilter, ...] = ()
    address: str | None = None
    transport_type: str | None = None
    creation_time: datetime | None = None
    expiration_time: datetime | None = None
    expires_in_seconds: float | None = None
    blacklisted_at: datetime | None = None
    blacklisted_reason: str | None = None
    raw: Mapping[str, Any]

    @property
    def is_active(self) -> bool:
        return (self.status or "").casefold() == "active"

    @property
    def is_webhook(self) -> bool:
        return (self.transport_type or "").casefold() == "webhook"


def read_subscription(value: Any) -> Subscription | None:
    """Read a subscription; None without an id."""
    fields = as_object(value)
    subscription_id = as_text(fields.get("id"))
    if subscription_id is None:
        return None
    delivery, blacklisted = as_object(fields.get("deliveryMode")), as_object(fields.get("blacklistedData"))
    return Subscription(
        id=subscription_id,
        status=read_text(fields.get("status"), widths.SUBSCRIPTION_STATUS),
        event_filters=as_texts(fields.get("eventFilters")),
        disabled_filters=_disabled_filters(fields.get("disabledFilters")),
        address=read_text(delivery.get("address")),
        transport_type=read_text(delivery.get("transportType")),
        creation_time=read_time(fields.get("creationTime")),
        expiration_time=read_time(fields.get("expirationTime")),
        expires_in_seconds=read_seconds(fields.get("expiresIn")),
        blacklisted_at=read_time(blacklisted.get("blacklistedAt")),
        blacklisted_reason=read_text(blacklisted.get("reason")),
        raw=fields,
    )


def _disabled_filters(value: Any) -> tuple[DisabledFilter, ...]:
    return tuple(
        DisabledFilter(
            filter=read_text(item.get("filter")) or "?",
            reason=read_text(item.get("reason")),
            message=read_text(item.get("message")),
        )
        for item in as_objects(value)
    )
