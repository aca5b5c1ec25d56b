"""Request handlers of the subscriptions."""

import secrets
from datetime import timedelta
from urllib.parse import urlsplit

from starlette.responses import JSONResponse, Response

from app.simulator.api.pipeline import ApiRequest, permissions_of, read_object, scopes_of
from app.simulator.platform.errors import Refused, invalid, lacks_scope
from app.simulator.platform.subscriptions import (
    EventFilter,
    Subscription,
    lifetime_seconds,
    read_filter,
    read_reminder,
)
from app.simulator.scripting.company import READ_COMPANY_CALL_LOG
from app.simulator.scripting.model import Json
from app.simulator.simulator import Simulator


async def create_subscription(simulator: Simulator, request: ApiRequest) -> Response:
    body = await read_object(request.http)
    delivery = body.get("deliveryMode")
    if not isinstance(delivery, dict) or delivery.get("transportType") != "WebHook":
        raise invalid("deliveryMode.transportType")
    address = _checked_address(delivery.get("address"), require_https=simulator.faults.require_https)
    token = _checked_token(delivery.get("verificationToken"))
    filters, disabled = _sort_filters(simulator, request, body.get("eventFilters"))
    lifetime = lifetime_seconds(
        body.get("expiresIn"), simulator.clock.speed, simulator.faults.subscription_max_seconds
    )
    reminder = read_reminder(filters, lifetime, simulator.clock.speed)
    owner = request.session.user.extension_id
    if len(simulator.listed_subscriptions(owner)) >= simulator.faults.subscription_limit:
        raise Refused(403, "SUB-505", "Too many subscriptions")
    await simulator.webhooks.perform_handshake(address)
    # The handshake can take seconds, and the lifetime starts after it.
    now = simulator.now()
    subscription = Subscription(
        id=_guid(),
        owner_id=owner,
        address=address,
        token=token,
        filters=filters,
        disabled=disabled,
        created_at=now,
        expires_at=now + timedelta(seconds=lifetime),
        reminder=reminder,
    )
    simulator.add_subscription(subscription)
    return JSONResponse(subscription.show(simulator.links.platform, now))


def _guid() -> str:
    text = secrets.token_hex(16)
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


def _checked_address(address: object, *, require_https: bool) -> str:
    if not isinstance(address, str) or not _is_plain(address):
        raise invalid("deliveryMode.address")
    try:
        parts = urlsplit(address)
        is_complete = bool(parts.hostname) and parts.port != 0
    except ValueError:
        raise invalid("deliveryMode.address") from None
    if not is_complete or parts.scheme not in ("http", "https"):
        raise invalid("deliveryMode.address")
    if require_https and parts.scheme != "https":
        raise Refused(400, "SUB-523", "WebHook address must use https")
    return address


def _checked_token(token: object) -> str | None:
    """Return the secret if a header can contain it; raises Refused."""
    if token is None or (isinstance(token, str) and token.isascii() and token.isprintable()):
        return token
    raise invalid("deliveryMode.verificationToken")


def _is_plain(text: str) -> bool:
    return text.isascii() and text.isprintable() and " " not in text


def _sort_filters(
    simulator: Simulator, request: ApiRequest, asked: object
) -> tuple[list[EventFilter], list[Json]]:
    """Split the filters into granted and disabled ones; raises Refused if none is granted."""
    if not isinstance(asked, list) or not asked:
        raise Refused(400, "SUB-508", "Event filters are not valid: []", parameter="eventFilters")
    own = request.session.user.extension_id
    granted: list[EventFilter] = []
    refusals: list[tuple[EventFilter, Refused]] = []
    for text in asked:
        one = read_filter(text, simulator.company.account_id, own)
        refusal = _filter_refusal(simulator, request, one)
        if refusal is None:
            granted.append(one)
        else:
            refusals.append((one, refusal))
    # A reminder alone delivers no events, so it counts as nothing granted.
    if not any(one.kind != "reminder" for one in granted):
        raise refusals[0][1] if refusals else Refused(400, "SUB-508", "Event filters are not valid: []")
    disabled = [
        {"filter": one.text, "reason": refusal.code, "message": refusal.message} for one, refusal in refusals
    ]
    return granted, disabled


def _filter_refusal(simulator: Simulator, request: ApiRequest, one: EventFilter) -> Refused | None:
    scopes = scopes_of(simulator, request.session)
    if "SubscriptionWebhook" not in scopes:
        return lacks_scope("SubscriptionWebhook")
    if one.scope is not None and one.scope not in scopes:
        return lacks_scope(one.scope)
    if one.kind != "reminder" and one.account_id not in ("~", simulator.company.account_id):
        return Refused(403, "SUB-406", "Events of another account are not allowed")
    foreign = one.extension_id not in (None, request.session.user.extension_id)
    if foreign and READ_COMPANY_CALL_LOG not in permissions_of(simulator, request.session):
        return Refused(403, "SUB-403", "Events of another extension are not allowed")
    if one.kind == "insights" and not simulator.faults.insights_licensed:
        return Refused(403, "SUB-402", "The feature is not available")
    if any(text in one.text for text in simulator.faults.disabled_filters):
        return Refused(403, "SUB-402", "The feature is not available")
    return None


def _subscription(simulator: Simulator, request: ApiRequest) -> Subscription:
    name = request.path["subscription"]
    for one in simulator.listed_subscriptions(request.session.user.extension_id):
        if one.id == name:
            return one
    raise Refused(404, "SUB-507", "Subscription is expired or unknown", parameter="subscriptionId")


async def list_subscriptions(simulator: Simulator, request: ApiRequest) -> Response:
    platform = simulator.links.platform
    found = simulator.listed_subscriptions(request.session.user.extension_id)
    shown = [one.show(platform, request.now) for one in found]
    return JSONResponse({"uri": f"{platform}/restapi/v1.0/subscription", "records": shown})


async def read_subscription(simulator: Simulator, request: ApiRequest) -> Response:
    return JSONResponse(_subscription(simulator, request).show(simulator.links.platform, request.now))


async def update_subscription(simulator: Simulator, request: ApiRequest) -> Response:
    """Change the filters, the lifetime or both, and renew. The address cannot be changed."""
    subscription, body = _subscription(simulator, request), await read_object(request.http)
    if "eventFilters" in body:
        filters, disabled = _sort_filters(simulator, request, body["eventFilters"])
    else:
        filters, disabled = subscription.filters, subscription.disabled
    lifetime = lifetime_seconds(
        body.get("expiresIn"), simulator.clock.speed, simulator.faults.subscription_max_seconds
    )
    reminder = read_reminder(filters, lifetime, simulator.clock.speed)
    await _repeat_handshake(simulator, subscription)
    subscription.filters, subscription.disabled, subscription.reminder = filters, disabled, reminder
    return _renewed(simulator, subscription, lifetime)


async def renew_subscription(simulator: Simulator, request: ApiRequest) -> Response:
    subscription = _subscription(simulator, request)
    await _repeat_handshake(simulator, subscription)
    lifetime = lifetime_seconds(None, simulator.clock.speed, simulator.faults.subscription_max_seconds)
    return _renewed(simulator, subscription, lifetime)


async def _repeat_handshake(simulator: Simulator, subscription: Subscription) -> None:
    if simulator.faults.handshake_on_renewal:
        await simulator.webhooks.perform_handshake(subscription.address)


def _renewed(simulator: Simulator, subscription: Subscription, lifetime: float) -> Response:
    now = simulator.now()
    subscription.renew(lifetime, now)
    simulator.dispatcher.plan_reminder(subscription)
    return JSONResponse(subscription.show(simulator.links.platform, now))


async def delete_subscription(simulator: Simulator, request: ApiRequest) -> Response:
    del simulator.subscriptions[_subscription(simulator, request).id]
    return Response(status_code=204)
