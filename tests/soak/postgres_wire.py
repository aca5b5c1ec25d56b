"""Real PostgreSQL in virtual time: time stands still until the server has answered what it was sent.

The driver's protocol and transport are wrapped. A connection waits from what is sent to the server's next
ReadyForQuery, or until it is closed, and the loop lets no time pass meanwhile. In which order the server
answers two connections is its own affair: on PostgreSQL a seed plays the same faults and calls, but not the
same steps between them.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tests.soak.faults import Weather
from tests.soak.machines import CURRENT
from tests.soak.virtual_loop import VirtualLoop

_READY = b"Z\x00\x00\x00\x05"
"""How the server says that it has done everything that it was sent."""


class Postgres:
    """All connections of one world to its PostgreSQL."""

    def __init__(self, loop: VirtualLoop, weather: Weather) -> None:
        self.loop = loop
        self.weather = weather
        self.statements = 0

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Wrap the connections that the loop opens while the block runs."""
        self.loop.wrap = self._wrap
        try:
            yield
        finally:
            self.loop.wrap = None

    def _wrap(self, inner: Any) -> "Wire":
        return Wire(self, inner)


class Wire(asyncio.Protocol):
    """Stands between the driver's protocol and the socket."""

    def __init__(self, postgres: Postgres, inner: Any) -> None:
        self.inner = inner
        self.transport: Any = None
        self._postgres = postgres
        self._machine = CURRENT.get()
        self._real: Any = None
        self._is_waiting = False
        self._tail = b""
        self._late: deque[Callable[[], None]] = deque()

    # What the socket brings

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._real = transport
        self.transport = _Transport(self, transport)
        if self._machine is not None:
            self._machine.on_death.append(self._cut)
        self.inner.connection_made(self.transport)

    def data_received(self, data: bytes) -> None:
        if _READY in self._tail + data or len(data) == 1:  # one byte answers the wish for TLS
            self._settle()
        self._tail = data[-len(_READY) :]
        self._pass_on(lambda: self.inner.data_received(data))

    def eof_received(self) -> bool | None:
        self._pass_on(self.inner.eof_received)
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._settle()
        if self._machine is not None and self._cut in self._machine.on_death:
            self._machine.on_death.remove(self._cut)
        self._pass_on(lambda: self.inner.connection_lost(exc))

    def pause_writing(self) -> None:
        self.inner.pause_writing()

    def resume_writing(self) -> None:
        self.inner.resume_writing()

    def _pass_on(self, act: Callable[[], Any]) -> None:
        """Pass on what came, in order; late if the database is slow."""
        if self._late:
            self._late.append(act)
            return
        seconds = self._postgres.weather.disk_seconds()
        if seconds is None:
            act()
            return
        self._late.append(act)
        self._postgres.loop.call_later(seconds, self._pass_late)

    def _pass_late(self) -> None:
        while self._late:
            self._late[0]()
            self._late.popleft()

    # What the driver sends

    def send(self, data: bytes) -> None:
        """Send to the server, unless the connection breaks just now."""
        if self._machine is not None:
            try:
                self._machine.check()
            except ConnectionError:
                self._cut()
                return
        if self._postgres.weather.database_fails:
            self._cut()
            return
        self._postgres.statements += 1
        if not self._is_waiting:
            self._is_waiting = True
            self._postgres.loop.outstanding += 1
        self._real.write(data)

    def _cut(self) -> None:
        self._settle()
        self._real.abort()

    def _settle(self) -> None:
        if self._is_waiting:
            self._is_waiting = False
            self._postgres.loop.outstanding -= 1


class _Transport:
    """The transport that the driver sees."""

    def __init__(self, wire: Wire, real: Any) -> None:
        self._wire = wire
        self._real = real

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def write(self, data: bytes) -> None:
        self._wire.send(data)

    def writelines(self, parts: Any) -> None:
        self._wire.send(b"".join(parts))
