"""Carries one request to RingCentral and returns the response. Decides nothing and retries nothing.

Each attempt takes one slot of the rate budget and settles it whatever happens, goes only to the configured
hosts, and is limited in time and size.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime

import httpx

from app import __version__
from app.clock import Clock
from app.errors import ForeignHost, RingCentralUnreachable
from app.ringcentral.journal import Journal
from app.ringcentral.ports import Outcome, Priority, RateBudget, RateSlot
from app.ringcentral.protocol.errors import DEFAULT_PENALTY_SECONDS, penalty_of
from app.ringcentral.protocol.recordings import CONTENT_ROUTE
from app.ringcentral.reachability import ReachMeter, Unreached, cause_of, describe_cause
from app.ringcentral.skew import SkewMeter
from app.ringcentral.wire import Request, Response, read_rate_headers

_NEVER_SENT = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.UnsupportedProtocol,
    httpx.LocalProtocolError,
    httpx.ProxyError,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientConfig:
    """Where RingCentral is, and how long to wait for it. URLs have no slash at the end."""

    server_url: str = "https://platform.ringcentral.com"
    media_url: str = "https://media.ringcentral.com"
    timeout_seconds: float = 10.0
    slow_timeout_seconds: float = 45.0
    """For changes of a subscription: RingCentral performs a handshake with us before it responds."""

    tries: int = 3
    backoff_seconds: float = 2.0
    """Pause before the second try; it doubles (guide "Errors")."""

    backoff_cap_seconds: float = 60.0
    penalty_seconds: float = DEFAULT_PENALTY_SECONDS
    """Silence after a 429 without a duration."""

    answer_limit_bytes: int = 16 * 1024 * 1024


class Unanswered(RingCentralUnreachable):
    """No response came. `was_sent` is False if the request cannot have reached RingCentral."""

    was_sent: bool = True


@dataclass(frozen=True, slots=True)
class Meters:
    """What observes the requests of one process: our clock against RingCentral's, outages, the log."""

    skew: SkewMeter
    reach: ReachMeter
    journal: Journal

    @classmethod
    def made(cls, clock: Clock) -> "Meters":
        return cls(SkewMeter(), ReachMeter(), Journal(clock))


@dataclass(frozen=True, slots=True)
class ContentStream:
    """A response whose body is still arriving. `headers` have lower-case names; `chunks` can be read once."""

    status: int
    headers: Mapping[str, str]
    chunks: AsyncIterator[bytes]


class Transport:
    """Makes single attempts, any number concurrently."""

    def __init__(
        self,
        http: httpx.AsyncClient,
        config: ClientConfig,
        budget: RateBudget,
        clock: Clock,
        meters: Meters | None = None,
    ) -> None:
        self._http = http
        self._config = config
        self._budget = budget
        self._clock = clock
        meters = meters or Meters.made(clock)
        self._skew, self._reach, self._journal = meters.skew, meters.reach, meters.journal
        self._platform = _origin(httpx.URL(config.server_url))
        self._origins = {_origin(httpx.URL(url)) for url in (config.server_url, config.media_url)}
        self._settling: set[asyncio.Task[None]] = set()

    def address(self, request: Request) -> httpx.URL:
        """Return the URL of a request. Raises ForeignHost if its host is not one of those configured."""
        text = self._config.server_url + request.url if request.url.startswith("/") else request.url
        try:
            url = httpx.URL(text)
        except (httpx.InvalidURL, ValueError, TypeError) as error:
            raise ForeignHost("the address cannot be parsed") from error
        if url.userinfo or _origin(url) not in self._origins:
            raise ForeignHost(
                f"{url.scheme}://{url.host[:100]} is not one of the configured hosts",
                setting="RC_MEDIA_URL" if request.route == CONTENT_ROUTE else "RC_SERVER_URL",
            )
        return url

    async def attempt(
        self, request: Request, authorization: str, priority: Priority, deadline: datetime | None
    ) -> Response:
        """Send the request once and return the response, whatever its status.

        Raises ForeignHost, RateLimited (no slot before `deadline`), Unanswered, and RingCentralUnreachable
        for a response that is too large.
        """
        url = self.address(request)
        slot = await self._budget.acquire(request.group, priority, deadline)
        began = self._clock.monotonic()
        response, was_sent = None, True
        try:
            response = await self._exchange(url, request, authorization)
        except Unanswered as error:
            was_sent = error.was_sent
            self._journal.unanswered(request, self._clock.monotonic() - began, error.detail)
            raise
        finally:
            # Whatever happened: a slot that is never settled stays occupied for a whole window.
            await self._settle(slot, response, was_sent)
        self._journal.answered(request, self._clock.monotonic() - began, response)
        return response

    @asynccontextmanager
    async def stream(
        self, request: Request, authorization: str, priority: Priority, deadline: datetime | None
    ) -> AsyncIterator[ContentStream | Response]:
        """Send the request once. Yield a success while its body arrives, and anything else as a complete
        Response.

        Raises as `attempt` does, and Unanswered from `chunks` if the body breaks off or stalls.
        """
        url = self.address(request)
        slot = await self._budget.acquire(request.group, priority, deadline)
        began = self._clock.monotonic()
        async with AsyncExitStack() as stack:
            response, was_sent = None, True
            try:
                sent_at = self._clock.now()
                opened = await stack.enter_async_context(self._opened(url, request, authorization, sent_at))
                head = Response.of(opened.status_code, opened.headers.multi_items(), sent_at=sent_at)
                response = head if head.is_success else await self._whole(opened, sent_at)
            except Unanswered as error:
                was_sent = error.was_sent
                self._journal.unanswered(request, self._clock.monotonic() - began, error.detail)
                raise
            finally:
                await self._settle(slot, response, was_sent)
            self._journal.answered(request, self._clock.monotonic() - began, response)
            if response.is_success:
                yield ContentStream(response.status, response.headers, _chunks(opened))
            else:
                yield response

    async def _exchange(self, url: httpx.URL, request: Request, authorization: str) -> Response:
        seconds, sent_at = self._seconds(request), self._clock.now()
        try:
            # httpx limits each read. This limits the whole: a response that trickles in would never end.
            async with (
                asyncio.timeout(seconds),
                self._opened(url, request, authorization, sent_at) as response,
            ):
                return await self._whole(response, sent_at)
        except TimeoutError as error:
            failure = Unanswered(f"no answer within {seconds:g} s", code=Unreached.TIMEOUT)
            self._note_reach(url, failure)
            raise failure from error

    @asynccontextmanager
    async def _opened(
        self, url: httpx.URL, request: Request, authorization: str, sent_at: datetime
    ) -> AsyncIterator[httpx.Response]:
        """Send the request and yield the response as soon as its headers have arrived. Raises Unanswered."""
        fixed = {"Accept": "application/json", "User-Agent": f"Aftercall/{__version__}"}
        prepared = self._http.build_request(
            request.method,
            url.copy_merge_params(list(request.params)) if request.params else url,
            headers=fixed | dict(request.headers) | {"Authorization": authorization},
            json=request.json,
            data=request.form,
            timeout=self._seconds(request),
        )
        try:
            response = await self._http.send(prepared, stream=True, follow_redirects=False)
        except httpx.TransportError as error:
            failure = _unanswered(error)
            self._note_reach(url, failure)
            raise failure from error
        self._skew.observe(response.headers, sent_at, self._clock.now())
        self._note_reach(url, response.status_code)
        try:
            yield response
        finally:
            await response.aclose()

    def _note_reach(self, url: httpx.URL, outcome: "int | Unanswered") -> None:
        """Count the outcome of a request to the API. The media host may fail independently."""
        if _origin(url) != self._platform:
            return
        if isinstance(outcome, int):
            self._reach.answered(outcome, self._clock.now())
        else:
            self._reach.failed(
                Unreached(outcome.code or Unreached.NETWORK), outcome.detail, self._clock.now()
            )

    async def _whole(self, response: httpx.Response, sent_at: datetime) -> Response:
        """Read the body up to the limit. Raises Unanswered if it breaks off, RingCentralUnreachable beyond
        the limit.
        """
        limit = self._config.answer_limit_bytes
        body = bytearray()
        async with aclosing(_chunks(response)) as chunks:
            async for chunk in chunks:
                body += chunk
                if len(body) > limit:
                    raise RingCentralUnreachable(
                        f"the answer is larger than {limit} bytes", status=response.status_code
                    )
        return Response.of(response.status_code, response.headers.multi_items(), bytes(body), sent_at=sent_at)

    async def _settle(self, slot: RateSlot, response: Response | None, was_sent: bool) -> None:
        """Settle the slot completely, even if the waiting task is cancelled (again) meanwhile."""
        task = asyncio.create_task(self._budget.settle(slot, self._outcome(response, was_sent)))
        self._settling.add(task)
        task.add_done_callback(self._settling.discard)
        await asyncio.shield(task)

    def _outcome(self, response: Response | None, was_sent: bool) -> Outcome:
        now = self._clock.now()
        if response is None:
            return Outcome(was_sent=was_sent, at=now)
        return Outcome(
            was_sent=True,
            at=now,
            status=response.status,
            rates=read_rate_headers(response, now),
            penalty=penalty_of(response, now, penalty_seconds=self._config.penalty_seconds),
        )

    def _seconds(self, request: Request) -> float:
        return self._config.slow_timeout_seconds if request.is_slow else self._config.timeout_seconds


async def _chunks(response: httpx.Response) -> AsyncGenerator[bytes, None]:
    try:
        async for chunk in response.aiter_bytes():
            yield chunk
    except (httpx.TransportError, httpx.DecodingError) as error:
        raise _unanswered(error) from error


def _unanswered(error: httpx.RequestError) -> Unanswered:
    cause = cause_of(error)
    failure = Unanswered(describe_cause(cause, error), code=cause)
    failure.was_sent = not isinstance(error, _NEVER_SENT)
    return failure


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    """Return scheme, host and port, with the scheme's usual port spelled out."""
    usual = {"https": 443, "http": 80}.get(url.scheme)
    return url.scheme, url.host, url.port or usual
