"""Whether RingCentral can be reached from this process, according to its requests. Pure.

A request without a response and a refused request are different faults: the first lies with the network, the
machine or RingCentral, the second with credentials and permissions.
"""

import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from app.errors import RingCentralError, RingCentralUnreachable

FAILURES_BEFORE_ALARM = 3
"""Requests in a row without a response that are more than a passing fault."""


class Unreached(StrEnum):
    """Why no usable response came."""

    NAME = "unreachable-name"
    CONNECTION = "unreachable-connection"
    TLS = "unreachable-tls"
    TIMEOUT = "unreachable-timeout"
    NETWORK = "unreachable-network"
    SERVER = "unreachable-server"


_WORDS = {
    Unreached.NAME: "the name of the server does not resolve",
    Unreached.CONNECTION: "the connection was refused or failed",
    Unreached.TLS: "the TLS handshake failed",
    Unreached.TIMEOUT: "it took too long",
    Unreached.NETWORK: "the connection broke off",
}


@dataclass(frozen=True, slots=True)
class Failing:
    """Requests that failed in a row. `detail` is that of the last one."""

    code: Unreached
    detail: str
    since: datetime
    failures: int = 1


class ReachMeter:
    """Counts the requests of one process to RingCentral's API that got no usable response, over all
    connections.
    """

    def __init__(self) -> None:
        self._failing: Failing | None = None

    @property
    def failing(self) -> Failing | None:
        """What has failed since the last usable response; None after one."""
        return self._failing

    def answered(self, status: int, now: datetime) -> None:
        """Count a response."""
        if is_failure(status):
            self.failed(Unreached.SERVER, f"RingCentral answers {status}", now)
        else:
            self._failing = None

    def failed(self, code: Unreached, detail: str, now: datetime) -> None:
        """Count a request without a response."""
        before = self._failing
        if before is None:
            self._failing = Failing(code, detail, now)
        else:
            self._failing = Failing(code, detail, before.since, before.failures + 1)


def is_failure(status: int) -> bool:
    """Whether a response with this status says only that the server has a fault."""
    return status == 408 or (status >= 500 and status != 501)


def cause_of(error: BaseException) -> Unreached:
    """Classify an exception of the HTTP client by its causes."""
    causes = list(_causes(error))
    if any(isinstance(cause, socket.gaierror) for cause in causes):
        return Unreached.NAME
    if any(isinstance(cause, ssl.SSLError) for cause in causes):
        return Unreached.TLS
    names = {type(cause).__name__ for cause in causes}
    if any(name.endswith("Timeout") for name in names) or "TimeoutError" in names:
        return Unreached.TIMEOUT
    return Unreached.CONNECTION if names & {"ConnectError", "ProxyError"} else Unreached.NETWORK


def describe_cause(cause: Unreached, error: BaseException) -> str:
    """Describe why no response came."""
    return f"no answer: {_WORDS[cause]} ({type(error).__name__})"


def code_of(error: RingCentralError) -> str | None:
    """Return the code under which an error is reported: RingCentral's own, or why it could not be reached."""
    if isinstance(error, RingCentralUnreachable) and error.status is not None and is_failure(error.status):
        return Unreached.SERVER
    return error.code


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        if isinstance(error, BaseExceptionGroup):
            for inner in error.exceptions:
                yield from _causes(inner)
        error = error.__cause__ or error.__context__
