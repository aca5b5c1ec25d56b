"""Carries requests between RingCentral, the replicas and the people, without sockets."""

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx

from app.simulator.delivery.http_client import (
    RESPONSE_LIMIT_SECONDS,
    Poster,
    UnreachableError,
    WebhookResponse,
)
from app.simulator.delivery.webhooks import HEADERS
from tests.soak.faults import Weather
from tests.soak.machines import CURRENT, Machine
from tests.soak.virtual_loop import VirtualLoop

App = Callable[[Any, Any, Any], Any]


@dataclass(frozen=True, slots=True)
class Answer:
    """The response of an ASGI app."""

    status: int
    headers: Sequence[tuple[bytes, bytes]]
    body: bytes


async def ask(app: App, method: str, url: str, headers: Mapping[str, str], body: bytes = b"") -> Answer:
    """Send one request to an app and return its whole response."""
    parts = urlsplit(url)
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": parts.scheme,
        "path": parts.path,
        "raw_path": parts.path.encode("ascii"),
        "query_string": parts.query.encode("ascii"),
        "root_path": "",
        "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]
        + [(b"host", parts.netloc.encode()), (b"content-length", str(len(body)).encode())],
        "client": ("127.0.0.1", 40_000),
        "server": (parts.hostname, parts.port or 80),
    }
    is_read = False
    started: list[tuple[int, Sequence[tuple[bytes, bytes]]]] = []
    chunks: list[bytes] = []
    gone = asyncio.Event()

    async def receive() -> dict[str, Any]:
        nonlocal is_read
        if is_read:
            await gone.wait()
            return {"type": "http.disconnect"}
        is_read = True
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Mapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            started.append((message["status"], message["headers"]))
        elif message["type"] == "http.response.body":
            chunks.append(message.get("body", b""))

    await app(scope, receive, send)
    ((status, head),) = started
    return Answer(status, head, b"".join(chunks))


class PlatformTransport(httpx.AsyncBaseTransport):
    """The service's way to RingCentral. A request that arrived is worked off even if its sender dies."""

    def __init__(
        self, loop: VirtualLoop, platform: Machine, hosts: Mapping[str, App], weather: Weather
    ) -> None:
        self._loop = loop
        self._platform = platform
        self._hosts = hosts
        self._weather = weather

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        machine = CURRENT.get()
        check = machine.check if machine is not None else _no_check
        check()
        body = await request.aread()
        await asyncio.sleep(self._weather.network_seconds())
        if self._weather.loses:
            raise httpx.ConnectError("connection refused", request=request)
        headers = {name: value for name, value in request.headers.items() if name not in _SET_BY_US}
        asked = ask(self._hosts[request.url.host], request.method, str(request.url), headers, body)
        answer = await asyncio.shield(self._platform.spawn(asked))
        check()
        if self._weather.loses:
            raise httpx.ReadError("connection reset", request=request)
        await asyncio.sleep(self._weather.network_seconds())
        check()
        return httpx.Response(
            answer.status, headers=list(answer.headers), content=answer.body, request=request
        )


_SET_BY_US = frozenset({"host", "content-length", "transfer-encoding"})


def _no_check() -> None:
    return None


@dataclass(frozen=True, slots=True)
class Refusal:
    """A delivery that got no 200 since the service could not store it: true seconds since the start."""

    begin: float
    end: float
    why: str


class TooSlowError(TimeoutError):
    """The response did not come in time. It may still come, to nobody."""

    def __init__(self, served: "asyncio.Task[Answer]") -> None:
        super().__init__("Read timed out")
        self.served = served


class Balancer:
    """Passes requests to one of the replicas, at random.

    A replica that has just died still gets some: nobody has noticed yet.
    """

    def __init__(self, loop: VirtualLoop, seed: int, patience_seconds: float = 3.0) -> None:
        self._loop = loop
        self._rng = random.Random(f"{seed}/balancer")
        self._patience = patience_seconds
        self._serving: dict[Machine, tuple[App, float | None]] = {}

    def add(self, machine: Machine, app: App) -> None:
        """Let a replica get requests; when it dies, it is noticed some seconds later."""
        self._serving[machine] = (app, None)
        machine.on_death.append(lambda: self._lose(machine))

    def remove(self, machine: Machine) -> None:
        self._serving.pop(machine, None)

    def _lose(self, machine: Machine) -> None:
        if machine in self._serving:
            app, _ = self._serving[machine]
            self._serving[machine] = (app, self._loop.time() + self._rng.uniform(0.0, self._patience))

    def pick(self) -> tuple[Machine, App] | None:
        """Return where the next request goes."""
        now = self._loop.time()
        for machine in [
            one for one, (_, until) in self._serving.items() if until is not None and until <= now
        ]:
            del self._serving[machine]
        if not self._serving:
            return None
        machine = self._rng.choice([*self._serving])
        return machine, self._serving[machine][0]

    async def request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes = b"",
        seconds: float = 60.0,
    ) -> Answer:
        """Ask a replica. Raises ConnectionError if there is none or it dies, TimeoutError after `seconds`."""
        target = self.pick()
        if target is None or target[0].is_dead:
            raise ConnectionError("connection refused")
        machine, app = target
        served = machine.spawn(ask(app, method, url, headers, body), name="request")
        died = self._loop.create_future()

        def end() -> None:
            if not died.done():
                died.set_result(None)

        machine.on_death.append(end)
        try:
            await asyncio.wait({served, died}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if end in machine.on_death:
                machine.on_death.remove(end)
        if machine.is_dead or (served.done() and served.cancelled()):
            raise ConnectionError("connection reset")
        if not served.done():
            raise TooSlowError(served)
        return served.result()


class InProcessPoster(Poster):
    """RingCentral's way to the service. `refusals` are the deliveries that the service did not accept."""

    def __init__(self, loop: VirtualLoop, balancer: Balancer) -> None:
        super().__init__(HEADERS)
        self._loop = loop
        self._balancer = balancer
        self.refusals: list[Refusal] = []

    async def post(self, address: str, payload: bytes, headers: dict[str, str]) -> WebhookResponse:
        begin = self._loop.time()
        try:
            answer = await self._balancer.request(
                "POST", address, HEADERS | headers, payload, RESPONSE_LIMIT_SECONDS
            )
        except ConnectionError as error:
            self._note(payload, begin, str(error))
            raise UnreachableError(str(error)) from error
        except TooSlowError as error:
            # A delivery that is stored late is not refused, though RingCentral sends it again.
            error.served.add_done_callback(lambda served: self._note_late(payload, begin, served))
            raise
        if answer.status != 200:
            self._note(payload, begin, f"status {answer.status}")
        head = {name.decode().lower(): value.decode() for name, value in answer.headers}
        return WebhookResponse(answer.status, "", head, len(answer.body) + 200)

    def _note_late(self, payload: bytes, begin: float, served: "asyncio.Task[Answer]") -> None:
        if served.cancelled() or served.exception() is not None or served.result().status != 200:
            self._note(payload, begin, "no answer in time")

    def _note(self, payload: bytes, begin: float, why: str) -> None:
        if payload:  # a handshake is no delivery
            self.refusals.append(Refusal(begin, self._loop.time(), why))
