"""Keeps sign-ins alive: a refresh token that is unused for a week expires, whether calls come or not.

It also learns the scopes of each connection's token, so that a missing one is reported before it is needed.

Refused credentials are tried again at once after a start, and when an operator looks at the problem: a person
may have fixed it. Each try takes a slot of the token endpoint's shared bucket, and none follows a refusal
within `_FRESH_REFUSAL_SECONDS`: a process that restarts all the time does not use up the limit.
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
    """Background work that gets each connection's token; for a sign-in, that exchanges the pair in time."""

    def __init__(self, connections: Connections, clock: Clock) -> None:
        self._connections = connections
        self._clock = clock
        self._next_at: float | None = None

    async def step(self) -> float | None:
        """Check all connections; record those whose credentials RingCentral refuses as a problem.

        The first time, and if woken early, refused credentials are tried again.
        """
        turns, now = asyncio.Semaphore(_AT_ONCE), self._clock.monotonic()
        retries = self._next_at is None or now < self._next_at
        self._next_at = now + CHECK_SECONDS - 1.0

        async def check(connection: Connection) -> bool:
            async with turns:
                return await self._check(connection, retries=retries)

        checks = await asyncio.gather(*map(check, await self._connections.all()), return_exceptions=True)
        for error in checks:
            if isinstance(error, BaseException):
                raise error
        return None if all(checks) else _FRESH_REFUSAL_SECONDS

    async def _check(self, connection: Connection, *, retries: bool) -> bool:
        """Return False if a refusal is too recent to try again."""
        has_asked = True
        if retries:
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
            if retries:
                await self._connections.forget_problem(connection)
            await self._connections.learn_scopes(connection, token)
        return has_asked
