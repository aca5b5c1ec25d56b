"""Keeps sign-ins alive: a refresh token that nobody uses for a week is dead, whether calls come or not."""

import asyncio

import structlog

from app.enrichment.connections import Connection, Connections
from app.enrichment.credentials import Kind
from app.errors import RingCentralError

CHECK_SECONDS = 600.0
_AT_ONCE = 8

log = structlog.get_logger(__name__)


class SignIns:
    """The background work that asks for a token of each sign-in, which trades the pair when its time has come."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    async def step(self) -> float | None:
        """Look at all sign-ins; those that RingCentral has ended are noted as a problem."""
        turns = asyncio.Semaphore(_AT_ONCE)

        async def look(connection: Connection) -> None:
            async with turns:
                await self._look(connection)

        signed_in = [item for item in await self._connections.all() if item.kind == Kind.OAUTH]
        await asyncio.gather(*map(look, signed_in))
        return None

    async def _look(self, connection: Connection) -> None:
        try:
            await connection.client.fetch_token()
        except RingCentralError as error:
            log.warning("a sign-in has no token", name=connection.name, why=error.detail, code=error.code)
            await self._connections.note(connection, error)
