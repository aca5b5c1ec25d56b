"""Keeps sign-ins alive: a refresh token that nobody uses for a week is dead, whether calls come or not.

And learns what the token of each connection may do: a scope that is missing is told before somebody misses it.
"""

import asyncio

import structlog

from app.enrichment.connections import Connection, Connections
from app.errors import RingCentralError

CHECK_SECONDS = 600.0
_AT_ONCE = 8

log = structlog.get_logger(__name__)


class SignIns:
    """The background work that asks for the token of each connection; of a sign-in that trades the pair in time."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    async def step(self) -> float | None:
        """Look at all connections; those whose credentials RingCentral refuses are noted as a problem."""
        turns = asyncio.Semaphore(_AT_ONCE)

        async def look(connection: Connection) -> None:
            async with turns:
                await self._look(connection)

        await asyncio.gather(*map(look, await self._connections.all()))
        return None

    async def _look(self, connection: Connection) -> None:
        try:
            token = await connection.client.fetch_token()
        except RingCentralError as error:
            log.warning(
                "a connection has no token",
                account_id=connection.holder,
                name=connection.name,
                why=error.detail,
                code=error.code,
            )
            await self._connections.note(connection, error)
        else:
            await self._connections.learn_scopes(connection, token)
