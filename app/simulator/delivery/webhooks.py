"""Posts to webhook addresses: the handshake, and deliveries with their delays, losses and repetitions.

The handshake enforces RingCentral's requirements (guide "Creating webhooks"): status 200 within 3 seconds,
the token echoed, JSON as content type, at most 1024 bytes including headers.
"""

import random
import secrets
import uuid
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from app.simulator.delivery.http_client import Poster, UnreachableError, WebhookResponse
from app.simulator.platform.errors import Refused
from app.simulator.platform.events import Envelope, presence_body, session_body
from app.simulator.platform.subscriptions import EventFilter, Subscription, event_path
from app.simulator.platform.views import iso
from app.simulator.quirks import Forms
from app.simulator.scheduler import Scheduler, SimulatedClock
from app.simulator.scripting.company import Company
from app.simulator.scripting.model import Json, PartyEvent
from app.simulator.settings import Faults

RESPONSE_LIMIT_BYTES = 1024
REORDER_SECONDS = (0.5, 3.0)
DUPLICATE_SECONDS = (0.5, 5.0)
HEADERS = {
    "Accept": "application/json",
    "Accept-Encoding": "UTF-8",
    "Content-Type": "application/json; charset=UTF-8",
    "User-Agent": "RingCentral-Webhook/8.3",
}


@dataclass(frozen=True, slots=True)
class Delivery:
    """One notification for one subscription."""

    subscription: Subscription
    uuid: str
    payload: bytes
    event: str
    telephony_session_id: str | None


class Webhooks:
    """All outgoing posts. `faults` is called each time, since faults can change."""

    def __init__(
        self,
        clock: SimulatedClock,
        scheduler: Scheduler,
        rng: random.Random,
        faults: Callable[[], Faults],
        company: Company,
    ) -> None:
        self._clock = clock
        self._company = company
        self._scheduler = scheduler
        self._rng = rng
        self._faults = faults
        self._presence_sequence = 34_000
        self.counts: Counter[str] = Counter()
        self.latest: deque[Json] = deque(maxlen=1000)
        self.poster = Poster(HEADERS)
        """Posts over the network; a program that runs both sides in its process may replace it."""

    async def close(self) -> None:
        await self.poster.close()

    # Handshake

    async def perform_handshake(self, address: str) -> None:
        """Verify that the address accepts webhooks; raises Refused with SUB-520, SUB-521 or SUB-525."""
        token = str(uuid.UUID(int=self._rng.getrandbits(128)))
        self.counts["handshakes"] += 1
        try:
            response = await self.poster.post(address, b"", {"Validation-Token": token})
            check_handshake(response, token)
        except (UnreachableError, TimeoutError) as error:
            self.counts["handshakesRefused"] += 1
            reason = str(error) or "Read timed out"
            raise Refused(400, "SUB-521", f"WebHook is not reachable: {reason}") from error
        except Refused:
            self.counts["handshakesRefused"] += 1
            raise

    # Deliveries

    def publish(self, event: PartyEvent, account_id: str, subscriptions: list[Subscription]) -> None:
        """Post a party event to each subscription with a matching filter."""
        now = self._clock.now()
        for subscription in subscriptions:
            if not subscription.may_receive(now):
                continue
            for one in _distinct(subscription.filters, event):
                self._publish_to(subscription, one, event, account_id)

    def _publish_to(
        self, subscription: Subscription, one: EventFilter, event: PartyEvent, account_id: str
    ) -> None:
        faults = self._faults()
        forms = Forms(faults.quirks, self._company)
        body: Json | None = None
        if one.kind == "presence":
            self._presence_sequence += 1
            body = self._presence(event, forms)
            family = "presence?detailedTelephonyState=true"
        else:
            family = "telephony/sessions"
            if faults.session_events:
                body = forms.session_event(session_body(event, faults.time_form))
        if body is not None:
            path = event_path(account_id, event.extension_id, family)
            self.post_event(subscription, path, body, event.session.telephony_session_id)

    def _presence(self, event: PartyEvent, forms: Forms) -> Json | None:
        """Return the presence event of the party's extension; queues, menus and outside parties have none."""
        extension = self._company.extension(event.extension_id or "")
        body = presence_body(event, self._faults().time_form, self._presence_sequence)
        if body is None or extension is None or not extension.is_person:
            return None
        return forms.presence_event(body, event)

    def publish_insights(
        self, body: Json, account_id: str, subscriptions: list[Subscription], telephony_session_id: str
    ) -> None:
        """Post insights to each subscription with a matching filter. `body` is what a read returns."""
        path = f"/ai/ringsense/v1/public/accounts/{account_id}/domains/pbx/insights"
        for subscription in subscriptions:
            has_filter = any(one.kind == "insights" for one in subscription.filters)
            if has_filter and subscription.may_receive(self._clock.now()):
                self.post_event(subscription, path, body, telephony_session_id)

    def post_event(
        self, subscription: Subscription, path: str, body: Json, telephony_session_id: str | None = None
    ) -> None:
        """Plan one notification: its delay and, by the faults, its loss, reordering or repetition."""
        faults, chance, now = self._faults(), self._rng.random, self._clock.now()
        # All chances are drawn, so that switching one fault on does not change the effects of the others.
        is_lost, is_overtaken, is_doubled = (
            chance() < share for share in (faults.loss_share, faults.reorder_share, faults.duplicate_share)
        )
        delay = self._between(faults.delivery_delay_min_seconds, faults.delivery_delay_max_seconds)
        sent_at = now + timedelta(seconds=delay)
        envelope = Envelope(self._new_uuid(), path, sent_at, subscription.id, subscription.owner_id)
        payload = envelope.wrap(body, faults.time_form, pn_apns=faults.pn_apns)
        delivery = Delivery(subscription, envelope.uuid, payload, path, telephony_session_id)
        if is_lost:
            self.counts["lost"] += 1
            return
        if is_overtaken:
            self.counts["reordered"] += 1
            sent_at += timedelta(seconds=self._between(*REORDER_SECONDS))
        self._plan(delivery, sent_at, 0)
        if is_doubled:
            self.counts["duplicates"] += 1
            self._plan(delivery, sent_at + timedelta(seconds=self._between(*DUPLICATE_SECONDS)), 0)

    def _plan(self, delivery: Delivery, moment: datetime, attempt: int) -> None:
        async def send() -> None:
            await self._deliver(delivery, attempt)

        self._scheduler.at(moment, send)

    async def _deliver(self, delivery: Delivery, attempt: int) -> None:
        subscription = delivery.subscription
        # Checked again: the subscription may have been suspended or have expired since this was planned.
        if not subscription.may_receive(self._clock.now()):
            return
        self.counts["sent" if attempt == 0 else "resent"] += 1
        failure = await self._attempt(delivery)
        # Read again: the post may have taken seconds.
        now = self._clock.now()
        self._note(delivery, attempt, failure, now)
        if failure is None:
            subscription.succeeded()
            return
        # A suspended subscription gets no repetitions; what it missed is lost.
        faults = self._faults()
        patience = self._clock.scaled(faults.suspend_after_seconds)
        if subscription.failed(failure, now, patience, faults.suspend_after_failures):
            self.counts["suspensions"] += 1
            self._plan_probe(subscription)
        elif attempt < len(faults.redelivery_delays_seconds):
            wait = faults.redelivery_delays_seconds[attempt]
            self._plan(delivery, self._clock.after(wait), attempt + 1)

    async def _attempt(self, delivery: Delivery) -> str | None:
        """Post once; returns the reason of a failure, or None."""
        name = "Validation-Token" if self._faults().mislabelled_token else "Verification-Token"
        token = delivery.subscription.token
        headers = {} if token is None else {name: token}
        try:
            response = await self.poster.post(delivery.subscription.address, delivery.payload, headers)
        except TimeoutError:
            return "Read timed out"
        except UnreachableError as error:
            return str(error)
        return None if response.status == 200 else f"Response code: {response.status} {response.reason}"

    def _note(self, delivery: Delivery, attempt: int, failure: str | None, now: datetime) -> None:
        self.counts["accepted" if failure is None else "failed"] += 1
        self.latest.append(
            {
                "at": iso(now),
                "uuid": delivery.uuid,
                "event": delivery.event,
                "telephonySessionId": delivery.telephony_session_id,
                "subscriptionId": delivery.subscription.id,
                "attempt": attempt + 1,
                "failure": failure,
            }
        )

    # Recovery

    def _plan_probe(self, subscription: Subscription) -> None:
        if self._faults().recovery != "probe":
            return
        probed_at = self._clock.after(self._faults().probe_seconds)
        self._scheduler.at(probed_at, lambda: self._probe(subscription))

    async def _probe(self, subscription: Subscription) -> None:
        if subscription.status != "Blacklisted" or subscription.is_expired(self._clock.now()):
            return
        self.counts["probes"] += 1
        try:
            await self.perform_handshake(subscription.address)
        except Refused:
            self._plan_probe(subscription)
        else:
            subscription.recover()

    # Random values

    def _between(self, low: float, high: float) -> float:
        return self._clock.scaled(self._rng.uniform(low, high))

    def _new_uuid(self) -> str:
        if self._faults().uuid_form == "guid":
            return str(uuid.uuid4())
        return str(secrets.randbelow(9 * 10**18) + 10**18)


def _distinct(filters: list[EventFilter], event: PartyEvent) -> list[EventFilter]:
    """Return the filters that match the event, one per kind: a subscription gets an event once per kind."""
    matching: dict[str, EventFilter] = {}
    for one in filters:
        if one.matches(event):
            matching.setdefault(one.kind, one)
    return list(matching.values())


def check_handshake(response: WebhookResponse, token: str) -> None:
    """Check the response to a handshake; raises Refused with SUB-520 or SUB-525."""
    if response.status != 200:
        raise _invalid_response(f"status is {response.status} {response.reason}")
    if response.headers.get("validation-token") != token:
        raise Refused(400, "SUB-520", "WebHook responds without the Validation-Token header")
    if not response.headers.get("content-type", "").lower().startswith("application/json"):
        raise _invalid_response(
            f"content type is [{response.headers.get('content-type', '')}], not application/json"
        )
    if response.size > RESPONSE_LIMIT_BYTES:
        raise _invalid_response(
            f"{response.size} bytes with headers, at most {RESPONSE_LIMIT_BYTES} are allowed"
        )


def _invalid_response(why: str) -> Refused:
    return Refused(400, "SUB-525", f"WebHook response is not valid: {why}")
