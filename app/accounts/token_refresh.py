"""Keeps sign-ins alive: a refresh token that nobody uses for a week is dead, whether calls come or not.

And learns what the token of each connection may do: a scope that is missing is told before somebody misses it.

Credentials that RingCentral has refused are asked with again at once after a start and when somebody looks at the
problem: a person may have mended it. Each such question goes through the shared bucket of the token endpoint, and none
follows a refusal within `_FRESH_REFUSAL_SECONDS`: a process that is restarted all the time does not use the limit up.
"""

import asyncio

import structlog

from app.accounts.connections import Connection, Connections
from app.clock import Clock
from app.errors import RingCentralError
from app.work.failures import log_failure

CHECK_SECONDS = 600.0
_AT_ONCE = 8
_FRESH_REFUSAL_SECONDS = 20.0

log = structlog.get_logger(__name__)


class TokenRefresher:
    """The background work that asks for the token of each connection; of a sign-in that trades the pair in time."""

    def __init__(self, connections: Connections, clock: Clock) -> None:
        self._connections = connections
        self._clock = clock
        self._next_at: float | None = None

    async def step(self) -> float | None:
        """Look at all connections; those whose credentials RingCentral refuses are noted as a problem.

        The first time, and when woken before its time, those that were refused are asked with again.
        """
        turns, now = asyncio.Semaphore(_AT_ONCE), self._clock.monotonic()
        asks_again = self._next_at is None or now < self._next_at
        self._next_at = now + CHECK_SECONDS - 1.0

        async def look(connection: Connection) -> bool:
            async with turns:
                return await self._look(connection, asks_again=asks_again)

        looks = await asyncio.gather(*map(look, await self._connections.all()), return_exceptions=True)
        for error in looks:
            if isinstance(error, BaseException):
                raise error
        return None if all(looks) else _FRESH_REFUSAL_SECONDS

    async def _look(self, connection: Connection, *, asks_again: bool) -> bool:
        """Return False when a refusal is too fresh to ask again."""
        has_asked = True
        if asks_again:
            has_asked = await self._connections.forget_refusal(
                connection, at_least_old=_FRESH_REFUSAL_SECONDS
            )
        try:
            token = await connection.client.fetch_token()
        except RingCentralError as error:
            log_failure(
                log, "a connection has no token", error, account_id=connection.holder, name=connection.name
            )
            await self._connections.note(connection, error)
        else:
            if asks_again:
                await self._connections.forget_problem(connection)
            await self._connections.learn_scopes(connection, token)
        return has_asked
