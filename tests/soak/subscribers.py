"""Who receives webhooks: one endpoint for each way to deliver, and what each has confirmed."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from app.push.payloads.signatures import secret_key, sign
from app.push.sending.address_rules import AddressRules
from app.push.sending.client import TIMEOUT_SECONDS
from app.push.sending.retry_plan import Answer
from tests.soak.faults import Kind, Weather
from tests.soak.journal import Journal
from tests.soak.machines import CURRENT
from tests.soak.virtual_loop import VirtualClock

Json = dict[str, Any]
WAYS = ("each", "latest", "onceWhenComplete")
LONGEST_WAIT_SECONDS = 2 * 3600
_FRESH_SECONDS = 5.0
"""The clocks of the replicas are wrong by up to two seconds."""


@dataclass(slots=True)
class Endpoint:
    """One address. `confirmed` are the messages that were answered with 204, in their order."""

    way: str
    secret: str | None = None
    confirmed: list[Json] = field(default_factory=list)


class Subscribers:
    """All receivers. `faults` has what none of them must ever get."""

    def __init__(self, clock: VirtualClock, weather: Weather, journal: Journal) -> None:
        self._clock = clock
        self._weather = weather
        self._journal = journal
        self._made = 0
        self.endpoints: dict[str, Endpoint] = {}
        self.faults: list[str] = []

    def new_address(self, way: str) -> str:
        """Return an address that nobody had: whoever gets no answer must ask again with another one."""
        self._made += 1
        address = f"https://subscriber.test/{way}/{self._made}"
        self.endpoints[address] = Endpoint(way)
        return address

    def kept(self, way: str) -> list[Json]:
        """Return what the endpoint with a secret has confirmed."""
        (one,) = (one for one in self.endpoints.values() if one.way == way and one.secret is not None)
        return one.confirmed

    async def take(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Answer a message, as receivers do that have good and bad hours."""
        endpoint, size = self.endpoints[url], self._weather.size(Kind.RECEIVER)
        status: int | None = 204
        if endpoint.secret is None:
            status = 410  # nobody knows the secret: the answer with it was lost
        elif size is not None and self._weather.refuses(size):
            status = (503, 500, 429, 404, None)[int(size * 1000) % 5]
        self._journal.note("webhook", endpoint.way, headers["webhook-id"], status)
        if status is None:
            await asyncio.sleep(TIMEOUT_SECONDS)
            return Answer(error="timeout")
        if status == 204:
            self._verify(endpoint, headers, body)
            endpoint.confirmed.append({"id": headers["webhook-id"], **json.loads(body)})
        return Answer(status, retry_after=30.0 if status == 429 else None)

    def _verify(self, endpoint: Endpoint, headers: Mapping[str, str], body: bytes) -> None:
        assert endpoint.secret is not None
        sent_at = int(headers["webhook-timestamp"])
        expected = sign([secret_key(endpoint.secret)], headers["webhook-id"], sent_at, body)
        if headers["webhook-signature"] != expected:
            self.faults.append(f"{headers['webhook-id']} has a wrong signature")
        if abs(self._clock.now().timestamp() - sent_at) > _FRESH_SECONDS:
            self.faults.append(f"{headers['webhook-id']} is signed for {sent_at}")


class SubscriberClient:
    """The service's way to the receivers. A message that has left arrives even if its sender dies."""

    def __init__(self, subscribers: Subscribers, weather: Weather) -> None:
        self.rules = AddressRules()
        self._subscribers = subscribers
        self._weather = weather

    async def __aenter__(self) -> "SubscriberClient":
        return self

    async def __aexit__(self, *_: object) -> None:
        return None

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        machine = CURRENT.get()
        assert machine is not None
        machine.check()
        await asyncio.sleep(self._weather.network_seconds())
        if self._weather.loses:
            return Answer(error="connection")
        answer = await self._subscribers.take(url, headers, body)
        machine.check()
        if self._weather.loses:
            return Answer(error="connection")
        await asyncio.sleep(self._weather.network_seconds())
        machine.check()
        return answer
