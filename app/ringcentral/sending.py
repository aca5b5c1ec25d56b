"""Sends a request until it succeeds or cannot: renews the token, follows redirects, backs off."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import TypeVar

from app.clock import Clock
from app.errors import RequestRefused, RingCentralError, RingCentralUnreachable
from app.ringcentral.auth import TokenKeeper
from app.ringcentral.ports import Priority
from app.ringcentral.protocol.errors import TokenRefused, decode_error
from app.ringcentral.protocol.requests import redirected
from app.ringcentral.stored_tokens import StoredToken
from app.ringcentral.transport import ClientConfig, ContentStream, Transport, Unanswered
from app.ringcentral.wire import Request, Response, read_rate_headers
from app.work.backoff import Backoff

MAX_REDIRECTS = 3

LARGE_BYTES = 64 * 1024
"""A response of this size or more, about twenty detailed records, is not decoded on the event loop."""

T = TypeVar("T")


class Sender:
    """Sends requests as one user."""

    def __init__(self, transport: Transport, config: ClientConfig, tokens: TokenKeeper, clock: Clock) -> None:
        self._transport = transport
        self._config = config
        self._tokens = tokens
        self._clock = clock

    async def send(self, request: Request, priority: Priority, deadline: datetime | None) -> Response:
        """Return the successful response; 304 is one if the request was conditional.

        Each attempt takes a slot of the budget. A refused token is renewed once. Redirects are followed to
        the configured hosts. A failure that may pass is retried after a pause that doubles. A 429 is never
        retried: it silences the whole bucket.
        """
        token = await self._tokens.token()
        has_renewed, redirects, failures = False, 0, 0
        while True:
            try:
                response = await self._transport.attempt(request, _bearer(token), priority, deadline)
            except Unanswered as silence:
                failures += 1
                await self._back_off(request, silence, failures, None, deadline)
                continue
            if response.is_success or (response.is_not_modified and request.is_conditional):
                return response
            if response.is_redirect and redirects < MAX_REDIRECTS:
                redirects += 1
                request = self._follow(request, response)
                continue
            error = self._error_of(response)
            # Once only: a token that was just bought and is refused again will not get better.
            if isinstance(error, TokenRefused) and not has_renewed:
                has_renewed = True
                token = await self._tokens.renew(token)
                continue
            failures += 1
            await self._back_off(request, error, failures, response, deadline)

    async def send_or_404(
        self, request: Request, priority: Priority, deadline: datetime | None
    ) -> Response | None:
        """Send as `send` does; return None for a 404."""
        try:
            return await self.send(request, priority, deadline)
        except RequestRefused as refusal:
            if refusal.status != 404:
                raise
            return None

    @asynccontextmanager
    async def stream(
        self, request: Request, priority: Priority, deadline: datetime | None
    ) -> AsyncIterator[ContentStream]:
        """Open a response whose body is read as it arrives. Renews the token or follows a redirect once."""
        token = await self._tokens.token()
        for last_try in (False, True):
            async with self._transport.stream(request, _bearer(token), priority, deadline) as response:
                if isinstance(response, ContentStream):
                    yield response
                    return
            if response.is_redirect and not last_try:
                request = self._follow(request, response)
                continue
            error = self._error_of(response)
            if not isinstance(error, TokenRefused) or last_try:
                raise error
            token = await self._tokens.renew(token)

    async def _back_off(
        self,
        request: Request,
        error: RingCentralError,
        failures: int,
        response: Response | None,
        deadline: datetime | None,
    ) -> None:
        """Pause before the next try, or raise `error` if there must be none."""
        config, now = self._config, self._clock.now()
        may_pass = isinstance(error, RingCentralUnreachable)
        if not may_pass or not request.is_repeatable or failures >= config.tries:
            raise error
        # RingCentral's own wish counts before our backoff, unless it asks for more patience than we have.
        requested = read_rate_headers(response, now).retry_after_seconds if response else None
        seconds = requested or Backoff(config.backoff_seconds, config.backoff_cap_seconds).pause(failures)
        if seconds > config.backoff_cap_seconds or (
            deadline and now + timedelta(seconds=seconds) >= deadline
        ):
            raise error
        await self._clock.sleep(seconds)

    def _follow(self, request: Request, response: Response) -> Request:
        """Return the request that the redirect asks for; `Transport` checks its host before it is sent."""
        sent_to = str(self._transport.address(request))
        followed = redirected(request, sent_to, response)
        if followed is None:
            raise self._error_of(response)
        return followed

    def _error_of(self, response: Response) -> RingCentralError:
        return decode_error(response, self._clock.now(), penalty_seconds=self._config.penalty_seconds)


async def decode_beside(response: Response, decode: Callable[[Response], T]) -> T:
    """Decode a response, a large one in a thread: a thousand detailed records take a tenth of a second.

    The intake of deliveries shares the event loop, and RingCentral suspends a webhook that responds late.
    """
    if len(response.body) < LARGE_BYTES:
        return decode(response)
    return await asyncio.to_thread(decode, response)


def _bearer(token: StoredToken) -> str:
    return f"Bearer {token.access_token}"
