"""Follows the feed of a service and posts signed messages to an address, for development.

It uses the API as any connector does, so it works without a public address and without a webhook endpoint.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from app.clock import Clock
from app.errors import SettingsError
from app.push.endpoints.model import Payload
from app.push.payloads.rendering import render_call, render_thin
from app.push.payloads.signatures import headers_of, secret_key

WAIT_SECONDS = 20
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 15.0


@dataclass(frozen=True, slots=True)
class Forwarding:
    """What to follow, and where to send it. `secret`: `whsec_…`. `types`: as in the feed; empty: all."""

    forward: str
    secret: str
    payload: Payload = Payload.THIN
    types: Sequence[str] = ()
    cursor: str = "now"


class Listener:
    """`api` has the service's address and key, `target` sends to the receiver. `say` prints a line."""

    def __init__(
        self,
        forwarding: Forwarding,
        clock: Clock,
        api: httpx.AsyncClient,
        target: httpx.AsyncClient,
        say: Callable[[str], None],
    ) -> None:
        self._forwarding = forwarding
        self._clock = clock
        self._api = api
        self._target = target
        self._say = say
        self._key = secret_key(forwarding.secret)

    async def run(self) -> None:
        """Follow until cancelled. While the service does not answer, it waits and continues.

        Raises SettingsError when the service refuses the request.
        """
        cursor, pause = self._forwarding.cursor, _FIRST_PAUSE
        while True:
            try:
                cursor = await self.step(cursor)
                pause = _FIRST_PAUSE
            except httpx.TransportError as error:
                self._say(f"waiting for the service: {error or type(error).__name__}")
                await self._clock.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)

    async def step(self, cursor: str) -> str:
        """Read what follows a cursor, waiting for it if necessary, and send it; return the next cursor.

        Raises httpx.TransportError if the service does not answer, SettingsError if it refuses.
        """
        asked = {"cursor": cursor, "wait": WAIT_SECONDS, "types": list(self._forwarding.types)}
        read = await self._read("/v1/changes", asked)
        for change in read["data"]:
            await self._send(change)
        return str(read["nextCursor"])

    async def _read(self, path: str, asked: Mapping[str, Any] | None = None) -> Any:
        answer = await self._api.get(path, params=dict(asked or {}))
        if answer.status_code >= 500:
            raise httpx.TransportError(f"it answered {answer.status_code}")
        if answer.is_error and path != "/v1/changes":
            return None
        if answer.is_error:
            raise SettingsError(f"the service answered {answer.status_code}: {answer.text}")
        return answer.json()

    async def _send(self, change: Mapping[str, Any]) -> None:
        type_, message_id = change["type"], change["cursor"]
        if self._forwarding.payload is Payload.CALL:
            body = render_call(type_, change, await self._read(f"/v1/calls/{change['callId']}"))
        else:
            body = render_thin(type_, change)
        now, started = self._clock.now(), self._clock.monotonic()
        headers = headers_of([self._key], message_id, int(now.timestamp()), body)
        try:
            answer = await self._target.post(self._forwarding.forward, headers=headers, content=body)
            outcome = str(answer.status_code)
        except httpx.TransportError as error:
            outcome = f"no answer: {error or type(error).__name__}"
        milliseconds = round(1000 * (self._clock.monotonic() - started))
        self._say(f"{type_}  {message_id}  {change['callId']}  -> {outcome} ({milliseconds} ms)")
