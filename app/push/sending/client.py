"""Sends one message over HTTP, to checked addresses only.

A name is resolved at each connection, its addresses are checked, and the connection goes to a checked
address: a name that changes its address in between (DNS rebinding) gains nothing. The certificate is still
verified for the name. Redirects are not followed, proxies of the environment are not used, and of the
response only the status and `Retry-After` count.
"""

import asyncio
import socket
import ssl
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Any, Self

import httpcore
import httpx

from app import __version__
from app.clock import Clock
from app.push.endpoints.model import MOST_AT_ONCE
from app.push.sending.address_rules import AddressRules, Target, choose_allowed, read_url
from app.push.sending.retry_plan import Answer

TIMEOUT_SECONDS = 15.0

_IDLE_SECONDS = 20.0
_MOST_READ = 65_536
_RESOLVERS = 32
_USER_AGENT = f"Aftercall/{__version__} (webhooks)"


class AddressRefused(Exception):
    """The name of an endpoint leads to no address to which messages may be sent."""


class _NameUnknown(Exception):
    """The name of an endpoint cannot be resolved."""


class _CheckedBackend(httpcore.AsyncNetworkBackend):
    """Connects to checked addresses of a name."""

    def __init__(self, rules: AddressRules, resolvers: ThreadPoolExecutor) -> None:
        self._rules = rules
        self._resolvers = resolvers
        self._backend = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the signature is httpcore's
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        allowed = choose_allowed(await self._resolve(host, port), self._rules.networks)
        if not allowed:
            raise AddressRefused(host)
        for address in allowed[:-1]:
            try:
                return await self._backend.connect_tcp(address, port, timeout, local_address, socket_options)
            except httpcore.ConnectError:
                continue
        return await self._backend.connect_tcp(allowed[-1], port, timeout, local_address, socket_options)

    async def _resolve(self, host: str, port: int) -> list[str]:
        # A pool of threads of its own: a name server that does not respond must not hold up other work.
        loop = asyncio.get_running_loop()
        try:
            found = await loop.run_in_executor(
                self._resolvers, lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            )
        except (OSError, UnicodeError) as error:
            raise _NameUnknown(host) from error
        return list(dict.fromkeys(str(one[4][0]) for one in found))


class WebhookClient:
    """The connections of one process to endpoints, by host. Belongs to one event loop.

    Use it as a context manager.
    """

    def __init__(self, rules: AddressRules, clock: Clock, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        self.rules = rules
        self._clock = clock
        self._timeout = timeout_seconds
        self._resolvers = ThreadPoolExecutor(_RESOLVERS, thread_name_prefix="webhook-dns")
        self._connections = _Connections(_CheckedBackend(rules, self._resolvers), clock)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._connections.close()
        self._resolvers.shutdown(wait=False, cancel_futures=True)

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Send a message; return what came of it, within the timeout. Raises nothing but cancellation."""
        try:
            target = read_url(url, self.rules)
        except ValueError:
            return Answer(error="address-refused")
        try:
            async with asyncio.timeout(self._timeout):
                return await self._post(target, url, headers, body)
        except AddressRefused:
            return Answer(error="address-refused")
        except _NameUnknown:
            return Answer(error="name-unknown")
        except (TimeoutError, httpcore.TimeoutException):
            return Answer(error="timeout")
        except ssl.SSLError:
            return Answer(error="tls")
        except httpcore.ConnectError as error:
            return Answer(error="tls" if _is_tls(error) else "connection")
        except (httpcore.NetworkError, httpcore.ProtocolError, OSError):
            return Answer(error="connection")

    async def _post(self, target: Target, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        sent = {**headers, "user-agent": _USER_AGENT, "accept": "*/*"}
        connection = await self._connections.take(target)
        try:
            async with connection.stream("POST", url, headers=list(sent.items()), content=body) as response:
                size = 0
                # Read to the end, so that the connection can be used again; but not for ever.
                async for part in response.aiter_stream():
                    size += len(part)
                    if size > _MOST_READ:
                        break
                answer = Answer(response.status, self._retry_after(response.headers))
        except BaseException:
            await connection.aclose()
            raise
        await self._connections.give_back(target, connection)
        return answer

    def _retry_after(self, headers: Iterable[tuple[bytes, bytes]]) -> float | None:
        """Read seconds or a date; None for anything else."""
        text = next((value for name, value in headers if name.lower() == b"retry-after"), b"")
        value = text.decode("ascii", "replace").strip()
        if value.isdecimal() and len(value) <= 9:
            return float(value)
        try:
            at = parsedate_to_datetime(value)
        except ValueError:
            return None
        return max(0.0, at.timestamp() - self._clock.now().timestamp())


class _Connections:
    """Open connections that no request uses, by where they lead.

    httpcore's own pool compares all its connections for each request, which costs more than the request once
    there are fifty; here each sender takes one and gives it back.
    """

    def __init__(self, backend: httpcore.AsyncNetworkBackend, clock: Clock) -> None:
        self._backend = backend
        self._clock = clock
        self._tls: ssl.SSLContext | None = None
        self._idle: dict[Target, list[httpcore.AsyncHTTPConnection]] = {}
        self._swept_at = clock.monotonic()

    async def take(self, target: Target) -> httpcore.AsyncHTTPConnection:
        """Return the connection that was given back last, or a new one that its first request opens."""
        idle = self._idle.get(target, [])
        while idle:
            connection = idle.pop()
            if not connection.has_expired():
                return connection
            await connection.aclose()
        if self._tls is None:
            self._tls = httpx.create_ssl_context()
        scheme = b"https" if target.is_https else b"http"
        return httpcore.AsyncHTTPConnection(
            httpcore.Origin(scheme, target.host.encode(), target.port),
            ssl_context=self._tls,
            keepalive_expiry=_IDLE_SECONDS,
            network_backend=self._backend,
        )

    async def give_back(self, target: Target, connection: httpcore.AsyncHTTPConnection) -> None:
        """Keep a connection for the next request, if it can be used again."""
        idle = self._idle.setdefault(target, [])
        if connection.is_idle() and len(idle) < MOST_AT_ONCE:
            idle.append(connection)
        else:
            await connection.aclose()
        now = self._clock.monotonic()
        if now >= self._swept_at + _IDLE_SECONDS:
            self._swept_at = now
            await self.close(only_expired=True)

    async def close(self, *, only_expired: bool = False) -> None:
        """Close the connections that are not used."""
        for target, idle in list(self._idle.items()):
            closed = [one for one in idle if not only_expired or one.has_expired()]
            idle[:] = [one for one in idle if one not in closed]
            if not idle:
                del self._idle[target]
            for connection in closed:
                await connection.aclose()


def _is_tls(error: BaseException) -> bool:
    while error.__context__ is not None or error.__cause__ is not None:
        error = error.__cause__ or error.__context__  # type: ignore[assignment]
        if isinstance(error, ssl.SSLError):
            return True
    return False
