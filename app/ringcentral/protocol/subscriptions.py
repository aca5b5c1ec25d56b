"""Webhook subscriptions: their requests, their responses, and how event filters are compared. Pure."""

import re
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl, urlencode

from app.ringcentral.models import Subscription, read_subscription
from app.ringcentral.protocol.requests import API, Secret, get, path_segment
from app.ringcentral.protocol.responses import read_records, read_with
from app.ringcentral.wire import LIGHT, MEDIUM, Request, Response

SUBSCRIPTIONS = f"{API}/subscription"


def list_subscriptions() -> Request:
    """Request all subscriptions of this user and app, of every transport."""
    return get(SUBSCRIPTIONS, SUBSCRIPTIONS, LIGHT)


def create_subscription(
    event_filters: Sequence[str], address: str, verification_token: str, expires_in_seconds: int
) -> Request:
    """Request a webhook subscription. RingCentral responds only after a handshake with `address`.

    Not repeatable: if the response is lost, the subscription may exist, and two deliver every event twice.
    """
    delivery = {"transportType": "WebHook", "address": address, "verificationToken": verification_token}
    return Request(
        method="POST",
        url=SUBSCRIPTIONS,
        route=SUBSCRIPTIONS,
        group=MEDIUM,
        json=Secret(
            {"eventFilters": list(event_filters), "deliveryMode": delivery, "expiresIn": expires_in_seconds}
        ),
        is_repeatable=False,
        is_slow=True,
    )


def renew_subscription(subscription_id: str) -> Request:
    """Request a new lifetime. The response says whether it is the old one or the default."""
    return _change("POST", subscription_id, "/renew", LIGHT)


def update_subscription(
    subscription_id: str, event_filters: Sequence[str], expires_in_seconds: int | None = None
) -> Request:
    """Request other filters and, as with every update, a new lifetime. The address cannot be changed."""
    body: dict[str, Any] = {"eventFilters": list(event_filters)}
    if expires_in_seconds is not None:
        body["expiresIn"] = expires_in_seconds
    return replace(_change("PUT", subscription_id, "", MEDIUM), json=body)


def delete_subscription(subscription_id: str) -> Request:
    return replace(_change("DELETE", subscription_id, "", MEDIUM), is_slow=False)


def decode_subscription(response: Response) -> Subscription:
    return read_with(response, read_subscription, "the subscription")


def decode_subscriptions(response: Response) -> tuple[Subscription, ...]:
    """Read the list, all transports included. Entries without an id are left out."""
    _, records = read_records(response)
    return tuple(found for found in map(read_subscription, records) if found)


def normal_filter(event_filter: str, own_extension_id: str | None = None) -> str:
    """Return an event filter in the form in which we request it: RingCentral returns it with `~` expanded to
    ids.

    The account's id becomes `~`, and so do the subscription's id in a reminder filter and `own_extension_id`
    (the token's owner). Query parameters are sorted.
    """
    path, _, query = event_filter.strip().partition("?")
    path = re.sub(r"/account/[0-9]+(?=/|$)", "/account/~", path.rstrip("/"))
    path = re.sub(r"(?<=/restapi/v1\.0/subscription/)[^/]+$", "~", path)
    if own_extension_id:
        path = re.sub(rf"/extension/{re.escape(own_extension_id)}(?=/|$)", "/extension/~", path)
    ordered = urlencode(sorted(parse_qsl(query, keep_blank_values=True)), safe="~+:")
    return f"{path}?{ordered}" if ordered else path


def has_same_filters(
    requested: Collection[str], returned: Collection[str], own_extension_id: str | None = None
) -> bool:
    """Whether two collections of event filters mean the same, in any order and spelling."""
    ours, theirs = (
        {normal_filter(item, own_extension_id) for item in side} for side in (requested, returned)
    )
    return ours == theirs


def _change(method: str, subscription_id: str, tail: str, group: str) -> Request:
    """Change a subscription. It can take long: RingCentral may repeat the handshake first."""
    return Request(
        method=method,
        url=f"{SUBSCRIPTIONS}/{path_segment(subscription_id)}{tail}",
        route=f"{SUBSCRIPTIONS}/{{subscriptionId}}{tail}",
        group=group,
        is_slow=True,
    )
